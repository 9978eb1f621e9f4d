import test from 'ava'
import { randomFloats, runEverywhere } from '../support/op-runner'
import { BOUND, channelsLast, compare, differences, double, operators, sigmoid } from './gradient-support'

test('of linear layers equal PyTorch', t => {
  const expected = operators(), get = (name: string) => expected.tensor(name).data
  for (const name of ['linear', 'linear_no_bias']) {
    const { shape: [a, b, k] } = expected.tensor(`${name}/x`) as { shape: number[] }, n = expected.tensor(`${name}/weight`).shape[0]!
    const args = { m: a! * b!, n, k, x: get(`${name}/x`), weight: get(`${name}/weight`), dy: get(`${name}/dy`) }
    const dBias = new Float64Array(n)
    args.dy.forEach((value, i) => { dBias[i % n]! += value })
    for (const { set, y } of runEverywhere('linearGradient', args))
      compare(
        t, `${name} ${set}`, y,
        { dx: get(`${name}/dx`), dWeight: get(`${name}/dweight`), dBias: name === 'linear' ? get('linear/dbias') : dBias }, BOUND,
      )
  }
  t.pass()
})

test('of linear layers of any shape', t => {
  // Widths around those of panels and vectors, more than one k block (640), more than one block of rows (256).
  for (const [m, n, k] of [
    [1, 1, 1], [3, 2, 5], [7, 31, 15], [5, 33, 17], [260, 17, 9], [2, 70, 1300], [300, 40, 641], [1030, 3, 4], [17, 129, 127],
  ] as const) {
    const x = randomFloats(m * k, m), weight = randomFloats(n * k, n), dy = randomFloats(m * n, k), start = 0.5
    const dx = new Float64Array(m * k), dWeight = new Float64Array(n * k).fill(start), dBias = new Float64Array(n).fill(start)
    for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) {
      const g = dy[i * n + j]!
      dBias[j]! += g
      for (let l = 0; l < k; l++) {
        dx[i * k + l]! += g * weight[j * k + l]!
        dWeight[j * k + l]! += g * x[i * k + l]!
      }
    }
    for (const { set, y } of runEverywhere('linearGradient', { m, n, k, x, weight, dy, start }))
      compare(t, `${set} ${m}x${n}x${k}`, y, { dx, dWeight, dBias }, BOUND)
  }
  t.pass()
})

test('of convolutions equal PyTorch', t => {
  const expected = operators()
  for (const [name, op] of Object.entries<any>(expected.json.ops).filter(([name]) => name.startsWith('conv2d_'))) {
    const { shape: [n, c, h, w] } = expected.tensor(`${name}/x`) as { shape: number[] },
      [co, , kernelH, kernelW] = expected.tensor(`${name}/weight`).shape as number[]
    const [, , outH, outW] = expected.tensor(`${name}/y`).shape as number[], [padLeft, , padTop] = op.pad_left_right_top_bottom
    const args = {
      n, c, h, w, co, kernelH, kernelW, outH, outW, padLeft, padTop, stride: op.stride,
      x: channelsLast(expected.tensor(`${name}/x`)), weight: expected.tensor(`${name}/weight`).data,
      dy: channelsLast(expected.tensor(`${name}/dy`)),
    }
    const want = {
      dx: channelsLast(expected.tensor(`${name}/dx`)), dWeight: expected.tensor(`${name}/dweight`).data,
      dBias: expected.tensor(`${name}/dbias`).data,
    }
    for (const { set, y } of runEverywhere('convGradient', args)) compare(t, `${name} ${set}`, y, want, BOUND)
  }
  t.pass()
})

interface Conv { n: number, h: number, w: number, c: number, co: number, kernel: number, stride?: number, before?: number, after?: number,
  resize?: [number, number] }

function geometry(s: Conv) {
  const [height, width] = s.resize ?? [s.h, s.w], stride = s.stride ?? 1, pads = (s.before ?? 0) + (s.after ?? 0)
  const outH = Math.floor((height + pads - s.kernel) / stride) + 1, outW = Math.floor((width + pads - s.kernel) / stride) + 1
  return {
    n: s.n, h: s.h, w: s.w, c: s.c, co: s.co, kernelH: s.kernel, kernelW: s.kernel, outH, outW, stride, padTop: s.before ?? 0,
    padLeft: s.before ?? 0,
    resizeH: s.resize?.[0] ?? 0, resizeW: s.resize?.[1] ?? 0, height, width,
  }
}

