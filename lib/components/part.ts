import { settle, untilAborted } from '../base/abort'
import { AsdmError, throwIfAborted } from '../base/errors'
import { abortSignal, boolean, callback, checkOptions, integer, oneOf, optional, path, type Unchecked } from '../base/options'
import { withPrecision } from '../model/precision'
import { matchWeights } from '../model/weights'
import type { Addon, ForwardInputs, ForwardOutputs, ForwardShape, NativeCall, NativeModel, NativeModelOptions, NativeModelSpec, NativeRun, NativeRunInfo, NativeRunParts, NativeRunStep, ProgramInfo } from '../native/binding'
import type { WeightSource } from '../native/configs'
import { loadAddon } from '../native/load'
import { packedCacheFile, removeLeftovers, type PackedCache } from './packed-cache'

/** Number formats that models compute in. */
export type DType = 'fp32' | 'bf16' | 'int8'

/** All of them. */
export const dtypes: readonly DType[] = ['fp32', 'bf16', 'int8']

/** How a model runs. */
export interface RuntimeOptions {
  /**
   * Number format of the computation: `fp32` (if left out), or `bf16`, which takes half the memory and, on processors with
   * instructions for it, half the time, for pictures that differ a little; or `int8`, which is `bf16` with most of the UNet's products
   * in 8-bit integers, for half of that memory and time again, and pictures that differ more.
   */
  dtype?: DType
  /** Threads that compute, 1 to 256; as many as the machine has cores if left out. The result does not depend on it. */
  threads?: number
  /** Where it runs: `auto` picks the best there is, today always the processor. */
  device?: 'auto' | 'cpu'
  /** A kernel set (`portable`, `avx2`, `avx512`, `avx512bf16`, `neon`, ...), or `auto` for the best that the processor has. */
  cpu?: string
}

/** How one part is loaded from its folder. */
export interface PartLoadOptions extends RuntimeOptions {
  /** Which variant of the weight files: `fp16` for `diffusion_pytorch_model.fp16.safetensors`. */
  variant?: string
  /**
   * Keeps the weights, packed for this kernel set and number format, in a file beside those they come from, and maps that file where there is
   * one. Off if left out. See {@link PackedCache}.
   */
  packedCache?: boolean
  /** Stops the loading, which then rejects with an `AbortError`. */
  signal?: AbortSignal
  /** Called as weights are read and packed; bytes of this part. */
  onProgress?: (progress: { bytesDone: number, bytesTotal: number }) => void
  /** Called with what the user should know, as weights that are not finite. Without it such things become process warnings. */
  onWarning?: (warning: Warning) => void
}

/** Something the user should know that is no error. */
export interface Warning {
  /**
   * - `PROMPT_TRUNCATED`: a prompt is longer than the text encoder's window; `prompt` and `cut` say which and what was left out.
   * - `NON_FINITE_WEIGHTS`: weights hold NaN or infinity; `weights` names them.
   * - `PACKED_CACHE`: the packed cache that was asked for could not be written.
   * - `CHECKPOINT`: how a checkpoint was read, where that may surprise.
   */
  code: 'PROMPT_TRUNCATED' | 'NON_FINITE_WEIGHTS' | 'PACKED_CACHE' | 'CHECKPOINT'
  /** One sentence. */
  message: string
  /** The prompt, whole. */
  prompt?: string
  /** What was left out of it. */
  cut?: string
  /** Names of the weights. */
  weights?: string[]
}

/** Options that every call which runs a model takes. */
export interface CallOptions {
  /** Stops the call, which then rejects with an `AbortError`; the model works on. */
  signal?: AbortSignal
}

export const runtimeKeys = ['dtype', 'threads', 'device', 'cpu'] as const
export const partLoadKeys = [...runtimeKeys, 'variant', 'packedCache', 'signal', 'onProgress', 'onWarning'] as const

/** The runtime options, checked and completed. */
export function parseRuntime(options: Unchecked, addon: Addon): NativeModelOptions {
  const dtype = optional(options.dtype, value => oneOf<DType>(value, 'dtype', [...dtypes])) ?? 'fp32'
  optional(options.device, value => oneOf(value, 'device', ['auto', 'cpu']))
  const threads = optional(options.threads, value => integer(value, 'threads', 1, 256)) ?? Math.min(256, Math.max(1, addon.cpuInfo().cores))
  const cpu = optional(options.cpu, value => oneOf(value, 'cpu', ['auto', ...addon.cpuInfo().compiled])) ?? 'auto'
  return { dtype, threads, cpu }
}

