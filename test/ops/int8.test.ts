import test from 'ava'
import { maxAbsDiff } from '../support/fixtures'
import { everySet, randomFloats, roundToBf16, runEverywhere, runner } from '../support/op-runner'
import { activations } from '../support/references'

const f = Math.fround

/** Nearest integer, ties to even. */
function nearest(value: number): number {
  const below = Math.floor(value)
  const over = value - below
  return over > 0.5 || (over === 0.5 && below % 2 !== 0) ? below + 1 : below
}

interface Quantised { codes: Int32Array, scale: number, zero: number }

/** Activations as native/cpu/int8/int8.h says: 255 steps from min(x, 0) to max(x, 0). */
function quantise(x: Float32Array): Quantised {
  let low = 0, high = 0
  for (const value of x) {
    if (!Number.isFinite(value)) return { codes: new Int32Array(x.length), scale: NaN, zero: 0 }
    low = Math.min(low, value)
    high = Math.max(high, value)
  }
  const scale = f(f(high * f(1 / 255)) - f(low * f(1 / 255)))
  if (!(scale > 1e-30)) return { codes: new Int32Array(x.length), scale: 0, zero: 0 }
  const inverse = f(1 / scale)
  const zero = Math.min(255, Math.trunc(f(0.5 - f(low * inverse))))
  return { codes: Int32Array.from(x, value => Math.min(255, Math.max(0, nearest(f(f(value * inverse) + zero))))), scale, zero }
}

/** A feature's weights: max |w| is 127. */
function quantiseWeights(w: Float32Array): Quantised {
  const largest = w.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
  if (!w.every(Number.isFinite)) return { codes: new Int32Array(w.length), scale: NaN, zero: 0 }
  if (!(largest > 1e-30)) return { codes: new Int32Array(w.length), scale: 0, zero: 0 }
  const inverse = f(127 / largest)
  return { codes: Int32Array.from(w, value => nearest(f(value * inverse))), scale: f(largest / 127), zero: 0 }
}

function finish(sum: number, row: Quantised, feature: Quantised, bias?: number, rowBias?: number): number {
  let y = f(f(f(sum) * feature.scale) * row.scale)
  if (bias !== undefined) y = f(y + bias)
  if (rowBias !== undefined) y = f(y + rowBias)
  return y
}

interface Options { ldx?: number, ldy?: number, ldr?: number, bias?: boolean, residual?: boolean, inPlace?: boolean, activation?: string,
  x?: Float32Array, weight?: Float32Array }

/** Runs a linear layer on every set; without an activation every bit must be that of exact integer sums. Returns the first complaint. */
function checkLinear(m: number, n: number, k: number, options: Options = {}): string | undefined {
  const { ldx = k, ldy = n, ldr = n, activation } = options
  const x = options.x ?? roundToBf16(randomFloats((m - 1) * ldx + k, m * 7 + k)), weight = options.weight ?? randomFloats(n * k, n * 3 + k)
  const bias = options.bias ? randomFloats(n, 5) : undefined
  const residual = options.residual ? roundToBf16(randomFloats((m - 1) * ldr + n, 6)) : undefined
  const rows = Array.from({ length: m }, (_, i) => quantise(x.subarray(i * ldx, i * ldx + k)))
  const features = Array.from({ length: n }, (_, j) => quantiseWeights(weight.subarray(j * k, j * k + k)))
  const want = new Float32Array(m * n)
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0
      for (let p = 0; p < k; p++) sum += (rows[i].codes[p] - rows[i].zero) * features[j].codes[p]
      let y = finish(sum, rows[i], features[j], bias?.[j])
      if (activation) y = activations[activation](y)
      if (residual) y = f(y + residual[i * ldr + j])
      want[i * n + j] = y
    }
  }
  const rounded = roundToBf16(want)
  const args = { m, n, k, x, weight, bias, residual, ldx, ldy, ldr, inPlace: options.inPlace, ...(activation && { activation }) }
  for (const { set, y } of runEverywhere('linear', args, 'int8')) {
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        const got = y[i * ldy + j], expected = rounded[i * n + j]
        // An activation's own error may turn the rounding the other way: one unit of bfloat16, 2^-7 of the value at most.
        const bound = activation ? Math.abs(expected) * 2 ** -7 + 1e-6 : 0
        if (!(Object.is(got, expected) || Math.abs(got - expected) <= bound))
          return `${set} m ${m} n ${n} k ${k} ${JSON.stringify({ ...options, x: undefined, weight: undefined })}: [${i}, ${j}] is ${got}, `
            + `not ${expected}`
      }
      for (let j = n; j < ldy && i * ldy + j < y.length; j++)
        if (!Number.isNaN(y[i * ldy + j])) return `${set}: wrote between rows ${i} and ${i + 1}`
    }
  }
  return undefined
}

