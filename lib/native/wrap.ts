import { AsdmError, shown } from '../base/errors'
import type {
  Addon, CpuInfo, DeviceInfo, ForwardInputs, ForwardOutputs, ForwardShape, GraphInfo, LoadProgress, LoadResult, NativeCall, NativeModel,
  NativeModelOptions, NativeModelSpec, NativeRun, PassInputs, PeakRequest, ProgramInfo, RunInfo, RunParts, RunStep, WeightRequest,
} from './binding'
import type { InputValues } from './inputs'
import type { WeightSource } from './configs'
import { Calls, translated, type Settle } from './native-call'
import type { NativeTrainerOptions, NativeTrainerSpec } from './trainer'
import { wrapTrainer, type RawTrainer } from './wrap-trainer'

/** The class of the binary's models (native/napi/model.h). What takes a `settle` gives the number by which `cancel` knows the call. */
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
  change(sources: WeightSource[], settle: Settle<string[]>): number
  share(other: RawModel, settle: Settle<LoadResult>): number
  forward(inputs: ForwardInputs, settle: Settle<ForwardOutputs>): number
  createRun(shape: ForwardShape, steps: RunStep[], parts: RunParts | undefined, others: RawModel[], settle: Settle<RawRun>): number
  trim(): void
  dispose(): void
}

/** The binary's runs (native/napi/run.h). */
interface RawRun {
  readonly info: RunInfo
  condition(values: InputValues, settle: Settle<undefined>): number
  probe(step: number, renew: number[], inputs: PassInputs, settle: Settle<number[]>): number
  forward(step: number, chosen: number, inputs: PassInputs, settle: Settle<ForwardOutputs>): number
  dispose(): void
}

/** What the binary exports. */
export interface RawAddon {
  readonly abi: number
  cpuInfo(): CpuInfo
  devices(): DeviceInfo[]
  loadDevices(path: string): void
  createModel(spec: NativeModelSpec, options: NativeModelOptions): RawModel
  createTrainer(spec: NativeTrainerSpec & { kind: 'unet' }, options: NativeTrainerOptions): RawTrainer
  /** Copies a piece of large inputs of calls that were started; true while there is more. */
  feed(): boolean
  cancel(call: number): void
  measurePeak(request: PeakRequest): number
}

/** Makes the typed binding of a binary: promises of callbacks, `AsdmError` and `AbortError` of codes. */
export function wrapAddon(raw: RawAddon): Addon {
  const calls = new Calls(raw)
  return {
    abi: raw.abi,
    cpuInfo: () => translated(() => raw.cpuInfo()),
    devices: () => translated(() => raw.devices()),
    loadDevices: path => {
      translated(() => {
        raw.loadDevices(path)
      })
    },
    createModel: (spec, options) => new Model(calls, translated(() => raw.createModel(spec, options))),
    createTrainer: (spec, options) => wrapTrainer(calls, translated(() => raw.createTrainer({ kind: 'unet', ...spec }, options))),
    measurePeak: request => translated(() => raw.measurePeak(request)),
  }
}

class Model implements NativeModel {
  readonly #calls: Calls
  readonly #raw: RawModel

  constructor(calls: Calls, raw: RawModel) {
    this.#calls = calls
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
    const call = this.#calls.start<LoadResult>(settle => this.#raw.load(sources, progress, settle, cache), () => thrown)
    return call
  }

  change(sources: WeightSource[]): NativeCall<string[]> {
    return this.#calls.start(settle => this.#raw.change(sources, settle))
  }

  share(other: NativeModel): NativeCall<LoadResult> {
    return this.#calls.start(settle => this.#raw.share(own(other).#raw, settle))
  }

  forward(inputs: ForwardInputs): NativeCall<ForwardOutputs> {
    return this.#calls.start(settle => this.#raw.forward(inputs, settle))
  }

  createRun(shape: ForwardShape, steps: RunStep[], parts?: RunParts, others: readonly NativeModel[] = []): NativeCall<NativeRun> {
    const models: Model[] = [this, ...others.map(own)]
    const raws = models.map(model => model.#raw)
    const { promise, cancel } = this.#calls.start<RawRun>(settle => this.#raw.createRun(shape, steps, parts, raws.slice(1), settle))
    return { promise: promise.then(raw => new Run(this.#calls, raw, models)), cancel }
  }

  trim(): void {
    translated(() => this.#raw.trim())
  }

  dispose(): void {
    translated(() => this.#raw.dispose())
  }
}

/** Keeps a run's models, since one that is collected stops its calls. */
const modelsOf = new WeakMap<Run, readonly Model[]>()

class Run implements NativeRun {
  readonly info: RunInfo
  readonly #calls: Calls
  readonly #raw: RawRun

  constructor(calls: Calls, raw: RawRun, models: readonly Model[]) {
    this.info = raw.info
    this.#calls = calls
    this.#raw = raw
    modelsOf.set(this, models)
  }

  condition(values: InputValues): NativeCall<undefined> {
    return this.#calls.start(settle => this.#raw.condition(values, settle))
  }

  probe(step: number, renew: number[], inputs: PassInputs): NativeCall<number[]> {
    return this.#calls.start(settle => this.#raw.probe(step, renew, inputs, settle))
  }

  forward(step: number, inputs: PassInputs, chosen = 0): NativeCall<ForwardOutputs> {
    return this.#calls.start(settle => this.#raw.forward(step, chosen, inputs, settle))
  }

  dispose(): void {
    translated(() => this.#raw.dispose())
  }
}

function own(model: NativeModel): Model {
  if (model instanceof Model) return model
  throw new AsdmError('INVALID_ARGUMENT', `Expected a model that this addon made but received ${shown(model)}`)
}
