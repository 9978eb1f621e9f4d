import { AsdmError, abortError, shown, type ErrorCode } from '../base/errors'
import { isError } from '../base/realms'
import type {
  Addon, CpuInfo, ForwardInputs, ForwardOutputs, ForwardShape, GraphInfo, LoadProgress, LoadResult, NativeCall, NativeModel,
  NativeModelOptions, NativeModelSpec, NativeRun, RunInfo, RunParts, RunStep, PeakRequest, ProgramInfo, WeightRequest,
} from './binding'
import type { WeightSource } from './configs'

/** Ends a call: `(null, result)`, or `(code, message)` where the code is one of `ErrorCode` or `ABORTED`. */
type Settle<T> = (code: string | null, value: T | string) => void

/** The class that the binary exports (native/napi/model.h). `load` and `forward` give the number by which `cancel` knows the call. */
interface RawModel {
  readonly cpu: string
  weights(): WeightRequest[]
  tapNames(): string[]
  graph(): GraphInfo
  describe(shape: ForwardShape, taps?: string[]): ProgramInfo
  load(
    sources: WeightSource[], progress: ((bytesDone: number, bytesTotal: number) => void) | undefined, settle: Settle<LoadResult>,
    cache: string | undefined,
  ): number
  share(other: RawModel, settle: Settle<LoadResult>): number
  forward(inputs: ForwardInputs, settle: Settle<ForwardOutputs>): number
  createRun(shape: ForwardShape, steps: RunStep[], parts: RunParts | undefined, others: RawModel[]): { ids: number[], info: RunInfo }
  probeRun(run: number, step: number, renew: number[], inputs: ForwardInputs, settle: Settle<number[]>): number
  forwardRun(run: number, step: number, chosen: number, inputs: ForwardInputs, settle: Settle<ForwardOutputs>): number
  disposeRun(run: number): void
  cancel(call: number): void
  trim(): void
  dispose(): void
}

/** What the binary exports. */
export interface RawAddon {
  readonly abi: number
  cpuInfo(): CpuInfo
  createModel(spec: NativeModelSpec, options: NativeModelOptions): RawModel
  measurePeak(request: PeakRequest): number
}

/** Makes the typed binding of a binary: promises of callbacks, `AsdmError` and `AbortError` of codes. */
export function wrapAddon(raw: RawAddon): Addon {
  return {
    abi: raw.abi,
    cpuInfo: () => translated(() => raw.cpuInfo()),
    createModel: (spec, options) => new Model(translated(() => raw.createModel(spec, options))),
    measurePeak: request => translated(() => raw.measurePeak(request)),
  }
}

/** Native errors carry a `code`; anything else (a stack overflow, for example) is not ours and passes as it is. */
function translated<T>(call: () => T): T {
  try {
    return call()
  } catch (error) {
    const { code, message, cause } = error as { code?: unknown, message?: unknown, cause?: unknown }
    if (!isError(error) || typeof code !== 'string') throw error
    throw new AsdmError(code as ErrorCode, String(message), cause === undefined ? undefined : { cause })
  }
}

/** Frees the features of runs that were collected before they were disposed. */
const abandoned = new FinalizationRegistry<() => void>(free => free())

class Model implements NativeModel {
  readonly #raw: RawModel

  constructor(raw: RawModel) {
    this.#raw = raw
  }

  get cpu(): string {
    return this.#raw.cpu
  }

  weights(): WeightRequest[] {
    return translated(() => this.#raw.weights())
  }

  tapNames(): string[] {
    return translated(() => this.#raw.tapNames())
  }

  graph(): GraphInfo {
    return translated(() => this.#raw.graph())
  }

  describe(shape: ForwardShape, taps?: string[]): ProgramInfo {
    return translated(() => this.#raw.describe(shape, taps))
  }

  load(sources: WeightSource[], onProgress?: (progress: LoadProgress) => void, cache?: string): NativeCall<LoadResult> {
    // A listener that throws stops the load, which then rejects with what it threw.
    let thrown: { error: unknown } | undefined
    const progress = typeof onProgress !== 'function' ? onProgress : (bytesDone: number, bytesTotal: number): void => {
      if (thrown !== undefined) return
      try {
        onProgress({ bytesDone, bytesTotal })
      } catch (error) {
        thrown = { error }
        call.cancel()
      }
    }
    const call = this.#start<LoadResult>(settle => this.#raw.load(sources, progress, settle, cache), () => thrown)
    return call
  }

  share(other: NativeModel): NativeCall<LoadResult> {
    return this.#start(settle => this.#raw.share(own(other).#raw, settle))
  }

  forward(inputs: ForwardInputs): NativeCall<ForwardOutputs> {
    return this.#start(settle => this.#raw.forward(inputs, settle))
  }

  createRun(shape: ForwardShape, steps: RunStep[], parts?: RunParts, others: readonly NativeModel[] = []): NativeRun {
    const models: Model[] = [this, ...others.map(own)]
    const raws = models.map(model => model.#raw)
    const { ids, info } = translated(() => this.#raw.createRun(shape, steps, parts, raws.slice(1)))
    const free = (): void => raws.forEach((raw, i) => raw.disposeRun(ids[i]))
    // A step that the run does not have is answered by the first model.
    const at = (step: number): number => info.steps[step]?.unet ?? 0
    const run: NativeRun = {
      info,
      probe: (step, renew, inputs) =>
        models[at(step)].#start(settle => models[at(step)].#raw.probeRun(ids[at(step)], step, renew, inputs, settle)),
      forward: (step, inputs, chosen = 0) =>
        models[at(step)].#start(settle => models[at(step)].#raw.forwardRun(ids[at(step)], step, chosen, inputs, settle)),
      dispose: () => {
        abandoned.unregister(run)
        translated(free)
      },
    }
    abandoned.register(run, free, run)
    return run
  }

  trim(): void {
    translated(() => this.#raw.trim())
  }

  dispose(): void {
    translated(() => this.#raw.dispose())
  }

  #start<T>(begin: (settle: Settle<T>) => number, overriding: () => { error: unknown } | undefined = () => undefined): NativeCall<T> {
    let id = 0
    // What the executor throws rejects the promise, but wrong arguments are to be thrown to the caller: hence the detour.
    let resolve!: (value: T) => void, reject!: (error: unknown) => void
    const promise = new Promise<T>((good, bad) => { resolve = good; reject = bad })
    translated(() => {
      id = begin((code, value) => {
        const override = overriding()
        if (override !== undefined) reject(override.error)
        else if (code === null) resolve(value as T)
        else if (code === 'ABORTED') reject(abortError())
        else reject(new AsdmError(code as ErrorCode, value as string))
      })
    })
    return { promise, cancel: () => this.#raw.cancel(id) }
  }
}

function own(model: NativeModel): Model {
  if (model instanceof Model) return model
  throw new AsdmError('INVALID_ARGUMENT', `Expected a model that this addon made but received ${shown(model)}`)
}