/** Calls product(output, input, weight) with the index of each that a convolution multiplies and adds. */
function eachProduct(s: Conv, product: (y: number, x: number, w: number, sample: number) => void) {
  const g = geometry(s)
  for (let sample = 0; sample < s.n; sample++) for (let oy = 0; oy < g.outH; oy++) for (let ox = 0; ox < g.outW; ox++)
    for (let kh = 0; kh < s.kernel; kh++) for (let kw = 0; kw < s.kernel; kw++) {
      const iy = oy * g.stride - g.padTop + kh, ix = ox * g.stride - g.padLeft + kw
      if (iy < 0 || ix < 0 || iy >= g.height || ix >= g.width) continue
      const from = ((sample * s.h + Math.floor((iy * s.h) / g.height)) * s.w
        + Math.floor((ix * s.w) / g.width)) * s.c, to = ((sample * g.outH + oy) * g.outW + ox) * s.co
      for (let o = 0; o < s.co; o++)
        for (let i = 0; i < s.c; i++) product(to + o, from + i, ((o * s.c + i) * s.kernel + kh) * s.kernel + kw, sample)
    }
}

test('of convolutions of any shape, with steps, uneven padding and an enlarged input', t => {
  const shapes: Conv[] = [
    {
      n: 1, h: 1, w: 1, c: 1, co: 1, kernel: 1,
    }, {
      n: 2, h: 5, w: 3, c: 3, co: 5, kernel: 3, before: 1, after: 1,
    }, { n: 1, h: 13, w: 11, c: 17, co: 33, kernel: 3, before: 1, after: 1 },
    {
      n: 2, h: 9, w: 7, c: 5, co: 6, kernel: 3, stride: 2, after: 1,
    }, { n: 1, h: 8, w: 11, c: 4, co: 7, kernel: 3, stride: 2, before: 1, after: 1 },
    {
      n: 2, h: 4, w: 5, c: 6, co: 3, kernel: 3, before: 1, after: 1, resize: [8, 10],
    }, { n: 1, h: 5, w: 4, c: 3, co: 4, kernel: 3, before: 1, after: 1, resize: [9, 7] },
    {
      n: 1, h: 7, w: 6, c: 3, co: 2, kernel: 3, before: 1, after: 1, resize: [5, 4],
    }, { n: 1, h: 20, w: 17, c: 8, co: 8, kernel: 3, before: 1, after: 1 },
    { n: 3, h: 6, w: 6, c: 75, co: 20, kernel: 3, before: 1, after: 1 },
  ]
  for (const s of shapes) {
    const g = geometry(s), x = randomFloats(s.n * s.h * s.w * s.c, s.h), weight = randomFloats(
        s.co * s.c * s.kernel ** 2, s.co,
      ), dy = randomFloats(s.n * g.outH * g.outW * s.co, s.w)
    const dx = new Float64Array(x.length), dWeight = new Float64Array(weight.length).fill(1), dBias = new Float64Array(s.co).fill(1)
    eachProduct(s, (to, from, at) => {
      dx[from]! += dy[to]! * weight[at]!
      dWeight[at]! += dy[to]! * x[from]!
    })
    dy.forEach((value, i) => { dBias[i % s.co]! += value })
    for (const { set, y } of runEverywhere('convGradient', { ...g, x, weight, dy, start: 1 }))
      compare(t, `${set} ${JSON.stringify(s)}`, y, { dx, dWeight, dBias }, BOUND)
  }
  t.pass()
})

test('of conditional convolutions equal PyTorch', t => {
  const expected = operators(), get = (name: string) => expected.tensor(`cond_conv/${name}`).data
  const { shape: [n, c, h, w] } = expected.tensor('cond_conv/x') as { shape: number[] },
    [experts, co] = expected.tensor('cond_conv/weight').shape as number[]
  const args = {
    n, c, h, w, co, experts, kernelH: 3, kernelW: 3, outH: h, outW: w, padLeft: 1, padTop: 1, x: channelsLast(
      expected.tensor('cond_conv/x'),
    ), weight: get('weight'), bias: get('bias'),
    routerWeight: get('routing_weight'), routerBias: get('routing_bias'), dy: channelsLast(expected.tensor('cond_conv/dy')),
  }
  const want = {
    dx: channelsLast(
      expected.tensor('cond_conv/dx'),
    ), dWeight: get('dweight'), dBias: get('dbias'), dRouterWeight: get('drouting_weight'), dRouterBias: get('drouting_bias'),
  }
  for (const { set, y } of runEverywhere('condConvGradient', args)) compare(t, set, y, want, BOUND)
  t.pass()
})

