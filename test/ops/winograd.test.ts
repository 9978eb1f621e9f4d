import test from 'ava'
import fc from 'fast-check'
import { check, fusedAndSeparate, makeArguments, outputSize, reference, type Shape, three } from '../support/convolution'
import { maxAbsDiff } from '../support/fixtures'
import { formatNames, runEverywhere, runner } from '../support/op-runner'

// 3x3 convolutions by steps of 1 on maps of 6x6 or more with 8 channels or more run as Winograd's F(4x4, 3x3), in avx512bf16 on
// maps of 8x8 or more that tiles fit well, in amx never.

/** The same convolution with a ring of zeros round the kernel, which runs directly: every product more is with 0. */
function direct(a: ReturnType<typeof makeArguments>) {
  const weight = new Float32Array((a.weight.length / 9) * 25)
  a.weight.forEach((value, i) => { weight[Math.floor(i / 9) * 25 + (Math.floor((i % 9) / 3) + 1) * 5 + (i % 3) + 1] = value })
  return { ...a, weight, kernelH: 5, kernelW: 5, padTop: a.padTop + 1, padLeft: a.padLeft + 1 }
}

const sameBits = (a: Float32Array, b: Float32Array) => Buffer.compare(Buffer.from(a.buffer), Buffer.from(b.buffer)) === 0

test('it runs where it wins, and nowhere else', t => {
  for (const dtype of formatNames)
    for (const set of runner.sets(dtype)) {
      if (set === 'amx') continue // never there, and its sums of a direct convolution depend on where among the products a zero is
      const runs = (s: Omit<Shape, 'kernel' | 'pad'>) => {
        const a = makeArguments({ ...s, ...three }, dtype)
        return !sameBits(runner.run('conv', set, 1, a, dtype), runner.run('conv', set, 1, direct(a), dtype))
      }
      // Roundings to bfloat16 hide most differences of sums, so it takes many sums to see one.
      for (const s of [{ h: 12, w: 12 }, { h: 8, w: 64 }, { h: 6, w: 6, resize: [12, 12] as [number, number] }])
        t.true(runs({ n: 1, c: 70, co: 40, ...s }), `${dtype} ${set} ${JSON.stringify(s)}`)
      for (const s of [{ h: 5, w: 5 }, { h: 1, w: 64 }, { h: 4, w: 4 }, { h: 12, w: 12, c: 4 }, { h: 12, w: 12, stride: 2 }])
        t.false(runs({ n: 2, c: 8, co: 5, ...s }), `${dtype} ${set} ${JSON.stringify(s)}`)
    }
  for (const set of runner.sets()) {
    const a = makeArguments({ n: 1, h: 6, w: 6, c: 8, co: 5, ...three })
    t.false(sameBits(runner.run('conv', set, 1, a), runner.run('conv', set, 1, direct(a))), set)
  }
})

test('sizes that tiles do not divide; channels that vectors, panels and blocks do not divide', t => {
  for (const [h, w] of [[7, 7], [8, 9], [13, 7], [10, 11], [5, 21], [16, 16]])
    t.is(check({ n: 1, h, w, c: 9, co: 35, ...three, bias: true }), undefined)
  for (const c of [8, 13, 17, 64, 65, 100, 130, 200]) t.is(check({ n: 1, h: 7, w: 8, c, co: 19, ...three, bias: true }), undefined)
  for (const co of [1, 3, 8, 15, 16, 17, 33, 70]) t.is(check({ n: 1, h: 9, w: 7, c: 12, co, ...three }), undefined)
})

test('many tiles, samples and panels: several tasks, some of which span samples', t => {
  t.is(check({ n: 9, h: 13, w: 11, c: 10, co: 9, ...three, bias: true }), undefined)
  t.is(check({ n: 1, h: 41, w: 38, c: 8, co: 7, ...three }), undefined)
  t.is(check({ n: 2, h: 8, w: 8, c: 8, co: 1400, ...three, bias: true }), undefined)
})

test('nearest-neighbour resize before it, and other paddings', t => {
  for (const resize of [[10, 14], [9, 13], [11, 15], [8, 8]] as [number, number][])
    t.is(check({ n: 2, h: 5, w: 7, c: 11, co: 18, ...three, resize, bias: true }), undefined)
  t.is(check({ n: 1, h: 16, w: 17, c: 9, co: 8, ...three, resize: [8, 7] }), undefined)
  for (const pad of [[0, 0, 0, 0], [2, 1, 0, 1], [0, 2, 2, 2]] as [number, number, number, number][])
    t.is(check({ n: 1, h: 10, w: 11, c: 9, co: 8, kernel: [3, 3], pad }), undefined)
})

