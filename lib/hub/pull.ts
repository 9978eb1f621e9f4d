import { unlink } from 'node:fs/promises'
import path from 'node:path'
import { AsdmError, throwIfAborted } from '../base/errors'
import { abortSignal, boolean, callback, checkOptions, optional, path as checkPath } from '../base/options'
import { shownPath, statIfAny, writeError } from '../files/files'
import { makeFolders } from '../files/folders'
import { readJsonObject } from '../files/json'
import { checkIndex, readConfigSet } from '../model/folder'
import { checkVariant } from '../model/weight-files'
import { RepoCache } from './cache'
import { fetchBlob, mismatch } from './download'
import { checkEndpoint, checkToken, readSettings, readToken, type HubSettings } from './environment'
import { HubClient } from './http'
import { systemIO, type HubIO } from './io'
import { listRepository, resolveRevision, type RepoFile } from './listing'
import { withLock } from './lock'
import { checkRepositoryName, checkRevision } from './names'
import { selectFiles, shardsOf, type Selection, type VariantChoice } from './select'

/** How a pull goes on. */
export interface PullProgress {
  /** `list`: asking what there is; `wait`: another process pulls the same; `download`; `verify`: comparing hashes. */
  phase: 'list' | 'wait' | 'download' | 'verify'
  /** The file under way, '' where there is none. */
  file: string
  /** Bytes that are there, of all files that are needed; 0 before they are known. */
  bytesDone: number
  /** Bytes of all files that are needed; 0 before they are known. */
  bytesTotal: number
}

/** What to get, and from where. Whatever is left out comes from the environment variables that the hub's own tools read. */
export interface PullOptions {
  /** A branch, tag or commit; `main`. */
  revision?: string | undefined
  /** Variant of the weight files; `fp16` where there is one, or else the files without. `false` asks for those. */
  variant?: string | false | undefined
  /** Where the hub is: `HF_ENDPOINT`, or `https://huggingface.co`. */
  endpoint?: string | undefined
  /** Access token; `HF_TOKEN`, or what `hf auth login` has stored. `false` sends none. */
  token?: string | false | undefined
  /** The cache's folder: `HF_HUB_CACHE`, or `hub` in `HF_HOME`, or `~/.cache/huggingface/hub`. */
  cache?: string | undefined
  /** Use only what is in the cache; `HF_HUB_OFFLINE`. */
  offline?: boolean | undefined
  /** Compare files that are in the cache already with their hashes, too; wrong ones are fetched anew. */
  verify?: boolean | undefined
  /** Stops the pull, which then rejects with an `AbortError`; what has arrived is kept. */
  signal?: AbortSignal | undefined
  /** Called as files are listed, fetched and compared. */
  onProgress?: ((progress: PullProgress) => void) | undefined
}

/** A model that is whole in the cache. */
export interface PulledModel {
  /** `owner/name` */
  repository: string
  /** The branch, tag or commit that was asked for. */
  revision: string
  /** The commit that it stands for. */
  commit: string
  /** The snapshot, a diffusers folder. */
  path: string
  /** The variant of its weights, where they have one. */
  variant: string | undefined
  /** Files that it consists of. */
  files: string[]
  /** Bytes of the files. */
  bytes: number
  /** Bytes that were fetched this time. */
  bytesFetched: number
}

const pullKeys = [
  'revision', 'variant', 'endpoint', 'token', 'cache', 'offline', 'verify', 'signal', 'onProgress',
] as const satisfies readonly (keyof PullOptions)[]

/** Checked options. */
interface Request {
  repository: string
  revision: string
  variant: VariantChoice
  settings: HubSettings
  token: string | false | undefined
  verify: boolean
  signal: AbortSignal | undefined
  onProgress: (progress: PullProgress) => void
}

/**
 * Gets a diffusers model from the Hugging Face hub into the cache that the hub's tools share: only the files that a pipeline
 * needs, safetensors only. Pulls go on where an earlier one broke off; lengths and hashes are compared, and nothing is in the
 * model's folder that is not whole. Any number of processes may pull at once.
 * @param repository `owner/name`
 * @throws AsdmError `INVALID_ARGUMENT`, `UNSUPPORTED_FORMAT` for a repository without safetensors, `UNSUPPORTED_CONFIG` for one of
 * another kind, `FILE_NOT_FOUND`, `HUB_ACCESS`, `HUB_NOT_FOUND`, `HUB_RESPONSE`, `NETWORK`, `OFFLINE`, `BAD_DOWNLOAD`, `FILE_WRITE`;
 * an `AbortError` when the signal fires
 */
export async function pullModel(repository: string, options?: PullOptions): Promise<PulledModel> {
  return pullWith(systemIO, repository, options)
}