test('of conditional convolutions equal finite differences', t => {
  const shapes: (Conv & { experts: number, softmax: boolean })[] = [
    {
      n: 2, h: 4, w: 3, c: 3, co: 2, kernel: 3, before: 1, after: 1, experts: 3, softmax: true,
    }, { n: 2, h: 3, w: 5, c: 2, co: 3, kernel: 1, experts: 2, softmax: false },
    { n: 1, h: 3, w: 4, c: 2, co: 3, kernel: 3, before: 1, after: 1, resize: [6, 8], experts: 2, softmax: true },
    { n: 2, h: 3, w: 4, c: 2, co: 2, kernel: 3, before: 1, after: 1, resize: [5, 7], experts: 2, softmax: false },
    { n: 1, h: 5, w: 6, c: 2, co: 3, kernel: 3, stride: 2, after: 1, experts: 4, softmax: false },
  ]
  for (const s of shapes) {
    const g = geometry(s), { experts, softmax } = s, pixels = g.outH * g.outW, size = s.co * s.c * s.kernel ** 2
    const args = {
      x: randomFloats(s.n * s.h * s.w * s.c, 1), weight: randomFloats(experts * size, 2), bias: randomFloats(experts * s.co, 3),
      routerWeight: randomFloats(experts * s.c, 4), routerBias: randomFloats(experts, 5), dy: randomFloats(s.n * pixels * s.co, 6),
    }
    const at = {
      x: double(args.x), weight: double(args.weight), bias: double(args.bias), routerWeight: double(args.routerWeight),
      routerBias: double(args.routerBias),
    }
    const forward = () => {
      const rates = Array.from({ length: s.n }, (_, sample) => {
        const mean = new Float64Array(s.c)
        for (let y = 0; y < g.height; y++) for (let x = 0; x < g.width; x++) for (let i = 0; i < s.c; i++)
          mean[i]! += at.x[((sample * s.h + Math.floor((y * s.h) / g.height)) * s.w + Math.floor((x * s.w) / g.width)) * s.c
            + i]! / (g.height * g.width)
        const z = Array.from(
          { length: experts }, (_, e) => mean.reduce((sum, value, i) => sum + value * at.routerWeight[e * s.c + i]!, at.routerBias[e]!),
        )
        const sum = z.reduce((total, value) => total + Math.exp(value), 0)
        return z.map(value => (softmax ? Math.exp(value) / sum : sigmoid(value)))
      })
      const y = Float64Array.from({ length: s.n * pixels * s.co }, (_, i) =>
        rates[Math.floor(i / (pixels * s.co))]!.reduce((sum, rate, e) => sum + rate * at.bias[e * s.co + i % s.co]!, 0))
      eachProduct(
        s, (to, from, w, sample) => { rates[sample]!.forEach((rate, e) => { y[to]! += rate * at.weight[e * size + w]! * at.x[from]! }) },
      )
      return y
    }
    const want = differences(at, forward, args.dy)
    for (const { set, y } of runEverywhere('condConvGradient', { ...g, ...args, experts, softmax }))
      compare(t, `${set} ${JSON.stringify(s)}`, y, want, BOUND)
  }
  t.pass()
})

test('of norms equal PyTorch', t => {
  const expected = operators(), get = (name: string) => expected.tensor(name).data
  for (const name of ['group_norm_0', 'group_norm_1', 'group_norm_silu_0', 'group_norm_silu_1']) {
    const { shape: [n, c, h, w] } = expected.tensor(`${name}/x`) as { shape: number[] }, { groups, eps } = expected.json.ops[name]
    const args = {
      n, rows: h! * w!, c, groups, eps, silu: name.includes('silu'), x: channelsLast(expected.tensor(`${name}/x`)),
      gamma: get(`${name}/weight`), beta: get(`${name}/bias`),
      dy: channelsLast(expected.tensor(`${name}/dy`)),
    }
    const want = { dx: channelsLast(expected.tensor(`${name}/dx`)), dGamma: get(`${name}/dweight`), dBeta: get(`${name}/dbias`) }
    for (const inPlace of [false, true])
      for (const { set, y } of runEverywhere('groupNormGradient', { ...args, inPlace })) compare(t, `${name} ${set}`, y, want, BOUND)
  }
  const { shape: [a, b, c] } = expected.tensor('layer_norm/x') as { shape: number[] }
  const args = {
    rows: a! * b!, c, eps: expected.json.ops.layer_norm.eps, x: get('layer_norm/x'), gamma: get('layer_norm/weight'),
    beta: get('layer_norm/bias'), dy: get('layer_norm/dy'),
  }
  const want = { dx: get('layer_norm/dx'), dGamma: get('layer_norm/dweight'), dBeta: get('layer_norm/dbias') }
  for (const { set, y } of runEverywhere('layerNormGradient', args)) compare(t, `layer_norm ${set}`, y, want, BOUND)
  t.pass()
})

