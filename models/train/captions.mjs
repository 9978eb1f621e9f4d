import { PythonRandom } from './python-random.mjs'

/**
 * The icon sets, in the order in which drawings are numbered. `word` is what captions call the style. The shipped model's UNet was
 * trained on the first two, its VAE on all.
 */
export const styles = {
  flat: { word: 'flat', package: '@iconify-json/fluent-emoji-flat' },
  render: { word: '3d', package: '@iconify-json/fluent-emoji' },
  noto: { word: 'noto', package: '@iconify-json/noto' },
  twemoji: { word: 'twitter', package: '@iconify-json/twemoji' },
}

/** Is this an icon to be drawn? Skin tones and flags are left out: hundreds of drawings that hardly differ, or that no text describes. */
export function isWanted(name) {
  return !/skin-tone/.test(name) && !/-(light|medium|dark|medium-light|medium-dark)$/.test(name) && !/^flag-/.test(name)
}

/** The plain caption of a drawing: what it is evaluated with. */
export function caption({ style, name }) {
  return `a ${styles[style].word} emoji of ${name.replaceAll('-', ' ')}`
}

/**
 * Which drawings no model may be trained on: of the drawings whose name is drawn in another style too, 5 in 100, chosen by Python's
 * generator. First `flat` and `render` by themselves with seed 1234, which gives the 153 of the shipped model; then the other sets, among
 * names that any other set draws, with seed 1235. So a model's choice of styles does not change which drawings are held out.
 * @param {{ style: string, name: string }[]} drawings in the order of {@link styles}
 * @returns {Set<number>} indices
 */
export function heldOut(drawings) {
  const held = new Set()
  const pass = (seed, chosen, among) => {
    const drawnIn = new Map()
    for (const { style, name } of drawings) if (among.includes(style)) drawnIn.set(name, (drawnIn.get(name) ?? new Set()).add(style))
    const random = new PythonRandom(seed)
    drawings.forEach(({ style, name }, i) => {
      if (chosen.includes(style) && drawnIn.get(name).size >= 2 && random.random() < 0.05) held.add(i)
    })
  }
  const [first, others] = [['flat', 'render'], ['noto', 'twemoji']]
  pass(1234, first, first)
  pass(1235, others, Object.keys(styles))
  return held
}

/**
 * The drawings of `flat` and `render` that models are evaluated with, best by their first n: seen ones, by `random.Random(5).sample`, and
 * held-out ones in order.
 */
export function evaluationSets(drawings, held) {
  const own = drawings.flatMap(({ style }, i) => (style === 'flat' || style === 'render' ? [i] : []))
  const unseen = own.filter(i => held.has(i))
  const seen = own.filter(i => !held.has(i))
  return { seen: new PythonRandom(5).sample(seen, Math.min(seen.length, unseen.length)), heldOut: unseen }
}

/** Further words for a name, from emojibase's tags; keyed as the icon sets name their icons. */
export function wordsByName(emoji) {
  const slug = text => text.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '')
  const words = new Map()
  for (const { label, tags } of emoji) if (tags) words.set(slug(label), tags)
  return words
}
