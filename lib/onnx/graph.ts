import { AsdmError } from '../base/errors'
import type { Slices } from '../base/slices'
import { sizes } from '../base/tensor'
import type { GraphInfo, GraphUnit, UnitAttributes, WeightRequest } from '../native/binding'
import { Nodes } from './nodes'

/** A weight as the ONNX graph wants it. */
export interface WeightUse {
  weight: WeightRequest
  /** The initializer's shape; the numbers in their order, unless it is transposed. */
  shape: readonly number[]
  /** A matrix [out, in] that is wanted as [in, out]. */
  transposed: boolean
}

/** Gives the name of a value that holds the weight. */
type UseWeight = (use: WeightUse) => string

/**
 * Writes units as nodes of ONNX's standard operators (version 17), under the units' names. Ours are channels last, ONNX's feature
 * maps [N,C,H,W]; sequences are [N,L,C] in both. What does not depend on numbers in the graph is taken from the values as they
 * run, so the same nodes serve any size.
 */
export class GraphWriter {
  readonly #values = new Map<number, string>()
  /** Which values are feature maps. */
  readonly #maps = new Set<number>()
  /** The parts of a product that is several stacked ones, by their first columns. */
  readonly #parts = new Map<number, Map<number, string>>()

  /**
   * @param inputs the ranks and names of the graph's inputs in ONNX, by the names of their units @param batch samples in a pass, where that
   * is fixed
   */
  constructor(
    readonly graph: GraphInfo, readonly nodes: Nodes, readonly useWeight: UseWeight, readonly inputs: ReadonlyMap<string, {
      name: string
      rank: number
    }>, readonly batch?: number,
  ) {}

  /** Writes what the value `output` needs. @returns its name */
  async write(output: number, slices: Slices): Promise<string> {
    const { units } = this.graph
    const needed = new Set([output])
    for (let id = output; id >= 0; id--) {
      if (!needed.has(id)) continue
      const { inputs, attributes: { sizeOf } } = units[id]!
      for (const input of inputs) needed.add(input)
      if (sizeOf !== undefined) needed.add(sizeOf)
    }
    for (const [id, unit] of units.entries()) {
      if (!needed.has(id)) continue
      const name = this.#unit(unit, id)
      if (name !== undefined) this.#values.set(id, name)
      if (slices.over) await slices.next()
    }
    return this.#value(output)
  }

