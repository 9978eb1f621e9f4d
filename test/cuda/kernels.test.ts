import test from 'ava'
import { BF16_EPS, EPS, inFormat, randomFloats, roundToBf16 } from '../support/op-runner'
import { emulatedCard, hasEmulatedCard } from './program'

// A light share of what `npm run test:cuda` runs, which is all of test/ops on the emulated card: each kernel once or twice, against
// float64.

const card = hasEmulatedCard ? emulatedCard() : undefined
const emulated = hasEmulatedCard ? test : test.skip
type Format = 'fp32' | 'bf16'
const formats: Format[] = ['fp32', 'bf16']

/** Runs an op on every set, with two orders of threads that must give the same bits. */
function everywhere(op: string, args: Record<string, unknown>, dtype: 'fp32' | 'bf16' | 'int8'): { set: string, y: Float32Array }[] {
  return card!.sets(dtype).map(set => {
    const y = card!.run(op, set, 1, args, dtype), again = card!.run(op, set, 77, args, dtype)
    if (Buffer.compare(Buffer.from(y.buffer), Buffer.from(again.buffer)) !== 0)
      throw new Error(`${op} on ${set}: another order of threads gives other bits`)
    return { set, y }
  })
}

/** The first element that is off by more than its bound, or null. */
function complaint(where: string, y: Float32Array, want: Float64Array, bound: (i: number) => number): string | null {
  for (let i = 0; i < want.length; i++)
    if (!(Math.abs(y[i]! - want[i]!) <= bound(i))) return `${where}: element ${i} is ${y[i]}, not ${want[i]} +- ${bound(i)}`
  return null
}

function checkLinear(m: number, n: number, k: number, dtype: Format): string | null {
  const x = inFormat(dtype, randomFloats(m * k, 1)), weight = inFormat(dtype, randomFloats(n * k, 2)), bias = randomFloats(n, 3)
  const want = new Float64Array(m * n), size = new Float64Array(m * n)
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++) {
      let sum = bias[j]!, absolute = Math.abs(sum)
      for (let p = 0; p < k; p++) {
        sum += x[i * k + p]! * weight[j * k + p]!
        absolute += Math.abs(x[i * k + p]! * weight[j * k + p]!)
      }
      want[i * n + j] = sum
      size[i * n + j] = absolute
    }
  for (const { set, y } of everywhere('linear', { m, n, k, x, weight, bias }, dtype)) {
    const said = complaint(
      `${dtype} ${set} ${m} ${n} ${k}`, y, want,
      i => (k + 2) * EPS * size[i]! + (dtype === 'bf16' ? BF16_EPS * Math.abs(want[i]!) * 1.01 : 0),
    )
    if (said) return said
  }
  return null
}

emulated('linear: odd shapes, whole tiles, split sums', t => {
  for (const dtype of formats)
    for (const [m, n, k] of [[3, 5, 7], [65, 72, 40], [5, 8, 2568]] as const) t.is(checkLinear(m, n, k, dtype), null)
})

emulated('int8: exact sums of integers', t => {
  const m = 5, n = 9, k = 70, f = Math.fround
  const x = roundToBf16(randomFloats(m * k, 1)), weight = randomFloats(n * k, 2)
  for (const { set, y } of everywhere('linear', { m, n, k, x, weight }, 'int8'))
    for (let i = 0; i < m; i++) {
      const row = x.subarray(i * k, i * k + k), low = Math.min(0, ...row), high = Math.max(0, ...row)
      const scale = f(f(high * f(1 / 255)) - f(low * f(1 / 255))), inverse = f(1 / scale), zero = Math.trunc(f(0.5 - f(low * inverse)))
      for (let j = 0; j < n; j++) {
        const features = weight.subarray(j * k, j * k + k), most = Math.max(...features.map(Math.abs))
        let sum = 0
        for (let p = 0; p < k; p++) {
          const even = (v: number) => (Math.abs(v % 1) === 0.5 ? 2 * Math.round(v / 2) : Math.round(v))
          sum += (Math.min(255, Math.max(0, even(f(f(row[p]! * inverse) + zero)))) - zero) * even(f(features[p]! * f(127 / most)))
        }
        const want = roundToBf16(Float32Array.of(f(f(f(sum) * f(most / 127)) * scale)))[0]
        t.is(y[i * n + j], want, `${set} [${i}, ${j}]`)
      }
    }
})

