import test from 'ava'
import fc from 'fast-check'
import { loadExpected, maxAbsDiff } from '../support/fixtures'
import { EPS, everySet, formatNames, formats, randomFloats, runEverywhere, runner } from '../support/op-runner'

interface Shape {
  n: number, h: number, w: number, c: number, co: number, kernel: number, experts: number
  stride?: number, pad?: number
  resize?: [number, number]
  softmax?: boolean, bias?: boolean, rowBias?: boolean, residual?: boolean, inPlace?: boolean
}

function makeArguments(s: Shape, dtype: keyof typeof formats = 'fp32') {
  const { read } = formats[dtype]
  const [height, width] = s.resize ?? [s.h, s.w], stride = s.stride ?? 1, pad = s.pad ?? 0
  const outH = Math.floor((height + 2 * pad - s.kernel) / stride) + 1, outW = Math.floor((width + 2 * pad - s.kernel) / stride) + 1
  return {
    n: s.n, h: s.h, w: s.w, c: s.c, co: s.co, kernelH: s.kernel, kernelW: s.kernel, experts: s.experts, outH, outW, stride, padTop: pad,
    padLeft: pad,
    resizeH: s.resize?.[0] ?? 0, resizeW: s.resize?.[1] ?? 0, softmax: s.softmax ?? false, inPlace: s.inPlace ?? false,
    x: read(randomFloats(s.n * s.h * s.w * s.c, s.h * 31 + s.c)), weight: read(randomFloats(s.experts * s.co * s.c * s.kernel ** 2, s.co)),
    routerWeight: randomFloats(s.experts * s.c, 3), routerBias: randomFloats(s.experts, 4),
    bias: s.bias ? randomFloats(s.experts * s.co, 5) : undefined,
    rowBias: s.rowBias ? read(randomFloats(s.n * s.co, 6)) : undefined,
    residual: s.residual ? read(randomFloats(s.n * outH * outW * s.co, 7)) : undefined,
  }
}
type Arguments = ReturnType<typeof makeArguments>

const source = (a: Arguments, sample: number, y: number, x: number, height: number, width: number): number =>
  ((sample * a.h + Math.floor((y * a.h) / height)) * a.w + Math.floor((x * a.w) / width)) * a.c

/** Rates of one sample in float64, and how far float32 pooling may move each. */
function ratesOf(a: Arguments, sample: number) {
  const [height, width] = a.resizeH > 0 ? [a.resizeH, a.resizeW] : [a.h, a.w]
  const mean = new Float64Array(a.c), size = new Float64Array(a.c)
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) for (let i = 0; i < a.c; i++) {
    const value = a.x[source(a, sample, y, x, height, width) + i] / (height * width)
    mean[i] += value
    size[i] += Math.abs(value)
  }
  const z = Array.from(
    { length: a.experts }, (_, e) => mean.reduce((sum, value, i) => sum + value * a.routerWeight[e * a.c + i], a.routerBias[e]),
  )
  const away = Array.from(
    { length: a.experts }, (_, e) => size.reduce((sum, value, i) => sum + 72 * EPS * value * Math.abs(a.routerWeight[e * a.c + i]), 0),
  )
  const exps = z.map(value => Math.exp(value - Math.max(...z)))
  const rates = a.softmax ? exps.map(value => value / exps.reduce((x, y) => x + y)) : z.map(value => 1 / (1 + Math.exp(-value)))
  return { rates, away: rates.map((rate, e) => 2 * EPS * rate + (a.softmax ? 2 * Math.max(...away) * rate : away[e] / 4)) }
}

/**
 * Runs one shape on every set in both formats and compares each element with float64, of the inputs as they are read: within the rounding
 * of sums, mixing and pooling, and in bfloat16 one rounding of the mixed kernels and one of the result.
 */
function check(s: Shape): string | undefined {
  return formatNames.map(dtype => checkIn(dtype, s)).find(complaint => complaint !== undefined)
}