test('time embedding per sample, and residual, also in place', t => {
  for (const inPlace of [false, true])
    t.is(check({ n: 3, h: 7, w: 9, c: 70, co: 37, ...three, bias: true, rowBias: true, residual: true, inPlace }), undefined)
})

test('random shapes', t => {
  const size = fc.integer({ min: 7, max: 18 })
  fc.assert(fc.property(
    fc.record({
      n: fc.integer({ min: 1, max: 3 }), h: size, w: size, c: fc.integer({ min: 8, max: 80 }), co: fc.integer({ min: 1, max: 40 }),
      pad: fc.tuple(fc.nat(2), fc.nat(2), fc.nat(2), fc.nat(2)), resize: fc.option(fc.tuple(size, size), { nil: undefined }),
      bias: fc.boolean(), rowBias: fc.boolean(), residual: fc.boolean(), inPlace: fc.boolean(),
    }),
    random => {
      const shape = { ...random, kernel: three.kernel, inPlace: random.residual && random.inPlace }
      fc.pre(outputSize(shape).every(length => length > 0))
      const complaint = check(shape)
      if (complaint !== undefined) throw new Error(complaint)
    },
  ), { seed: 5, numRuns: 40 })
  t.pass()
})

test('a fused residual and time embedding equal separate additions bit for bit', t => {
  for (const c of [9, 100])
    for (const { set, fused, separate } of fusedAndSeparate({ n: 2, h: 9, w: 7, c, co: 37, ...three }))
      t.is(maxAbsDiff(fused, separate), 0, set)
})

test('a sample\'s result does not depend on the samples beside it', t => {
  const a = makeArguments({ n: 5, h: 13, w: 9, c: 70, co: 20, ...three, bias: true })
  const perInput = a.x.length / 5, perOutput = a.outH * a.outW * a.co
  for (const set of runner.sets()) {
    const all = runner.run('conv', set, 2, a)
    for (const sample of [0, 3]) {
      const alone = runner.run('conv', set, 1, { ...a, n: 1, x: a.x.slice(sample * perInput, (sample + 1) * perInput) })
      t.is(maxAbsDiff(alone, all.slice(sample * perOutput, (sample + 1) * perOutput)), 0, set)
    }
  }
})

test('no input gives the bias; a NaN reaches its neighbourhood, and of other tiles nothing', t => {
  const a = makeArguments({ n: 1, h: 12, w: 12, c: 9, co: 21, ...three, bias: true })
  for (const { set, y } of runEverywhere('conv', { ...a, x: new Float32Array(a.x.length) }))
    t.deepEqual(y, Float32Array.from({ length: y.length }, (_, at) => a.bias![at % 21]), set)
  a.x[(5 * 12 + 6) * 9 + 4] = NaN
  for (const { set, y } of runEverywhere('conv', a))
    for (let at = 0; at < y.length; at++) {
      const row = Math.floor(at / 21 / 12), column = Math.floor(at / 21) % 12
      const near = Math.abs(row - 5) <= 1 && Math.abs(column - 6) <= 1
      const tile = Math.floor(row / 4) === 1 && Math.floor(column / 4) === 1
      if (near && !Number.isNaN(y[at])) t.fail(`${set} element ${at}`)
      if (!near && !tile && Number.isNaN(y[at])) t.fail(`${set} element ${at}`)
    }
})

test('its rounding error stays within a few times that of direct convolution', t => {
  for (const [c, co] of [[64, 64], [320, 32], [1280, 16]]) {
    const shape: Shape = { n: 1, h: 8, w: 8, c, co, ...three }
    const a = makeArguments(shape), { want } = reference(shape, a)
    const power = Math.sqrt(want.reduce((sum, value) => sum + value * value, 0) / want.length)
    const error = (y: Float32Array) => ({
      mean: Math.sqrt(y.reduce((sum, value, at) => sum + (value - want[at]) ** 2, 0) / y.length) / power,
      max: maxAbsDiff(y, want) / power,
    })
    for (const set of runner.sets()) {
      const winograd = error(runner.run('conv', set, 1, a)), straight = error(runner.run('conv', set, 1, direct(a)))
      t.log(`${set} ${c} channels: relative root mean square ${winograd.mean.toExponential(1)}, largest ${winograd.max.toExponential(1)};`,
        `direct ${straight.mean.toExponential(1)}, ${straight.max.toExponential(1)}`)
      t.true(winograd.mean <= 4 * straight.mean, `${set} ${c}: ${winograd.mean} against ${straight.mean}`)
      t.true(winograd.mean <= 1.5e-6 && winograd.max <= 1e-5, `${set} ${c}: ${winograd.mean} ${winograd.max}`)
    }
  }
})