/** The options of a part's `load`, checked. */
export function parsePartLoad(value: unknown, where: string): PartLoadOptions & { native: NativeModelOptions, addon: Addon } {
  const options = checkOptions(value, partLoadKeys, where)
  const signal = optional(options.signal, item => abortSignal(item, 'signal'))
  const onProgress = optional(options.onProgress, item => callback<NonNullable<PartLoadOptions['onProgress']>>(item, 'onProgress'))
  const onWarning = optional(options.onWarning, item => callback<NonNullable<PartLoadOptions['onWarning']>>(item, 'onWarning'))
  const variant = optional(options.variant, item => path(item, 'variant'))
  const packedCache = optional(options.packedCache, item => boolean(item, 'packedCache'))
  const addon = loadAddon()
  return { signal, onProgress, onWarning, variant, packedCache, addon, native: parseRuntime(options, addon) }
}

/** Hands a warning to whoever listens, or else to the process, where it is printed once and can be silenced. */
export function warn(warning: Warning, listener: ((warning: Warning) => void) | undefined): void {
  if (listener !== undefined) listener(warning)
  else process.emitWarning(warning.message, { type: 'AsdmWarning', code: warning.code })
}

export interface WeightsLoadOptions {
  packedCache?: boolean
  signal?: AbortSignal
  onProgress?: (progress: { bytesDone: number, bytesTotal: number }) => void
  onWarning?: (warning: Warning) => void
}

/** Reads a component's weights; where that fails it is disposed of. */
export async function withWeights<T extends { loadWeights(options: WeightsLoadOptions): Promise<void>, dispose(): Promise<void> }>(component: T, options: WeightsLoadOptions): Promise<T> {
  try {
    await component.loadWeights(options)
  } catch (error) {
    await component.dispose()
    throw error
  }
  return component
}

/** Passes of one shape that hand features on. */
export interface PartRun {
  readonly info: NativeRunInfo
  probe(step: number, renew: number[], inputs: ForwardInputs, signal: AbortSignal | undefined): Promise<number[]>
  forward(step: number, inputs: ForwardInputs, chosen: number | undefined, signal: AbortSignal | undefined): Promise<ForwardOutputs>
  dispose(): void
}

/** One native graph with its weights: what the public components are made of. */
export class NativePart {
  readonly #model: NativeModel
  readonly #sources: WeightSource[]
  readonly #where: string
  readonly #cacheFile: string
  #packedCache: PackedCache | undefined
  #loaded: Promise<void> | undefined
  #disposed = false
  /** Native calls under way; none of them rejects. */
  readonly #underWay = new Set<Promise<void>>()

  /**
   * Builds the graph and matches the weights with it; reads none of them yet.
   * @param name what the part is called in messages
   * @throws AsdmError when the weights do not fit the config, or the config is not supported
   */
  constructor(addon: Addon, spec: NativeModelSpec, options: NativeModelOptions, sources: readonly WeightSource[], where: string, readonly name: string) {
    this.#where = where
    const precise = withPrecision(spec, options)
    this.#model = addon.createModel(spec, precise)
    try {
      this.#sources = matchWeights(this.#model.weights(), sources, where)
      this.#cacheFile = packedCacheFile(this.#sources[0].file, spec.kind, this.#model.cpu, precise.dtype)
    } catch (error) {
      this.#model.dispose()
      throw error
    }
  }

  /** Bytes of the weights as stored. */
  get storedBytes(): number {
    return this.#sources.reduce((sum, { begin, end }) => sum + end - begin, 0)
  }

  /** The kernel set it runs on. */
  get cpu(): string {
    return this.#model.cpu
  }

  /** What became of the packed cache; undefined where none was asked for, or nothing loaded yet. */
  get packedCache(): PackedCache | undefined {
    return this.#packedCache
  }

  tapNames(): string[] {
    this.#check()
    return this.#model.tapNames()
  }

