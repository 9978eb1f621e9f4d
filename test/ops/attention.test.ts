import test from 'ava'
import { loadExpected, maxAbsDiff } from '../support/fixtures'
import { BF16_EPS, EPS, inFormat, randomFloats, runEverywhere } from '../support/op-runner'

interface Shape {
  batch: number
  heads: number
  qLength: number
  kLength: number
  headDim: number
  scale: number
  causal: boolean
  ldq: number
  ldk: number
  ldv: number
  ldo: number
}

type Format = 'fp32' | 'bf16'
const formats: Format[] = ['fp32', 'bf16']

interface Inputs { q: Float32Array, k: Float32Array, v: Float32Array }

/** A shape with odd distances between rows, so that reading or writing beyond a row's end shows. */
function shape(part: Partial<Shape>): Shape {
  const full = { batch: 1, heads: 1, qLength: 1, kLength: 1, headDim: 1, causal: false, ...part }
  const width = full.heads * full.headDim
  return { scale: 1 / Math.sqrt(full.headDim), ldq: width + 3, ldk: width + 5, ldv: width + 1, ldo: width + 7, ...full }
}

function rounded({ q, k, v }: Inputs, format: Format = 'bf16'): Inputs {
  return { q: inFormat(format, q), k: inFormat(format, k), v: inFormat(format, v) }
}

function inputs(s: Shape, seed: number, queryScale = 1): Inputs {
  const width = s.heads * s.headDim
  return {
    q: randomFloats((s.batch * s.qLength - 1) * s.ldq + width, seed, queryScale),
    k: randomFloats((s.batch * s.kLength - 1) * s.ldk + width, seed + 1),
    v: randomFloats((s.batch * s.kLength - 1) * s.ldv + width, seed + 2).map(value => value + 0.5),
  }
}

interface Reference { o: Float64Array, bound: Float64Array, absolute: Float64Array }

/**
 * softmax(scale q k^T) v in float64, and what rounding may do to each element: an error e in a score moves its weight by the factor
 * 1 + e, so (6 + 3 * largest |scale| sum |q k|) roundings of `absolute`, which is sum weight * |v|.
 */
function reference(s: Shape, { q, k, v }: Inputs): Reference {
  const width = s.heads * s.headDim
  const o = new Float64Array(s.batch * s.qLength * width), bound = new Float64Array(o.length), sums = new Float64Array(o.length)
  const weights = new Float64Array(s.kLength)
  for (let b = 0; b < s.batch; b++)
    for (let head = 0; head < s.heads; head++)
      for (let i = 0; i < s.qLength; i++) {
        const keys = s.causal ? i + 1 : s.kLength, column = head * s.headDim
        let top = -Infinity, sum = 0, magnitude = 0
        for (let j = 0; j < keys; j++) {
          let score = 0, absolute = 0
          for (let d = 0; d < s.headDim; d++) {
            const product = q[(b * s.qLength + i) * s.ldq + column + d] * k[(b * s.kLength + j) * s.ldk + column + d]
            score += product
            absolute += Math.abs(product)
          }
          weights[j] = score * s.scale
          top = Math.max(top, weights[j])
          magnitude = Math.max(magnitude, absolute * Math.abs(s.scale))
        }
        for (let j = 0; j < keys; j++) sum += weights[j] = Math.exp(weights[j] - top)
        for (let d = 0; d < s.headDim; d++) {
          let value = 0, absolute = 0
          for (let j = 0; j < keys; j++) {
            const term = (weights[j] / sum) * v[(b * s.kLength + j) * s.ldv + column + d]
            value += term
            absolute += Math.abs(term)
          }
          const at = (b * s.qLength + i) * width + column + d
          o[at] = value
          bound[at] = EPS * (6 + 3 * magnitude) * absolute
          sums[at] = absolute
        }
      }
  return { o, bound, absolute: sums }
}

/** Sets whose products of weights and values are of bfloat16: avx512bf16, those that use its attention, and CUDA's with tensor cores. */
const roundsWeights = new Set(['avx512bf16', 'amx', 'amx_emulated_avx512', 'sm80'])

/**
 * What a bfloat16 result may be off by besides: the rounding of the output, and where products are of bfloat16 (`roundsWeights`) that of
 * the weights, twice, in the sum of values and in the sum of weights that divides it.
 */
function roundings(set: string, format: Format, want: Reference, i: number): number {
  if (format === 'fp32') return 0
  return BF16_EPS * (1.01 * (Math.abs(want.o[i]) + want.bound[i]) + (roundsWeights.has(set) ? 2.1 * want.absolute[i] : 0))
}

/** The first complaint about a result, or null: elements out of bounds, or anything written between rows. */
function complaint(s: Shape, set: string, format: Format, y: Float32Array, want: Reference): string | null {
  const width = s.heads * s.headDim
  for (let at = 0; at < y.length; at++) {
    const row = Math.floor(at / s.ldo), column = at % s.ldo
    if (column >= width) {
      if (!Number.isNaN(y[at])) return `wrote ${y[at]} behind row ${row}`
    } else {
      const i = row * width + column
      const bound = want.bound[i] + roundings(set, format, want, i)
      if (!(Math.abs(y[at] - want.o[i]) <= bound)) return `row ${row}, column ${column}: ${y[at]}, expected ${want.o[i]} +- ${bound}`
    }
  }
  return null
}

