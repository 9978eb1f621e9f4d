/** Products by float weights of activations in bfloat16, and the low parts that these and norms read. */
import test from 'ava'
import { makeArguments, reference, three, type Shape } from '../support/convolution'
import { maxAbsDiff } from '../support/fixtures'
import { BF16_EPS, EPS, everySet, randomFloats, roundToBf16, runEverywhere, runner } from '../support/op-runner'
import { activations } from '../support/references'

const sum = (a: Float32Array, b: Float32Array) => Float32Array.from(a, (value, i) => value + b[i])
const lowOf = (values: Float32Array, seed: number) =>
  roundToBf16(Float32Array.from(randomFloats(values.length, seed), (value, i) => value * values[i] * 2 ** -10))

/** Weights that bfloat16 could not hold. */
const weightsOf = (count: number, seed: number) => randomFloats(count, seed)

/**
 * y [count] and its low part behind it: the sum of both is right to 16 bits and what float's products may be off by, which rounding
 * weights or leaving a low part away would pass by far; y alone is that, rounded.
 */
function complaint(y: Float32Array, want: ArrayLike<number>, size: ArrayLike<number>, k: number): string | undefined {
  const count = want.length
  if (y.length !== 2 * count) return `${y.length} numbers`
  for (let i = 0; i < count; i++) {
    const bound = (k + 4) * EPS * size[i] + 2 ** -16 * Math.abs(want[i])
    if (!(Math.abs(y[i] + y[count + i] - want[i]) <= bound)) return `${i} is ${y[i]} + ${y[count + i]}, not ${want[i]} +- ${bound}`
    if (!(Math.abs(y[i] - want[i]) <= bound + BF16_EPS * Math.abs(want[i]))) return `${i} is ${y[i]}, not ${want[i]}`
  }
  return undefined
}

function checkLinear(
  m: number, n: number, k: number, options: { activation?: string, residual?: boolean, inPlace?: boolean, low?: boolean } = {},
): string | undefined {
  const ldx = k + 3
  const x = roundToBf16(randomFloats((m - 1) * ldx + k, m + k)), xLow = options.low === false ? undefined : lowOf(x, 3)
  const weight = weightsOf(n * k, n + k), bias = randomFloats(n, 5)
  const residual = options.residual ? roundToBf16(randomFloats(m * n, 6)) : undefined
  const residualLow = residual && lowOf(residual, 7)
  const want = new Float64Array(m * n), size = new Float64Array(m * n)
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++) {
      let total = bias[j], terms = Math.abs(bias[j])
      for (let p = 0; p < k; p++) {
        const product = (x[i * ldx + p] + (xLow?.[i * ldx + p] ?? 0)) * weight[j * k + p]
        total += product
        terms += Math.abs(product)
      }
      if (options.activation) total = activations[options.activation](total)
      const at = i * n + j
      want[at] = total + (residual?.[at] ?? 0) + (residualLow?.[at] ?? 0)
      size[at] = 1.2 * terms + Math.abs(want[at]) + Math.abs(total)
    }
  const args = {
    m, n, k, ldx, x, xLow, weight, bias, residual, residualLow, inPlace: options.inPlace, low: true, wide: true,
    ...(options.activation && { activation: options.activation }),
  }
  for (const { set, y } of runEverywhere('linear', args, 'bf16')) {
    const message = complaint(y, want, size, k)
    if (message !== undefined) return `${set} m ${m} n ${n} k ${k} ${JSON.stringify(options)}: ${message}`
  }
  return undefined
}

test('linear layers by float weights', t => {
  for (const [m, n, k] of [[1, 1, 1], [3, 5, 2], [7, 33, 17], [29, 65, 640], [331, 67, 23], [5, 35, 1031], [130, 320, 320]]) {
    t.is(checkLinear(m, n, k), undefined)
    t.is(checkLinear(m, n, k, { low: false, residual: true }), undefined)
    t.is(checkLinear(m, n, k, { residual: true, inPlace: true }), undefined)
  }
  t.is(checkLinear(19, 40, 50, { activation: 'silu', residual: true }), undefined)
})