  #unit(unit: GraphUnit, id: number): string | undefined {
    const { name, inputs, attributes, weights } = unit
    const map = (): void => { this.#maps.add(id) }
    switch (unit.op) {
      case 'Input': {
        const input = this.inputs.get(name)!
        if (input.rank === 4) map()
        return input.name
      }
      case 'Linear': return this.#linear(unit, id)
      case 'Conv2d': map(); return this.#conv(unit)
      case 'CondConv': return this.#conditional(unit, id)
      case 'GroupNorm': map(); return this.#groupNorm(unit)
      case 'LayerNorm':
        return this.nodes.add(
          'LayerNormalization', name, [this.#value(inputOf(unit)), ...weights.map((_, i) => this.#weight(weightOf(unit, i)))],
          { axis: -1, epsilon: { float: attributes.eps } },
        )
      case 'Attention': return this.#attention(unit)
      case 'Geglu': {
        const [hidden, gate] = [`${name}.hidden`, `${name}.gate`]
        this.nodes.add('Split', `${name}.split`, [this.#value(inputOf(unit))], { axis: -1 }, [hidden, gate])
        return this.nodes.add('Mul', name, [hidden, this.#activation(gate, `${name}.gelu`, 'gelu')])
      }
      case 'Activation':
        if (this.#maps.has(inputOf(unit))) map()
        return this.#activation(this.#value(inputOf(unit)), name, attributes.activation)
      case 'Add':
      case 'Concat': {
        const isMap = this.#maps.has(inputOf(unit))
        if (isMap) map()
        const parts = inputs.map(input => this.#value(input))
        return unit.op === 'Add' ? this.nodes.add('Add', name, parts) : this.nodes.add('Concat', name, parts, { axis: isMap ? 1 : -1 })
      }
      case 'Embed': return this.#embed(unit)
      case 'Timestep': return this.#timestep(unit)
      default:
        throw new AsdmError('UNSUPPORTED_CONFIG',
          `Expected a graph of operations that ONNX has but ${name} is ${unit.op}, which is not supported`)
    }
  }

  #value(id: number): string {
    const name = this.#values.get(id)
    if (name === undefined) throw new AsdmError('INTERNAL', `Expected a value of ${this.graph.units[id]?.name ?? id} before it is read`)
    return name
  }

  #weight(weight: WeightRequest, shape: readonly number[] = weight.shape, transposed = false): string {
    return this.useWeight({ weight, shape, transposed })
  }

  /** Height and width of a feature map, as a value. */
  #size(id: number, name: string): string {
    return this.nodes.add('Shape', name, [this.#value(id)], { start: 2, end: 4 })
  }

  /** A product, or several side by side, each under the prefix of its weight. */
  #linear(unit: GraphUnit, id: number): string | undefined {
    const { weights: [matrix = [], biases], attributes: { layout, sizeOf } } = unit
    const x = inputOf(unit)
    const isMap = this.#maps.has(x)
    const value = this.#value(x)
    const rows = new Map<string, string>()
    const columns = new Map<number, string>()
    let column = 0
    matrix.forEach((weight, i) => {
      const name = matrix.length === 1 ? unit.name : weight.name.replace(/\.weight$/, '')
      columns.set(column, this.#product({ name, weight, bias: biases?.[i], value, layout, sizeOf, isMap, rows }))
      column += weight.shape[0]!
    })
    if (layout === 'map' || (isMap && layout === 'same')) this.#maps.add(id)
    if (matrix.length === 1) return columns.get(0)
    this.#parts.set(id, columns)
    return undefined
  }

  #product({ name, weight, bias, value, layout, sizeOf, isMap, rows }: {
    name: string, weight: WeightRequest, bias: WeightRequest | undefined, value: string, layout: string, sizeOf: number | undefined,
    isMap: boolean, rows: Map<string, string>
  }): string {
    const { nodes } = this
    const [out, inner] = [weight.shape[0]!, weight.shape[1]!]
    // A 1x1 convolution where diffusers has one, or where a feature map stays one; otherwise a product of rows.
    if (isMap && (layout === 'same' || weight.shape.length === 4)) {
      const y = nodes.add(
        'Conv', layout === 'same' ? name : `${name}.conv`,
        [value, this.#weight(weight, [out, inner, 1, 1]), ...(bias === undefined ? [] : [this.#weight(bias)])], { kernel_shape: [1, 1] },
      )
      return layout === 'same' ? y : this.#toSequence(y, name, out)
    }
    if (layout === 'map' && weight.shape.length === 4) {
      const maps = this.#toMap(value, `${name}.map`, inner, sizeOf!)
      return nodes.add(
        'Conv', name, [maps, this.#weight(weight), ...(bias === undefined ? [] : [this.#weight(bias)])], { kernel_shape: [1, 1] },
      )
    }
    let x = value
    if (isMap) {
      x = rows.get(value) ?? this.#toSequence(value, `${name}.sequence`, inner)
      rows.set(value, x)
    }
    const last = layout === 'map' ? `${name}.rows` : name
    let y = nodes.add('MatMul', bias === undefined ? last : `${name}.matmul`, [x, this.#weight(weight, [inner, out], true)])
    if (bias !== undefined) y = nodes.add('Add', last, [y, this.#weight(bias)])
    return layout === 'map' ? this.#toMap(y, name, out, sizeOf!) : y
  }

  /** [N,C,H,W] to [N,H*W,C]. */
  #toSequence(value: string, name: string, channels: number): string {
    const flat = this.nodes.add('Reshape', `${name}.flat`, [value, this.nodes.integers(0, channels, -1)])
    return this.nodes.add('Transpose', name, [flat], { perm: [0, 2, 1] })
  }

  /** [N,H*W,C] to [N,C,H,W], of the height and width of `like`. */
  #toMap(value: string, name: string, channels: number, like: number): string {
    const { nodes } = this
    const turned = nodes.add('Transpose', `${name}.transposed`, [value], { perm: [0, 2, 1] })
    const shape = nodes.add('Concat', `${name}.shape`, [nodes.integers(0, channels), this.#size(like, `${name}.size`)], { axis: 0 })
    return nodes.add('Reshape', name, [turned, shape])
  }

  #conv(unit: GraphUnit): string {
    const { name, inputs: [, rowBias], attributes: a } = unit
    const y = this.nodes.add(
      'Conv', rowBias === undefined ? name : `${name}.conv`,
      [this.#resized(this.#value(inputOf(unit)), name, a), ...unit.weights.map((_, i) => this.#weight(weightOf(unit, i)))], window(a),
    )
    return rowBias === undefined ? y : this.#addRow(y, name, rowBias)
  }

  /** A convolution's input, where it is resized first by nearest neighbour: source = floor(destination * in / out). */
  #resized(value: string, name: string, a: UnitAttributes): string {
    const { nodes } = this
    const nearest = { mode: 'nearest', coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' }
    if (a.doubleSize) return nodes.add('Resize', `${name}.resized`, [value, '', nodes.floats('doubled', [1, 1, 2, 2], [4])], nearest)
    if (a.sizeOf === undefined || a.layout === 'map') return value
    const whole = nodes.add('Shape', `${name}.batch`, [value], { start: 0, end: 2 })
    const sizes = nodes.add('Concat', `${name}.sizes`, [whole, this.#size(a.sizeOf, `${name}.size`)], { axis: 0 })
    return nodes.add('Resize', `${name}.resized`, [value, '', '', sizes], nearest)
  }

  /** Adds [N,C] to a feature map [N,C,H,W]. */
  #addRow(value: string, name: string, row: number): string {
    return this.nodes.add('Add', name, [value, this.nodes.add('Unsqueeze', `${name}.row`, [this.#value(row), this.nodes.integers(2, 3)])])
  }

  /**
   * A convolution of experts, by rates of each sample. ONNX's convolution has one kernel for a batch, or for each of a fixed number of
   * groups of channels: where the batch is fixed, kernels are mixed and samples become groups; where it is open, every expert convolves and
   * the results are mixed, which is the same sum at the experts' number of times the arithmetic.
   */
  #conditional(unit: GraphUnit, id: number): string {
    const { nodes, batch } = this
    const { name, inputs: [, rowBias], attributes: a } = unit
    const [kernels, biases, router, routerBias] = [weightOf(unit), weightOf(unit, 1), weightOf(unit, 2), weightOf(unit, 3)]
    const input = inputOf(unit)
    const [experts, out, inner] = [kernels.shape[0]!, kernels.shape[1]!, kernels.shape[2]!]
    const { kernel, layout } = a
    const value = this.#resized(
      layout === 'map' ? this.#toMap(this.#value(input), `${name}.map`, inner, a.sizeOf!) : this.#value(input), name, a,
    )
    const mean = nodes.add('ReduceMean', `${name}.mean`, [value], { axes: [2, 3], keepdims: 0 })
    const logits = nodes.add(
      'Add', `${name}.logits`,
      [nodes.add('MatMul', `${name}.router`, [mean, this.#weight(router, [inner, experts], true)]), this.#weight(routerBias)],
    )
    const rates = a.routing === 'softmax'
      ? nodes.add('Softmax', `${name}.rates`, [logits], { axis: -1 })
      : nodes.add('Sigmoid', `${name}.rates`, [logits])
    let y: string
    if (batch !== undefined) {
      const flat = nodes.add('MatMul', `${name}.kernels`, [rates, this.#weight(kernels, [experts, out * inner * kernel * kernel])])
      const mixed = nodes.add('Reshape', `${name}.kernel`, [flat, nodes.integers(batch * out, inner, kernel, kernel)])
      const groups = nodes.add('Reshape', `${name}.groups`, [value, nodes.integers(1, batch * inner, 0, 0)])
      const convolved = nodes.add('Conv', `${name}.grouped`, [groups, mixed], { ...window(a), group: batch })
      y = nodes.add('Reshape', `${name}.conv`, [convolved, nodes.integers(batch, out, 0, 0)])
    } else {
      const each = nodes.add('Conv', `${name}.experts`, [value, this.#weight(kernels, [experts * out, inner, kernel, kernel])], window(a))
      const flat = nodes.add('Reshape', `${name}.experts.flat`, [each, nodes.integers(0, experts, -1)])
      const mixed = nodes.add('MatMul', `${name}.mixed`, [nodes.add('Unsqueeze', `${name}.rates.row`, [rates, nodes.integers(1)]), flat])
      const size = nodes.add('Shape', `${name}.experts.size`, [each], { start: 2, end: 4 })
      y = nodes.add('Reshape', `${name}.conv`, [mixed, nodes.add('Concat', `${name}.shape`, [nodes.integers(0, out), size], { axis: 0 })])
    }
    const bias = nodes.add(
      'Unsqueeze', `${name}.bias.row`, [nodes.add('MatMul', `${name}.bias`, [rates, this.#weight(biases)]), nodes.integers(2, 3)],
    )
    if (layout !== 'sequence') this.#maps.add(id)
    y = nodes.add('Add', rowBias === undefined && layout !== 'sequence' ? name : `${name}.biased`, [y, bias])
    if (layout === 'sequence') return this.#toSequence(y, name, out)
    return rowBias === undefined ? y : this.#addRow(y, name, rowBias)
  }

  /** By instance normalization of the groups, since ONNX's own group normalization is younger than version 17. */
  #groupNorm(unit: GraphUnit): string {
    const { nodes } = this
    const { name, attributes: { groups, eps, silu } } = unit
    const [gamma, beta] = [weightOf(unit), weightOf(unit, 1)]
    const [channels] = sizes(gamma.shape, 1)
    const value = this.#value(inputOf(unit))
    const grouped = nodes.add('Reshape', `${name}.grouped`, [value, nodes.integers(0, groups, -1)])
    const ones = nodes.floats(`ones[${groups}]`, new Float32Array(groups).fill(1), [groups])
    const zeros = nodes.floats(`zeros[${groups}]`, new Float32Array(groups), [groups])
    const normal = nodes.add('InstanceNormalization', `${name}.normal`, [grouped, ones, zeros], { epsilon: { float: eps } })
    const shaped = nodes.add('Reshape', `${name}.shaped`, [normal, nodes.add('Shape', `${name}.shape`, [value])])
    const scaled = nodes.add('Mul', `${name}.scaled`, [shaped, this.#weight(gamma, [channels, 1, 1])])
    const y = nodes.add('Add', silu ? `${name}.shifted` : name, [scaled, this.#weight(beta, [channels, 1, 1])])
    return silu ? this.#activation(y, name, 'silu') : y
  }

  #attention(unit: GraphUnit): string {
    const { nodes } = this
    const { name, attributes: a } = unit
    const width = a.heads * a.headDim
    const heads = (i: number, letter: string, column: number): string => {
      const id = inputOf(unit, i)
      const part = this.#parts.get(id)?.get(column) ?? (column === 0 && !this.#parts.has(id) ? this.#value(id) : undefined)
      if (part === undefined)
        throw new AsdmError('INTERNAL', `Expected ${name} to read whole products but it reads from column ${column} on`)
      const split = nodes.add('Reshape', `${name}.${letter}.heads`, [part, nodes.integers(0, 0, a.heads, a.headDim)])
      return nodes.add('Transpose', `${name}.${letter}`, [split], { perm: letter === 'k' ? [0, 2, 3, 1] : [0, 2, 1, 3] })
    }
    const [q, k, v] = [heads(0, 'q', a.qColumn), heads(1, 'k', a.kColumn), heads(2, 'v', a.vColumn)]
    // On the queries, which are fewer numbers than the scores.
    const scaled = nodes.add('Mul', `${name}.q.scaled`, [q, nodes.scalar(1 / Math.sqrt(a.headDim))])
    let scores = nodes.add('MatMul', `${name}.scores`, [scaled, k])
    if (a.causal) scores = nodes.add('Add', `${name}.masked`, [scores, this.#causalMask()])
    const weights = nodes.add('Softmax', `${name}.weights`, [scores], { axis: -1 })
    const mixed = nodes.add('MatMul', `${name}.mixed`, [weights, v])
    const turned = nodes.add('Transpose', `${name}.transposed`, [mixed], { perm: [0, 2, 1, 3] })
    return nodes.add('Reshape', name, [turned, nodes.integers(0, 0, width)])
  }

  /** 0 up to the diagonal, -infinity beyond, as large as the input is long; one for the whole graph. */
  #causalMask(): string {
    if (this.#mask !== undefined) return this.#mask
    const { nodes, graph: { units } } = this
    const embed = units.find(({ op }) => op === 'Embed')
    if (embed === undefined) throw new AsdmError('INTERNAL', 'Expected causal attention only where tokens are embedded')
    const [window] = sizes(weightOf(embed, 1).shape, 2)
    const mask = Float32Array.from({ length: window * window }, (_, i) => (i % window > Math.floor(i / window) ? -Infinity : 0))
    const whole = nodes.floats('causal_mask', mask, [window, window])
    const length = this.#length(embed)
    const both = nodes.add('Concat', 'causal_mask.size', [length, length], { axis: 0 })
    this.#mask = nodes.add('Slice', 'causal_mask.cut', [whole, nodes.integers(0, 0), both, nodes.integers(0, 1)])
    return this.#mask
  }

  #mask: string | undefined

  /** How many tokens there are, as a list of one number. */
  #length(unit: GraphUnit): string {
    this.#tokens ??= this.nodes.add('Shape', `${unit.name}.length`, [this.#value(inputOf(unit))], { start: 1, end: 2 })
    return this.#tokens
  }

  #tokens: string | undefined

  #embed(unit: GraphUnit): string {
    const { nodes } = this
    const { name } = unit
    const tokens = nodes.add(
      'Gather', `${name}.token_embedding`, [this.#weight(weightOf(unit)), this.#value(inputOf(unit))], { axis: 0 },
    )
    const positions = nodes.add(
      'Slice', `${name}.position_embedding`, [this.#weight(weightOf(unit, 1)), nodes.integers(0), this.#length(unit), nodes.integers(0)],
    )
    return nodes.add('Add', name, [tokens, positions])
  }

  /** Sines and cosines of the time step, by float32 frequencies as PyTorch has them. */
  #timestep(unit: GraphUnit): string {
    const { nodes } = this
    const { name, attributes: { dim, flip, freqShift } } = unit
    const half = Math.floor(dim / 2)
    const frequencies = Float32Array.from({ length: half }, (_, i) => Math.exp((-Math.log(10_000) * i) / (half - freqShift)))
    const column = nodes.add('Unsqueeze', `${name}.column`, [this.#value(inputOf(unit)), nodes.integers(1)])
    const angles = nodes.add('Mul', `${name}.angles`, [column, nodes.floats(`${name}.frequencies`, frequencies, [1, half])])
    const sines = nodes.add('Sin', `${name}.sin`, [angles])
    const cosines = nodes.add('Cos', `${name}.cos`, [angles])
    const all = flip ? [cosines, sines] : [sines, cosines]
    if (dim % 2 === 0) return nodes.add('Concat', name, all, { axis: -1 })
    return nodes.add('Concat', name, [...all, nodes.add('Mul', `${name}.zero`, [column, nodes.scalar(0)])], { axis: -1 })
  }

  #activation(value: string, name: string, kind: GraphUnit['attributes']['activation']): string {
    const { nodes } = this
    if (kind === 'silu') return nodes.add('Mul', name, [value, nodes.add('Sigmoid', `${name}.sigmoid`, [value])])
    if (kind === 'quick_gelu') {
      const scaled = nodes.add('Mul', `${name}.scaled`, [value, nodes.scalar(1.702)])
      return nodes.add('Mul', name, [value, nodes.add('Sigmoid', `${name}.sigmoid`, [scaled])])
    }
    if (kind === 'relu') return nodes.add('Relu', name, [value])
    if (kind === 'soft_clamp') {
      const tanh = nodes.add('Tanh', `${name}.tanh`, [nodes.add('Div', `${name}.scaled`, [value, nodes.scalar(3)])])
      return nodes.add('Mul', name, [tanh, nodes.scalar(3)])
    }
    if (kind === 'from_signed') return nodes.add('Div', name, [nodes.add('Add', `${name}.sum`, [value, nodes.scalar(1)]), nodes.scalar(2)])
    if (kind === 'to_signed') return nodes.add('Sub', name, [nodes.add('Mul', `${name}.doubled`, [value, nodes.scalar(2)]), nodes.scalar(1)])
    if (kind !== 'gelu') throw new AsdmError('INTERNAL', `Expected an activation but ${name} is ${kind}`)
    const erf = nodes.add('Erf', `${name}.erf`, [nodes.add('Div', `${name}.scaled`, [value, nodes.scalar(Math.SQRT2)])])
    const sum = nodes.add('Add', `${name}.sum`, [erf, nodes.scalar(1)])
    return nodes.add('Mul', name, [nodes.add('Mul', `${name}.product`, [value, sum]), nodes.scalar(0.5)])
  }
}

/** The value that a unit reads as its input `i`. */
function inputOf({ name, inputs }: GraphUnit, i = 0): number {
  const input = inputs[i]
  if (input === undefined) throw new AsdmError('INTERNAL', `Expected ${name} to have an input ${i}`)
  return input
}

/** A unit's operand `i` among the weights, where that is one tensor. */
function weightOf({ name, weights }: GraphUnit, i = 0): WeightRequest {
  const weight = weights[i]?.[0]
  if (weight === undefined) throw new AsdmError('INTERNAL', `Expected ${name} to have a weight ${i}`)
  return weight
}

/** The attributes of ONNX's convolution for a window. */
function window({ kernel, stride, padBefore, padAfter }: UnitAttributes) {
  return { kernel_shape: [kernel, kernel], strides: [stride, stride], pads: [padBefore, padBefore, padAfter, padAfter] }
}
