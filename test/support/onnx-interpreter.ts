/** Runs ONNX graphs by the operators' published definitions, one plain loop each, in double precision. */
import { count, type Attribute, type OnnxModel, type OnnxNode, type Value } from './onnx'

type Run = (inputs: Value[], attributes: Record<string, Attribute>, outputs: number) => Value[]

const strides = (shape: readonly number[]): number[] => shape.map((_, i) => count(shape.slice(i + 1)))
const value = (shape: number[], data: ArrayLike<number>, whole = false): Value => {
  if (data.length !== count(shape)) throw new Error(`${data.length} numbers for [${shape}]`)
  return { shape, data: data instanceof Float64Array ? data : Float64Array.from(data), whole }
}
const list = (attribute: Attribute | undefined, otherwise: number[]): number[] => (attribute as number[] | undefined) ?? otherwise
const axisOf = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis)

function broadcast(f: (a: number, b: number) => number): Run {
  return ([a, b]) => {
    const rank = Math.max(a.shape.length, b.shape.length)
    const [sa, sb] = [a, b].map(each => [...new Array<number>(rank - each.shape.length).fill(1), ...each.shape])
    const shape = sa.map((size, i) => {
      if (size !== sb[i] && size !== 1 && sb[i] !== 1) throw new Error(`[${a.shape}] and [${b.shape}]`)
      return Math.max(size, sb[i])
    })
    const steps = [sa, sb].map(own => strides(own).map((stride, i) => (own[i] === 1 ? 0 : stride)))
    const out = new Float64Array(count(shape))
    const index = new Array<number>(rank).fill(0)
    for (let o = 0, i = 0, j = 0; o < out.length; o++) {
      out[o] = f(a.data[i], b.data[j])
      for (let d = rank - 1; d >= 0; d--) {
        i += steps[0][d]
        j += steps[1][d]
        if (++index[d] < shape[d]) break
        i -= steps[0][d] * shape[d]
        j -= steps[1][d] * shape[d]
        index[d] = 0
      }
    }
    return [value(shape, out, a.whole && b.whole)]
  }
}

const each = (f: (x: number) => number): Run => ([x]) => [value(x.shape, x.data.map(f))]

/** Abramowitz and Stegun 7.1.5, 7.1.14: the series, and for large numbers the continued fraction. */
function erf(x: number): number {
  const a = Math.abs(x)
  if (a > 6) return Math.sign(x)
  if (a < 3) {
    let term = x, sum = x
    for (let n = 1; n < 200 && Math.abs(term) > 1e-18; n++) {
      term *= -x * x / n
      sum += term / (2 * n + 1)
    }
    return 2 / Math.sqrt(Math.PI) * sum
  }
  let fraction = 0
  for (let n = 60; n > 0; n--) fraction = n / 2 / (a + fraction)
  return Math.sign(x) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + fraction))
}

/** Normalises runs of numbers to mean 0 and variance 1. */
function normalised(data: Float64Array, run: number, epsilon: number): Float64Array {
  const out = new Float64Array(data.length)
  for (let begin = 0; begin < data.length; begin += run) {
    let mean = 0, variance = 0
    for (let i = 0; i < run; i++) mean += data[begin + i] / run
    for (let i = 0; i < run; i++) variance += (data[begin + i] - mean) ** 2 / run
    for (let i = 0; i < run; i++) out[begin + i] = (data[begin + i] - mean) / Math.sqrt(variance + epsilon)
  }
  return out
}

const matMul: Run = ([a, b]) => {
  const [m, k] = a.shape.slice(-2), n = b.shape.at(-1)!
  const batch = a.shape.slice(0, -2), own = b.shape.slice(0, -2)
  if (b.shape.at(-2) !== k || (own.length > 0 && own.join() !== batch.join())) throw new Error(`[${a.shape}] times [${b.shape}]`)
  const out = new Float64Array(count(batch) * m * n)
  for (let s = 0; s < count(batch); s++)
    for (let i = 0; i < m; i++)
      for (let l = 0; l < k; l++) {
        const factor = a.data[(s * m + i) * k + l], from = (own.length > 0 ? s * k : 0) + l
        for (let j = 0; j < n; j++) out[(s * m + i) * n + j] += factor * b.data[from * n + j]
      }
  return [value([...batch, m, n], out)]
}