function checkIn(dtype: keyof typeof formats, s: Shape): string | undefined {
  const a = makeArguments(s, dtype), { store } = formats[dtype]
  const [height, width] = a.resizeH > 0 ? [a.resizeH, a.resizeW] : [a.h, a.w], area = a.kernelH * a.kernelW, k = a.c * area
  const want = new Float64Array(a.n * a.outH * a.outW * a.co), allowed = new Float64Array(want.length)
  for (let sample = 0; sample < a.n; sample++) {
    const { rates, away } = ratesOf(a, sample)
    for (let pixel = 0; pixel < a.outH * a.outW; pixel++) for (let o = 0; o < a.co; o++) {
      const at = (sample * a.outH * a.outW + pixel) * a.co + o, oy = Math.floor(pixel / a.outW), ox = pixel % a.outW
      let size = 0
      const add = (value: number) => {
        want[at] += value
        size += Math.abs(value)
      }
      for (let e = 0; e < a.experts; e++) {
        let whole = a.bias ? Math.abs(a.bias[e * a.co + o]) : 0
        if (a.bias) add(rates[e] * a.bias[e * a.co + o])
        for (let tap = 0; tap < area; tap++) {
          const y = oy * a.stride - a.padTop + Math.floor(tap / a.kernelW), x = ox * a.stride - a.padLeft + (tap % a.kernelW)
          if (y < 0 || x < 0 || y >= height || x >= width) continue
          const from = source(a, sample, y, x, height, width)
          for (let i = 0; i < a.c; i++) {
            const product = a.x[from + i] * a.weight[((e * a.co + o) * a.c + i) * area + tap]
            add(rates[e] * product)
            whole += Math.abs(product)
          }
        }
        allowed[at] += away[e] * whole
      }
      if (a.rowBias) add(a.rowBias[sample * a.co + o])
      if (a.residual) add(a.residual[at])
      allowed[at] += (1 + store) * (k + a.experts + 4) * EPS * size + store * (size + Math.abs(want[at]))
    }
  }
  for (const { set, y } of runEverywhere('condConv', a, dtype))
    for (let at = 0; at < want.length; at++)
      if (!(Math.abs(y[at] - want[at]) <= allowed[at]))
        return `${dtype} ${set} ${JSON.stringify(s)}: element ${at} is ${y[at]}, not ${want[at]} within ${allowed[at]}`
  return undefined
}

test('3x3, odd numbers of channels and experts', t => {
  for (const c of [1, 3, 17])
    for (const co of [1, 4, 33])
      for (const experts of [1, 2, 3, 5]) t.is(check({ n: 2, h: 5, w: 7, c, co, kernel: 3, pad: 1, experts, bias: true }), undefined)
})

test('16 experts, softmax, without a bias', t => {
  t.is(check({ n: 3, h: 4, w: 3, c: 9, co: 20, kernel: 3, pad: 1, experts: 16, softmax: true }), undefined)
  t.is(check({ n: 2, h: 4, w: 3, c: 9, co: 20, kernel: 3, pad: 1, experts: 4, softmax: true, bias: true }), undefined)
})

test('several blocks of k, several tasks, many pooled pixels', t => {
  t.is(check({ n: 2, h: 4, w: 5, c: 131, co: 70, kernel: 3, pad: 1, experts: 4, bias: true, rowBias: true, residual: true }), undefined)
  t.is(check({ n: 2, h: 31, w: 29, c: 3, co: 5, kernel: 3, pad: 1, experts: 2, bias: true }), undefined)
})

test('more samples than share a task', t => {
  t.is(check({ n: 200, h: 1, w: 1, c: 4, co: 7, kernel: 1, experts: 3, bias: true }), undefined)
  t.is(check({ n: 7, h: 2, w: 2, c: 300, co: 40, kernel: 1, experts: 3, bias: true }), undefined)
})

test('1x1, stride 2, no padding, resized, in place', t => {
  t.is(check({ n: 3, h: 5, w: 3, c: 11, co: 34, kernel: 1, experts: 3, bias: true, residual: true }), undefined)
  for (const h of [4, 9]) t.is(check({ n: 2, h, w: 6, c: 7, co: 12, kernel: 3, pad: 1, stride: 2, experts: 3, bias: true }), undefined)
  t.is(check({ n: 2, h: 6, w: 6, c: 7, co: 12, kernel: 3, experts: 3 }), undefined)
  for (const resize of [[10, 14], [9, 13], [5, 14]] as [number, number][])
    t.is(check({ n: 2, h: 5, w: 7, c: 6, co: 18, kernel: 3, pad: 1, resize, experts: 3, bias: true }), undefined)
  t.is(
    check({ n: 3, h: 3, w: 3, c: 5, co: 33, kernel: 3, pad: 1, experts: 4, bias: true, rowBias: true, residual: true, inPlace: true }),
    undefined,
  )
})

