import { checkLoaded } from '../base/options'
import { AsdmError, shown } from '../base/errors'
import { abortSignal, checkOptions, nearestOf, optional, type Unchecked } from '../base/options'
import { listOf, plain, reading, sizesOf } from '../base/reading'
import { checkTensor, sizes, type Tensor } from '../base/tensor'
import type { Part } from '../model/checkpoint'
import { openUNet } from '../model/folder'
import type { Addon, NativeModelOptions, RunInfo, RunParts, RunStep, ProgramInfo } from '../native/binding'
import type { InputValues } from '../native/inputs'
import type { UNetConfig } from '../native/configs'
import { Component, loadComponent } from './component'
import { addedEmbeds, conditioningValues, type Conditioning } from './conditioning'
import type { CallOptions, PartLoadOptions } from './options'
import { NativePart } from './part'

/** What a pass of a run takes. */
export interface UNetStepInputs extends CallOptions {
  /** Scaled latents [N,C,H,W], C the model's input channels. */
  sample: Tensor
  /** One timestep for all, or one per sample; fractions are allowed. */
  timestep: number | ArrayLike<number>
}

/** What a pass of the UNet takes. */
export interface UNetInputs extends UNetStepInputs, Conditioning {
  /** Names of units whose output is also wanted, as `mid_block` or `up_blocks.1.attentions.0`; see {@link UNet.tapNames}. */
  taps?: readonly string[]
}

const stepKeys = ['sample', 'timestep', 'signal'] as const
const conditioningKeys = ['encoderHiddenStates', 'timestepCond', 'textEmbeds', 'timeIds'] as const

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
   * What passes from now on are conditioned by: text once, not at every step. Features of the whole batch, the unconditional half first,
   * also for steps that run the other half only; or of that half alone where all steps do.
   * @throws AsdmError `INVALID_ARGUMENT`, `SHAPE_MISMATCH`, `DISPOSED`; an `AbortError` when the signal fires
   */
  condition(conditioning: Conditioning, options?: CallOptions): Promise<void>
  /**
   * The first part of a step with `probe`, with the inputs that its pass will have: how far each probe's output is from what it was at the
   * last step after which it was in `renew`, see `NativeRun.probe`.
   * @throws AsdmError as {@link forward}
   */
  probe(step: number, renew: number[], inputs: UNetStepInputs): Promise<number[]>
  /**
   * Pass number `step`; each once, in order, after {@link condition}. At a conditional-only step the sample is that of the conditional
   * half.
   * @param chosen bit i: whether the step's `choices[i]` is inherited; 0 if left out
   * @throws AsdmError `INVALID_ARGUMENT`, `SHAPE_MISMATCH`, `OUT_OF_MEMORY`, `DISPOSED`; an `AbortError` when the signal fires, after which
   * the run is of no more use
   */
  forward(step: number, inputs: UNetStepInputs, chosen?: number): Promise<Tensor>
  /** Frees the features once a pass under way is done. Twice is fine. */
  dispose(): void
}

/** The noise predictor: diffusers' `UNet2DConditionModel`. Calls on one queue in order. */
export class UNet extends Component<UNetConfig> {
  readonly #part: NativePart

  /** @internal */
  constructor(addon: Addon, part: Part<UNetConfig>, options: NativeModelOptions) {
    checkLoaded(() => typeof addon.createModel === 'function' && typeof part.config === 'object', 'UNet', 'UNet.load')
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
    return this.#part.describe(sizesOf(shape, ['batch', 'height', 'width', 'length']))
  }