const conv: Run = ([x, w, b], attributes) => {
  const [n, channels, h, width] = x.shape, [out, inner, kh, kw] = w.shape, group = (attributes.group as number | undefined) ?? 1
  const [top, left, bottom, right] = list(attributes.pads, [0, 0, 0, 0]), [sh, sw] = list(attributes.strides, [1, 1])
  if (inner * group !== channels || out % group !== 0 || list(attributes.kernel_shape, [kh, kw]).join() !== [kh, kw].join())
    throw new Error(`[${w.shape}] over [${x.shape}]`)
  const oh = Math.floor((h + top + bottom - kh) / sh) + 1, ow = Math.floor((width + left + right - kw) / sw) + 1
  const y = new Float64Array(n * out * oh * ow)
  for (let s = 0; s < n; s++) for (let o = 0; o < out; o++) {
    const plane = y.subarray((s * out + o) * oh * ow, (s * out + o + 1) * oh * ow).fill(b?.data[o] ?? 0)
    const first = Math.floor(o / (out / group)) * inner
    for (let c = 0; c < inner; c++) for (let i = 0; i < kh; i++) for (let j = 0; j < kw; j++) {
      const factor = w.data[((o * inner + c) * kh + i) * kw + j]
      for (let p = 0; p < oh; p++) {
        const row = p * sh + i - top
        if (row < 0 || row >= h) continue
        for (let q = 0; q < ow; q++) {
          const column = q * sw + j - left
          if (column >= 0 && column < width) plane[p * ow + q] += factor * x.data[((s * channels + first + c) * h + row) * width + column]
        }
      }
    }
  }
  return [value([n, out, oh, ow], y)]
}

const transpose: Run = ([x], { perm }) => {
  const order = perm as number[], shape = order.map(axis => x.shape[axis]), steps = order.map(axis => strides(x.shape)[axis])
  const out = new Float64Array(x.data.length)
  const index = new Array<number>(shape.length).fill(0)
  for (let o = 0, i = 0; o < out.length; o++) {
    out[o] = x.data[i]
    for (let d = shape.length - 1; d >= 0; d--) {
      i += steps[d]
      if (++index[d] < shape[d]) break
      i -= steps[d] * shape[d]
      index[d] = 0
    }
  }
  return [value(shape, out)]
}

/** Picks indices along one axis. */
function along(x: Value, axis: number, indices: readonly number[]): Value {
  const inner = count(x.shape.slice(axis + 1)), outer = count(x.shape.slice(0, axis)), size = x.shape[axis]
  const out = new Float64Array(outer * indices.length * inner)
  for (let o = 0; o < outer; o++) indices.forEach((index, i) => {
    if (!(index >= 0 && index < size)) throw new Error(`index ${index} of ${size}`)
    out.set(x.data.subarray((o * size + index) * inner, (o * size + index + 1) * inner), (o * indices.length + i) * inner)
  })
  return value(x.shape.map((old, i) => (i === axis ? indices.length : old)), out, x.whole)
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i)