function checkConv(s: Shape): string | undefined {
  const a = makeArguments(s, 'bf16')
  const weight = weightsOf(a.weight.length, 9), xLow = lowOf(a.x, 3)
  const { want, size } = reference(s, { ...a, weight, x: sum(a.x, xLow) })
  const residualLow = a.residual && lowOf(a.residual, 7)
  if (residualLow) for (let i = 0; i < want.length; i++) want[i] += residualLow[i]
  for (const { set, y } of runEverywhere('conv', { ...a, weight, xLow, residualLow, low: true, wide: true }, 'bf16')) {
    const message = complaint(y, want, size, s.c * s.kernel[0] * s.kernel[1])
    if (message !== undefined) return `${set} ${JSON.stringify(s)}: ${message}`
  }
  return undefined
}

test('convolutions by float weights', t => {
  t.is(checkConv({ n: 2, h: 9, w: 7, c: 4, co: 33, ...three, bias: true }), undefined)
  t.is(checkConv({ n: 2, h: 16, w: 13, c: 18, co: 20, ...three, bias: true, rowBias: true, residual: true }), undefined)
  t.is(checkConv({ n: 3, h: 5, w: 3, c: 70, co: 34, kernel: [1, 1], bias: true, residual: true, inPlace: true }), undefined)
  t.is(checkConv({ n: 1, h: 6, w: 9, c: 7, co: 12, kernel: [3, 3], pad: [0, 0, 1, 1], stride: 2, bias: true, rowBias: true }), undefined)
  t.is(checkConv({ n: 2, h: 5, w: 7, c: 6, co: 18, ...three, resize: [9, 13], bias: true }), undefined)
  t.is(checkConv({ n: 1, h: 2, w: 2, c: 3, co: 5, kernel: [4, 4], pad: [3, 3, 3, 3], stride: 3 }), undefined)
})

test('a sample\'s bits do not depend on the samples beside it, NaN stays where it is', t => {
  const s: Shape = { n: 3, h: 5, w: 5, c: 40, co: 20, kernel: [1, 1], bias: true }
  const a = makeArguments(s, 'bf16'), weight = weightsOf(a.weight.length, 9)
  for (const set of everySet('bf16')) {
    const all = runner.run('conv', set, 2, { ...a, weight, wide: true }, 'bf16')
    const middle = runner.run('conv', set, 1, { ...a, weight, wide: true, n: 1, x: a.x.slice(1000, 2000) }, 'bf16')
    t.is(maxAbsDiff(middle, all.slice(500, 1000)), 0, set)
    const x = a.x.slice()
    x[1000] = NaN
    runner.run('conv', set, 2, { ...a, x, weight, wide: true }, 'bf16').forEach((value, i) => {
      if (Number.isNaN(value) !== (i >= 500 && i < 520)) t.fail(`${set} ${i}: ${value}`)
    })
  }
})

test('norms read low parts: as the same numbers in float32, but for one rounding', t => {
  for (const [n, rows, c, groups] of [[2, 35, 24, 8], [1, 131, 17, 17], [2, 64, 320, 32]]) {
    // Far from 0, as residual streams are, so that a rounding is large beside the deviation.
    const x = roundToBf16(randomFloats(n * rows * c, 1).map(value => value + 20)), xLow = roundToBf16(randomFloats(x.length, 2, 2 ** -5))
    const gamma = randomFloats(c, 3), beta = randomFloats(c, 4)
    for (const op of ['groupNorm', 'layerNorm']) {
      const args = { n, rows: op === 'groupNorm' ? rows : n * rows, c, groups, eps: 1e-5, silu: op === 'groupNorm', gamma, beta }
      const want = runner.run(op, 'portable', 1, { ...args, x: sum(x, xLow) }, 'fp32')
      // The statistics are x's alone: of what low parts add, up to 2^-5, they miss the mean, and a little of the deviation.
      for (const inPlace of [false, true])
        for (const { set, y } of runEverywhere(op, { ...args, x, xLow, inPlace }, 'bf16')) {
          const count = op === 'groupNorm' ? rows * c / groups : c, slack = 4 * 2 ** -5 / Math.sqrt(count)
          y.forEach((value, i) => {
            const size = Math.abs(gamma[i % c])
            if (!(Math.abs(value - want[i]) <= 1.2 * (slack * 2 * size) + BF16_EPS * (Math.abs(want[i]) + size) * 1.2))
              t.fail(`${op} ${set} ${i}: ${value}, not ${want[i]}`)
          })
          const off = Math.sqrt(
            y.reduce((total, value, i) => total + (value - want[i]) ** 2, 0) / y.reduce((total, value) => total + value * value, 0),
          )
          const without = runner.run(op, set, 1, { ...args, x }, 'bf16')
          const offWithout = Math.sqrt(
            without.reduce((total, value, i) => total + (value - want[i]) ** 2, 0) / y.reduce((total, value) => total + value * value, 0),
          )
          t.true(off < offWithout / 2.5, `${op} ${set}: ${off} with, ${offWithout} without`)
        }
    }
  }
})