test('small shapes, bit for bit', t => {
  for (const m of [1, 2, 3, 13]) for (const n of [1, 3, 8, 9]) for (const k of [1, 2, 3, 4, 5, 17]) t.is(checkLinear(m, n, k), undefined)
})

test('shapes around tile heights, panel widths, slots and k blocks', t => {
  for (const m of [5, 6, 7, 14, 15, 29])
    for (const n of [15, 16, 17, 31, 32, 33, 65]) t.is(checkLinear(m, n, 37, { bias: true }), undefined)
  for (const k of [63, 64, 65, 511, 513, 1023, 1025, 1281, 2049, 2561, 2562, 2563])
    t.is(checkLinear(5, 35, k, { bias: true, residual: true }), undefined)
})

test('several tasks in both directions', t => {
  t.is(checkLinear(331, 67, 23, { bias: true }), undefined)
  t.is(checkLinear(4, 1327, 29), undefined)
  t.is(checkLinear(131, 389, 67, { residual: true, inPlace: true }), undefined)
})

test('distances between rows larger than the rows; gaps stay untouched', t => {
  t.is(checkLinear(19, 21, 33, { ldx: 40, ldy: 29, ldr: 23, bias: true, residual: true }), undefined)
  t.is(checkLinear(31, 64, 600, { ldx: 1024, ldy: 67, ldr: 70, residual: true }), undefined)
})

for (const activation of Object.keys(activations)) {
  test(`bias, then ${activation}, then residual`, t => {
    t.is(checkLinear(17, 37, 40, { bias: true, residual: true, activation }), undefined)
    t.is(checkLinear(2, 64, 2700, { bias: true, activation }), undefined)
  })
}

test('sums as large as they get are exact', t => {
  const k = 65536
  t.is(checkLinear(2, 3, k, { x: new Float32Array(2 * k).fill(1), weight: new Float32Array(3 * k).fill(-1) }), undefined)
  t.is(checkLinear(1, 2, k, { x: new Float32Array(k).fill(-1), weight: new Float32Array(2 * k).fill(1) }), undefined)
})

test('zeros, tiny and huge numbers', t => {
  const k = 45, n = 6, m = 5
  const x = roundToBf16(randomFloats(m * k, 1)), weight = randomFloats(n * k, 2)
  x.fill(0, 0, k)
  for (let i = k; i < 2 * k; i++) x[i] *= 2 ** -120
  for (let i = 2 * k; i < 3 * k; i++) x[i] *= 2 ** 120
  for (let i = 3 * k; i < 4 * k; i++) x[i] = i % 2 === 0 ? 3e38 : -3e38
  weight.fill(0, 0, k)
  for (let i = k; i < 2 * k; i++) weight[i] *= 2 ** -125
  for (let i = 2 * k; i < 3 * k; i++) weight[i] *= 2 ** 100
  t.is(checkLinear(m, n, k, { x: roundToBf16(x), weight, bias: true }), undefined)
})

test('NaN and infinity make NaN of their row or feature, and of nothing else', t => {
  for (const bad of [NaN, Infinity, -Infinity]) {
    const m = 16, n = 35, k = 40
    const x = roundToBf16(randomFloats(m * k, 1)), weight = randomFloats(n * k, 2)
    x[3 * k + 7] = bad
    weight[20 * k + 1] = bad
    for (const { set, y } of runEverywhere('linear', { m, n, k, x, weight }, 'int8'))
      for (let i = 0; i < m; i++)
        for (let j = 0; j < n; j++) t.is(Number.isNaN(y[i * n + j]), i === 3 || j === 20, `${set} ${bad} [${i}, ${j}]`)
  }
})

interface ConvShape { n: number, h: number, w: number, c: number, co: number, kernelH: number, kernelW: number, stride?: number,
  padTop?: number, padLeft?: number, outH: number, outW: number, resizeH?: number, resizeW?: number }

