import test from 'ava'
import fc from 'fast-check'
import { check, fusedAndSeparate, makeArguments, outputSize, three } from '../support/convolution'
import { loadExpected, maxAbsDiff } from '../support/fixtures'
import { BF16_EPS, everySet, formatNames, randomFloats, roundToBf16, runEverywhere, runner } from '../support/op-runner'

test('3x3, same size', t => {
  for (const c of [1, 3, 4, 5, 17])
    for (const co of [1, 3, 4, 9, 33]) t.is(check({ n: 2, h: 5, w: 7, c, co, ...three, bias: true }), undefined)
  for (const size of [1, 2, 3, 13]) t.is(check({ n: 1, h: size, w: 3, c: 6, co: 16, ...three }), undefined)
  t.is(check({ n: 1, h: 37, w: 41, c: 4, co: 5, ...three, bias: true }), undefined)
})

test('many channels: several blocks of k, split inside a tap and between taps', t => {
  for (const c of [64, 67, 128, 200]) t.is(check({ n: 2, h: 4, w: 5, c, co: 19, ...three, bias: true, rowBias: true }), undefined)
})

test('1x1', t => {
  t.is(check({ n: 3, h: 5, w: 3, c: 11, co: 34, kernel: [1, 1], bias: true, residual: true }), undefined)
  t.is(check({ n: 1, h: 4, w: 4, c: 8, co: 8, kernel: [1, 1], stride: 2 }), undefined)
})

test('stride 2, padded on all sides, or at bottom and right only', t => {
  for (const h of [4, 5, 8, 9]) {
    t.is(check({ n: 2, h, w: 9, c: 7, co: 12, ...three, stride: 2, bias: true }), undefined)
    t.is(check({ n: 2, h, w: 6, c: 7, co: 12, kernel: [3, 3], pad: [0, 0, 1, 1], stride: 2, bias: true }), undefined)
  }
})

test('other kernels, strides and paddings', t => {
  t.is(check({ n: 1, h: 9, w: 8, c: 3, co: 5, kernel: [5, 2], pad: [2, 0, 2, 1], stride: 3, bias: true }), undefined)
  t.is(check({ n: 1, h: 2, w: 2, c: 3, co: 5, kernel: [4, 4], pad: [3, 3, 3, 3] }), undefined)
  t.is(check({ n: 2, h: 8, w: 8, c: 3, co: 20, kernel: [2, 2], stride: 2 }), undefined)
})

test('nearest-neighbour resize before it: double, to odd sizes, smaller', t => {
  for (const resize of [[10, 14], [9, 13], [11, 15], [3, 2], [5, 7]] as [number, number][])
    t.is(check({ n: 2, h: 5, w: 7, c: 6, co: 18, ...three, resize, bias: true }), undefined)
})

test('time embedding per sample, and residual, also in place', t => {
  for (const inPlace of [false, true]) {
    t.is(check({ n: 3, h: 3, w: 3, c: 5, co: 33, ...three, bias: true, rowBias: true, residual: true, inPlace }), undefined)
    t.is(check({ n: 2, h: 6, w: 5, c: 130, co: 36, ...three, bias: true, rowBias: true, residual: true, inPlace }), undefined)
  }
  t.is(check({ n: 5, h: 1, w: 1, c: 8, co: 40, ...three, rowBias: true }), undefined)
})

test('random shapes', t => {
  const small = fc.integer({ min: 1, max: 9 })
  fc.assert(fc.property(
    fc.record({
      n: fc.integer({ min: 1, max: 3 }), h: small, w: small, c: fc.integer({ min: 1, max: 40 }), co: fc.integer({ min: 1, max: 40 }),
      kernel: fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 })), stride: fc.integer({ min: 1, max: 2 }),
      pad: fc.tuple(fc.nat(1), fc.nat(1), fc.nat(1), fc.nat(1)), resize: fc.option(fc.tuple(small, small), { nil: undefined }),
      bias: fc.boolean(), rowBias: fc.boolean(), residual: fc.boolean(),
    }),
    shape => {
      const [outH, outW] = outputSize(shape)
      fc.pre(outH > 0 && outW > 0)
      const complaint = check(shape)
      if (complaint !== undefined) throw new Error(complaint)
    },
  ), { seed: 11, numRuns: 80 })
  t.pass()
})

test('a fused residual and time embedding equal separate additions bit for bit', t => {
  for (const c of [7, 100])
    for (const { set, fused, separate } of fusedAndSeparate({ n: 2, h: 5, w: 6, c, co: 37, ...three }))
      t.is(maxAbsDiff(fused, separate), 0, set)
})