/** Standardises what each index list names, then z * gamma + beta and SiLU, in float64. */
function normed(
  x: Float64Array, parts: Iterable<number[]>, eps: number, gamma: Float64Array, beta: Float64Array, silu: boolean,
): Float64Array {
  const y = new Float64Array(x.length), c = gamma.length
  for (const part of parts) {
    const mean = part.reduce((sum, i) => sum + x[i]!, 0) / part.length
    const rstd = 1 / Math.sqrt(part.reduce((sum, i) => sum + (x[i]! - mean) ** 2, 0) / part.length + Math.fround(eps))
    for (const i of part) {
      const value = (x[i]! - mean) * rstd * gamma[i % c]! + beta[i % c]!
      y[i] = silu ? value * sigmoid(value) : value
    }
  }
  return y
}

test('of norms equal finite differences', t => {
  for (const [n, rows, c, groups, silu, mean] of [
    [1, 2, 1, 1, false, 0], [2, 7, 3, 1, true, 0], [1, 5, 6, 3, false, 10], [2, 3, 17, 17, true, 0], [1, 4, 33, 3, true, -5],
  ] as const) {
    const args = {
      x: randomFloats(n * rows * c, c).map(value => value + mean), gamma: randomFloats(c, 2), beta: randomFloats(c, 3),
      dy: randomFloats(n * rows * c, 4),
    }
    const at = { x: double(args.x), gamma: double(args.gamma), beta: double(args.beta) }, width = c / groups
    const parts = Array.from({ length: n * groups }, (_, part) => Array.from({ length: rows * width }, (_, i) =>
      (Math.floor(part / groups) * rows + Math.floor(i / width)) * c + part % groups * width + i % width))
    const want = differences(at, () => normed(at.x, parts, 1e-3, at.gamma, at.beta, silu), args.dy)
    for (const { set, y } of runEverywhere('groupNormGradient', { n, rows, c, groups, eps: 1e-3, silu, ...args }))
      compare(t, `group norm ${set} ${n}x${rows}x${c}`, y, want, BOUND * (1 + Math.abs(mean)))
  }
  for (const [rows, c] of [[3, 1], [2, 5], [5, 16], [3, 33], [2, 67]] as const) {
    const args = { x: randomFloats(rows * c, c), gamma: randomFloats(c, 2), beta: randomFloats(c, 3), dy: randomFloats(rows * c, 4) }
    const at = { x: double(args.x), gamma: double(args.gamma), beta: double(args.beta) }
    const parts = Array.from({ length: rows }, (_, row) => Array.from({ length: c }, (_, i) => row * c + i))
    const want = differences(at, () => normed(at.x, parts, 1e-3, at.gamma, at.beta, false), args.dy)
    for (const { set, y } of runEverywhere('layerNormGradient', { rows, c, eps: 1e-3, ...args }))
      compare(t, `layer norm ${set} ${rows}x${c}`, y, want, BOUND)
  }
  t.pass()
})

test('of norms over several chunks of rows', t => {
  // Doubled rows double the sums of gamma and beta and leave dx as it is.
  const c = 48, rows = 1500, one = {
      x: randomFloats(rows * c, 1), dy: randomFloats(rows * c, 2),
    }, gamma = randomFloats(c, 3), beta = randomFloats(c, 4)
  const twice = (values: Float32Array) => Float32Array.from([...values, ...values])
  const plain = runEverywhere('groupNormGradient', { n: 1, rows, c, groups: 4, eps: 1e-5, silu: true, gamma, beta, ...one })
  const doubled = runEverywhere('groupNormGradient', {
    n: 1, rows: 2 * rows, c, groups: 4, eps: 1e-5, silu: true, gamma, beta, x: twice(one.x), dy: twice(one.dy),
  })
  plain.forEach(({ set, y }, i) => {
    const dx = y.slice(0, rows * c), sums = y.slice(rows * c).map(value => 2 * value)
    compare(t, set, doubled[i]!.y, { first: dx, second: dx, sums }, BOUND)
  })
  t.pass()
})