const operators: Record<string, Run> = {
  Add: broadcast((a, b) => a + b),
  Sub: broadcast((a, b) => a - b),
  Mul: broadcast((a, b) => a * b),
  Div: broadcast((a, b) => a / b),
  Sin: each(Math.sin),
  Cos: each(Math.cos),
  Erf: each(erf),
  Relu: each(x => Math.max(x, 0)),
  Tanh: each(Math.tanh),
  Sigmoid: each(x => 1 / (1 + Math.exp(-x))),
  Identity: inputs => inputs,
  Cast: ([x], { to }) => {
    if (to !== 1) throw new Error(`a cast to ${String(to)}`)
    return [x]
  },
  MatMul: matMul,
  Conv: conv,
  ReduceMean: ([x], { axes, keepdims }) => {
    if (keepdims !== 0 || (axes as number[]).join() !== '2,3' || x.shape.length !== 4) throw new Error('other axes')
    const run = x.shape[2] * x.shape[3]
    return [value(
      x.shape.slice(0, 2),
      Float64Array.from({ length: x.data.length / run }, (_, i) => x.data.subarray(i * run, (i + 1) * run).reduce((a, b) => a + b) / run),
    )]
  },
  Transpose: transpose,
  InstanceNormalization: ([x, scale, shift], { epsilon }) => {
    const run = count(x.shape.slice(2)), data = normalised(x.data, run, epsilon as number)
    return [value(
      x.shape, data.map((each, i) => each * scale.data[Math.floor(i / run) % x.shape[1]] + shift.data[Math.floor(i / run) % x.shape[1]]),
    )]
  },
  LayerNormalization: ([x, scale, shift], { axis, epsilon }) => {
    if (axisOf(axis as number, x.shape.length) !== x.shape.length - 1) throw new Error('an inner axis')
    const run = x.shape.at(-1)!
    return [value(x.shape, normalised(x.data, run, epsilon as number).map((each, i) => each * scale.data[i % run] + shift.data[i % run]))]
  },
  Softmax: ([x], { axis }) => {
    if (axisOf(axis as number, x.shape.length) !== x.shape.length - 1) throw new Error('an inner axis')
    const run = x.shape.at(-1)!, out = new Float64Array(x.data.length)
    for (let begin = 0; begin < out.length; begin += run) {
      const row = x.data.subarray(begin, begin + run), most = row.reduce((a, b) => Math.max(a, b)),
        exps = row.map(each => Math.exp(each - most))
      const sum = exps.reduce((a, b) => a + b)
      out.set(exps.map(each => each / sum), begin)
    }
    return [value(x.shape, out)]
  },
  Reshape: ([x, shape]) => {
    const sizes = [...shape.data].map((size, i) => (size === 0 ? x.shape[i] : size)), open = sizes.indexOf(-1)
    if (open >= 0) sizes[open] = x.data.length / -count(sizes)
    return [value(sizes, x.data, x.whole)]
  },
  Shape: ([x], { start = 0, end = x.shape.length }) => {
    const sizes = x.shape.slice(start as number, end as number)
    return [value([sizes.length], sizes, true)]
  },
  Concat: (inputs, { axis }) => {
    const at = axisOf(axis as number, inputs[0].shape.length), outer = count(inputs[0].shape.slice(0, at))
    const shape = inputs[0].shape.map((size, d) => (d === at ? inputs.reduce((sum, x) => sum + x.shape[d], 0) : size))
    const out = new Float64Array(count(shape))
    let next = 0
    for (let o = 0; o < outer; o++) for (const x of inputs) {
      const run = x.data.length / outer
      out.set(x.data.subarray(o * run, (o + 1) * run), next)
      next += run
    }
    return [value(shape, out, inputs[0].whole)]
  },
  Split: ([x], { axis }, outputs) => {
    const at = axisOf(axis as number, x.shape.length), size = x.shape[at] / outputs
    return range(0, outputs).map(i => along(x, at, range(i * size, (i + 1) * size)))
  },
  Unsqueeze: ([x, axes]) => {
    const shape = [...x.shape]
    for (const axis of axes.data) shape.splice(axis, 0, 1)
    return [value(shape, x.data)]
  },
  Slice: ([x, starts, ends, axes]) =>
    [[...axes.data].reduce((cut, axis, i) => along(cut, axis, range(starts.data[i], Math.min(ends.data[i], x.shape[axis]))), x)],
  Gather: ([x, ids], { axis }) => {
    if (axis !== 0) throw new Error('an inner axis')
    return [value([...ids.shape, ...x.shape.slice(1)], along(x, 0, [...ids.data]).data)]
  },
  Resize: ([x, , scales, sizes], attributes) => {
    if (attributes.mode !== 'nearest' || attributes.coordinate_transformation_mode !== 'asymmetric' || attributes.nearest_mode !== 'floor')
      throw new Error('another mode')
    const wanted = sizes === undefined ? x.shape.map((size, d) => size * scales.data[d]) : [...sizes.data]
    return [x.shape.reduce((y, size, d) => along(y, d, range(0, wanted[d]).map(i => Math.floor(i * size / wanted[d]))), x)]
  },
}

/** @param feeds the graph's inputs by name @returns its outputs by name, and how often each operator ran */
export function runOnnx(
  model: OnnxModel, feeds: Readonly<Record<string, { shape: readonly number[], data: ArrayLike<number> }>>,
): { outputs: Record<string, Value>, used: Map<string, number> } {
  const values = new Map(model.constants)
  for (const { name, shape } of model.inputs) {
    const feed = feeds[name]
    if (feed.shape.length !== shape.length || shape.some((size, d) => typeof size === 'number' && size !== feed.shape[d]))
      throw new Error(`${name} [${feed.shape}] for [${shape}]`)
    values.set(name, value([...feed.shape], feed.data))
  }
  const used = new Map<string, number>()
  // When a value is read last, so that it need not be held longer.
  const last = new Map(model.nodes.flatMap(({ inputs }, i) => inputs.map(name => [name, i] as const)))
  model.nodes.forEach((node: OnnxNode, i) => {
    const inputs = node.inputs.map(name => {
      const found = values.get(name)
      if (found === undefined && name !== '') throw new Error(`${node.name} reads ${name}, which is not there`)
      return found!
    })
    const results = operators[node.op](inputs, node.attributes, node.outputs.length)
    node.outputs.forEach((name, k) => {
      if (values.has(name)) throw new Error(`${name} is made twice`)
      values.set(name, results[k])
    })
    used.set(node.op, (used.get(node.op) ?? 0) + 1)
    for (const name of node.inputs)
      if (last.get(name) === i && !model.outputs.some(output => output.name === name))
        values.set(name, { shape: [0], data: new Float64Array(0), whole: false })
  })
  const outputs = Object.fromEntries(model.outputs.map(({ name, shape }) => {
    const result = values.get(name)!
    if (result.shape.length !== shape.length || shape.some((size, d) => typeof size === 'number' && size !== result.shape[d]))
      throw new Error(`${name} is [${result.shape}], not [${shape}]`)
    return [name, result]
  }))
  return { outputs, used }
}
