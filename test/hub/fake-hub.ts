import { createHash } from 'node:crypto'
import fs from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import type { ExecutionContext } from 'ava'
import { systemIO, type HubIO } from '../../lib/hub/io'
import { pullWith, type PulledModel, type PullOptions } from '../../lib/hub/pull'
import { fixture } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

export type Files = Record<string, Buffer>

/** A reference checkpoint as the files of a repository, with what published ones hold besides. */
export function checkpointFiles(set = 'sd21-tiny'): Files {
  const files: Files = {
    'README.md': Buffer.from('# tiny\n'), '.gitattributes': Buffer.from('*.safetensors filter=lfs\n'),
    'unet/diffusion_pytorch_model.bin': Buffer.from('pickle'),
  }
  for (const name of fs.readdirSync(fixture(set), { recursive: true, encoding: 'utf8' })) {
    const file = fixture(set, name)
    if (fs.statSync(file).isFile() && !path.basename(name).startsWith('expected.'))
      files[name.split(path.sep).join('/')] = fs.readFileSync(file)
  }
  return files
}

export const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
export const gitBlob = (bytes: Buffer): string => createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex')
const isLfs = (name: string): boolean => /\.(safetensors|bin)$/.test(name)
export const etagOf = (name: string, bytes: Buffer): string => (isLfs(name) ? sha256(bytes) : gitBlob(bytes))

export interface Asked {
  server: 'hub' | 'storage'
  url: string
  /** The file that was asked for, '' for a question about the repository. */
  file: string
  range: string | undefined
  authorization: string | undefined
}

type Answer = (request: http.IncomingMessage, response: http.ServerResponse, asked: Asked) => boolean | void | Promise<boolean | void>

/**
 * A hub on this machine: lists a repository page by page, gives small files itself and refers to a storage server, which is another
 * origin, for large ones.
 */
export class FakeHub {
  readonly repository = 'acme/tiny'
  readonly commit = '0123456789abcdef0123456789abcdef01234567'
  readonly asked: Asked[] = []
  /** Asked before anything else; `true` says that it has answered. */
  answer: Answer = () => {}
  /** Changes what is listed. */
  announce: (entries: any[]) => unknown = entries => entries
  pageSize = 7
  endpoint = ''
  storage = ''
  #hub = http.createServer((request, response) => void this.#serve('hub', request, response))
  #storage = http.createServer((request, response) => void this.#serve('storage', request, response))

  private constructor(readonly files: Files) {}

