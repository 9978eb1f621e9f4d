import { EPS, formatNames, formats, randomFloats, runEverywhere, runner } from './op-runner'

export interface Shape {
  n: number, h: number, w: number, c: number, co: number, kernel: [number, number]
  stride?: number
  /** top, left, bottom, right */
  pad?: [number, number, number, number]
  resize?: [number, number]
  bias?: boolean, rowBias?: boolean, residual?: boolean, inPlace?: boolean
}

export function outputSize(s: Shape): [number, number] {
  const [height, width] = s.resize ?? [s.h, s.w], [top, left, bottom, right] = s.pad ?? [0, 0, 0, 0], stride = s.stride ?? 1
  return [Math.floor((height + top + bottom - s.kernel[0]) / stride) + 1, Math.floor((width + left + right - s.kernel[1]) / stride) + 1]
}

export function makeArguments(s: Shape, dtype: keyof typeof formats = 'fp32') {
  const { read } = formats[dtype]
  const [outH, outW] = outputSize(s)
  const ldRowBias = s.co + 5
  return {
    n: s.n, h: s.h, w: s.w, c: s.c, co: s.co, kernelH: s.kernel[0], kernelW: s.kernel[1], outH, outW,
    stride: s.stride ?? 1, padTop: s.pad?.[0] ?? 0, padLeft: s.pad?.[1] ?? 0, ldRowBias,
    resizeH: s.resize?.[0] ?? 0, resizeW: s.resize?.[1] ?? 0, inPlace: s.inPlace,
    x: read(randomFloats(s.n * s.h * s.w * s.c, s.h * 31 + s.c)), weight: read(randomFloats(s.co * s.c * s.kernel[0] * s.kernel[1], s.co)),
    bias: s.bias ? randomFloats(s.co, 5) : undefined,
    rowBias: s.rowBias ? read(randomFloats((s.n - 1) * ldRowBias + s.co, 6)) : undefined,
    residual: s.residual ? read(randomFloats(s.n * outH * outW * s.co, 7)) : undefined,
  }
}

/** The convolution in float64, and for each element the sum of its terms' absolute values. */
export function reference(s: Shape, a: ReturnType<typeof makeArguments>): { want: Float64Array, size: Float64Array } {
  const [height, width] = s.resize ?? [s.h, s.w]
  const count = s.n * a.outH * a.outW * s.co
  const want = new Float64Array(count), size = new Float64Array(count)
  for (let at = 0; at < count; at++) {
    const o = at % s.co, pixel = Math.floor(at / s.co), sample = Math.floor(pixel / (a.outH * a.outW))
    const oy = Math.floor(pixel / a.outW) % a.outH, ox = pixel % a.outW
    const add = (value: number) => {
      want[at] += value
      size[at] += Math.abs(value)
    }
    for (let kh = 0; kh < s.kernel[0]; kh++) {
      for (let kw = 0; kw < s.kernel[1]; kw++) {
        const y = oy * a.stride - a.padTop + kh, x = ox * a.stride - a.padLeft + kw
        if (y < 0 || x < 0 || y >= height || x >= width) continue
        const from = ((sample * s.h + Math.floor((y * s.h) / height)) * s.w + Math.floor((x * s.w) / width)) * s.c
        for (let i = 0; i < s.c; i++) add(a.x[from + i] * a.weight[((o * s.c + i) * s.kernel[0] + kh) * s.kernel[1] + kw])
      }
    }
    if (a.bias) add(a.bias[o])
    if (a.rowBias) add(a.rowBias[sample * a.ldRowBias + o])
    if (a.residual) add(a.residual[at])
  }
  return { want, size }
}

/**
 * Runs one shape on every set in both formats and compares each element with float64, of the inputs as they are read: within k eps
 * (|A||B|), on average within 2 sqrt(k) eps of it, and one rounding to bfloat16.
 */
export function check(s: Shape): string | undefined {
  return formatNames.map(dtype => checkIn(dtype, s)).find(complaint => complaint !== undefined)
}

function checkIn(dtype: keyof typeof formats, s: Shape): string | undefined {
  const a = makeArguments(s, dtype), { store } = formats[dtype]
  const { want, size } = reference(s, a)
  const count = want.length, k = s.c * s.kernel[0] * s.kernel[1]
  for (const { set, y } of runEverywhere('conv', a, dtype)) {
    let total = 0
    for (let at = 0; at < count; at++) {
      const error = Math.abs(y[at] - want[at])
      if (!(error <= (1 + store) * (k + 3) * EPS * size[at] + store * Math.abs(want[at])))
        return `${dtype} ${set} ${JSON.stringify(s)}: element ${at} is ${y[at]}, not ${want[at]}`
      total += error / (size[at] + 1)
    }
    if (!(total / count <= 2 * Math.sqrt(k) * EPS + 0.4 * store)) return `${dtype} ${set} ${JSON.stringify(s)}: mean error ${total / count}`
  }
  return undefined
}

/** Of every set in float32, with the residual in memory of its own and in place: the fused convolution, and the same sums one by one. */
export function fusedAndSeparate(s: Shape): { set: string, fused: Float32Array, separate: Float32Array }[] {
  const a = makeArguments({ ...s, bias: true, rowBias: true, residual: true })
  return runner.sets().flatMap(set => {
    const plain = runner.run('conv', set, 1, { ...a, bias: undefined, rowBias: undefined, residual: undefined })
    const separate = plain.map((value, i) => {
      const o = i % a.co, sample = Math.floor(i / (a.outH * a.outW * a.co))
      return Math.fround(Math.fround(value + a.bias![o]) + a.rowBias![sample * a.ldRowBias + o]) + a.residual![i]
    })
    return [false, true].map(inPlace => ({ set, fused: runner.run('conv', set, 2, { ...a, inPlace }), separate }))
  })
}

/** A 3x3 kernel with as many zeros all round as give the same size. */
export const three: Pick<Shape, 'kernel' | 'pad'> = { kernel: [3, 3], pad: [1, 1, 1, 1] }
