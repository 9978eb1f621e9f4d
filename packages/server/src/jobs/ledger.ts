import type { Problem } from '../errors'
import type { Api, Job, JobRequest } from './job'

/** A job as a ledger keeps it. */
export interface KeptJob {
  id: string
  api: Api
  createdMs: number
  request: JobRequest
  /** How it ended; `undefined` while it has not. */
  end: { state: 'done' | 'failed' | 'cancelled', finishedMs: number, results: readonly string[], problem?: Problem | undefined } | undefined
}

/** Where jobs are written down, so that they outlive the process. */
export interface Ledger {
  /** Jobs that have not ended and that nobody else sees to, in the order in which they came. */
  unfinished(): Promise<KeptJob[]>
  /** A job by its id. */
  find(id: string): Promise<KeptJob | undefined>
  /** Writes down a job that was taken; it is lasting when this resolves. */
  save(job: Job): Promise<void>
  /** Writes down how a job ended. */
  end(job: Job): Promise<void>
  close(): Promise<void>
}
