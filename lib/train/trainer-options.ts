import { AsdmError, shown } from '../base/errors'
import { abortSignal, checkOptions, integer, number, oneOf, optional } from '../base/options'
import { listOf, reading } from '../base/reading'
import { checkTensor, type Tensor } from '../base/tensor'
import { conditioningValues } from '../components/conditioning'
import type { AdamWStep, NativeLoss, NativeTrainingBatch, TrainerKind } from '../native/trainer'

/** A loss of a {@link Trainer}. */
export type TrainerLoss = NativeLoss

/** How a {@link Trainer} is made. */
export interface TrainerOptions {
  /** What is minimised: the sum of these; if left out one, `task`, the mean squared error of the UNet's output. */
  losses?: readonly TrainerLoss[] | undefined
  /** Prefixes of the weights that are trained, cut at dots, as `up_blocks.1`; all if left out. */
  train?: readonly string[] | undefined
  /** Keeps a moving average of the trained weights. Off if left out. */
  average?: boolean | undefined
  /** `accumulate` gives the gradient of the text features, too. Off if left out. */
  textGradient?: boolean | undefined
  /** Threads that compute, 1 to 256; as many as the machine has cores if left out. No bit depends on it. */
  threads?: number | undefined
  /** A kernel set, as for a model. */
  cpu?: string | undefined
  /** Stops the loading. */
  signal?: AbortSignal | undefined
}

/** What one forward and backward pass is given. */
export interface TrainingBatch {
  /** Noisy latents [N,C,H,W]. */
  sample: Tensor
  /** One per sample. */
  timesteps: ArrayLike<number>
  /** Text features [N,L,D]. */
  encoderHiddenStates: Tensor
  /** [N,D], of UNets with `time_cond_proj_dim`. */
  timestepCond?: Tensor | undefined
  /** By the losses' names, in the layout of the value that the loss is on: [N,C,H,W] or [N,L,C]. */
  targets: Readonly<Record<string, Tensor>>
  /** By the losses' names a factor for each sample in the sum that is differentiated; 1/N each if left out. */
  weights?: Readonly<Record<string, ArrayLike<number>>> | undefined
}

/** What a pass gives. */
export interface TrainingResult {
  /** By the losses' names, of each sample, without its factor. */
  losses: Record<string, Float32Array>
  /** Bytes that the trainer holds. */
  bytes: number
  /** [N,L,D], where it was asked for. */
  textGradient?: Tensor
}

/** A step of AdamW; the defaults are those of `torch.optim.AdamW`. */
export interface UpdateOptions {
  /** The learning rate. */
  rate: number
  /** Decay of the first moment (0.9). */
  beta1?: number | undefined
  /** Decay of the second moment (0.999). */
  beta2?: number | undefined
  /** Added to the root of the second moment (1e-8). */
  eps?: number | undefined
  /** Decoupled weight decay (0.01). */
  decay?: number | undefined
  /** Most that the norm of all gradients may be; 0, or left out: any. */
  clip?: number | undefined
  /** Share of the old in the moving average (0.999). */
  keep?: number | undefined
  /** Aborts the update. */
  signal?: AbortSignal | undefined
}

/** Size of a batch, in latent pixels and tokens. */
export interface TrainingShape {
  /** Samples. */
  batch: number
  /** Of the latents. */
  height: number
  /** Of the latents. */
  width: number
  /** Tokens of the text. */
  length: number
}

/** Bytes of a training: of activations; and of weights, gradients, moments and average. */
export interface TrainingMemory {
  /** Of a pass's values. */
  activationBytes: number
  /** Of weights, gradients, moments and average. */
  stateBytes: number
}

/** Checks a list of names. */
export function checkNames(value: unknown, name: string): string[] {
  const names = listOf(value, name, 65_536)
  if (names.length === 0 || !names.every(item => typeof item === 'string' && item !== '' && item.length <= 1000))
    throw new AsdmError('INVALID_ARGUMENT', `Expected ${name} to be a list of names but received ${shown(names)}`)
  return names as string[]
}

