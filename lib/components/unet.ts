import { AsdmError, shown } from '../base/errors'
import { abortSignal, checkOptions, nearestOf, optional, type Unchecked } from '../base/options'
import { checkTensor, type Tensor } from '../base/tensor'
import type { Part } from '../model/checkpoint'
import { openUNet } from '../model/folder'
import type { Addon, NativeModelOptions, RunInfo, RunParts, RunStep, ProgramInfo } from '../native/binding'
import type { UNetConfig } from '../native/configs'
import { Component, loadComponent } from './component'
import type { Conditioning } from './conditioning'
import type { CallOptions, PartLoadOptions } from './options'
import { NativePart } from './part'

/** What a pass of the UNet takes. */
export interface UNetInputs extends CallOptions, Conditioning {
  /** Scaled latents [N,C,H,W], C the model's input channels. */
  sample: Tensor
  /** One timestep for all, or one per sample; fractions are allowed. */
  timestep: number | ArrayLike<number>
  /** Names of units whose output is also wanted, as `mid_block` or `up_blocks.1.attentions.0`; see {@link UNet.tapNames}. */
  taps?: readonly string[]
}

const inputKeys = ['sample', 'timestep', 'encoderHiddenStates', 'timestepCond', 'signal'] as const

/** What a pass of the UNet gives. */
export interface UNetOutput {
  /** Epsilon, v or the sample, as the model was trained: [N,C,H,W]. */
  sample: Tensor
  /** The taps by name, NCHW or [N,L,D]. */
  taps: Record<string, Tensor>
}

/** Passes of one shape, in order, in which later ones inherit features of earlier ones. The features live here and nowhere else. */
export interface UNetRun {
  /** What each pass computes and inherits, and the bytes kept between passes. */
  readonly info: RunInfo
  /**
   * The first part of a step with `probe`, with the inputs that its pass will have: how far each probe's output is from what it was at the
   * last step after which it was in `renew`, see `NativeRun.probe`.
   * @throws AsdmError as {@link forward}
   */
  probe(step: number, renew: number[], inputs: Omit<UNetInputs, 'taps'>): Promise<number[]>
  /**
   * Pass number `step`; each once, in order. At a conditional-only step the inputs are those of the conditional half.
   * @param chosen bit i: whether the step's `choices[i]` is inherited; 0 if left out
   * @throws AsdmError `INVALID_ARGUMENT`, `SHAPE_MISMATCH`, `OUT_OF_MEMORY`, `DISPOSED`; an `AbortError` when the signal fires, after which
   * the run is of no more use
   */
  forward(step: number, inputs: Omit<UNetInputs, 'taps'>, chosen?: number): Promise<Tensor>
  /** Frees the features once a pass under way is done. Twice is fine. */
  dispose(): void
}

/** The noise predictor: diffusers' `UNet2DConditionModel`. Calls on one queue in order. */
export class UNet extends Component<UNetConfig> {
  readonly #part: NativePart

  /** @internal */
  constructor(addon: Addon, part: Part<UNetConfig>, options: NativeModelOptions) {
    const native = new NativePart(addon, { kind: 'unet', config: part.config }, options, part.weights, part.path, 'UNet')
    super(part.config, [native])
    this.#part = native
  }

  /**
   * Loads a UNet from its folder (`config.json` and safetensors weights).
   * @throws AsdmError as `StableDiffusion.load`; an `AbortError` when the signal fires
   */
  static async load(folder: string, options?: PartLoadOptions): Promise<UNet> {
    return loadComponent(options, 'UNet.load', async (addon, opening, native) => new UNet(addon, await openUNet(folder, opening), native))
  }

  /** @internal */
  get part(): NativePart {
    return this.#part
  }

  /** What `taps` may name: the units of the graph by their diffusers module paths. */
  tapNames(): string[] {
    return this.#part.tapNames()
  }

  /** Units, multiply-accumulates and memory of a forward pass at a size in latent pixels; `length` is the text's in tokens. */
  describe(shape: { batch: number, height: number, width: number, length: number }): ProgramInfo {
    return this.#part.describe(shape)
  }

  /**
   * One pass. The inputs are copied before it returns its promise.
   * @throws AsdmError `INVALID_ARGUMENT`, `SHAPE_MISMATCH`, `OUT_OF_MEMORY`, `DISPOSED`; an `AbortError` when the signal fires
   */
  async forward(inputs: UNetInputs): Promise<UNetOutput> {
    const { taps, ...rest } = checkOptions(inputs, [...inputKeys, 'taps'], 'unet.forward')
    const { signal, ...checked } = this.#checkInputs(rest)
    return this.#part.forward({ ...checked, taps: this.#checkTaps(taps) }, signal)
  }