/** {@link pullModel} with other surroundings. Exported for tests and scripts. */
export async function pullWith(io: HubIO, repository: string, options?: PullOptions): Promise<PulledModel> {
  const request = parse(repository, options, 'pullModel')
  throwIfAborted(request.signal)
  return request.settings.offline ? fromCacheOffline(request, io) : pull(request, io)
}

/**
 * A model for loading: as it is in the cache if it is whole there, without asking the hub whether there is a newer one; else pulled.
 * @throws AsdmError as {@link pullModel}
 */
export async function findOrPull(repository: string, options?: PullOptions, io: HubIO = systemIO): Promise<PulledModel> {
  const request = parse(repository, options, 'StableDiffusion.load')
  throwIfAborted(request.signal)
  if (request.settings.offline) return fromCacheOffline(request, io)
  try {
    const found = await fromCache(request, io, true)
    if (found !== undefined) return found
  } catch (error) {
    // What is there in part, or broken, is completed.
    if (!(error instanceof AsdmError)) throw error
  }
  return pull(request, io)
}

/**
 * A model that is whole in the cache, without asking the hub for anything; `undefined` where it was never pulled.
 * @throws AsdmError where it is there in part
 */
export async function findInCache(repository: string, options?: PullOptions, io: HubIO = systemIO): Promise<PulledModel | undefined> {
  const request = parse(repository, options, 'StableDiffusion.load')
  throwIfAborted(request.signal)
  return fromCache(request, io, false)
}

function parse(repository: unknown, options: unknown, where: string): Request {
  const given = checkOptions(options, pullKeys, where)
  if (given.variant !== false) checkVariant(given.variant)
  const settings = readSettings()
  return {
    repository: checkRepositoryName(repository),
    revision: checkRevision(given.revision ?? 'main'),
    variant: given.variant,
    settings: {
      ...settings,
      endpoint: optional(given.endpoint, value => checkEndpoint(value, 'endpoint')) ?? settings.endpoint,
      cache: optional(given.cache, value => path.resolve(checkPath(value, 'cache'))) ?? settings.cache,
      offline: optional(given.offline, value => boolean(value, 'offline')) ?? settings.offline,
    },
    token: given.token === false ? false : optional(given.token, value => checkToken(value, 'token')),
    verify: optional(given.verify, value => boolean(value, 'verify')) ?? false,
    signal: optional(given.signal, value => abortSignal(value, 'signal')),
    onProgress: optional(given.onProgress, value => callback<(progress: PullProgress) => void>(value, 'onProgress')) ?? (() => {}),
  }
}

async function fromCacheOffline(request: Request, io: HubIO): Promise<PulledModel> {
  const { repository, revision, settings } = request
  let found: PulledModel | undefined
  let why = 'it is not'
  try {
    found = await fromCache(request, io, false)
  } catch (error) {
    if (!(error instanceof AsdmError)) throw error
    why = `it is there in part (${error.message})`
  }
  if (found !== undefined) return found
  throw new AsdmError('OFFLINE',
    `Expected ${repository} at ${revision} in the cache ${shownPath(settings.cache)}, since offline mode is on, but ${why}`)
}

/**
 * A model that is whole in the cache; `undefined` where it was never pulled.
 * @param strict every part has the variant that was asked for; otherwise the hub may have it
 * @throws AsdmError where it is there in part
 */
async function fromCache(
  { repository, revision, variant, settings }: Request, io: HubIO, strict: boolean,
): Promise<PulledModel | undefined> {
  const cache = new RepoCache(settings.cache, repository, io)
  const commit = await cache.readRef(revision)
  const sizes = commit === undefined ? undefined : await cache.list(commit)
  if (commit === undefined || sizes === undefined || sizes.size === 0) return undefined
  const names = new Set(sizes.keys())
  const selection = selectFiles(names, variant, repository)
  if (strict && typeof variant === 'string' && selection.variant !== variant) return undefined
  const folder = cache.snapshot(commit)
  for (const index of selection.indexes) selection.weights.push(...shardsOf(index, await readJsonObject(path.join(folder, index)), names))
  const files = [...selection.small, ...selection.weights]
  return {
    repository, revision, commit, path: folder, variant: selection.variant, files,
    bytes: files.reduce((sum, name) => sum + sizes.get(name)!, 0), bytesFetched: 0,
  }
}

