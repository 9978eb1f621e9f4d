import path from 'node:path'
import { AsdmError, throwIfAborted } from '../base/errors'
import { abortSignal, callback, checkOptions, integer, optional, path as checkPath } from '../base/options'
import type { Warning } from '../components/warnings'
import { shownPath, statIfAny } from '../files/files'
import { makeFolders } from '../files/folders'
import type { JsonObject } from '../files/json'
import { readSafetensorsHeader } from '../files/safetensors'
import { writeWhole } from '../files/write'
import { lastCheckpoint, restoreCheckpoint, restoreWeights, saveCheckpoint, type CheckpointState } from './checkpoint'
import { differingSettings, distillKeys, fixedSettings, parseDistillation, type DistillSettings, type DistillStage } from './distill-options'
import { StepNumbers } from './noise'
import type { Term } from './objective'
import { prepare, type Prepared } from './prepare'
import { distillPage, type DistillCurves } from './report'
import { writeResult } from './result'
import { SheetPainter } from './sheet'
import { isStep, StageTraining, type StepResult } from './stage'
import { Trainer } from './trainer'

/** Where a distillation is. */
export interface DistillProgress {
  /** What it is doing. */
  phase: 'assemble' | 'data' | 'train' | 'validate' | 'sheet' | 'save' | 'done'
  /** How much of the phase is done, in units of its own: steps, images, … */
  done: number
  /** All of the phase. */
  of: number
  /** While training: the weighted sum of the losses, each loss by itself, and the gradients' norm. */
  step?: StepResult
  /** While training: samples a second. */
  imagesPerSecond?: number
  /** Time left, by the steps of this call so far and all that lay between them. */
  etaMs?: number
}

/** Options of {@link distill} beside its settings. */
export interface DistillCall {
  /** Folder to make. While training, `out` with `.training` behind holds checkpoints, caches and what else goes on. */
  out: string
  /** Stops after this step, with a checkpoint; the same call goes on. */
  stopAt?: number | undefined
  /** Threads; as `StableDiffusion.load` if left out. */
  threads?: number | undefined
  /** Kernel set; as `StableDiffusion.load`. */
  cpu?: string | undefined
  /** Aborts the training; the last checkpoint stays. */
  signal?: AbortSignal | undefined
  /** Is told of the progress. */
  onProgress?: ((progress: DistillProgress) => void) | undefined
  /** Is told of warnings. */
  onWarning?: ((warning: Warning) => void) | undefined
}

/** The settings of {@link distill}: as `schema/distill.schema.json` has them, defaults included. */
export type DistillOptions = DistillCall & {
  /** The teacher: a model folder, file or name. */
  teacher: string
} & Record<string, unknown>

/** What came of a distillation. */
export interface Distillation {
  /** The model's folder, or undefined where `stopAt` ended the training before its last step. */
  folder: string | undefined
  /** Steps that were taken in all. */
  steps: number
  /** The settings, defaults included. */
  settings: DistillSettings
  /** Losses over the steps. */
  curves: DistillCurves
}

const callKeys = ['out', 'stopAt', 'threads', 'cpu', 'signal', 'onProgress', 'onWarning'] as const

/**
 * Distils a model: trains a student UNet, as it is or as a recipe assembles it, to do what the teacher's does. Text encoder and VAE stay
 * as they are.
 * A training that was stopped, or killed, goes on with the same call from its last checkpoint, and ends with the same bits.
 * @throws AsdmError `INVALID_ARGUMENT`, `SHAPE_MISMATCH`, `BAD_CONFIG`, `OUT_OF_MEMORY` for what does not fit, before training begins;
 * `TRAINING_DIVERGED`, naming step and unit, where a number is not finite any more, and the last checkpoint stays; what models, images and
 * files give; an `AbortError` when the signal fires
 */