test("maps and channels that Winograd's algorithm takes: tasks of several samples, odd sizes, resized", t => {
  t.is(check({ n: 3, h: 13, w: 11, c: 10, co: 35, kernel: 3, pad: 1, experts: 3, bias: true, rowBias: true, residual: true }), undefined)
  t.is(
    check({ n: 2, h: 7, w: 8, c: 101, co: 19, kernel: 3, pad: 1, experts: 4, softmax: true, bias: true, residual: true, inPlace: true }),
    undefined,
  )
  t.is(check({ n: 2, h: 5, w: 7, c: 11, co: 18, kernel: 3, pad: 1, resize: [9, 13], experts: 2, bias: true }), undefined)
  t.is(check({ n: 1, h: 37, w: 34, c: 8, co: 7, kernel: 3, pad: 1, experts: 6 }), undefined)
  t.is(check({ n: 11, h: 7, w: 6, c: 70, co: 20, kernel: 3, pad: 1, experts: 3, bias: true }), undefined)
})

test('maps so large that kernels are mixed before the product begins', t => {
  t.is(check({ n: 3, h: 25, w: 23, c: 7, co: 35, kernel: 1, experts: 4, bias: true, rowBias: true, residual: true }), undefined)
  t.is(check({ n: 2, h: 50, w: 47, c: 9, co: 5, kernel: 3, pad: 1, stride: 2, experts: 3, softmax: true }), undefined)
})

test('random shapes', t => {
  const small = fc.integer({ min: 1, max: 8 })
  fc.assert(fc.property(
    fc.record({
      n: fc.integer({ min: 1, max: 4 }), h: small, w: small, c: fc.integer({ min: 1, max: 40 }), co: fc.integer({ min: 1, max: 40 }),
      kernel: fc.constantFrom(1, 3), stride: fc.integer({ min: 1, max: 2 }),
      pad: fc.nat(1), resize: fc.option(
        fc.tuple(small, small), { nil: undefined },
      ), experts: fc.integer({ min: 1, max: 6 }), softmax: fc.boolean(), bias: fc.boolean(), rowBias: fc.boolean(), residual: fc.boolean(),
    }),
    shape => {
      const { outH, outW } = makeArguments(shape)
      fc.pre(outH > 0 && outW > 0)
      const complaint = check(shape)
      if (complaint !== undefined) throw new Error(complaint)
    },
  ), { seed: 12, numRuns: 60 })
  t.pass()
})

const bits = (values: Float32Array): string => Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('hex')
/** A router that gives the experts these rates whatever comes. */
const fixed = (a: Arguments, rates: number[]): Arguments =>
  ({
    ...a, routerWeight: new Float32Array(a.routerWeight.length),
    routerBias: Float32Array.from(rates, rate => (rate === 1 ? 128 : rate === 0 ? -128 : Math.log(rate / (1 - rate)))),
  })

test('one expert of rate 1 is the plain convolution by it, bit for bit, whatever the others hold', t => {
  for (const [c, h] of [[3, 5], [140, 5], [3, 9], [70, 9], [3, 90]]) for (const softmax of [false, true]) {
    const a = {
      ...makeArguments({ n: 3, h, w: 7, c, co: 37, kernel: 3, pad: 1, experts: 3, bias: true, rowBias: true, residual: true }), softmax,
    }
    const per = a.weight.length / 3
    for (const chosen of [0, 1, 2]) {
      const weight = a.weight.map((value, i) =>
        (Math.floor(i / per) === chosen ? (i % 7 === 0 ? -0 : value) : i % 2 === 0 ? NaN : Infinity))
      const bias = a.bias!.map((value, i) => (Math.floor(i / 37) === chosen ? value : NaN))
      const one = fixed({ ...a, weight, bias }, [0, 1, 2].map(e => (e === chosen ? 1 : 0)))
      const wanted = { ...a, weight: weight.slice(chosen * per, (chosen + 1) * per), bias: bias.slice(chosen * 37, (chosen + 1) * 37) }
      for (const dtype of formatNames)
        for (const { set, y } of runEverywhere('condConv', one, dtype))
          t.is(bits(y), bits(runner.run('conv', set, 1, wanted, dtype)), `${dtype} ${set}`)
    }
  }
})

