import type { ResultStore } from '../results/store'
import { decodeRound, encodeRound } from '../tasks/codec'
import type { Job, JobRequest } from './job'
import type { KeptJob } from './ledger'

/** A job as JSON: its request's images lie in the store. */
export async function encodeJob({ id, api, createdMs, request }: Job, store: ResultStore): Promise<string> {
  const rounds = await Promise.all(request.rounds.map(round => encodeRound(round, store)))
  return JSON.stringify({ id, api, createdMs, request: { ...request, rounds } })
}

/** How a job ended, as JSON. */
export function encodeEnd({ state, finishedMs, results, problem }: Job): string {
  return JSON.stringify({ state, finishedMs, results: results.filter(each => each !== undefined), problem })
}

/** A job as it was written down. Of one that has ended the images that were handed in are not read. */
export async function decodeJob(job: string, end: string | undefined | null, store: ResultStore): Promise<KeptJob> {
  const { request, ...rest } = JSON.parse(job) as Omit<KeptJob, 'request'> & { request: Omit<JobRequest, 'rounds'> & { rounds: unknown[] } }
  const ended = end === undefined || end === null ? undefined : JSON.parse(end) as KeptJob['end']
  const rounds = await Promise.all(request.rounds.map(round => {
    const { image, mask, ...plain } = round as Record<string, unknown>
    const given = { ...(image !== undefined && { image }), ...(mask !== undefined && { mask }) }
    return decodeRound(ended === undefined ? { ...plain, ...given } : plain, store)
  }))
  return { ...rest, request: { ...request, rounds }, end: ended }
}
