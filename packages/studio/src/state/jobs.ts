/** The job that was asked for in this browser: followed, cancelled, found again after a reload. */
import { signal } from '@preact/signals'
import { api, ApiError, follow, isOver } from '../api/client'
import type { Job, JobBody, Statistics } from '../api/types'
import { keep, selected, type Item } from './gallery'
import { say } from './messages'
import { learn } from './speed'
import { stored } from './stored'

/** A job under way. */
export interface RunningJob {
  job: Job
  previews: readonly string[]
}

/** What runs or waits, in order. */
export const running = signal<readonly RunningJob[]>([])

/** Ids of jobs under way, which a reload takes up again. */
const pending = stored<string[]>('pending', [])

/** Submits a job and follows it. @returns the job as it ended, and its images */
export async function submit(body: JobBody): Promise<{ job: Job, items: Item[] }> {
  const job = await api.submit(body)
  pending.value = [...pending.value, job.id]
  return watch(job)
}

/** Takes up the jobs that a reload left. */
export async function resume(): Promise<void> {
  for (const id of pending.value) {
    void api.job(id).then(watch).catch((error: unknown) => {
      forget(id)
      if (!(error instanceof ApiError && error.status === 404)) throw error
    })
  }
}

/** Cancels what runs and what waits. */
export async function cancelAll(): Promise<void> {
  await Promise.all(running.value.map(({ job: { id } }) => api.cancel(id)))
}

async function watch(job: Job): Promise<{ job: Job, items: Item[] }> {
  const { id } = job
  const update = (changes: Partial<RunningJob>): void => {
    running.value = running.value.map(each => (each.job.id === id ? { ...each, ...changes } : each))
  }
  running.value = [...running.value, { job, previews: [] }]
  try {
    const watcher = { state: (state: Job) => update({ job: state }), preview: (previews: string[]) => update({ previews }) }
    const ended = isOver(job) ? job : await follow(id, watcher, new AbortController().signal)
    const items = ended.state === 'done' ? await itemsOf(ended) : []
    await keep(items).catch((error: unknown) => say(`The gallery keeps no more images: ${(error as Error).message}`, 'error'))
    if (items[0] !== undefined) selected.value = items[0].id
    if (ended.state === 'failed') say(ended.error?.message ?? 'The job failed.', 'error')
    return { job: ended, items }
  } finally {
    forget(id)
  }
}

function forget(id: string): void {
  pending.value = pending.value.filter(each => each !== id)
  running.value = running.value.filter(each => each.job.id !== id)
}

async function itemsOf(job: Job): Promise<Item[]> {
  const { id, model = '', images, startedMs, finishedMs, statistics } = job
  const createdMs = finishedMs ?? Date.now()
  for (const each of statistics ?? []) learn(model, each as unknown as Statistics)
  return Promise.all(images.map(async ({ url, settings }, i) => ({
    id: `${id}/${i}`, blob: await api.file(url), settings: settings, model, createdMs: createdMs - i / 1000,
    ms: startedMs === undefined ? undefined : createdMs - startedMs,
  })))
}