  /**
   * Compiles passes that inherit features of earlier ones: what a plan's steps become.
   * @param shape of the whole batch, in latent pixels and text tokens; with `conditionalOnly` steps its first half is the unconditional one
   * @param steps at most 2000
   * @param others further UNets, of the same input channels and text width, which steps name by the numbers 1, 2, …
   * @throws AsdmError `INVALID_ARGUMENT`, naming prefix and step, for an unknown prefix or a value that no earlier step computed;
   * `SHAPE_MISMATCH`, `OUT_OF_MEMORY`
   */
  createRun(
    shape: { batch: number, height: number, width: number, length: number }, steps: RunStep[], parts?: RunParts,
    others: readonly UNet[] = [],
  ): UNetRun {
    const run = this.#part.createRun(shape, steps, parts, others.map(other => other.#part))
    const check = (inputs: unknown, call: string) => this.#checkInputs(checkOptions(inputs, inputKeys, call))
    return {
      info: run.info,
      probe: async (step, renew, inputs) => {
        const { signal, ...checked } = check(inputs, 'run.probe')
        return run.probe(step, renew, checked, signal)
      },
      forward: async (step, inputs, chosen) => {
        const { signal, ...checked } = check(inputs, 'run.forward')
        return (await run.forward(step, checked, chosen, signal)).sample
      },
      dispose: () => run.dispose(),
    }
  }

  #checkInputs({ sample, timestep, encoderHiddenStates, timestepCond, signal }: Unchecked) {
    const { inChannels, crossAttentionDim, timeCondDim } = this.config
    checkTensor(sample, 'sample', 4)
    checkTensor(encoderHiddenStates, 'encoderHiddenStates', 3)
    const [batch, channels] = sample.shape
    if (channels !== inChannels)
      throw new AsdmError('SHAPE_MISMATCH', `Expected sample to be [N,${inChannels},H,W] for this UNet but received [${sample.shape}]`)
    const [textBatch, , width] = encoderHiddenStates.shape
    if (textBatch !== batch || width !== crossAttentionDim)
      throw new AsdmError('SHAPE_MISMATCH',
        `Expected encoderHiddenStates to be [${batch},L,${crossAttentionDim}] for this UNet and sample but received `
        + `[${encoderHiddenStates.shape}]`)
    return {
      sample, timesteps: checkTimesteps(timestep, batch), encoderHiddenStates, ...checkTimestepCond(timestepCond, timeCondDim, batch),
      signal: optional(signal, value => abortSignal(value, 'signal')),
    }
  }

  #checkTaps(taps: unknown): string[] {
    if (taps === undefined) return []
    if (!Array.isArray(taps) || !Array.from(taps).every(tap => typeof tap === 'string'))
      throw new AsdmError('INVALID_ARGUMENT', `Expected taps to be an array of unit names but received ${shown(taps)}`)
    const known = taps.length > 0 ? this.#part.tapNames() : []
    for (const tap of taps as string[])
      if (!known.includes(tap))
        throw new AsdmError('INVALID_ARGUMENT',
          `Expected taps to name units of this UNet but received ${shown(tap)}; ${tapHint(tap, known)}`)
    return [...new Set(taps as string[])]
  }
}

function tapHint(tap: string, known: readonly string[]): string {
  const hint = nearestOf(tap, known)
  return hint.startsWith('known') ? 'see unet.tapNames()' : hint
}

/** The embedding of the guidance scale, which is an input of some UNets only. */
function checkTimestepCond(value: unknown, dim: number | undefined, batch: number): { timestepCond?: Tensor } {
  if (dim === undefined) {
    if (value !== undefined)
      throw new AsdmError('INVALID_ARGUMENT', `Expected no timestepCond for a UNet without time_cond_proj_dim but received ${shown(value)}`)
    return {}
  }
  checkTensor(value, 'timestepCond', 2)
  if (value.shape[0] !== batch || value.shape[1] !== dim)
    throw new AsdmError('SHAPE_MISMATCH',
      `Expected timestepCond to be [${batch},${dim}] for this UNet and sample but received [${value.shape}]`)
  return { timestepCond: value }
}

/** @returns one timestep per sample */
function checkTimesteps(timestep: unknown, batch: number): Float32Array {
  const valid = (value: unknown): boolean => typeof value === 'number' && Number.isFinite(value)
  if (valid(timestep)) return new Float32Array(batch).fill(timestep as number)
  const list = Array.isArray(timestep) || ArrayBuffer.isView(timestep) ? timestep as unknown as ArrayLike<number> : undefined
  if (list?.length !== batch || !Array.prototype.every.call(list, valid))
    throw new AsdmError('INVALID_ARGUMENT',
      `Expected timestep to be a finite number or ${batch} of them, one per sample, but received ${shown(timestep)}`)
  return Float32Array.from(list)
}