function checkConv(
  shape: ConvShape, extras: { bias?: boolean, rowBias?: boolean, residual?: boolean, inPlace?: boolean, silu?: boolean } = {},
): string | undefined {
  const { n, h, w, c, co, kernelH, kernelW, stride = 1, padTop = 0, padLeft = 0, outH, outW, resizeH, resizeW } = shape
  const k = kernelH * kernelW * c, pixels = h * w * c
  const noise = randomFloats(n * pixels, 1)
  // As after SiLU: nearly all of the range on one side.
  const x = roundToBf16(extras.silu ? noise.map(activations.silu) : noise.map((value, i) => value * (1 + Math.floor(i / pixels))))
  const weight = randomFloats(co * k, 2)
  const bias = extras.bias ? randomFloats(co, 3) : undefined, rowBias = extras.rowBias ? roundToBf16(randomFloats(n * co, 4)) : undefined
  const residual = extras.residual ? roundToBf16(randomFloats(n * outH * outW * co, 5)) : undefined
  const samples = Array.from({ length: n }, (_, i) => quantise(x.subarray(i * pixels, (i + 1) * pixels)))
  const features = Array.from({ length: co }, (_, o) => quantiseWeights(weight.subarray(o * k, (o + 1) * k)))
  const want = new Float32Array(n * outH * outW * co)
  for (let s = 0, at = 0; s < n; s++)
    for (let oy = 0; oy < outH; oy++) for (let ox = 0; ox < outW; ox++) for (let o = 0; o < co; o++, at++) {
      let sum = 0
      for (let kh = 0; kh < kernelH; kh++) for (let kw = 0; kw < kernelW; kw++) {
        let y = oy * stride - padTop + kh, xx = ox * stride - padLeft + kw
        if (y < 0 || xx < 0 || y >= (resizeH ?? h) || xx >= (resizeW ?? w)) continue
        if (resizeH !== undefined) y = Math.floor(y * h / resizeH)
        if (resizeW !== undefined) xx = Math.floor(xx * w / resizeW)
        for (let i = 0; i < c; i++)
          sum += (samples[s].codes[(y * w + xx) * c + i] - samples[s].zero) * features[o].codes[(i * kernelH + kh) * kernelW + kw]
      }
      const value = finish(sum, samples[s], features[o], bias?.[o], rowBias?.[s * co + o])
      want[at] = residual ? f(value + residual[at]) : value
    }
  const rounded = roundToBf16(want)
  for (const { set, y } of runEverywhere('conv', { ...shape, x, weight, bias, rowBias, residual, inPlace: extras.inPlace }, 'int8')) {
    const wrong = y.findIndex((value, i) => value !== rounded[i])
    if (wrong >= 0 || y.length !== rounded.length)
      return `${set} ${JSON.stringify({ shape, extras })}: element ${wrong} is ${y[wrong]}, not ${rounded[wrong]}`
  }
  return undefined
}

test('3x3 convolutions, padded, bit for bit', t => {
  for (const c of [1, 3, 8, 33])
    for (const co of [1, 5, 32, 37])
      t.is(
        checkConv({ n: 2, h: 5, w: 7, c, co, kernelH: 3, kernelW: 3, padTop: 1, padLeft: 1, outH: 5, outW: 7 }, { bias: true }), undefined,
      )
  t.is(
    checkConv(
      { n: 1, h: 9, w: 6, c: 300, co: 34, kernelH: 3, kernelW: 3, padTop: 1, padLeft: 1, outH: 9, outW: 6 }, { bias: true, silu: true },
    ),
    undefined,
  )
})

test('strides, uneven padding, other kernels, resized inputs', t => {
  t.is(checkConv({ n: 1, h: 8, w: 9, c: 6, co: 10, kernelH: 3, kernelW: 3, stride: 2, padTop: 1, padLeft: 1, outH: 4, outW: 5 }), undefined)
  t.is(checkConv({ n: 2, h: 8, w: 8, c: 6, co: 10, kernelH: 3, kernelW: 3, stride: 2, outH: 4, outW: 4 }, { silu: true }), undefined)
  t.is(checkConv({ n: 1, h: 6, w: 5, c: 7, co: 3, kernelH: 2, kernelW: 4, padLeft: 2, outH: 5, outW: 5 }), undefined)
  t.is(
    checkConv({ n: 2, h: 3, w: 4, c: 9, co: 8, kernelH: 3, kernelW: 3, padTop: 1, padLeft: 1, resizeH: 6, resizeW: 8, outH: 6, outW: 8 }),
    undefined,
  )
  t.is(
    checkConv({ n: 1, h: 3, w: 4, c: 5, co: 8, kernelH: 3, kernelW: 3, padTop: 1, padLeft: 1, resizeH: 5, resizeW: 7, outH: 5, outW: 7 }),
    undefined,
  )
})