  describe(shape: ForwardShape): ProgramInfo {
    this.#check()
    return this.#model.describe(shape)
  }

  /** Reads and packs the weights, once. Calls that come meanwhile wait, and try themselves if the first was aborted or failed. */
  async load(options: WeightsLoadOptions = {}): Promise<void> {
    while (this.#loaded !== undefined) {
      const underWay = this.#loaded
      try {
        return await untilAborted(underWay, options.signal)
      } catch (error) {
        throwIfAborted(options.signal)
        if (this.#loaded === underWay) throw error
      }
    }
    const own = this.#read(options)
    this.#loaded = own
    try {
      await own
    } catch (error) {
      this.#loaded = undefined
      throw error
    }
  }

  /** Instead of {@link load}: uses the weights that another part has loaded, which stay as long as either needs them. */
  async share(other: NativePart): Promise<void> {
    this.#check()
    other.#check()
    await settle(() => this.#track(this.#model.share(other.#model)), undefined)
    this.#loaded = Promise.resolve()
  }

  async #read({ packedCache, signal, onProgress, onWarning }: WeightsLoadOptions): Promise<void> {
    this.#check()
    const file = packedCache === true ? this.#cacheFile : undefined
    if (file !== undefined) await removeLeftovers(file)
    throwIfAborted(signal)
    this.#check()
    const { nonFinite, cache, cacheNote } = await settle(() => this.#track(this.#model.load(this.#sources, onProgress, file)), signal)
    this.#packedCache = file === undefined || cache === 'off' ? undefined : { outcome: cache, file, ...(cacheNote !== '' && { reason: cacheNote }) }
    if (cache === 'unwritten')
      warn({ code: 'PACKED_CACHE', message: `The packed cache "${file}" could not be written, so the next load packs the weights again: ${cacheNote}` }, onWarning)
    if (nonFinite.length === 0) return
    const few = nonFinite.slice(0, 4).join(', ') + (nonFinite.length > 4 ? ` and ${nonFinite.length - 4} more` : '')
    warn({ code: 'NON_FINITE_WEIGHTS', message: `Some weights in ${this.#where} are NaN or infinite, so pictures may be black: ${few}`, weights: nonFinite }, onWarning)
  }

  async forward(inputs: ForwardInputs, signal: AbortSignal | undefined): Promise<ForwardOutputs> {
    this.#check()
    return settle(() => this.#track(this.#model.forward(inputs)), signal)
  }

  /** Compiles passes that hand features on; see {@link NativeModel.createRun}. */
  createRun(shape: ForwardShape, steps: NativeRunStep[], runParts: NativeRunParts | undefined, others: readonly NativePart[]): PartRun {
    const parts: NativePart[] = [this, ...others]
    for (const part of parts) part.#check()
    const run: NativeRun = this.#model.createRun(shape, steps, runParts, others.map(part => part.#model))
    const call = async <T>(step: number, begin: () => NativeCall<T>, signal: AbortSignal | undefined): Promise<T> => {
      const part = parts[run.info.steps[step]?.unet ?? 0]
      part.#check()
      return settle(() => part.#track(begin()), signal)
    }
    return {
      info: run.info,
      probe: (step, renew, inputs, signal) => call(step, () => run.probe(step, renew, inputs), signal),
      forward: (step, inputs, chosen, signal) => call(step, () => run.forward(step, inputs, chosen), signal),
      dispose: () => run.dispose(),
    }
  }

  /** Gives the memory of activations back once the calls under way are done. */
  trim(): void {
    if (!this.#disposed) this.#model.trim()
  }

  /** Stops calls under way (they reject with an `AbortError`), frees everything, and waits until all have stopped. Later calls fail with `DISPOSED`. */
  async dispose(): Promise<void> {
    if (!this.#disposed) {
      this.#disposed = true
      this.#model.dispose()
    }
    await Promise.all(this.#underWay)
  }

  #track<T>(call: NativeCall<T>): NativeCall<T> {
    const ended = call.promise.then(() => {}, () => {})
    this.#underWay.add(ended)
    void ended.then(() => this.#underWay.delete(ended))
    return call
  }

  #check(): void {
    if (this.#disposed) throw new AsdmError('DISPOSED', `Expected a ${this.name} in use but it has been disposed`)
  }
}
