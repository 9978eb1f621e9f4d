import type { Preview, Step } from 'asdm'
import type { GeneratedImage } from 'asdm'
import { ServerError } from '../errors'
import type { Job } from '../jobs/job'
import type { Runner } from '../jobs/runner'
import { imageOfPng } from '../results/png'
import type { ResultStore } from '../results/store'
import { tasksOf, type Task } from './task'

/** How far a task is. */
export interface TaskStep {
  phase: Step['phase']
  /** Denoising steps that are done, and all of them. */
  step: number
  steps: number
  etaMs: number | undefined
  preview: readonly Preview[] | undefined
}

/** What whoever performs a task is told. */
export interface TaskContext {
  job: Job
  signal: AbortSignal
  report(step: TaskStep): void
}

/** Sees to it that a task's image lies among the results. @returns its name there */
export type Perform = (task: Task, context: TaskContext) => Promise<string>

/** Makes jobs image by image; what lies among the results already is not made again. */
export class TaskRunner implements Runner {
  readonly #store: ResultStore
  readonly #perform: Perform

  /** @param parallel one job, image by image, or with Infinity all at once */
  constructor(store: ResultStore, perform: Perform, readonly parallel: number, readonly close: () => Promise<void>) {
    this.#store = store
    this.#perform = perform
  }

  async run(job: Job): Promise<void> {
    const rounds = await tasksOf(job.request, this.#store)
    job.signal.throwIfAborted()
    const total = rounds.flat().length
    const shares: number[] = new Array<number>(total).fill(0)
    const batches = this.parallel === 1 ? rounds : [rounds.flat()]
    let first = 0
    for (const [i, tasks] of batches.entries()) {
      const { signal, wasSkipped } = job.beginRound(i)
      const made: (GeneratedImage | undefined)[] = []
      const others = new AbortController()
      const any = AbortSignal.any([signal, others.signal])
      const one = async (task: Task, at: number): Promise<void> => {
        const result = await this.#perform(task, {
          job, signal: any, report: step => {
            shares[first + at] = step.phase === 'done' ? 1 : Math.max(shares[first + at]!, step.step / (step.steps + 1))
            job.reportTask(step, shares.reduce((sum, share) => sum + share, 0) / total)
          },
        })
        const image = await imageOfResult(this.#store, result)
        if (image === undefined) throw new ServerError('RESULT_DAMAGED', `Expected the result ${result} but it is gone`)
        made[at] = image
        job.results[first + at] = result
        shares[first + at] = 1
      }
      try {
        if (this.parallel === 1) for (const [at, task] of tasks.entries()) await one(task, at)
        else await Promise.all(tasks.map(one))
      } catch (error) {
        others.abort(error)
        if (!wasSkipped()) throw error
      } finally {
        job.images.push(...made.filter(image => image !== undefined))
      }
      first += tasks.length
    }
    job.results = job.results.filter(result => result !== undefined)
  }
}

/** An image among the results. @throws ServerError `RESULT_DAMAGED` */
export async function imageOfResult(store: ResultStore, result: string): Promise<GeneratedImage | undefined> {
  const png = await store.get(result)
  return png === undefined ? undefined : imageOfPng(png)
}