function check(t: { fail(message: string): void }, s: Shape, plain: Inputs) {
  for (const format of formats) {
    const given = rounded(plain, format), want = reference(s, given)
    for (const { set, y } of runEverywhere('attention', { ...s, ...given }, format)) {
      const message = complaint(s, set, format, y, want)
      if (message !== null) t.fail(`${set} ${format} q ${s.qLength} k ${s.kLength} d ${s.headDim}: ${message}`)
    }
  }
}

test('any head width and any number of keys', t => {
  for (const headDim of [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 40, 64, 80, 127, 128, 129, 160])
    for (const kLength of [1, 3, 4, 5, 7, 8, 9, 77, 127, 128, 129])
      check(
        t, shape({ heads: 2, qLength: (kLength * 7 + headDim) % 53 + 1, kLength, headDim }),
        inputs(shape({ heads: 2, qLength: (kLength * 7 + headDim) % 53 + 1, kLength, headDim }), headDim * kLength),
      )
  t.pass()
})

test('any number of queries', t => {
  for (const qLength of [1, 2, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 32, 33, 47, 48, 49, 63, 64, 65, 95, 97, 401]) {
    const s = shape({ batch: 2, qLength, kLength: 37, headDim: 24 })
    check(t, s, inputs(s, qLength))
  }
  t.pass()
})

test('wide heads, and more keys than a block', t => {
  for (const [qLength, kLength, headDim] of [[50, 70, 512], [3, 300, 1024], [130, 1031, 40], [17, 523, 80]]) {
    const s = shape({ qLength, kLength, headDim })
    check(t, s, inputs(s, headDim))
  }
  t.pass()
})

test('causal', t => {
  for (const length of [1, 2, 3, 7, 8, 15, 16, 17, 23, 47, 48, 49, 77, 127, 128, 129, 200, 300]) {
    const s = shape({ batch: 2, heads: 2, qLength: length, kLength: length, headDim: 16, causal: true })
    check(t, s, inputs(s, length))
  }
  t.pass()
})

test('causal ignores whatever finite comes later', t => {
  const s = shape({ qLength: 150, kLength: 150, headDim: 8, causal: true }), given = rounded(inputs(s, 4))
  const row = 70, changed = { q: given.q, k: given.k.slice(), v: given.v.slice() }
  changed.k.fill(100, (row + 1) * s.ldk)
  changed.v.fill(1e30, (row + 1) * s.ldv)
  const end = row * s.ldo + s.headDim
  for (const format of formats) {
    const before = runEverywhere('attention', { ...s, ...given }, format), after = runEverywhere('attention', { ...s, ...changed }, format)
    before.forEach(({ set, y }, i) =>
      t.deepEqual(Buffer.from(y.buffer, 0, end * 4), Buffer.from(after[i].y.buffer, 0, end * 4), `${set} ${format}`))
  }
})

test('scores of any size and sign, scales of any sign', t => {
  for (const [queryScale, scale] of [[1, -0.25], [1, 0], [40, 0.25], [3000, 0.25], [1e4, -1], [1e-20, 1]]) {
    const s = shape({ qLength: 50, kLength: 300, headDim: 16, scale })
    check(t, s, inputs(s, 11, queryScale))
  }
  t.pass()
})

test('scores that grow from key to key, so that the reference moves in every block', t => {
  for (const slope of [0.01, 0.1, 1, 10, -1]) {
    const s = shape({ qLength: 50, kLength: 700, headDim: 2, scale: 1 }), given = inputs(s, 12)
    for (let i = 0; i < s.qLength; i++) given.q.set([1 + i / 50, 0.3], i * s.ldq)
    for (let j = 0; j < s.kLength; j++) given.k[j * s.ldk] = (j - 350) * slope
    check(t, s, given)
  }
  t.pass()
})

test('a row has the same bits alone and among others', t => {
  const s = shape({ heads: 2, qLength: 131, kLength: 400, headDim: 40, ldo: 80 }), plain = inputs(s, 13), growing = inputs(s, 16)
  // Keys that grow from block to block, which moves the references of some rows and not those of their neighbours.
  growing.k = growing.k.map((value, i) => value * (1 + 4 * Math.floor(i / s.ldk / 100)))
  for (const format of formats)
    for (const given of [rounded(plain), rounded(growing)]) {
      const whole = runEverywhere('attention', { ...s, ...given }, format)
      for (const [first, count] of [[0, 1], [3, 16], [17, 48], [100, 31], [130, 1]]) {
        const q = given.q.slice(first * s.ldq, (first + count - 1) * s.ldq + 80)
        runEverywhere('attention', { ...s, ...given, q, qLength: count }, format).forEach(({ set, y }, i) =>
          t.is(maxAbsDiff(y, whole[i].y.subarray(first * 80, (first + count) * 80)), 0, `${set} ${format} ${first}`))
      }
    }
})