export async function distill(options: DistillOptions): Promise<Distillation> {
  const given = checkOptions(options, [...distillKeys, ...callKeys], 'distill')
  const isCallKey = (key: string): boolean => (callKeys as readonly string[]).includes(key)
  const settings = parseDistillation(Object.fromEntries(Object.entries(given).filter(([key]) => !isCallKey(key))))
  const training = new Training(settings, path.resolve(checkPath(given.out, 'out')), {
    stopAt: optional(given.stopAt, value => integer(value, 'stopAt', 1, 2 ** 31)) ?? Infinity,
    signal: optional(given.signal, value => abortSignal(value, 'signal')) ?? new AbortController().signal,
    threads: optional(given.threads, value => integer(value, 'threads', 1, 256)), cpu: optional(given.cpu, value => checkPath(value, 'cpu')),
    tell: optional(given.onProgress, value => callback<NonNullable<DistillCall['onProgress']>>(value, 'onProgress')) ?? (() => {}),
    onWarning: optional(given.onWarning, value => callback<NonNullable<DistillCall['onWarning']>>(value, 'onWarning')),
  })
  try {
    return await training.go()
  } finally {
    await training.end()
  }
}

interface Context {
  stopAt: number
  signal: AbortSignal
  threads: number | undefined
  cpu: string | undefined
  tell(progress: DistillProgress): void
  onWarning: DistillCall['onWarning']
}

class Training {
  readonly #work: string
  readonly #total: number
  #curves: DistillCurves = { train: [], validation: [] }
  #prepared: Prepared | undefined
  #trainer: Trainer | undefined
  #painter: SheetPainter | undefined
  /** Names of weights that are not the student's own any more. */
  #changed = new Set<string>()
  /** When this process began to train, and at which step. */
  #began = { ms: 0, step: 0 }

  constructor(readonly settings: DistillSettings, readonly out: string, readonly context: Context) {
    this.#work = `${out}.training`
    this.#total = settings.stages.reduce((sum, { steps }) => sum + steps, 0)
  }

