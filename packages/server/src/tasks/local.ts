import os from 'node:os'
import type { Step } from 'asdm'
import { hashModel } from '../models/hash'
import type { ModelStore } from '../models/store'
import type { ModelOptions } from '../options'
import type { ResultStore } from '../results/store'
import type { TaskStep } from './runner'
import { make, resultOf, type Task } from './task'

/** Kinds of machines: within one the same request gives the same bits. */
export function kindOf({ dtype = 'fp32', cpu = process.env.ASDM_CPU ?? 'auto', device }: ModelOptions): string {
  return [process.arch, os.cpus()[0]?.model ?? '', cpu, device ?? process.env.ASDM_DEVICE ?? 'auto', dtype].join(', ')
}

/** Makes tasks' images with the models of this process. */
export class TaskMaker {
  readonly #models: ModelStore
  readonly #store: ResultStore
  readonly #load: ModelOptions
  readonly #hashes = new Map<string, { changedMs: number, hash: Promise<string> }>()

  constructor(models: ModelStore, store: ResultStore, load: ModelOptions) {
    this.#models = models
    this.#store = store
    this.#load = load
  }

  /** The hash of a model's or LoRA's files, which are read once for each time that they change. */
  async hash(source: string, changedMs = 0): Promise<string> {
    const known = this.#hashes.get(source)
    if (known?.changedMs === changedMs) return known.hash
    const hash = hashModel(source)
    this.#hashes.set(source, { changedMs, hash })
    hash.catch(() => this.#hashes.delete(source))
    return hash
  }

  /** LoRAs of this process by name, with the hashes of their files. */
  async loras(): Promise<Map<string, string>> {
    const all = await this.#models.loras()
    return new Map(await Promise.all(all.map(async ({ name, path }) => [name, await this.hash(path)] as const)))
  }

  /**
   * Makes an image, unless it is among the results.
   * @returns its name there
   */
  async make(
    task: Task, options: { signal: AbortSignal, preview: boolean, report(step: TaskStep): void, began(): void },
  ): Promise<{ result: string, made: boolean }> {
    const { signal, preview, report, began } = options
    const result = await this.resultOf(task)
    if (await this.#store.has(result)) return { result, made: false }
    const lease = await this.#models.use(task.model, task.loras, signal)
    try {
      began()
      let [step, steps] = [0, 0]
      const onProgress = (at: Step): void => {
        if (at.phase === 'denoise') [step, steps] = [at.index, at.of]
        report({ phase: at.phase, step, steps, etaMs: at.etaMs, preview: at.phase === 'denoise' ? at.preview : undefined })
      }
      await this.#store.put(result, await make(task, lease.sd, this.#store, { signal, preview, onProgress }))
      return { result, made: true }
    } finally {
      lease.release()
    }
  }

  /** The name of the task's image, where it is made here. */
  async resultOf(task: Task): Promise<string> {
    const { source, changedMs } = await this.#models.find(task.model)
    const loras = task.loras.length === 0 ? undefined : await this.loras()
    const hashes = task.loras.map(({ name }) => loras?.get(name) ?? name)
    return resultOf(task, { model: await this.hash(source, changedMs), kind: kindOf(this.#load), loras: hashes })
  }
}
