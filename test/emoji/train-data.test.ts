import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import test from 'ava'
import { Drawings } from '../../lib/eval/drawings'
import { repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

const run = promisify(execFile)
const train = (...parts: string[]): string => repoPath('models', 'train', ...parts)
const load = (file: string): Promise<any> => import(pathToFileURL(train(file)).href)

test("Python's random numbers", async t => {
  const { PythonRandom } = await load('python-random.mjs')
  // random.Random(1234): random() three times, then the two thousandth.
  const random = new PythonRandom(1234)
  const values = Array.from({ length: 2000 }, () => random.random())
  t.deepEqual([...values.slice(0, 3), values[1999]], [0.9664535356921388, 0.4407325991753527, 0.007491470058587191, 0.4146034434862158])
  t.deepEqual(
    new PythonRandom(5).sample(Array.from({ length: 3027 }, (_, i) => i), 96).slice(0, 8), [2551, 1046, 1468, 2828, 2670, 2171, 118, 1907],
  )
  t.deepEqual(new PythonRandom(5).sample([...'abcdefghijklmnop'], 7).join(''), 'ilfmokp')
  t.deepEqual(new PythonRandom(7).sample(Array.from({ length: 60 }, (_, i) => i), 3), [20, 9, 25])
  t.is(new PythonRandom(4294967295).random(), 0.6353574441341173)
})

test('which icons are drawn, and what they are called', async t => {
  const { caption, isWanted, wordsByName } = await load('captions.mjs')
  for (const name of ['red-apple', 'light-bulb', 'flag', 'black-flag', 'dark-chocolate']) t.true(isWanted(name), name)
  for (const name of ['waving-hand-light-skin-tone', 'santa-claus-medium-dark', 'girl-light', 'flag-japan']) t.false(isWanted(name), name)
  t.is(caption({ style: 'render', name: 'cat-with-wry-smile' }), 'a 3d emoji of cat with wry smile')
  t.is(caption({ style: 'twemoji', name: 'crown' }), 'a twitter emoji of crown')
  t.deepEqual([...wordsByName([{ label: 'Red Apple!', tags: ['fruit'] }, { label: 'none' }])], [['red-apple', ['fruit']]])
})

test('held out: some of those that another style has, the same whatever styles are trained', async t => {
  const { heldOut, evaluationSets } = await load('captions.mjs')
  const names = Array.from({ length: 400 }, (_, i) => `thing-${i}`)
  const of = (style: string, from: number, to: number): { style: string, name: string }[] =>
    names.slice(from, to).map(name => ({ style, name }))
  const all = [...of('flat', 0, 300), ...of('render', 100, 400), ...of('noto', 0, 150), ...of('twemoji', 350, 400)]
  const held: Set<number> = heldOut(all)
  const first: Set<number> = heldOut(all.slice(0, 600))
  t.deepEqual([...held].filter(i => i < 600), [...first])
  const own = [...first]
  t.true(own.length > 5 && own.length < 40)
  t.true(own.every(i => (i >= 100 && i < 300) || (i >= 300 && i < 500)))
  t.true([...held].some(i => i >= 600) && held.size - own.length < 30)
  const { seen, heldOut: unseen } = evaluationSets(all, held)
  t.deepEqual(unseen, [...own].sort((a, b) => a - b))
  t.is(seen.length, unseen.length)
  t.true(seen.every((i: number) => i < 600 && !held.has(i)) && new Set(seen).size === seen.length)
})

/** A folder of tools with tiny icon sets and a renderer that fills a picture by the icon's body; everything else is the real thing. */
function fakeTools(folder: string): void {
  const write = (file: string, text: string): void => {
    const target = path.join(folder, file)
    fs.mkdirSync(path.dirname(target), { recursive: true })
    fs.writeFileSync(target, text)
  }
  for (const file of ['package.json', 'package-lock.json']) write(file, fs.readFileSync(train(file), 'utf8'))
  write('node_modules/.package-lock.json', '{}')
  const { dependencies } = JSON.parse(fs.readFileSync(train('package.json'), 'utf8')) as { dependencies: Record<string, string> }
  for (const [name, version] of Object.entries(dependencies)) {
    write(`node_modules/${name}/package.json`, JSON.stringify({ name, version, main: 'index.js', license: 'MIT' }))
    if (!name.startsWith('@iconify-json/')) continue
    const icons = Object.fromEntries(Array.from({ length: 5 }, (_, i) => [`thing-${i}`, { body: `<path d="${name.length + i}"/>` }]))
    write(`node_modules/${name}/icons.json`, JSON.stringify({ icons: { ...icons, 'flag-x': { body: '' } }, width: 32, height: 32 }))
    write(
      `node_modules/${name}/info.json`,
      JSON.stringify({
        name: `Set ${name}`, author: { name: 'Somebody', url: 'https://example.com' },
        license: { title: 'MIT', spdx: 'MIT', url: 'https://example.com/licence' },
      }),
    )
  }
  write('node_modules/emojibase-data/en/data.json', JSON.stringify([{ label: 'thing 1', tags: ['a', 'b'] }, { label: 'thing 2' }]))
  write('node_modules/sharp/index.js', `
    module.exports = svg => {
      const body = /d="(\\d+)"/.exec(svg.toString())[1]
      if (!/viewBox="0 0 32 32" width="32" height="32"/.test(svg.toString())) throw new Error(svg.toString())
      const chain = { resize: (w, h) => ({ ...chain, w, h }), flatten() { return this }, removeAlpha() { return this }, raw() { return this },
        async toBuffer() { return { data: Buffer.alloc(this.w * this.h * 3, Number(body)), info: { width: this.w, height: this.h, channels: 3 } } } }
      return chain
    }
    module.exports.concurrency = () => {}
    module.exports.versions = { sharp: '1', vips: '2', rsvg: '3' }`)
}

test('the builder writes drawings that asdm eval reads, whole or not at all', async t => {
  const folder = temporaryFolder(t)
  const [tools, out] = ['tools', 'out'].map(name => path.join(folder, name))
  fakeTools(tools)
  const build = (...args: string[]): Promise<{ stdout: string }> =>
    run(process.execPath, [train('data.mjs'), '--tools', tools, '--out', out, '--size', '16', ...args])
  const { stdout } = await build('--limit', '4')
  t.regex(stdout, /: 16 drawings of 16x16, \d+ held out$/m)
  t.deepEqual(fs.readdirSync(out).sort(), ['LICENSES.md', 'drawings.bin', 'drawings.json'])
  const drawings = await Drawings.open(out)
  t.deepEqual([drawings.width, drawings.drawings.length], [16, 16])
  t.deepEqual(
    drawings.drawings.map(({ style }) => style).join(),
    ['flat', 'render', 'noto', 'twemoji'].flatMap(style => [style, style, style, style]).join(),
  )
  const bytes = fs.readFileSync(path.join(out, 'drawings.bin'))
  t.is(createHash('sha256').update(bytes).digest('hex'), drawings.sha256)
  t.deepEqual([...new Set((await drawings.pixels([5]))[0])], ['@iconify-json/fluent-emoji'.length + 1])
  const manifest = JSON.parse(fs.readFileSync(path.join(out, 'drawings.json'), 'utf8'))
  t.deepEqual(manifest.words, { 'thing-1': ['a', 'b'] })
  t.is(manifest.styles.noto.license.spdx, 'MIT')
  const licences = fs.readFileSync(path.join(out, 'LICENSES.md'), 'utf8')
  for (const name of ['fluent-emoji', 'fluent-emoji-flat', 'noto', 'twemoji'])
    t.regex(licences, new RegExp(`npm package @iconify-json/${name} \\d`))
  // Again: it replaces itself, and is the same.
  await build('--limit', '4')
  t.deepEqual(JSON.parse(fs.readFileSync(path.join(out, 'drawings.json'), 'utf8')), manifest)
  // All icons of sets that would hold out other drawings.
  const refused = async (pattern: RegExp, ...args: string[]): Promise<void> => {
    const error = await t.throwsAsync(build(...args)) as { stderr?: string } | undefined
    t.regex(error?.stderr ?? '', pattern)
  }
  await refused(/Expected the held-out drawings of held-out\.json but \d+ differ/)
  t.deepEqual(JSON.parse(fs.readFileSync(path.join(out, 'drawings.json'), 'utf8')), manifest)
  await refused(/--size/, '--size', '7')
  fs.rmSync(path.join(out, 'drawings.json'))
  await refused(/holds something else/, '--limit', '1')
  t.true(fs.existsSync(path.join(out, 'drawings.bin')))
})

test('nothing of the data set depends on where packages come from', t => {
  const lock = fs.readFileSync(train('package-lock.json'), 'utf8')
  t.notRegex(lock, /"resolved"/)
  const { packages } = JSON.parse(lock) as { packages: Record<string, { version: string, integrity?: string }> }
  const { dependencies } = JSON.parse(fs.readFileSync(train('package.json'), 'utf8')) as { dependencies: Record<string, string> }
  for (const [name, version] of Object.entries(dependencies)) t.is(packages[`node_modules/${name}`].version, version)
  for (const [name, { integrity }] of Object.entries(packages)) if (name !== '') t.regex(integrity ?? '', /^sha512-/, name)
})
