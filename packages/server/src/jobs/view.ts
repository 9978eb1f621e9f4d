import { bytesOfText } from '../images'
import type { NamedLora } from '../models/store'
import type { Job, JobRequest, Round } from './job'
import type { JobQueue } from './queue'

/** What `POST /api/jobs` takes. */
export interface JobBody extends Omit<Round, 'seed' | 'image' | 'mask' | 'prompt'> {
  prompt: string | string[]
  model?: string
  loras?: { name: string, weight?: number }[]
  seed?: number | string | (number | string)[]
  image?: string
  mask?: string
  preview?: boolean
  priority?: number
}

/** @throws AsdmError `INVALID_ARGUMENT` */
export function requestOf({ model, loras = [], preview = false, priority = 0, seed, image, mask, ...rest }: JobBody): Omit<JobRequest, 'client'> {
  const round: Round = {
    ...rest,
    ...(seed !== undefined && { seed: Array.isArray(seed) ? seed.map(seedOf) : seedOf(seed) }),
    ...(image !== undefined && { image: bytesOfText(image, 'image') }),
    ...(mask !== undefined && { mask: bytesOfText(mask, 'mask') }),
  }
  return { model, loras: loras.map(({ name, weight = 1 }): NamedLora => ({ name, weight })), rounds: [round], preview, priority }
}

function seedOf(seed: number | string): number | bigint {
  return typeof seed === 'string' ? BigInt(seed) : seed
}

/** A job as clients see it. */
export function viewOf(job: Job, queue: JobQueue): Record<string, unknown> {
  const { id, api, state, model, createdMs, startedMs, finishedMs, progress, images, statistics, problem } = job
  return {
    id, api, state, model, createdMs, startedMs, finishedMs, progress, position: queue.position(job), statistics,
    images: images.map(({ width, height, settings }, i) => ({ url: `/api/jobs/${id}/images/${i}.png`, width, height, settings: plain(settings) })),
    ...(problem !== undefined && { error: { code: problem.code, message: problem.message } }),
  }
}

/** Settings as JSON; a seed beyond 2^53 is text. */
function plain(settings: object): unknown {
  return JSON.parse(JSON.stringify(settings, (_key, value: unknown) => typeof value === 'bigint' ? String(value) : value))
}