test('samples do not depend on each other', t => {
  const s = shape({
      batch: 3, heads: 2, qLength: 61, kLength: 90, headDim: 24, ldq: 48, ldk: 48, ldv: 48, ldo: 48,
    }), given = rounded(inputs(s, 17))
  for (const format of formats) {
    const whole = runEverywhere('attention', { ...s, ...given }, format)
    for (let b = 0; b < 3; b++) {
      const part = (values: Float32Array) => values.slice(b * values.length / 3, (b + 1) * values.length / 3)
      runEverywhere(
        'attention', { ...s, batch: 1, q: part(given.q), k: part(given.k), v: part(given.v) }, format,
      ).forEach(({ set, y }, i) =>
        t.is(maxAbsDiff(y, part(whole[i].y)), 0, `${set} ${format} ${b}`))
    }
  }
})

test('NaN goes where softmax sends it', t => {
  const s = shape({ qLength: 20, kLength: 150, headDim: 5, ldo: 5 }), clean = inputs(s, 14)
  const isNaNs = (given: Inputs) => formats.flatMap(format =>
    runEverywhere('attention', { ...s, ...given }, format).map(({ set, y }) =>
      ({ set: `${set} ${format}`, nan: [...y].map(value => Number.isNaN(value)) })))
  const poisoned = (name: keyof Inputs, at: number) => {
    const copy = { ...clean, [name]: clean[name].slice() }
    copy[name][at] = NaN
    return copy
  }
  for (const { set, nan } of isNaNs(poisoned('q', 7 * s.ldq + 2))) t.true(nan.every((value, i) => value === (Math.floor(i / 5) === 7)), set)
  for (const { set, nan } of isNaNs(poisoned('k', 140 * s.ldk + 2))) t.true(nan.every(value => value), set)
  for (const { set, nan } of isNaNs(poisoned('v', 140 * s.ldv + 2))) t.true(nan.every((value, i) => value === (i % 5 === 2)), set)
})

test('keys with a score of -inf have no weight; a row of nothing else is NaN', t => {
  const s = shape({ qLength: 3, kLength: 300, headDim: 2, scale: 1 }), given = rounded(inputs(s, 15))
  for (let i = 0; i < s.qLength; i++) given.q.set([1, 0.5], i * s.ldq)
  // A first block of nothing but -inf, then a few visible keys.
  const visible = [200, 201, 299]
  for (let j = 0; j < s.kLength; j++) if (!visible.includes(j)) given.k[j * s.ldk] = -Infinity
  const few = shape({ qLength: 3, kLength: visible.length, headDim: 2, scale: 1 })
  const want = reference(few, {
    q: given.q,
    k: Float32Array.from({ length: 2 * few.ldk + 2 }, (_, i) => given.k[visible[Math.floor(i / few.ldk)] * s.ldk + (i % few.ldk)] ?? 0),
    v: Float32Array.from({ length: 2 * few.ldv + 2 }, (_, i) => given.v[visible[Math.floor(i / few.ldv)] * s.ldv + (i % few.ldv)] ?? 0),
  })
  for (const format of formats)
    for (const { set, y } of runEverywhere('attention', { ...s, ...given }, format))
      t.is(complaint(s, set, format, y, want), null, `${set} ${format}`)
  for (const j of visible) given.k[j * s.ldk] = -Infinity
  for (const format of formats)
    for (const { set, y } of runEverywhere('attention', { ...s, ...given }, format))
      t.true(Number.isNaN(y[0]) && Number.isNaN(y[1]), `${set} ${format}`)
})

test('equals PyTorch', t => {
  const expected = loadExpected('ops')
  const names = Object.keys(expected.json.ops).filter(name => name.startsWith('attention_'))
  t.true(names.length >= 9)
  for (const name of names) {
    const [batch, heads, qLength, headDim] = expected.tensor(`${name}/q`).shape, kLength = expected.tensor(`${name}/k`).shape[2]
    // [batch, heads, length, d] -> [batch, length, heads, d]
    const tokens = (tensor: string) => {
      const { data, shape: [, , length] } = expected.tensor(`${name}/${tensor}`)
      return Float32Array.from(data, (_, i) => {
        const d = i % headDim, head = Math.floor(i / headDim) % heads, row = Math.floor(i / headDim / heads)
        return data[((Math.floor(row / length) * heads + head) * length + (row % length)) * headDim + d]
      })
    }
    const args = { batch, heads, qLength, kLength, headDim, scale: 1 / Math.sqrt(headDim), causal: name.endsWith('causal') }
    for (const { set, y } of runEverywhere('attention', { ...args, q: tokens('q'), k: tokens('k'), v: tokens('v') }))
      t.true(maxAbsDiff(y, tokens('y')) <= 1e-5, `${name} ${set}`)
  }
})