emulated('conv: a 3x3 kernel with stride, padding, resizing and a row bias', t => {
  const n = 2, h = 5, w = 4, c = 8, co = 5
  for (const [resizeH, resizeW, stride] of [[0, 0, 1], [10, 8, 1], [0, 0, 2]] as const) {
    const height = resizeH || h, width = resizeW || w, outH = Math.floor((height - 1) / stride) + 1,
      outW = Math.floor((width - 1) / stride) + 1
    for (const dtype of formats) {
      const x = inFormat(dtype, randomFloats(n * h * w * c, 1)), weight = inFormat(dtype, randomFloats(co * c * 9, 2))
      const bias = randomFloats(co, 3), rowBias = inFormat(dtype, randomFloats(n * co, 4))
      const want = new Float64Array(n * outH * outW * co), size = new Float64Array(want.length)
      for (let s = 0; s < n; s++) for (let oy = 0; oy < outH; oy++) for (let ox = 0; ox < outW; ox++) for (let j = 0; j < co; j++) {
        const at = ((s * outH + oy) * outW + ox) * co + j
        want[at] = bias[j]! + rowBias[s * co + j]!
        for (let ky = 0; ky < 3; ky++) for (let kx = 0; kx < 3; kx++) {
          const y = oy * stride + ky - 1, xx = ox * stride + kx - 1
          if (y < 0 || xx < 0 || y >= height || xx >= width) continue
          const from = ((s * h + Math.floor((y * h) / height)) * w + Math.floor((xx * w) / width)) * c
          for (let i = 0; i < c; i++) {
            const product = x[from + i]! * weight[((j * c + i) * 3 + ky) * 3 + kx]!
            want[at]! += product
            size[at]! += Math.abs(product)
          }
        }
        size[at]! += Math.abs(bias[j]!) + Math.abs(rowBias[s * co + j]!)
      }
      const args = {
        n, h, w, c, co, kernelH: 3, kernelW: 3, stride, padTop: 1, padLeft: 1, outH, outW, resizeH, resizeW, x, weight, bias, rowBias,
      }
      for (const { set, y } of everywhere('conv', args, dtype))
        t.is(
          complaint(
            `${dtype} ${set} ${resizeH} ${stride}`, y, want,
            i => 75 * EPS * size[i]! + (dtype === 'bf16' ? BF16_EPS * 1.01 * Math.abs(want[i]!) : 0),
          ),
          null,
        )
    }
  }
})

emulated('attention: heads of SD 1.5, causal or not', t => {
  for (const [qLength, kLength, headDim, causal] of [[70, 77, 40, false], [35, 35, 8, true], [17, 33, 160, false]] as const) {
    const heads = 2, width = heads * headDim, scale = 1 / Math.sqrt(headDim)
    for (const dtype of formats) {
      const q = inFormat(
          dtype, randomFloats(qLength * width, 1),
        ), k = inFormat(dtype, randomFloats(kLength * width, 2)), v = inFormat(dtype, randomFloats(kLength * width, 3))
      const want = new Float64Array(qLength * width), size = new Float64Array(want.length)
      for (let head = 0; head < heads; head++) for (let i = 0; i < qLength; i++) {
        const keys = causal ? i + 1 : kLength
        const scores = Array.from({ length: keys }, (_, j) => {
          let sum = 0
          for (let d = 0; d < headDim; d++) sum += q[i * width + head * headDim + d]! * k[j * width + head * headDim + d]!
          return sum * scale
        })
        const top = Math.max(...scores), weights = scores.map(s => Math.exp(s - top)), total = weights.reduce((a, b) => a + b)
        for (let d = 0; d < headDim; d++) for (let j = 0; j < keys; j++) {
          const term = (weights[j]! / total) * v[j * width + head * headDim + d]!
          want[i * width + head * headDim + d]! += term
          size[i * width + head * headDim + d]! += Math.abs(term)
        }
      }
      for (const { set, y } of everywhere('attention', { batch: 1, heads, qLength, kLength, headDim, scale, causal, q, k, v }, dtype))
        t.is(
          complaint(
            `${dtype} ${set} ${headDim}`, y, want,
            i => 200 * EPS * size[i]! + (dtype === 'bf16' ? BF16_EPS * (1.01 * Math.abs(want[i]!) + 2.1 * size[i]!) : 0),
          ),
          null,
        )
    }
  }
})

emulated('norms: group norm with SiLU, layer norm', t => {
  const rows = 35, c = 20, groups = 4, eps = 1e-5, x = randomFloats(rows * c, 1), gamma = randomFloats(c, 2), beta = randomFloats(c, 3)
  const normal = (values: number[]) => {
    const mean = values.reduce((a, b) => a + b) / values.length, variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length
    return { mean, inverse: 1 / Math.sqrt(variance + eps) }
  }
  for (const dtype of formats) {
    const given = inFormat(dtype, x), bound = (want: Float64Array) =>
      (i: number) => dtype === 'fp32' ? 20 * EPS * (1 + Math.abs(want[i]!)) : BF16_EPS * (1.01 * Math.abs(want[i]!) + 0.1)
    const group = new Float64Array(rows * c), layer = new Float64Array(rows * c)
    for (let g = 0; g < groups; g++) {
      const at = Array.from(
          { length: rows * 5 }, (_, i) => Math.floor(i / 5) * c + g * 5 + (i % 5),
        ), { mean, inverse } = normal(at.map(i => given[i]!))
      for (const i of at) {
        const plain = (given[i]! - mean) * inverse * gamma[i % c]! + beta[i % c]!
        group[i] = plain / (1 + Math.exp(-plain))
      }
    }
    for (let row = 0; row < rows; row++) {
      const { mean, inverse } = normal([...given.subarray(row * c, row * c + c)])
      for (let j = 0; j < c; j++) layer[row * c + j] = (given[row * c + j]! - mean) * inverse * gamma[j]! + beta[j]!
    }
    for (const { set, y } of everywhere('groupNorm', { n: 1, rows, c, groups, eps, silu: true, x: given, gamma, beta }, dtype))
      t.is(complaint(`${dtype} ${set}`, y, group, bound(group)), null)
    for (const { set, y } of everywhere('layerNorm', { rows, c, eps, x: given, gamma, beta, inPlace: true }, dtype))
      t.is(complaint(`${dtype} ${set}`, y, layer, bound(layer)), null)
  }
})