  /**
   * One pass. The inputs are copied before it returns its promise, those beyond 4 MiB while it is under way: leave these as they are until
   * it settles.
   * @throws AsdmError `INVALID_ARGUMENT`, `SHAPE_MISMATCH`, `OUT_OF_MEMORY`, `DISPOSED`; an `AbortError` when the signal fires
   */
  async forward(inputs: UNetInputs): Promise<UNetOutput> {
    const { taps, encoderHiddenStates, timestepCond, textEmbeds, timeIds, ...rest }
      = checkOptions(inputs, [...stepKeys, ...conditioningKeys, 'taps'], 'unet.forward')
    const { signal, values } = this.#checkInputs(rest)
    const conditioning = this.#checkConditioning({ encoderHiddenStates, timestepCond, textEmbeds, timeIds }, values.timesteps.shape[0]!)
    return this.#part.forward({ values: { ...values, ...conditioning }, taps: this.#checkTaps(taps) }, signal)
  }

  /**
   * Compiles passes that inherit features of earlier ones: what a plan's steps become. Off the event loop, in the queue of calls.
   * @param shape of the whole batch, in latent pixels and text tokens; with `conditionalOnly` steps its first half is the unconditional one
   * @param steps at most 2000
   * @param others further UNets, of the same input channels and text width, which steps name by the numbers 1, 2, …
   * @throws AsdmError `INVALID_ARGUMENT`, naming prefix and step, for an unknown prefix or a value that no earlier step computed;
   * `SHAPE_MISMATCH`, `OUT_OF_MEMORY`, `DISPOSED`; an `AbortError` when the signal fires
   */
  async createRun(
    shape: { batch: number, height: number, width: number, length: number }, steps: RunStep[], parts?: RunParts,
    others: readonly UNet[] = [], options?: CallOptions,
  ): Promise<UNetRun> {
    const { signal: given } = checkOptions(options, ['signal'], 'unet.createRun')
    const compiling = optional(given, value => abortSignal(value, 'signal'))
    const further = listOf(others, 'others', 255).map(other => {
      if (!(typeof other === 'object' && other !== null && #part in other))
        throw new AsdmError('INVALID_ARGUMENT', `Expected others to be UNets but received ${shown(other)}`)
      return other.#part
    })
    const run = await this.#part.createRun(
      sizesOf(shape, ['batch', 'height', 'width', 'length']), plain(listOf(steps, 'steps', 2000), 'steps') as RunStep[],
      plain(parts, 'parts') as RunParts | undefined, further, compiling,
    )
    const check = (inputs: unknown, call: string) => this.#checkInputs(checkOptions(inputs, stepKeys, call))
    return {
      info: run.info,
      condition: async (conditioning, options) => {
        const given = checkOptions(conditioning, conditioningKeys, 'run.condition')
        const { signal } = checkOptions(options, ['signal'], 'run.condition')
        const features = checkTensor(given.encoderHiddenStates, 'encoderHiddenStates', 3)
        const values = this.#checkConditioning({ ...given, encoderHiddenStates: features }, features.shape[0]!)
        return run.condition(values, optional(signal, value => abortSignal(value, 'signal')))
      },
      probe: async (step, renew, inputs) => {
        const { signal, values } = check(inputs, 'run.probe')
        return run.probe(step, renew, { values }, signal)
      },
      forward: async (step, inputs, chosen) => {
        const { signal, values } = check(inputs, 'run.forward')
        return (await run.forward(step, { values }, chosen, signal)).sample
      },
      dispose: () => run.dispose(),
    }
  }

  #checkInputs({ timestep, signal, ...given }: Unchecked) {
    const { inChannels } = this.config
    const sample = checkTensor(given.sample, 'sample', 4)
    const [batch, channels] = sizes(sample.shape, 4)
    if (channels !== inChannels)
      throw new AsdmError('SHAPE_MISMATCH', `Expected sample to be [N,${inChannels},H,W] for this UNet but received [${sample.shape}]`)
    return {
      values: { sample, timesteps: { data: checkTimesteps(timestep, batch), shape: [batch] } },
      signal: optional(signal, value => abortSignal(value, 'signal')),
    }
  }