/** Checks the losses of a trainer. */
export function checkLosses(value: unknown): TrainerLoss[] {
  const losses = listOf(value, 'losses', 65_536)
  if (losses.length === 0)
    throw new AsdmError('INVALID_ARGUMENT', 'Expected losses to be a list of losses but received an empty one')
  return losses.map((item, i) => {
    const { name, unit, loss, adapter } = checkOptions(item, ['name', 'unit', 'loss', 'adapter'], `losses[${i}]`)
    const where = `losses[${i}]`
    if (typeof name !== 'string' || !/^[\w.-]{1,200}$/.test(name))
      throw new AsdmError('INVALID_ARGUMENT', `Expected ${where}.name to be letters, digits, dots and dashes but received ${shown(name)}`)
    if (loss !== 'squared' && loss !== 'cosine')
      throw new AsdmError('INVALID_ARGUMENT', `Expected ${where}.loss to be squared or cosine but received ${shown(loss)}`)
    const channels = optional(adapter, given => {
      const { from, to } = checkOptions(given, ['from', 'to'], `${where}.adapter`)
      return { from: integer(from, `${where}.adapter.from`, 1, 65_536), to: integer(to, `${where}.adapter.to`, 1, 65_536) }
    })
    return { name, loss, ...(unit !== undefined && { unit: checkNames([unit], `${where}.unit`)[0] }), ...(channels && { adapter: channels }) }
  })
}

const kinds: readonly TrainerKind[] = ['weight', 'first', 'second', 'average', 'gradient']

/** Checks which of its numbers a trainer is asked for. */
export function checkKind(value: unknown): TrainerKind {
  return oneOf(value, 'kind', kinds)
}

/** Checks what stands in front of tensors' names. */
export function checkPrefix(value: unknown): string {
  if (typeof value !== 'string' || value.length > 1000)
    throw new AsdmError('INVALID_ARGUMENT', `Expected a prefix of at most 1000 characters but received ${shown(value)}`)
  return value
}

/** The signal of a call's options. */
export function signalOf(options: unknown, where: string): AbortSignal | undefined {
  return optional(checkOptions(options, ['signal'], where).signal, value => abortSignal(value, 'signal'))
}

/** Most samples of a batch. */
const mostSamples = 65_536

/** One number per sample: a list, or any typed array. */
function numbersOf(value: unknown, name: string): Float32Array {
  const isList = ArrayBuffer.isView(value) && !(value instanceof DataView)
  const list = isList ? value as Float32Array : listOf(value, name, mostSamples)
  if (list.length > mostSamples || !Array.prototype.every.call(list, item => typeof item === 'number'))
    throw new AsdmError('INVALID_ARGUMENT', `Expected ${name} to be at most ${mostSamples} numbers but received ${shown(value)}`)
  return reading(name, () => Float32Array.from(list as ArrayLike<number>))
}

/** Checks and completes a batch for a trainer with these losses. */
export function parseBatch(batch: unknown, losses: readonly string[], where: string): NativeTrainingBatch {
  const given = checkOptions(batch, ['sample', 'timesteps', 'encoderHiddenStates', 'timestepCond', 'targets', 'weights'], where)
  const sample = checkTensor(given.sample, 'sample', 4)
  const count = sample.shape[0]!
  const timesteps = numbersOf(given.timesteps, 'timesteps')
  const targets = checkOptions(given.targets, losses, `${where}, targets`)
  const weights = checkOptions(given.weights, losses, `${where}, weights`)
  const timestepCond = optional(given.timestepCond, value => checkTensor(value, 'timestepCond', 2))
  return {
    values: {
      sample, timesteps: { data: timesteps, shape: [timesteps.length] },
      ...conditioningValues({
        encoderHiddenStates: checkTensor(given.encoderHiddenStates, 'encoderHiddenStates', 3), ...(timestepCond && { timestepCond }),
      }),
    },
    targets: losses.map(name => checkTensor(targets[name], `the target of the loss ${name}`)),
    weights: losses.map(name => optional(weights[name], value => numbersOf(value, `the weights of the loss ${name}`))
      ?? new Float32Array(count).fill(1 / count)),
  }
}

/** Checks and completes the options of `update`. */
export function parseUpdate(options: UpdateOptions): AdamWStep & { signal: AbortSignal | undefined } {
  const given = checkOptions(options, ['rate', 'beta1', 'beta2', 'eps', 'decay', 'clip', 'keep', 'signal'], 'trainer.update')
  const among = (key: string, most: number, standard: number): number =>
    optional(given[key], value => number(value, key, 0, most)) ?? standard
  return {
    rate: number(given.rate, 'rate', 0, 1000), beta1: among('beta1', 1, 0.9), beta2: among('beta2', 1, 0.999), eps: among('eps', 1, 1e-8),
    decay: among('decay', 1000, 0.01), clip: among('clip', 1e9, 0), keep: among('keep', 1, 0.999),
    signal: optional(given.signal, value => abortSignal(value, 'signal')),
  }
}
