import type { WeightSource } from './configs'
import { type Calls, translated, type Settle } from './native-call'
import type { AdamWStep, NativeTrainer, NativeTrainingBatch, NativeTrainingResult, TrainedWeight, TrainerKind } from './trainer'

/** The class that the binary exports (native/napi/training.h). */
export interface RawTrainer {
  readonly cpu: string
  weights(): TrainedWeight[]
  describe(shape: { batch: number, height: number, width: number, length: number }): { activationBytes: number, stateBytes: number }
  load(
    kind: TrainerKind, sources: WeightSource[], progress: ((bytesDone: number, bytesTotal: number) => void) | undefined,
    settle: Settle<string[]>,
  ): number
  write(kind: TrainerKind, name: string, values: Float32Array, settle: Settle<undefined>): number
  read(kind: TrainerKind, name: string, first: number, rows: number, settle: Settle<Float32Array>): number
  begin(fresh: boolean, steps: number, settle: Settle<undefined>): number
  accumulate(batch: NativeTrainingBatch, backward: boolean, settle: Settle<NativeTrainingResult>): number
  firstNonFinite(batch: NativeTrainingBatch, settle: Settle<string>): number
  update(step: AdamWStep, settle: Settle<number>): number
  dispose(): void
}

/** As `wrapAddon` does with models. */
export function wrapTrainer(calls: Calls, raw: RawTrainer): NativeTrainer {
  return {
    cpu: raw.cpu,
    weights: () => translated(() => raw.weights()),
    describe: shape => translated(() => raw.describe(shape)),
    load: (kind, sources, onProgress) => calls.start(settle => raw.load(kind, sources, onProgress, settle)),
    write: (kind, name, values) => calls.start(settle => raw.write(kind, name, values, settle)),
    read: (kind, name, first, rows) => calls.start(settle => raw.read(kind, name, first, rows, settle)),
    begin: (fresh, steps) => calls.start(settle => raw.begin(fresh, steps, settle)),
    accumulate: (batch, backward) => calls.start(settle => raw.accumulate(batch, backward, settle)),
    firstNonFinite: batch => calls.start(settle => raw.firstNonFinite(batch, settle)),
    update: step => calls.start(settle => raw.update(step, settle)),
    dispose: () => translated(() => raw.dispose()),
  }
}
