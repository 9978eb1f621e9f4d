import { randomBytes } from 'node:crypto'
import { copyFile, link, lstat, readdir, readlink, rename, stat, unlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { AsdmError } from '../base/errors'
import { isFileError, readText, shownPath, statIfAny, writeError } from '../files/files'
import { makeFolders } from '../files/folders'
import type { HubIO } from './io'
import type { RepoFile } from './listing'
import { isCommit } from './names'

/** Longest file in `refs/` that is read; it holds a commit. */
const maxRefBytes = 2 ** 10

/**
 * A repository in the cache that the hub's tools share: `blobs/` holds files by hash, `snapshots/<commit>/` their names as links to
 * blobs, `refs/<revision>` the commit that a revision stood for when it was last asked for.
 */
export class RepoCache {
  readonly folder: string
  readonly lockFile: string

  constructor(root: string, repository: string, private readonly io: HubIO) {
    const name = `models--${repository.replace('/', '--')}`
    this.folder = path.join(root, name)
    // Beside the locks of Python's tools, which are locks on open files and of no use to Node.js.
    this.lockFile = path.join(root, '.locks', name, 'asdm.lock')
  }

  snapshot(commit: string): string {
    return path.join(this.folder, 'snapshots', commit)
  }

  blob({ etag }: RepoFile): string {
    return path.join(this.folder, 'blobs', etag)
  }

  /** What has arrived of a blob so far. Python's `.incomplete` files are not touched: their writer may be at work. */
  partial(file: RepoFile): string {
    return `${this.blob(file)}.asdm-incomplete`
  }

  /** The commit that a revision stood for, `undefined` where it was never asked for. */
  async readRef(revision: string): Promise<string | undefined> {
    if (isCommit(revision)) return revision
    // A folder has the name of a revision where that is the beginning of another one's: refs/pr of refs/pr/1.
    const found = await statIfAny(this.#ref(revision))
    if (found === undefined || found.isDirectory()) return undefined
    const commit = (await readText(this.#ref(revision), maxRefBytes)).trim()
    return isCommit(commit) ? commit : undefined
  }

  /** @throws AsdmError `FILE_WRITE` */
  async writeRef(revision: string, commit: string): Promise<void> {
    if (isCommit(revision) || await this.readRef(revision) === commit) return
    await this.#place(this.#ref(revision), temporary => writeFile(temporary, commit, { flag: 'wx' }))
  }

  #ref(revision: string): string {
    return path.join(this.folder, 'refs', ...revision.split('/'))
  }

  /** Is the file there, of the right length, as a blob, or in the snapshot itself as on systems without links? */
  async has(file: RepoFile, commit: string): Promise<boolean> {
    for (const place of [this.blob(file), this.#inSnapshot(file, commit)]) {
      const found = await statIfAny(place)
      if (found?.isFile() && found.size === file.size) return true
    }
    return false
  }

  /** The place to read a file that {@link has} found: the blob, or the file in the snapshot. */
  async placeOf(file: RepoFile, commit: string): Promise<string> {
    return (await statIfAny(this.blob(file)))?.size === file.size ? this.blob(file) : this.#inSnapshot(file, commit)
  }

  #inSnapshot({ path: name }: RepoFile, commit: string): string {
    return path.join(this.snapshot(commit), ...name.split('/'))
  }

  /**
   * Gives a blob its name in a snapshot: a relative link; where the system has none, a hard link; where there are none either
   * (another file system), a copy.
   * @throws AsdmError `FILE_WRITE`
   */
  async link(file: RepoFile, commit: string): Promise<void> {
    const place = this.#inSnapshot(file, commit)
    const blob = this.blob(file)
    const target = path.relative(path.dirname(place), blob)
    const existing = await lstat(place).catch(() => undefined)
    if (existing?.isSymbolicLink() ? await readlink(place) === target : existing?.isFile() && existing.size === file.size) return
    await this.#place(place, async temporary => {
      try {
        await this.io.symlink(target, temporary)
      } catch {
        await link(blob, temporary).catch(() => copyFile(blob, temporary))
      }
    })
  }

  /** Makes a file under another name in the same folder, then gives it its own, so that it is never seen half made. */
  async #place(file: string, make: (temporary: string) => Promise<void>): Promise<void> {
    const temporary = `${file}.${randomBytes(6).toString('hex')}.tmp`
    await this.#checkInside(path.dirname(file))
    try {
      await makeFolders(path.dirname(file))
      await make(temporary)
      await rename(temporary, file)
    } catch (error) {
      await unlink(temporary).catch(() => {})
      throw isFileError(error) ? writeError(error, file) : error
    }
  }

  /**
   * Refuses a folder that a link leads out of the repository's: what is written there would land wherever it points.
   * @throws AsdmError `FILE_WRITE`
   */
  async #checkInside(folder: string): Promise<void> {
    for (let at = folder; at !== this.folder && at !== path.dirname(at); at = path.dirname(at)) {
      if ((await lstat(at).catch(() => undefined))?.isSymbolicLink())
        throw new AsdmError('FILE_WRITE', `Expected ${shownPath(at)} to be a folder of the hub's cache but it is a link; remove it`)
    }
  }

  /** Names and sizes of the files of a snapshot, one folder deep; links to blobs that are not there do not count. */
  async list(commit: string): Promise<Map<string, number>> {
    const files = new Map<string, number>()
    const snapshot = this.snapshot(commit)
    const add = async (folder: string, deeper: boolean): Promise<void> => {
      const names = await readdir(path.join(snapshot, folder)).catch(() => [])
      for (const name of names) {
        const file = folder === '' ? name : `${folder}/${name}`
        const found = await stat(path.join(snapshot, file)).catch(() => undefined)
        if (found?.isFile() && !name.endsWith('.tmp')) files.set(file, found.size)
        else if (found?.isDirectory() && deeper) await add(file, false)
      }
    }
    await add('', true)
    return files
  }
}