  async go(): Promise<Distillation> {
    const { settings, context, out } = this
    throwIfAborted(context.signal)
    let found = await lastCheckpoint(this.#work)
    const differing = found === undefined ? [] : differingSettings(found.state.options, fixedSettings(settings))
    if (differing.length > 0)
      throw new AsdmError('INVALID_ARGUMENT',
        `Expected the settings that ${shownPath(this.#work)} was begun with, but ${differing.join(', ')} differ; give another out, or remove that `
        + 'folder')
    if (found === undefined && await statIfAny(out) !== undefined)
      throw new AsdmError('INVALID_ARGUMENT', `Expected out to be a folder that does not exist yet but there is something at ${shownPath(out)}`)
    await makeFolders(this.#work)
    this.#prepared = await prepare({ ...context, settings, work: this.#work })
    this.#painter = new SheetPainter(this.#prepared, settings, context)
    if (found !== undefined) this.#curves = found.state.progress as unknown as DistillCurves

    let step = found?.state.step ?? 0
    this.#began = { ms: performance.now(), step }
    let begin = 0
    for (const [number, stage] of settings.stages.entries()) {
      const end = begin + stage.steps
      if (step < end || number === settings.stages.length - 1) {
        const terms = this.#prepared.terms[number]!
        await this.#enter(number, stage, terms, found)
        step = await this.#train(number, stage, terms, { begin, step, end: Math.min(end, context.stopAt) })
        if (step < end) return this.#result(undefined, step)
        found = await lastCheckpoint(this.#work)
      }
      begin = end
    }
    await this.#finish(step)
    return this.#result(out, step)
  }

  async end(): Promise<void> {
    this.#trainer?.dispose()
    await Promise.all([this.#prepared?.teacher.dispose(), this.#prepared?.data.close()])
  }

  #result(folder: string | undefined, steps: number): Distillation {
    this.context.tell({ phase: 'done', done: steps, of: this.#total })
    return { folder, steps, settings: this.settings, curves: this.#curves }
  }

  /** A trainer for a stage: where its checkpoint left it, or with the weights of the stage before. */
  async #enter(
    number: number, { train }: DistillStage, terms: readonly Term[], found: Awaited<ReturnType<typeof lastCheckpoint>>,
  ): Promise<void> {
    const { signal, threads, cpu } = this.context
    this.#trainer?.dispose()
    const losses = terms.map(({ loss }) => loss)
    const trainer = await Trainer.open(this.#prepared!.unet, { losses, train, average: true, threads, cpu, signal })
    this.#trainer = trainer
    for (const [i, { name, shape }] of trainer.weights.filter(({ adapter }) => adapter).entries()) {
      // As torch.nn.Linear spreads its weights, but normal; biases stay zero.
      if (shape.length > 1) {
        const { data } = new StepNumbers(this.settings.seed, -1 - i).randn(shape)
        await trainer.write('weight', name, data.map(value => value / Math.sqrt(3 * shape[1]!)))
      }
    }
    if (found !== undefined) {
      const stored = (await readSafetensorsHeader(path.join(found.folder, 'weights.safetensors'))).tensors
      this.#changed = new Set(stored.keys())
      if (found.state.stage === number) await restoreCheckpoint(found.folder, trainer, found.state, ({ name }) => stored.has(name), signal)
      else await restoreWeights(found.folder, trainer, ({ name }) => stored.has(name), signal)
    }
    if (found?.state.stage !== number) await trainer.begin()
    for (const { name, trained } of trainer.weights) if (trained) this.#changed.add(name)
  }

  async #train(
    number: number, stage: DistillStage, terms: readonly Term[], { begin, step: from, end }: { begin: number, step: number, end: number },
  ): Promise<number> {
    const { settings, context: { signal, tell } } = this
    const training = new StageTraining(this.#prepared!, settings, stage, terms, this.#trainer!, this.#total, signal)
    let step = from
    while (step < end) {
      const result = await training.step(step, step - begin)
      step++
      this.#curves.train.push({ step, ...result })
      const passed = performance.now() - this.#began.ms, steps = step - this.#began.step
      tell({
        phase: 'train', done: step, of: this.#total, step: result, etaMs: passed / steps * (this.#total - step),
        imagesPerSecond: steps * settings.batch * settings.accumulate / passed * 1000,
      })
      const last = step === end
      if (isStep(step, settings.validateEvery) || (last && step === this.#total)) await this.#validate(training, step)
      if (isStep(step, settings.checkpointEvery) || last) await this.#save(number, step, step - begin)
      if (isStep(step, settings.sheetEvery)) await this.#sheet(step)
    }
    return step
  }

  async #validate(training: StageTraining, step: number): Promise<void> {
    this.context.tell({ phase: 'validate', done: step, of: this.#total })
    const result = await training.validate()
    if (result !== undefined) this.#curves.validation.push({ step, ...result })
  }

  async #save(stage: number, step: number, stageSteps: number): Promise<void> {
    this.context.tell({ phase: 'save', done: step, of: this.#total })
    const state: CheckpointState = {
      format: 'asdm-training', version: 1, step, stage, stageSteps, options: fixedSettings(this.settings),
      progress: this.#curves as unknown as JsonObject,
    }
    await saveCheckpoint(this.#work, this.#trainer!, state, ({ name }) => this.#changed.has(name), this.context.signal)
  }

  /** A contact sheet of the student as it is, in the folder of what goes on. */
  async #sheet(step: number): Promise<Uint8Array> {
    this.context.tell({ phase: 'sheet', done: step, of: this.#total })
    const preview = path.join(this.#work, 'preview')
    await this.#write(preview, {})
    const png = await this.#painter!.paint(preview)
    await writeWhole(path.join(this.#work, 'sheets', `step-${String(step).padStart(8, '0')}.png`), png, { folders: true })
    return png
  }

  async #write(folder: string, files: Record<string, string | Uint8Array>): Promise<void> {
    const { student, unet } = this.#prepared!
    await writeResult(folder, {
      trainer: this.#trainer!, student, unet, averaged: ({ trained }) => trained, changed: ({ name }) => this.#changed.has(name),
      dtype: this.settings.dtype, files,
    }, this.context.signal)
  }

  async #finish(step: number): Promise<void> {
    const sheet = await this.#sheet(step)
    await this.#write(this.out, {
      'distillation.json': `${JSON.stringify({ ...this.settings, curves: undefined }, undefined, 2)}\n`, 'sheet.png': sheet,
      'report.html': distillPage(this.settings, this.#curves, this.#painter!.prompts, sheet),
    })
  }
}
