import { settle, untilAborted } from '../base/abort'
import { AsdmError, throwIfAborted } from '../base/errors'
import { withPrecision } from '../model/precision'
import { firstFew, matchWeights } from '../model/weights'
import type {
  Addon, ForwardInputs, ForwardOutputs, ForwardShape, NativeCall, NativeModel, NativeModelOptions, NativeModelSpec, NativeRun, RunInfo,
  RunParts, RunStep, ProgramInfo,
} from '../native/binding'
import type { WeightSource } from '../native/configs'
import type { WeightsLoadOptions } from './options'
import { packedCacheFile, removeLeftovers, type PackedCache } from './packed-cache'
import { warn } from './warnings'

/** Passes of one shape that hand features on. */
export interface PartRun {
  readonly info: RunInfo
  probe(step: number, renew: number[], inputs: ForwardInputs, signal: AbortSignal | undefined): Promise<number[]>
  forward(step: number, inputs: ForwardInputs, chosen: number | undefined, signal: AbortSignal | undefined): Promise<ForwardOutputs>
  dispose(): void
}

/** One native graph with its weights: what the public components are made of. */
export class NativePart {
  readonly #model: NativeModel
  readonly #sources: WeightSource[]
  readonly #where: string
  /** Tensors beside the weights that the graph does not have. */
  #unused: string[] = []
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
  constructor(
    addon: Addon, spec: NativeModelSpec, options: NativeModelOptions, sources: readonly WeightSource[], where: string,
    readonly name: string,
  ) {
    this.#where = where
    const precise = withPrecision(spec, options)
    this.#model = addon.createModel(spec, precise)
    try {
      this.#sources = matchWeights(this.#model.weights(), sources, where, names => { this.#unused = names })
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
    if (nonFinite.length === 0) return
    const few = firstFew(nonFinite)
    warn(
      {
        code: 'NON_FINITE_WEIGHTS', message: `Some weights in ${this.#where} are NaN or infinite, so pictures may be black: ${few}`,
        weights: nonFinite,
      },
      onWarning,
    )
  }

  async forward(inputs: ForwardInputs, signal: AbortSignal | undefined): Promise<ForwardOutputs> {
    this.#check()
    return settle(() => this.#track(this.#model.forward(inputs)), signal)
  }

  /** Compiles passes that hand features on; see {@link NativeModel.createRun}. */
  createRun(shape: ForwardShape, steps: RunStep[], runParts: RunParts | undefined, others: readonly NativePart[]): PartRun {
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
