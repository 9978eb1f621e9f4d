import test from 'ava'
import fc from 'fast-check'
import { AsdmError } from '../../lib/base/errors'
import { applyPromptWeights, encodeWeighted, MAX_WEIGHT, parsePromptWeights } from '../../lib/text/prompt-weights'
import { MAX_TEXT_LENGTH, Tokenizer } from '../../lib/text/tokenizer'
import { fixture } from '../support/fixtures'
import { rounds, seedOf } from '../support/random'

const clip = Tokenizer.default()

const examples: [prompt: string, fragments: [text: string, weight: number][]][] = [
  ['', [['', 1]]],
  ['normal text', [['normal text', 1]]],
  ['an (important) word', [['an ', 1], ['important', 1.1], [' word', 1]]],
  ['a [faint] word', [['a ', 1], ['faint', 1 / 1.1], [' word', 1]]],
  ['a (cat:1.2), (dog :.5) (fox: -2 )', [['a ', 1], ['cat', 1.2], [', ', 1], ['dog ', 0.5], [' ', 1], ['fox', -2]]],
  ['(unbalanced', [['unbalanced', 1.1]]],
  ['un) balanced]', [['un) balanced]', 1]]],
  ['\\(literal\\] \\\\ and\\x', [['(literal] \\ andx', 1]]],
  ['(unnecessary)(parens)', [['unnecessaryparens', 1.1]]],
  ['((twice))', [['twice', 1.1 * 1.1]]],
  ['a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).', [
    ['a ', 1], ['house', 1.3 * 1.1 * 1.1], [' ', 1.1], ['on', 1], [' a ', 1.1], ['hill', 0.55], [', sun, ', 1.1], ['sky', 1.1 ** 4], ['.', 1.1],
  ]],
  ['(a [b) c] d', [['a ', 1.1], ['b', 1], [' c', 1 / 1.1], [' d', 1]]],
  ['[cat:1.5] time 10:30) (a:b) (x:1.2.3)', [['cat:1.5', 1 / 1.1], [' time 10:30) ', 1], ['a:b', 1.1], [' ', 1], ['x:1.2.3', 1.1]]],
  ['(zero:0)(none:)', [['zero', 0], ['none:', 1.1]]],
  ['()[](:2)', [['', 1]]],
  ['(big:1e9) (more:999999)', [['big:1e9', 1.1], [' ', 1], ['more', MAX_WEIGHT]]],
]

for (const [prompt, expected] of examples) {
  test(`parses ${JSON.stringify(prompt)}`, t => {
    const got = parsePromptWeights(prompt)
    t.deepEqual(got.map(({ text }) => text), expected.map(([text]) => text))
    got.forEach(({ weight }, i) => t.true(Math.abs(weight - expected[i][1]) < 1e-12, `${weight} for ${expected[i][1]}`))
  })
}

test('any prompt: parses, keeps its letters in order, weights stay finite', async t => {
  const tokenizer = await clip
  const prompts = fc.array(
    fc.oneof(
      fc.constantFrom('(', ')', '[', ']', ':', '\\', ':1.3)', ':-.5 )', 'word ', 'a', '9', '.', ' '),
      fc.string({ unit: 'binary', maxLength: 5 }),
    ),
    { maxLength: 60 },
  )
  const property = fc.property(prompts, parts => {
    const prompt = parts.join('')
    const fragments = parsePromptWeights(prompt)
    t.true(fragments.length > 0)
    const letters = (text: string): string => text.replace(/[^a-z]/g, '')
    t.is(letters(fragments.map(({ text }) => text).join('')), letters(prompt))
    fragments.forEach(({ weight }, i) => {
      t.true(Math.abs(weight) <= MAX_WEIGHT)
      t.true(i === 0 || weight !== fragments[i - 1].weight)
    })
    const { ids, weights, attentionMask } = encodeWeighted(tokenizer, prompt)
    t.deepEqual([ids.length, weights.length], [77, 77])
    t.true(weights.every((weight, i) => Number.isFinite(weight) && (i > 0 || weight === 1) && (attentionMask[i] === 1 || weight === 1)))
    t.is(weights[attentionMask.lastIndexOf(1)], 1)
  })
  fc.assert(property, { numRuns: rounds(500), seed: seedOf(5) })
})

test('megabytes of brackets take time in proportion', t => {
  for (const unit of ['(', '[', '(a', '(a:1.1)', ')', ':', '\\', ': ', '(a[b)c]', '(1:1']) {
    const start = process.cpuUsage()
    const fragments = parsePromptWeights(unit.repeat(MAX_TEXT_LENGTH / 8))
    const { user, system } = process.cpuUsage(start)
    t.true(fragments.every(({ weight }) => Math.abs(weight) <= MAX_WEIGHT))
    t.true(user + system < 20e6, `${unit}: ${(user + system) / 1e6} s`)
  }
  for (const bad of [undefined, 5, null, ['a'], 'a'.repeat(MAX_TEXT_LENGTH + 1)])
    t.is(t.throws(() => parsePromptWeights(bad as never), { instanceOf: AsdmError })?.code, 'INVALID_ARGUMENT')
})

