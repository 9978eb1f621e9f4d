import fs from 'node:fs'
import path from 'node:path'
import type { ExecutionContext } from 'ava'
import { serve, type Server, type ServerOptions } from '../../packages/server/src'
import { repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

/** Steps of tests' images: enough for previews. */
export const steps = 4

/** A server of the shipped model on a free port, and the lines of its log; it stops when the test ends. */
export async function started(
  t: ExecutionContext<any>, options: Partial<ServerOptions> = {},
): Promise<{ server: Server, url: string, log: string[] }> {
  const log: string[] = []
  const folder = options.models === undefined && options.model === undefined ? modelFolder(t, 'emoji') : undefined
  const server = await serve({
    port: 0, load: { threads: 2 }, log: line => log.push(line), ...(folder !== undefined && { models: folder }), ...options,
  })
  t.teardown(() => server.close())
  return { server, url: server.url, log }
}

/** A folder in which the shipped model stands under these names. */
export function modelFolder(t: ExecutionContext<any>, ...names: string[]): string {
  const folder = temporaryFolder(t)
  for (const name of names) {
    fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true })
    fs.symlinkSync(repoPath('models', 'emoji'), path.join(folder, name), 'junction')
  }
  return folder
}

/** Asks with JSON, and reads JSON. */
export async function ask(url: string, body?: unknown, init: RequestInit = {}): Promise<{ status: number, headers: Headers, json: any }> {
  const response = await fetch(url, {
    ...(body !== undefined && { method: 'POST', body: JSON.stringify(body) }), ...init,
    headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...init.headers },
  })
  const text = await response.text()
  return { status: response.status, headers: response.headers, json: text.startsWith('{') || text.startsWith('[') ? JSON.parse(text) : text }
}

/** Waits until a job has ended. */
export async function ended(url: string, id: string): Promise<any> {
  for (;;) {
    const { json } = await ask(`${url}/api/jobs/${id}`)
    if (['done', 'failed', 'cancelled'].includes(json.state)) return json
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

/** The events of a stream, as they come. */
export async function* events(response: Response): AsyncGenerator<{ event: string, data: any }> {
  let text = ''
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream()) as unknown as AsyncIterable<string>) {
    text += chunk
    for (let at = text.indexOf('\n\n'); at >= 0; at = text.indexOf('\n\n')) {
      const [, event, data] = /^event: (.*)\ndata: (.*)$/s.exec(text.slice(0, at)) ?? []
      text = text.slice(at + 2)
      if (event !== undefined) yield { event, data: JSON.parse(data) }
    }
  }
}
