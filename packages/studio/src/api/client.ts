/** Asks the server. Everything goes through `fetch`, so that the token goes along, which `<img>` and `EventSource` cannot send. */
import { signal } from '@preact/signals'
import type { Choices, Cost, CostBody, Job, JobBody, ListedModel, ModelDetails, Profile, Recipes, Settings } from './types'

/** Whether the server has refused us for want of a token. */
export const tokenWanted = signal(false)

const tokenKey = 'asdm.token'

/** An answer that is an error, with the server's sentence. */
export class ApiError extends Error {
  constructor(readonly code: string, message: string, readonly status: number) {
    super(message)
    this.name = 'ApiError'
  }
}

export function setToken(token: string): void {
  sessionStorage.setItem(tokenKey, token)
  tokenWanted.value = false
}

/** What went wrong, in words. */
export function sentenceOf(error: unknown): string {
  if (error instanceof ApiError) return error.message
  if (error instanceof TypeError) return 'The server does not answer. Is asdm serve still running?'
  return error instanceof Error ? error.message : String(error)
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'AbortError'
}

interface Asking { method?: string, body?: unknown, abort?: AbortSignal | undefined }

async function ask(path: string, { method, body, abort }: Asking = {}): Promise<Response> {
  const token = sessionStorage.getItem(tokenKey)
  const response = await fetch(path, {
    method: method ?? (body === undefined ? 'GET' : 'POST'), ...(abort !== undefined && { signal: abort }),
    headers: { ...(token !== null && { authorization: `Bearer ${token}` }), ...(body !== undefined && { 'content-type': 'application/json' }) },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  if (response.ok) return response
  if (response.status === 401) tokenWanted.value = true
  const { error } = await response.json().catch(() => ({})) as { error?: { code?: string, message?: string } }
  throw new ApiError(error?.code ?? 'HTTP', error?.message ?? `The server answered ${response.status}.`, response.status)
}

async function json<Answer>(path: string, asking?: Asking): Promise<Answer> {
  return await (await ask(path, asking)).json() as Answer
}

export const api = {
  models: () => json<ListedModel[]>('/api/models'),
  choices: () => json<Choices>('/api/choices'),
  describe: (body: { model?: string, width?: number, height?: number }, abort?: AbortSignal) => json<ModelDetails>('/api/models/describe', { body, abort }),
  cost: (body: CostBody, abort?: AbortSignal) => json<Cost>('/api/plans/cost', { body, abort }),
  profile: (body: { model?: string, width?: number, height?: number }, abort?: AbortSignal) => json<Profile>('/api/profile', { body, abort }),
  recipes: () => json<Recipes>('/api/recipes'),
  assemble: (body: { recipe: object, checkpoints: Record<string, string>, name: string }) => json<{ name: string }>('/api/recipes/assemble', { body }),
  settings: async (image: string) => (await json<{ settings?: Settings }>('/api/settings', { body: { image } })).settings,
  submit: (body: JobBody) => json<Job>('/api/jobs', { body }),
  job: (id: string) => json<Job>(`/api/jobs/${id}`),
  jobs: () => json<Job[]>('/api/jobs'),
  cancel: (id: string) => json<Job>(`/api/jobs/${id}`, { method: 'DELETE' }),
  file: async (url: string) => (await ask(url)).blob(),
}

/** What a job says while it runs. */
export interface JobWatcher {
  state: (job: Job) => void
  preview: (images: string[]) => void
}

/**
 * Follows a job to its end. A connection that breaks is taken up again.
 * @returns the job as it ended
 */
export async function follow(id: string, watcher: JobWatcher, abort: AbortSignal): Promise<Job> {
  for (let failures = 0; ; failures++) {
    try {
      const response = await ask(`/api/jobs/${id}/events`, { abort })
      for await (const { event, data } of eventsOf(response)) {
        failures = 0
        if (event === 'preview') watcher.preview((data as { images: string[] }).images)
        if (event !== 'state') continue
        watcher.state(data as Job)
        if (isOver(data as Job)) return data as Job
      }
    } catch (error) {
      if (abort.aborted || error instanceof ApiError || failures > 20) throw error
    }
    await new Promise(resolve => setTimeout(resolve, Math.min(250 * 2 ** failures, 5000)))
    if (abort.aborted) throw new DOMException('Left', 'AbortError')
  }
}

/** Whether nothing changes any more. */
export const isOver = ({ state }: Job): boolean => state === 'done' || state === 'failed' || state === 'cancelled'

async function* eventsOf({ body }: Response): AsyncGenerator<{ event: string, data: unknown }> {
  if (body === null) return
  const reader = body.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      text += value
      for (let at = text.indexOf('\n\n'); at >= 0; at = text.indexOf('\n\n')) {
        const [, event = '', data = ''] = /^event: (.*)\ndata: (.*)$/s.exec(text.slice(0, at)) ?? []
        text = text.slice(at + 2)
        if (event !== '') yield { event, data: JSON.parse(data) as unknown }
      }
    }
  } finally {
    void reader.cancel().catch(() => {})
  }
}
