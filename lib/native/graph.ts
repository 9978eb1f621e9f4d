/** A graph as the addon shows it; part of `lib/native/binding.ts`. */

/** One weight the graph asks for. */
export interface WeightRequest {
  name: string
  /** PyTorch shape. */
  shape: number[]
}

/** The attributes of all ops, as `native/graph/unit.h` explains them; each op reads its own, the others have their defaults. */
export interface UnitAttributes {
  kernel: number
  stride: number
  padBefore: number
  padAfter: number
  doubleSize: boolean
  /** The unit whose value's height and width a value takes; it is no input. */
  sizeOf?: number
  layout: 'same' | 'sequence' | 'map'
  groups: number
  eps: number
  silu: boolean
  activation: 'none' | 'silu' | 'gelu' | 'quick_gelu' | 'relu' | 'soft_clamp' | 'from_signed' | 'to_signed'
  heads: number
  headDim: number
  qColumn: number
  kColumn: number
  vColumn: number
  causal: boolean
  dim: number
  flip: boolean
  freqShift: number
  /** Kernels of a conditional convolution. */
  experts: number
  /** How its router rates them. */
  routing: 'sigmoid' | 'softmax'
}

/** One unit of a graph, before any sizes are known. A unit gives one value; its number in the list is the value's. */
export interface GraphUnit {
  /** Diffusers prefix. */
  name: string
  /** What it computes: an op of `native/ops/ops.def`. */
  op: string
  /** The values it reads. */
  inputs: number[]
  /** Its operands among the weights, in the op's order: each one tensor, or several stacked along the output features. */
  weights: WeightRequest[][]
  attributes: UnitAttributes
}

/** A whole graph. */
export interface GraphInfo {
  /** Each after its inputs. */
  units: GraphUnit[]
  /** The values that the model gives; of a text encoder, number s leaves out the last s layers. */
  outputs: number[]
}