  static async start(t: ExecutionContext<any>, files: Files): Promise<FakeHub> {
    const hub = new FakeHub(files)
    const listen = async (server: http.Server): Promise<string> => {
      await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    }
    hub.endpoint = await listen(hub.#hub)
    hub.storage = await listen(hub.#storage)
    t.teardown(() => { for (const server of [hub.#hub, hub.#storage]) { server.closeAllConnections(); server.close() } })
    return hub
  }

  /** Stops answering, as if there were no such machine. */
  close(): void {
    for (const server of [this.#hub, this.#storage]) { server.closeAllConnections(); server.close() }
  }

  /** How often a file's bytes were asked for. */
  fetches(file: string): Asked[] {
    return this.asked.filter(asked => asked.file === file && (asked.server === 'storage') === isLfs(file))
  }

  async #serve(server: Asked['server'], request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const url = decodeURI(request.url ?? '')
    const file = server === 'storage' ? url.slice(1) : /\/resolve\/[0-9a-f]{40}\/(.+)$/.exec(url)?.[1] ?? ''
    const asked: Asked = { server, url, file, range: request.headers.range, authorization: request.headers.authorization }
    this.asked.push(asked)
    if (await this.answer(request, response, asked) === true) return
    if (url.startsWith(`/api/models/${this.repository}/revision/`))
      return json(response, 200, { _id: '1', id: this.repository, sha: this.commit, private: false, gated: false })
    if (url.startsWith(`/api/models/${this.repository}/tree/${this.commit}`)) return this.#list(url, response)
    const bytes = this.files[file]
    if (bytes === undefined) return json(response, 404, { error: 'nothing here' })
    if (server === 'hub' && isLfs(file))
      return void response.writeHead(302, {
        'location': `${this.storage}/${encodeURI(file)}`, 'x-linked-etag': `"${sha256(bytes)}"`, 'x-linked-size': bytes.length,
      }).end()
    sendBytes(response, bytes, asked.range)
  }

  #list(url: string, response: http.ServerResponse): void {
    const entries: any[] = Object.entries(this.files).map(([name, bytes]) => ({
      type: 'file', path: name, size: bytes.length, oid: gitBlob(bytes), ...(isLfs(name)
        && { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 } }),
    }))
    entries.unshift({ type: 'directory', path: 'unet', size: 0, oid: '0'.repeat(40) })
    const all = this.announce(entries)
    if (!Array.isArray(all)) return json(response, 200, all)
    const from = Number(/[?&]cursor=(\d+)/.exec(url)?.[1] ?? 0)
    const next = from + this.pageSize
    json(
      response, 200, all.slice(from, next),
      next < all.length ? { link: `<${this.endpoint}${url.replace(/&cursor=\d+/, '')}&cursor=${next}>; rel="next"` } : {},
    )
  }
}

export function json(response: http.ServerResponse, status: number, value: unknown, headers = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value))
}

/** A file, or the rest of it from where a range begins. */
export function sendBytes(response: http.ServerResponse, bytes: Buffer, range: string | undefined): void {
  const start = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0)
  if (range !== undefined && start >= bytes.length)
    return void response.writeHead(416, { 'content-range': `bytes */${bytes.length}` }).end()
  response.writeHead(range === undefined ? 200 : 206, {
    'content-length': bytes.length - start,
    ...(range !== undefined && { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` }),
  }).end(bytes.subarray(start))
}

/**
 * Announces the rest of a file, sends some of it, and breaks the connection: after 20 ms, in which the client may not have taken all, or
 * when it `has`, which is asked for up to 10 s.
 */
export function sendAndBreak(
  response: http.ServerResponse, bytes: Buffer, range: string | undefined, count: number, has?: () => boolean,
): void {
  const start = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0)
  response.writeHead(range === undefined ? 200 : 206, {
    'content-length': bytes.length - start,
    ...(range !== undefined && { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` }),
  })
  const end = performance.now() + 10_000
  const look = (): void => {
    if (has === undefined || has() || performance.now() > end) response.destroy()
    else setTimeout(look, 5)
  }
  response.write(bytes.subarray(start, start + count), () => setTimeout(look, 20))
}

/** Surroundings in which waiting takes no time; the pauses that were asked for are kept. */
export function quickIO(changes: Partial<HubIO> = {}): HubIO & { slept: number[] } {
  const slept: number[] = []
  return { ...systemIO, slept, sleep: async (ms, signal) => { slept.push(ms); await systemIO.sleep(Math.min(ms, 5), signal) }, ...changes }
}

export interface Setting {
  hub: FakeHub
  cache: string
  /** The repository's folder in the cache. */
  folder: string
  pull(options?: PullOptions, io?: HubIO): Promise<PulledModel>
}

/** A hub with a reference checkpoint, and an empty cache. */
export async function setting(t: ExecutionContext<any>, files: Files = checkpointFiles()): Promise<Setting> {
  const hub = await FakeHub.start(t, files)
  const cache = path.join(temporaryFolder(t), 'hub')
  return {
    hub, cache, folder: path.join(cache, 'models--acme--tiny'),
    pull: (options, io = quickIO()) =>
      pullWith(io, hub.repository, { endpoint: hub.endpoint, cache, token: false, offline: false, ...options }),
  }
}

/** All files below a folder, with `/`. */
export function filesBelow(folder: string): string[] {
  if (!fs.existsSync(folder)) return []
  return fs.readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(name =>
    !fs.lstatSync(path.join(folder, name)).isDirectory()).map(name => name.split(path.sep).join('/')).sort()
}