/** [batch, heads, length, d] -> [batch, length, heads * d] */
function joinHeads({ data, shape }: { data: Float32Array, shape: readonly number[] }): Float32Array {
  const [, heads, length, d] = shape as [number, number, number, number]
  return Float32Array.from(data, (_, i) => {
    const dim = i % d, head = Math.floor(i / d) % heads, row = Math.floor(i / (d * heads)) % length,
      sample = Math.floor(i / (d * heads * length))
    return data[((sample * heads + head) * length + row) * d + dim]!
  })
}

test('of attention equal PyTorch', t => {
  const expected = operators()
  for (const name of Object.keys(expected.json.ops).filter(name => name.startsWith('attention_'))) {
    const [batch, heads, qLength, headDim] = expected.tensor(`${name}/q`).shape as number[], kLength = expected.tensor(`${name}/k`).shape[2]
    const get = (part: string) => joinHeads(expected.tensor(`${name}/${part}`))
    const args = {
      batch, heads, qLength, kLength, headDim, scale: 1 / Math.sqrt(headDim!), causal: name === 'attention_causal', q: get('q'),
      k: get('k'), v: get('v'), o: get('y'), dy: get('dy'),
    }
    for (const apart of [false, true]) for (const { set, y } of runEverywhere('attentionGradient', { ...args, apart }))
      compare(t, `${name} ${set}`, y, { dq: get('dq'), dk: get('dk'), dv: get('dv') }, BOUND)
  }
  t.pass()
})

/** Attention and its gradients in float64. */
function attentionReference(
  s: { batch: number, heads: number, qLength: number, kLength: number, headDim: number, scale: number, causal: boolean }, q: Float32Array,
  k: Float32Array, v: Float32Array, dy: Float32Array,
) {
  const o = new Float64Array(q.length), dq = new Float64Array(q.length), dk = new Float64Array(k.length), dv = new Float64Array(v.length),
    width = s.heads * s.headDim
  for (let sample = 0; sample < s.batch; sample++) for (let head = 0; head < s.heads; head++) for (let i = 0; i < s.qLength; i++) {
    const row = (sample * s.qLength + i) * width + head * s.headDim, keys = s.causal ? i + 1 : s.kLength
    const key = (j: number) => (sample * s.kLength + j) * width + head * s.headDim
    const dot = (a: ArrayLike<number>, at: number, b: ArrayLike<number>, from: number) => {
      let sum = 0; for (let d = 0; d < s.headDim; d++)
        sum += a[at + d]! * b[from + d]!; return sum
    }
    const scores = Array.from({ length: keys }, (_, j) => s.scale * dot(q, row, k, key(j))), top = Math.max(...scores)
    const total = scores.reduce(
        (sum, score) => sum + Math.exp(score - top), 0,
      ), weights = scores.map(score => Math.exp(score - top) / total)
    for (let j = 0; j < keys; j++) for (let d = 0; d < s.headDim; d++) o[row + d]! += weights[j]! * v[key(j) + d]!
    const along = dot(dy, row, o, row)
    for (let j = 0; j < keys; j++) {
      const ds = s.scale * weights[j]! * (dot(dy, row, v, key(j)) - along)
      for (let d = 0; d < s.headDim; d++) {
        dq[row + d]! += ds * k[key(j) + d]!
        dk[key(j) + d]! += ds * q[row + d]!
        dv[key(j) + d]! += weights[j]! * dy[row + d]!
      }
    }
  }
  return { o: Float32Array.from(o), want: { dq, dk, dv } }
}