test('an expert of rate 0 is not looked at; without any rate only the row bias is left', t => {
  const a = makeArguments({ n: 2, h: 5, w: 6, c: 8, co: 20, kernel: 3, pad: 1, experts: 3, bias: true, rowBias: true })
  const per = a.weight.length / 3
  const two = fixed(a, [0.25, 0, 0.5])
  const without = {
    ...two, experts: 2, weight: Float32Array.from([...a.weight.slice(0, per), ...a.weight.slice(2 * per)]),
    bias: Float32Array.from([...a.bias!.slice(0, 20), ...a.bias!.slice(40)]), routerWeight: new Float32Array(16),
    routerBias: Float32Array.of(two.routerBias[0], two.routerBias[2]),
  }
  for (const { set, y } of runEverywhere('condConv', {
    ...two, weight: a.weight.map((value, i) => (Math.floor(i / per) === 1 ? NaN : value)),
  })) t.is(bits(y), bits(runner.run('condConv', set, 1, without)), set)
  for (const { set, y } of runEverywhere('condConv', { ...fixed(a, [0, 0, 0]), weight: a.weight.map(() => Infinity) }))
    t.deepEqual([...y], [...y].map((_, i) => a.rowBias![Math.floor(i / (30 * 20)) * 20 + (i % 20)]), set)
})

test("a sample's result depends neither on the samples beside it nor on whether their rates are like its own", t => {
  for (const [c, h] of [[5, 5], [140, 5], [70, 9], [5, 90]]) {
    const a = makeArguments({ n: 3, h, w: 7, c, co: 40, kernel: 3, pad: 1, experts: 4, bias: true })
    const per = a.x.length / 3
    a.x.copyWithin(2 * per, 0, per)
    for (const dtype of formatNames) for (const set of everySet(dtype)) {
      const all = runner.run('condConv', set, 2, a, dtype)
      for (const sample of [0, 1, 2]) {
        const alone = runner.run('condConv', set, 1, { ...a, n: 1, x: a.x.slice(sample * per, (sample + 1) * per) }, dtype)
        t.is(bits(alone), bits(all.slice(sample * alone.length, (sample + 1) * alone.length)), set)
      }
      const each = all.length / 3
      t.is(bits(all.slice(0, each)), bits(all.slice(2 * each)), set)
      t.not(bits(all.slice(0, each)), bits(all.slice(each, 2 * each)), set)
    }
  }
})

test('a NaN in one sample stays in it', t => {
  for (const c of [5, 9]) {
    const a = makeArguments({ n: 3, h: 7, w: 7, c, co: 21, kernel: 3, pad: 1, experts: 3 })
    a.x[a.x.length / 3 + 9] = NaN
    for (const { set, y } of formatNames.flatMap(dtype => runEverywhere('condConv', a, dtype)))
      t.true(y.every((value, at) => Number.isNaN(value) === (Math.floor(at / (y.length / 3)) === 1)), set)
  }
})

const toLast = (x: Float32Array, [, c, h, w]: number[]) =>
  Float32Array.from(
    { length: x.length }, (_, i) => x[Math.floor(i / (c * h * w)) * c * h * w + (i % c) * h * w + (Math.floor(i / c) % (h * w))],
  )

test("cond_conv equals PyTorch's", t => {
  const { tensor } = loadExpected('ops')
  const x = tensor('cond_conv/x'), weight = tensor('cond_conv/weight'), y = tensor('cond_conv/y')
  const want = toLast(y.data as Float32Array, y.shape)
  for (const result of runEverywhere('condConv', {
    n: x.shape[0], c: x.shape[1], h: x.shape[2], w: x.shape[3], experts: weight.shape[0], co: weight.shape[1], kernelH: 3, kernelW: 3,
    outH: y.shape[2], outW: y.shape[3], padTop: 1, padLeft: 1,
    x: toLast(
      x.data as Float32Array, x.shape,
    ), weight: weight.data, bias: tensor('cond_conv/bias').data, routerWeight: tensor('cond_conv/routing_weight').data,
    routerBias: tensor('cond_conv/routing_bias').data,
  })) t.true(maxAbsDiff(result.y, want) <= 1e-5 * Math.max(1, ...want.map(Math.abs)), result.set)
})
