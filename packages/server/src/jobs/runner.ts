import type { ModelStore } from '../models/store'
import type { Job } from './job'

/** Carries jobs out. */
export interface Runner {
  /** Most jobs that are carried out at a time. */
  readonly parallel: number
  /** Makes a job's images. Rejects with what it failed with, or, once the job is cancelled, with anything. */
  run(job: Job): Promise<void>
  /** Lets go of connections. */
  close(): Promise<void>
}

/** The models of this process, one job at a time: a job takes all cores. */
export class LocalRunner implements Runner {
  readonly parallel = 1
  readonly #models: ModelStore

  constructor(models: ModelStore) {
    this.#models = models
  }

  async run(job: Job): Promise<void> {
    const { model, loras, rounds, preview } = job.request
    const lease = await this.#models.use(model, loras, job.signal)
    try {
      job.state = 'running'
      job.model = lease.name
      const side = lease.sd.sizes.default
      for (const [i, round] of rounds.entries()) {
        const { signal, wasSkipped } = job.beginRound(i)
        try {
          // Without a size an image that was handed in would give its own, whatever that is.
          const sized = { ...round, width: round.width ?? side, height: round.height ?? side }
          job.images.push(...await lease.sd.generate({ ...sized, preview, signal, onProgress: step => job.report(step) }))
        } catch (error) {
          if (!wasSkipped()) throw error
        }
      }
    } finally {
      lease.release()
    }
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}