  #checkConditioning({ timestepCond, textEmbeds, timeIds, ...given }: Unchecked, batch: number): InputValues {
    const { crossAttentionDim, timeCondDim } = this.config
    const encoderHiddenStates = checkTensor(given.encoderHiddenStates, 'encoderHiddenStates', 3)
    const [textBatch, , width] = sizes(encoderHiddenStates.shape, 3)
    if (textBatch !== batch || width !== crossAttentionDim)
      throw new AsdmError('SHAPE_MISMATCH',
        `Expected encoderHiddenStates to be [${batch},L,${crossAttentionDim}] for this UNet and sample but received `
        + `[${encoderHiddenStates.shape}]`)
    return {
      ...conditioningValues({ encoderHiddenStates, ...checkTimestepCond(timestepCond, timeCondDim, batch) }),
      ...checkAdded(textEmbeds, timeIds, this.config, batch),
    }
  }

  #checkTaps(taps: unknown): string[] {
    if (taps === undefined) return []
    const names = listOf(taps, 'taps', 65_536)
    if (!names.every(tap => typeof tap === 'string'))
      throw new AsdmError('INVALID_ARGUMENT', `Expected taps to be an array of unit names but received ${shown(taps)}`)
    const known = names.length > 0 ? this.#part.tapNames() : []
    for (const tap of names)
      if (!known.includes(tap))
        throw new AsdmError('INVALID_ARGUMENT',
          `Expected taps to name units of this UNet but received ${shown(tap)}; ${tapHint(tap, known)}`)
    return [...new Set(names)]
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
  const timestepCond = checkTensor(value, 'timestepCond', 2)
  if (timestepCond.shape[0] !== batch || timestepCond.shape[1] !== dim)
    throw new AsdmError('SHAPE_MISMATCH',
      `Expected timestepCond to be [${batch},${dim}] for this UNet and sample but received [${timestepCond.shape}]`)
  return { timestepCond }
}

/** Pooled text and sizes, which are inputs of some UNets only; together they are as wide as the UNet wants. */
function checkAdded(text: unknown, ids: unknown, config: UNetConfig, batch: number): InputValues {
  const { additionDim, additionTimeDim = 0 } = config
  if (additionDim === undefined) {
    if (text === undefined && ids === undefined) return {}
    throw new AsdmError('INVALID_ARGUMENT',
      `Expected neither textEmbeds nor timeIds for a UNet without addition_embed_type but received ${shown(text ?? ids)}`)
  }
  const textEmbeds = checkTensor(text, 'textEmbeds', 2), timeIds = checkTensor(ids, 'timeIds', 2)
  const [rows, pooled] = sizes(textEmbeds.shape, 2), [idRows, count] = sizes(timeIds.shape, 2)
  if (rows !== batch || idRows !== batch || pooled + count * additionTimeDim !== additionDim)
    throw new AsdmError('SHAPE_MISMATCH',
      `Expected textEmbeds [${batch},P] and timeIds [${batch},K] with P + ${additionTimeDim} K = ${additionDim} for this UNet and sample but `
      + `received [${textEmbeds.shape}] and [${timeIds.shape}]`)
  return { added_embeds: addedEmbeds(textEmbeds, timeIds, config) }
}

/** @returns one timestep per sample */
function checkTimesteps(timestep: unknown, batch: number): Float32Array {
  const valid = (value: unknown): boolean => typeof value === 'number' && Number.isFinite(value)
  if (valid(timestep)) return new Float32Array(batch).fill(timestep as number)
  const list = reading('timestep', () => {
    const given = Array.isArray(timestep) || ArrayBuffer.isView(timestep) ? timestep as unknown as ArrayLike<number> : undefined
    return given?.length === batch ? Array.from(given) : undefined
  })
  if (list?.every(valid) !== true)
    throw new AsdmError('INVALID_ARGUMENT',
      `Expected timestep to be a finite number or ${batch} of them, one per sample, but received ${shown(timestep)}`)
  return Float32Array.from(list)
}
