import { settle, untilAborted } from '../base/abort'
import { AsdmError, throwIfAborted } from '../base/errors'
import { withPrecision } from '../model/precision'
import { firstFew, matchWeights } from '../model/weights'
import type {
  Addon, ForwardInputs, ForwardOutputs, ForwardShape, NativeCall, NativeModel, NativeModelOptions, NativeModelSpec, PassInputs,
  ProgramInfo, RunInfo, RunParts, RunStep,
} from '../native/binding'
import type { InputValues } from '../native/inputs'
import type { WeightSource } from '../native/configs'
import type { WeightsLoadOptions } from './options'
import { packedCacheFile, removeLeftovers, type PackedCache, type PackedCacheKind } from './packed-cache'
import { warn } from './warnings'

/** Passes of one shape that hand features on. */
interface PartRun {
  readonly info: RunInfo
  condition(values: InputValues, signal: AbortSignal | undefined): Promise<void>
  probe(step: number, renew: number[], inputs: PassInputs, signal: AbortSignal | undefined): Promise<number[]>
  forward(step: number, inputs: PassInputs, chosen: number | undefined, signal: AbortSignal | undefined): Promise<ForwardOutputs>
  dispose(): void
}

/** One native graph with its weights: what the public components are made of. */
export class NativePart {
  readonly #model: NativeModel
  readonly #sources: WeightSource[]
  readonly #where: string
  /** Tensors beside the weights that the graph does not have. */
  #unused: string[] = []
  readonly #cacheKind: PackedCacheKind
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
  constructor(
    addon: Addon, spec: NativeModelSpec, options: NativeModelOptions, sources: readonly WeightSource[], where: string,
    readonly name: string,
  ) {
    this.#where = where
    const precise = withPrecision(spec, options)
    this.#model = addon.createModel(spec, precise)
    try {
      this.#sources = matchWeights(this.#model.weights(), sources, where, names => { this.#unused = names })
      this.#cacheKind = { kind: spec.kind, cpu: this.#model.cpu, dtype: precise.dtype }
    } catch (error) {
      this.#model.dispose()
      throw error
    }
  }

  /** Bytes of the weights as stored. */
  get storedBytes(): number {
    return this.#sources.reduce((sum, { begin, end }) => sum + end - begin, 0)
  }

  /** Where the weights were read from. */
  get sources(): readonly WeightSource[] {
    return this.#sources
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
        await untilAborted(underWay, options.signal); return
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

  /**
   * Reads and packs some of the loaded weights again, from elsewhere. After a failure or abort they are as they were.
   * @throws AsdmError as {@link load}
   */
  async change(sources: WeightSource[], signal: AbortSignal | undefined, onWarning: WeightsLoadOptions['onWarning']): Promise<void> {
    this.#check()
    this.#warnOfNonFinite(await settle(() => this.#track(this.#model.change(sources)), signal), onWarning)
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
    const merged = this.#sources.some(source => source.merged)
    const wanted = packedCache === undefined || packedCache === false || merged ? undefined : packedCache
    const file = wanted && await packedCacheFile(wanted, this.#sources, this.#cacheKind)
    if (file !== undefined) await removeLeftovers(file)
    throwIfAborted(signal)
    this.#check()
    const { nonFinite, cache, cacheNote } = await settle(() => this.#track(this.#model.load(this.#sources, onProgress, file)), signal)
    this.#packedCache = file === undefined || cache === 'off'
      ? undefined
      : { outcome: cache, file, ...(cacheNote !== '' && { reason: cacheNote }) }
    if (cache === 'unwritten')
      warn(
        {
          code: 'PACKED_CACHE',
          message: `The packed cache "${file}" could not be written, so the next load packs the weights again: ${cacheNote}`,
        },
        onWarning,
      )
    if (this.#unused.length > 0) {
      const message = `Tensors in ${this.#where} that the ${this.name} does not have are not used: ${firstFew(this.#unused)}`
      warn({ code: 'CHECKPOINT', message }, onWarning)
    }
    this.#warnOfNonFinite(nonFinite, onWarning)
  }

  #warnOfNonFinite(weights: string[], onWarning: WeightsLoadOptions['onWarning']): void {
    if (weights.length === 0) return
    const message = `Some weights in ${this.#where} are NaN or infinite, so images may be black: ${firstFew(weights)}`
    warn({ code: 'NON_FINITE_WEIGHTS', message, weights }, onWarning)
  }

  async forward(inputs: ForwardInputs, signal: AbortSignal | undefined): Promise<ForwardOutputs> {
    this.#check()
    return settle(() => this.#track(this.#model.forward(inputs)), signal)
  }

  /** Compiles passes that hand features on; see {@link NativeModel.createRun}. */
  async createRun(
    shape: ForwardShape, steps: RunStep[], runParts: RunParts | undefined, others: readonly NativePart[], signal: AbortSignal | undefined,
  ): Promise<PartRun> {
    const parts: NativePart[] = [this, ...others]
    for (const part of parts) part.#check()
    const run = await settle(() => this.#track(this.#model.createRun(shape, steps, runParts, others.map(part => part.#model))), signal)
    const call = async <T>(part: NativePart | undefined, begin: () => NativeCall<T>, end: AbortSignal | undefined): Promise<T> => {
      const on = part ?? this
      on.#check()
      return settle(() => on.#track(begin()), end)
    }
    const at = (step: number): NativePart | undefined => parts[run.info.steps[step]?.unet ?? 0]
    return {
      info: run.info,
      condition: async (values, end) => call(this, () => run.condition(values), end),
      probe: async (step, renew, inputs, end) => call(at(step), () => run.probe(step, renew, inputs), end),
      forward: async (step, inputs, chosen, end) => call(at(step), () => run.forward(step, inputs, chosen), end),
      dispose: () => run.dispose(),
    }
  }

  /** Gives the memory of activations back once the calls under way are done. */
  trim(): void {
    if (!this.#disposed) this.#model.trim()
  }

  /**
   * Stops calls under way (they reject with an `AbortError`), frees everything, and waits until all have stopped. Later calls fail with
   * `DISPOSED`.
   */
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