test('time embedding and residual', t => {
  const shape = { n: 3, h: 4, w: 5, c: 11, co: 33, kernelH: 3, kernelW: 3, padTop: 1, padLeft: 1, outH: 4, outW: 5 }
  t.is(checkConv(shape, { bias: true, rowBias: true, residual: true }), undefined)
  t.is(checkConv(shape, { rowBias: true, residual: true, inPlace: true }), undefined)
})

test('low parts: with them a sum is right to twice the bits of bfloat16', t => {
  for (const [n, activation] of [[64, undefined], [37, undefined], [64, 'silu']] as const) for (const inPlace of [false, true]) {
    const m = 17, k = 90, count = m * n
    const residual = roundToBf16(randomFloats(count, 7)), residualLow = roundToBf16(
        randomFloats(count, 8, 2 ** -9),
      ), zero = new Float32Array(count)
    const args = {
      m, n, k, x: roundToBf16(randomFloats(m * k, 1)), weight: randomFloats(n * k, 2), bias: randomFloats(n, 3), inPlace,
      ...(activation && { activation }),
    }
    for (const set of everySet('int8')) {
      const parts = runner.run('linear', set, 2, { ...args, residual: zero, residualLow: zero, low: true }, 'int8')
      const y = runner.run('linear', set, 2, { ...args, residual, residualLow, low: true }, 'int8')
      t.is(y.length, 2 * count)
      let far = 0
      for (let i = 0; i < count; i++) {
        const want = parts[i] + parts[count + i] + residual[i] + residualLow[i], size = Math.abs(parts[i]) + Math.abs(want)
        if (!(Math.abs(y[i] + y[count + i] - want) <= size * 2 ** -15)) far++
        if (!(Math.abs(y[i] - want) <= Math.abs(want) * 2 ** -8 * 1.01 + size * 2 ** -15)) far++
      }
      t.is(far, 0, `${set} n ${n}`)
      const { inPlace: _, ...apart } = args
      t.is(
        maxAbsDiff(runner.run('linear', set, 1, { ...apart, residual, residualLow }, 'int8'), y.slice(0, count)), 0,
        'a low part that is not wanted changes nothing',
      )
    }
  }
  const shape = { n: 2, h: 5, w: 6, c: 20, co: 37, kernelH: 3, kernelW: 3, padTop: 1, padLeft: 1, outH: 5, outW: 6 }, count = 2 * 5 * 6 * 37
  const args = {
    ...shape, x: roundToBf16(randomFloats(1200, 1)), weight: randomFloats(37 * 180, 2), residual: roundToBf16(randomFloats(count, 3)),
    residualLow: roundToBf16(randomFloats(count, 4, 2 ** -9)),
  }
  for (const set of everySet('int8')) {
    const alone = runner.run(
        'conv', set, 2, { ...args, residual: undefined, residualLow: undefined, low: true }, 'int8',
      ), y = runner.run('conv', set, 2, { ...args, low: true }, 'int8')
    for (let i = 0; i < count; i++) {
      const want = alone[i] + alone[count + i] + args.residual[i] + args.residualLow[i]
      if (!(Math.abs(y[i] + y[count + i] - want) <= (Math.abs(alone[i]) + Math.abs(want)) * 2 ** -15))
        t.fail(`${set}: ${i} is ${y[i]} + ${y[count + i]}, not ${want}`)
    }
  }
})

test('a sample\'s result does not depend on those beside it, though their numbers be huge or none', t => {
  const c = 20, co = 33, h = 40, w = 41
  const args = { h, w, c, co, kernelH: 3, kernelW: 3, padTop: 1, padLeft: 1, outH: h, outW: w, weight: randomFloats(co * 9 * c, 2) }
  const x = randomFloats(3 * h * w * c, 1)
  for (let i = 0; i < h * w * c; i++) x[i] *= 1e6
  x[2 * h * w * c + 5] = NaN
  for (const set of everySet('int8')) {
    const all = runner.run('conv', set, 2, { n: 3, x, ...args }, 'int8')
    const one = runner.run('conv', set, 1, { n: 1, x: x.slice(h * w * c, 2 * h * w * c), ...args }, 'int8')
    t.is(maxAbsDiff(one, all.slice(h * w * co, 2 * h * w * co)), 0, set)
    t.true(all.subarray(2 * h * w * co).every(Number.isNaN), set)
    t.true(all.subarray(0, 2 * h * w * co).every(Number.isFinite), set)
  }
})