test('low parts: with them a sum is right to twice the bits of bfloat16', t => {
  // The last one is large enough for Winograd's convolution.
  for (const [h, w, c] of [[5, 6, 7], [5, 6, 100], [16, 13, 18]]) for (const co of [37, 64]) for (const inPlace of [false, true]) {
    const a = makeArguments({ n: 2, h, w, c, co, ...three, bias: true, rowBias: true, residual: true, inPlace }, 'bf16')
    const count = a.residual!.length, residualLow = roundToBf16(randomFloats(count, 8, 2 ** -9))
    const zero = Float32Array.from(a.residual!, () => 0)
    for (const set of everySet('bf16')) {
      // The sum by itself: exact in float where high and low part of the first call are added.
      const parts = runner.run('conv', set, 2, { ...a, residual: zero, residualLow: zero, low: true }, 'bf16')
      const y = runner.run('conv', set, 2, { ...a, residualLow, low: true }, 'bf16')
      t.is(y.length, 2 * count)
      for (let i = 0; i < count; i++) {
        const want = parts[i] + parts[count + i] + a.residual![i] + residualLow[i]
        const size = Math.abs(parts[i]) + Math.abs(want)
        if (!(Math.abs(y[i] - want) <= 1.01 * BF16_EPS * Math.abs(want) + size * 2 ** -15))
          t.fail(`${set} c ${c} co ${co}: ${i} is ${y[i]}, not ${want}`)
        if (!(Math.abs(y[i] + y[count + i] - want) <= size * 2 ** -15))
          t.fail(`${set} c ${c} co ${co}: ${i} is ${y[i]} + ${y[count + i]}, not ${want}`)
      }
      t.is(maxAbsDiff(runner.run('conv', set, 5, { ...a, residualLow, low: true }, 'bf16'), y), 0)
      const { inPlace: _, ...apart } = a
      t.is(
        maxAbsDiff(runner.run('conv', set, 1, { ...apart, residualLow }, 'bf16'), y.slice(0, count)), 0,
        'a low part that is not wanted changes nothing',
      )
    }
  }
})

test('a sample\'s result does not depend on the samples beside it', t => {
  const a = makeArguments({ n: 3, h: 5, w: 5, c: 70, co: 20, ...three, bias: true })
  const perInput = a.x.length / 3, perOutput = a.outH * a.outW * a.co
  for (const dtype of formatNames)
    for (const set of everySet(dtype)) {
      const all = runner.run('conv', set, 2, a, dtype)
      const middle = runner.run('conv', set, 1, { ...a, n: 1, x: a.x.slice(perInput, 2 * perInput) }, dtype)
      t.is(maxAbsDiff(middle, all.slice(perOutput, 2 * perOutput)), 0, `${dtype} ${set}`)
    }
})

test('a NaN pixel reaches its neighbourhood and nothing else', t => {
  const a = makeArguments({ n: 1, h: 7, w: 7, c: 5, co: 21, ...three })
  a.x[(3 * 7 + 2) * 5 + 4] = NaN
  for (const { set, y } of formatNames.flatMap(dtype => runEverywhere('conv', a, dtype)))
    for (let at = 0; at < y.length; at++) {
      const pixel = Math.floor(at / 21), near = Math.abs(Math.floor(pixel / 7) - 3) <= 1 && Math.abs((pixel % 7) - 2) <= 1
      if (Number.isNaN(y[at]) !== near) t.fail(`${set} element ${at}`)
    }
  t.pass()
})

const toLast = (x: Float32Array, [, c, h, w]: number[]) =>
  Float32Array.from(
    { length: x.length }, (_, i) => x[Math.floor(i / (c * h * w)) * c * h * w + (i % c) * h * w + (Math.floor(i / c) % (h * w))],
  )

const fixtures = loadExpected('ops')
for (const name of Object.keys(fixtures.json.ops).filter(name => name.startsWith('conv2d_'))) {
  test(`${name} equals PyTorch's`, t => {
    const x = fixtures.tensor(`${name}/x`), weight = fixtures.tensor(`${name}/weight`), y = fixtures.tensor(`${name}/y`)
    const [left, , top] = fixtures.json.ops[name].pad_left_right_top_bottom
    const want = toLast(y.data, y.shape)
    for (const result of runEverywhere('conv', {
      n: x.shape[0], c: x.shape[1], h: x.shape[2], w: x.shape[3], co: weight.shape[0], kernelH: weight.shape[2], kernelW: weight.shape[3],
      outH: y.shape[2], outW: y.shape[3], stride: fixtures.json.ops[name].stride, padTop: top, padLeft: left,
      x: toLast(x.data, x.shape), weight: weight.data, bias: fixtures.has(`${name}/bias`)
        ? fixtures.tensor(`${name}/bias`).data
        : undefined,
    })) t.true(maxAbsDiff(result.y, want) <= 1e-5 * Math.max(1, ...want.map(Math.abs)), result.set)
  })
}
