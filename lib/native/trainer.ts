/** The native surface of training, typed; part of `lib/native/binding.ts`. */
import type { Cancellable } from '../base/abort'
import type { Tensor } from '../base/tensor'
import type { UNetConfig, WeightSource } from './configs'
import type { InputValues } from './inputs'

/** A loss between a value of the UNet and a target that comes with each batch. */
export interface NativeLoss {
  /** In messages, and of its adapter; each once. */
  name: string
  /** A value as `NativeModel.tapNames` has it; the UNet's output if left out. */
  unit?: string
  /** Mean of squared differences, or mean over pixels (tokens) of 1 - cosine. */
  loss: 'squared' | 'cosine'
  /**
   * Channels of the value and of the target where they differ: a trained linear layer over channels, `adapters.` and the name, lies
   * between them.
   */
  adapter?: { from: number, to: number }
}

export interface NativeTrainerSpec {
  config: UNetConfig
  /** At least one; what is minimised is the sum over them and the batch's samples, each with its weight. */
  losses: readonly NativeLoss[]
  /** Prefixes of the weights that are trained, cut at dots; all if left out. Adapters are trained in any case. */
  train?: readonly string[]
  /** Keeps a moving average of the trained weights. */
  average: boolean
  /** `accumulate` gives the gradient of the text features, too. */
  textGradient: boolean
}

export interface NativeTrainerOptions {
  /** Threads that compute, the caller's own included; 1 to 256. */
  threads: number
  /** A kernel set's name, or 'auto'. */
  cpu: string
}

/** A tensor of the UNet, or of an adapter. */
export interface TrainedWeight {
  /** As the checkpoint names it. */
  name: string
  /** PyTorch shape. */
  shape: number[]
  /** That `read` counts it in, of equal lengths. */
  rows: number
  /** Whether updates change it. */
  trained: boolean
  /** Whether it belongs to an adapter, not to the UNet. */
  adapter: boolean
}

/**
 * What a trainer has for each weight: itself, and for trained ones AdamW's moments, the average, and the gradient since the last update.
 */
export type TrainerKind = 'weight' | 'first' | 'second' | 'average' | 'gradient'

export interface NativeTrainingBatch {
  /** As `ForwardInputs.values` of a UNet: noisy latents, a time step for each, and what conditions them. */
  values: InputValues
  /** Of each loss, in the layout of the value: [N,C,H,W] or [N,L,C]. */
  targets: readonly Tensor[]
  /** Of each loss a factor for each sample. */
  weights: readonly Float32Array[]
}

export interface NativeTrainingResult {
  /** Of each loss, by sample, without its factors. */
  losses: Float32Array[]
  /** Bytes that the trainer holds now. */
  bytes: number
  /** [N,L,D], where it was asked for. */
  textGradient?: Tensor
}

/** One step of AdamW (Loshchilov & Hutter, arXiv 1711.05101), as `torch.optim.AdamW` computes it. */
export interface AdamWStep {
  rate: number
  beta1: number
  beta2: number
  eps: number
  /** Decoupled decay: weights shrink by `rate * decay`. */
  decay: number
  /** Scales the gradients so that the norm of all is at most this; 0: never. */
  clip: number
  /** Share of the old in the moving average. */
  keep: number
}

/** A UNet under training. Calls on one trainer queue in order. Garbage collection frees it too. */
export interface NativeTrainer {
  /** The kernel set it runs on. */
  readonly cpu: string
  weights(): TrainedWeight[]
  /** Bytes: of activations at a size, and of weights, gradients, moments and average whatever the size. */
  describe(shape: { batch: number, height: number, width: number, length: number }): { activationBytes: number, stateBytes: number }
  /** Reads a kind's tensors, all or some, from files. @returns the names of those that hold NaN or infinity */
  load(kind: TrainerKind, sources: WeightSource[], onProgress?: (bytesDone: number, bytesTotal: number) => void): Cancellable<string[]>
  /** A whole tensor, in PyTorch's order; copied before it returns. */
  write(kind: TrainerKind, name: string, values: Float32Array): Cancellable<undefined>
  /** Some rows of a tensor, as `TrainedWeight.rows` counts them. */
  read(kind: TrainerKind, name: string, first: number, rows: number): Cancellable<Float32Array>
  /**
   * After the weights were loaded: `fresh`, moments are zero and the average is the weights; else, a checkpoint of that many steps was
   * restored.
   */
  begin(fresh: boolean, steps: number): Cancellable<undefined>
  /** Forward and back, adding to the gradients; forward alone without `backward`. Copies the batch before it returns. */
  accumulate(batch: NativeTrainingBatch, backward: boolean): Cancellable<NativeTrainingResult>
  /** The first unit whose value has a number that is none or infinite, '' where none has. */
  firstNonFinite(batch: NativeTrainingBatch): Cancellable<string>
  /**
   * A step along the gradients, which are zero afterwards.
   * @returns their norm before they were clipped
   */
  update(step: AdamWStep): Cancellable<number>
  /** Cancels calls under way and frees everything once they have stopped. Any later call throws `DISPOSED`. Idempotent. */
  dispose(): void
}