test('one weight per token; specials and padding have weight 1', async t => {
  const tokenizer = await clip
  const { ids, weights, attentionMask, truncated } = encodeWeighted(tokenizer, 'a (cat sitting:1.5) [there]')
  t.deepEqual([...ids.subarray(0, 7)], [49406, 320, 2368, 4919, 997, 49407, 49407])
  t.deepEqual([...weights], [1, 1, 1.5, 1.5, Math.fround(1 / 1.1), ...new Array(72).fill(1)])
  t.is(attentionMask.reduce((sum, value) => sum + value, 0), 6)
  t.is(truncated, '')
})

test('without weights the ids are those of the plain prompt', async t => {
  const tokenizer = await clip
  const property = fc.property(fc.string({ unit: 'grapheme', maxLength: 200 }).filter(text => !/[\\()[\]]/.test(text)), text => {
    const plain = tokenizer.encodeWithDetails(text)
    t.deepEqual(encodeWeighted(tokenizer, text), { ...plain, weights: new Float32Array(77).fill(1) })
  })
  fc.assert(property, { numRuns: rounds(100), seed: seedOf(6) })
})

test('what does not fit is cut and told without brackets', async t => {
  const tokenizer = await Tokenizer.load(fixture('sd21-tiny', 'tokenizer'))
  const { ids, weights, attentionMask, truncated } = encodeWeighted(tokenizer, `${'a '.repeat(73)}(Cat x:2) and [more]`)
  t.is(ids.length, 77)
  t.true(attentionMask.every(value => value === 1))
  t.is(ids[76], tokenizer.eos)
  t.deepEqual([...weights.subarray(72)], [1, 1, 2, 2, 1])
  t.is(truncated, 'x and more')
})

test('features are multiplied and get their mean back, each sample by itself', t => {
  // Two samples of two tokens of width 2. First: 1 2 | 3 4, weights 1 2 -> 1 2 | 6 8, mean 17/4, was 10/4.
  const features = { data: Float32Array.of(1, 2, 3, 4, 1, 1, 1, 1), shape: [2, 2, 2] }
  const { data, shape } = applyPromptWeights(features, Float32Array.of(1, 2, 1, 1))
  t.deepEqual(shape, [2, 2, 2])
  const factor = 10 / 17
  ;[1, 2, 6, 8].forEach((value, i) => t.true(Math.abs(data[i] - value * factor) < 1e-6))
  t.deepEqual([...data.subarray(4)], [1, 1, 1, 1])
  t.deepEqual([...features.data], [1, 2, 3, 4, 1, 1, 1, 1], 'the input stays')
  const shared = applyPromptWeights(features, Float32Array.of(2, 4))
  t.deepEqual(
    [...shared.data.subarray(0, 4)],
    [...applyPromptWeights({ data: features.data.slice(0, 4), shape: [1, 2, 2] }, Float32Array.of(2, 4)).data],
  )
})

test('neutral weights change no bit; a mean that vanishes or turns does not scale', t => {
  const noise = Float32Array.from({ length: 60 }, (_, i) => Math.fround(Math.sin(i * i)))
  t.deepEqual([...applyPromptWeights({ data: noise, shape: [1, 5, 12] }, new Float32Array(5).fill(1)).data], [...noise])
  t.deepEqual(
    [...applyPromptWeights({ data: Float32Array.of(1, -1, 2, -2), shape: [1, 2, 2] }, Float32Array.of(1, 3)).data], [1, -1, 6, -6],
  )
  t.deepEqual(
    [...applyPromptWeights({ data: Float32Array.of(2, 2, -1, -1), shape: [1, 2, 2] }, Float32Array.of(1, 3)).data], [2, 2, -3, -3],
  )
  t.deepEqual([...applyPromptWeights({ data: Float32Array.of(1, 1), shape: [1, 1, 2] }, Float32Array.of(0)).data], [0, 0])
})

test('wrong features or weights are refused', t => {
  const features = { data: new Float32Array(4), shape: [1, 2, 2] }
  const code = (a: unknown, b: unknown): string | undefined =>
    t.throws(() => applyPromptWeights(a as never, b as never), { instanceOf: AsdmError })?.code
  t.is(code(null, new Float32Array(2)), 'INVALID_ARGUMENT')
  t.is(code({ data: new Float32Array(4), shape: [2, 2] }, new Float32Array(2)), 'SHAPE_MISMATCH')
  t.is(code(features, [1, 1]), 'INVALID_ARGUMENT')
  t.is(code(features, new Float32Array(3)), 'SHAPE_MISMATCH')
  t.is(code(features, Float32Array.of(1, NaN)), 'INVALID_ARGUMENT')
})