test('of attention of any shape', t => {
  for (const [batch, heads, qLength, kLength, headDim, causal] of [[1, 1, 1, 1, 1, false], [2, 3, 5, 7, 3, false],
    [1, 2, 49, 130, 8, false], [1, 1, 300, 17, 5, false], [2, 1, 131, 131, 9, true],
    [1, 1, 20, 260, 131, false], [1, 2, 33, 77, 40, false]] as const) {
    const width = heads * headDim, s = { batch, heads, qLength, kLength, headDim, causal, scale: 1.3 / Math.sqrt(headDim) }
    const q = randomFloats(batch * qLength * width, 1), k = randomFloats(batch * kLength * width, 2),
      v = randomFloats(batch * kLength * width, 3), dy = randomFloats(q.length, 4)
    const { o, want } = attentionReference(s, q, k, v, dy)
    for (const { set, y } of runEverywhere('attentionGradient', { ...s, q, k, v, o, dy }))
      compare(t, `${set} ${qLength} ${kLength} ${headDim}`, y, want, BOUND)
  }
  t.pass()
})

test('of activations and GEGLU', t => {
  const expected = operators(), get = (name: string) => expected.tensor(name).data
  for (const activation of ['silu', 'gelu', 'quick_gelu'])
    for (const { set, y } of runEverywhere('activationGradient', { activation, x: get(`${activation}/x`), dy: get(`${activation}/dy`) }))
      compare(t, `${activation} ${set}`, y, { dx: get(`${activation}/dx`) }, 2e-6)
  // The slopes from far below to far above.
  const x = Float32Array.from(
      { length: 4001 }, (_, i) => (i - 2000) / 50,
    ), dy = x.map(() => 1), scaled = (k: number) => Float64Array.from(x, v => sigmoid(k * v) * (1 + k * v * (1 - sigmoid(k * v))))
  for (const [activation, want] of [['silu', scaled(1)], ['quick_gelu', scaled(1.702)]] as const)
    for (const { set, y } of runEverywhere('activationGradient', { activation, x, dy }))
      compare(t, `${activation} ${set}`, y, { dx: want }, 2e-6)

  // The feed-forward layer as a whole: its parts' gradients one after the other.
  const f = (name: string) => get(`geglu_feed_forward/${name}`), rows = 18, c = 24, inner = 96
  const linear = (m: number, n: number, k: number, from: Float32Array, weight: Float32Array, bias: Float32Array) => Float32Array.from({
    length: m * n,
  }, (_, i) => {
    let sum = bias[i % n]!
    for (let l = 0; l < k; l++) sum += from[Math.floor(i / n) * k + l]! * weight[i % n * k + l]!
    return sum
  })
  const projected = linear(rows, 2 * inner, c, f('x'), f('proj_weight'), f('proj_bias'))
  const gates = runEverywhere('geglu', { rows, inner, x: projected })
  const outs = gates.map(({ set, y: gated }) =>
    ({
      set,
      y: runEverywhere('linearGradient', {
        m: rows, n: c, k: inner, x: gated, weight: f('out_weight'), dy: f('dy'),
      }).find(each => each.set === set)!.y,
    }))
  for (const { set, y } of outs) {
    compare(t, `geglu out ${set}`, y.slice(rows * inner), { dWeight: f('dout_weight'), dBias: f('dout_bias') }, BOUND)
    const middle = runEverywhere('gegluGradient', {
      rows, inner, x: projected, dy: y.slice(0, rows * inner),
    }).find(each => each.set === set)!.y
    const first = runEverywhere('linearGradient', {
      m: rows, n: 2 * inner, k: c, x: f('x'), weight: f('proj_weight'), dy: middle,
    }).find(each => each.set === set)!.y
    compare(t, `geglu ${set}`, first, { dx: f('dx'), dWeight: f('dproj_weight'), dBias: f('dproj_bias') }, 2 * BOUND)
  }
  t.pass()
})

test('slices and sums of rows', t => {
  for (const [rows, columns, first, width] of [[1, 1, 0, 1], [5, 17, 3, 9], [3, 40, 7, 33], [1000, 65, 1, 64]] as const) {
    const x = randomFloats(rows * columns, rows)
    const want = Float32Array.from({ length: rows * width }, (_, i) => x[Math.floor(i / width) * columns + first + i % width]!)
    for (const { set, y } of runEverywhere('slice', { rows, columns, first, width, x })) t.deepEqual(y, want, set)
  }
  for (const [n, rows, c] of [[1, 1, 1], [2, 7, 17], [3, 2049, 33]] as const) {
    const x = randomFloats(n * rows * c, c), want = new Float64Array(n * c)
    x.forEach((value, i) => { want[Math.floor(i / (rows * c)) * c + i % c]! += value })
    for (const { set, y } of runEverywhere('sumRows', { n, rows, c, x })) compare(t, set, y, { want }, BOUND)
  }
})