async function pull(request: Request, io: HubIO): Promise<PulledModel> {
  const { repository, revision, settings, signal, onProgress } = request
  const token = request.token === undefined ? await readToken() : request.token || undefined
  const client = new HubClient(settings, repository, token, io, signal)
  onProgress({ phase: 'list', file: '', bytesDone: 0, bytesTotal: 0 })
  const commit = await resolveRevision(client, revision)
  const files = new Map((await listRepository(client, commit)).map(file => [file.path, file]))
  const selection = selectFiles(new Set(files.keys()), request.variant, repository)
  const cache = new RepoCache(settings.cache, repository, io)
  const waiting = (): void => onProgress({ phase: 'wait', file: '', bytesDone: 0, bytesTotal: 0 })
  return withLock(cache.lockFile, io, signal, waiting, () => new Pull(client, cache, request, commit, files, io).run(selection))
}

/** One pull, while it holds the lock. */
class Pull {
  #total = 0
  /** Of the files that are complete. */
  #complete = 0
  #fetched = 0
  #reported = 0

  constructor(
    private readonly client: HubClient, private readonly cache: RepoCache, private readonly request: Request,
    private readonly commit: string, private readonly files: ReadonlyMap<string, RepoFile>, private readonly io: HubIO,
  ) {}

  async run(selection: Selection): Promise<PulledModel> {
    const { repository, revision } = this.request
    const snapshot = this.cache.snapshot(this.commit)
    // The small files first: they tell whether the large ones are of use, and which they are.
    await this.#fetch(selection.small, selection.weights)
    await checkIndex(snapshot, [])
    await readConfigSet(snapshot)
    const names = new Set(this.files.keys())
    for (const index of selection.indexes)
      selection.weights.push(...shardsOf(index, await readJsonObject(path.join(snapshot, index)), names))
    await this.#fetch(selection.weights, [])
    // The revision stands for this commit only now that all of it is there.
    await this.cache.writeRef(revision, this.commit)
    const files = [...selection.small, ...selection.weights]
    return {
      repository, revision, commit: this.commit, path: snapshot, variant: selection.variant, files, bytes: this.#complete,
      bytesFetched: this.#fetched,
    }
  }

  /** Fetches files and puts them into the snapshot. @param later files known to follow, for the progress */
  async #fetch(names: readonly string[], later: readonly string[]): Promise<void> {
    const files = names.map(name => this.files.get(name)!)
    const bytes = (list: readonly RepoFile[]): number => list.reduce((sum, { size }) => sum + size, 0)
    this.#total = this.#complete + bytes(files) + bytes(later.map(name => this.files.get(name)!))
    const missing: RepoFile[] = []
    for (const file of files) {
      if (await this.#isThere(file)) this.#complete += file.size
      else missing.push(file)
    }
    await this.#checkRoom(missing)
    for (const file of missing) {
      // Two names may stand for the same bytes.
      if (await this.cache.has(file, this.commit)) this.#complete += file.size
      else await this.#fetchOne(file)
    }
    for (const file of files) await this.cache.link(file, this.commit)
    throwIfAborted(this.request.signal)
  }

  async #isThere(file: RepoFile): Promise<boolean> {
    throwIfAborted(this.request.signal)
    if (!await this.cache.has(file, this.commit)) return false
    if (!this.request.verify) return true
    const before = this.#complete
    const place = await this.cache.placeOf(file, this.commit)
    if (await mismatch(place, file, this.request.signal, done => this.#report('verify', file, before + done)) === undefined) return true
    await unlink(place)
    return false
  }

  async #fetchOne(file: RepoFile): Promise<void> {
    let last = -1
    await fetchBlob(this.client, this.cache, file, this.commit, this.io, {
      onBytes: bytes => {
        if (last >= 0 && bytes > last) this.#fetched += bytes - last
        last = bytes
        this.#report('download', file, this.#complete + bytes)
      },
      onVerify: bytes => this.#report('verify', file, this.#complete + bytes),
    })
    this.#complete += file.size
    this.#report('download', file, this.#complete, true)
  }

  /** A few reports a second are enough for any bar. */
  #report(phase: PullProgress['phase'], { path: file }: RepoFile, bytesDone: number, always = false): void {
    const now = performance.now()
    if (!always && now - this.#reported < 50) return
    this.#reported = now
    this.request.onProgress({ phase, file, bytesDone, bytesTotal: this.#total })
  }

  /** Says before hours of waiting that the disk will be full. What is kept of earlier attempts counts as there. */
  async #checkRoom(missing: readonly RepoFile[]): Promise<void> {
    if (missing.length === 0) return
    const { folder } = this.cache
    try {
      await makeFolders(folder)
    } catch (error) {
      throw writeError(error, folder)
    }
    let bytes = 0
    for (const file of missing) bytes += Math.max(0, file.size - ((await statIfAny(this.cache.partial(file)))?.size ?? 0))
    const free = await this.io.freeBytes(folder)
    if (free !== undefined && free < bytes)
      throw new AsdmError('FILE_WRITE',
        `Expected ${bytes} bytes free for ${this.request.repository} at ${shownPath(folder)} but there are ${free}`)
  }
}