test('a sum reads low parts, taking missing ones for zeros, and keeps that of its own', t => {
  for (const count of [1, 7, 16, 100, 65536 + 21]) {
    const a = roundToBf16(randomFloats(count, 5)), b = roundToBf16(randomFloats(count, 6)), aLow = lowOf(a, 7), bLow = lowOf(b, 8)
    for (const [p, q] of [[aLow, bLow], [aLow, undefined], [undefined, bLow], [undefined, undefined]]) {
      const whole = (x: Float32Array, low: Float32Array | undefined, i: number) => Math.fround(x[i] + (low?.[i] ?? 0))
      for (const { set, y } of runEverywhere('add', { a, b, aLow: p, bLow: q, low: true }, 'bf16'))
        for (let i = 0; i < count; i++) {
          const sum = Math.fround(
              whole(a, p, i) + whole(b, q, i),
            ), high = roundToBf16(Float32Array.of(sum))[0], low = roundToBf16(Float32Array.of(sum - high))[0]
          if (!(Object.is(y[i], high) && y[count + i] === low)) t.fail(`${set} ${i}: ${y[i]} + ${y[count + i]}, not ${high} + ${low}`)
        }
    }
  }
  t.pass()
})

test('concat joins low parts, taking missing ones for zeros; the way in keeps what rounding takes', t => {
  const rows = 7, ca = 5, cb = 3, a = roundToBf16(randomFloats(rows * ca, 1)), b = roundToBf16(randomFloats(rows * cb, 2))
  const aLow = lowOf(a, 3), bLow = lowOf(b, 4), zero = (x: Float32Array) => x.map(() => 0)
  const join = (p: Float32Array, q: Float32Array) =>
    Array.from({ length: rows }, (_, row) => [...p.slice(row * ca, (row + 1) * ca), ...q.slice(row * cb, (row + 1) * cb)]).flat()
  for (const [p, q] of [[aLow, bLow], [aLow, undefined], [undefined, bLow]])
    for (const { set, y } of runEverywhere('concat', { a, b, rows, ca, cb, aLow: p, bLow: q, low: true }, 'bf16'))
      t.deepEqual([...y], [...join(a, b), ...join(p ?? zero(a), q ?? zero(b))], set)

  const x = randomFloats(2 * 5 * 33, 10), at = (i: number) => x[Math.floor(i / 165) * 165 + (i % 5) * 33 + (Math.floor(i / 5) % 33)]
  for (const { set, y } of runEverywhere('toChannelsLast', { x, n: 2, c: 5, pixels: 33, low: true }, 'bf16'))
    for (let i = 0; i < x.length; i++) {
      if (!(Math.abs(y[i] - at(i)) <= BF16_EPS * Math.abs(at(i)))) t.fail(`${set} ${i}`)
      if (!(Math.abs(y[i] + y[x.length + i] - at(i)) <= BF16_EPS ** 2 * Math.abs(at(i))))
        t.fail(`${set} ${i}: ${y[i]} + ${y[x.length + i]}, not ${at(i)}`)
    }
  t.pass()
})
