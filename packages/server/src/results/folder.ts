import { randomUUID } from 'node:crypto'
import fs from 'node:fs/promises'
import path from 'node:path'
import { ServerError } from '../errors'
import type { ResultStore } from './store'

/** Results in a folder, which machines may share: `ab/abcd….png`. */
export class FolderStore implements ResultStore {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = path.resolve(folder)
  }

  async get(name: string): Promise<Buffer | undefined> {
    try {
      return await fs.readFile(this.#fileOf(name))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw failed('read', error)
    }
  }

  async has(name: string): Promise<boolean> {
    return fs.access(this.#fileOf(name)).then(() => true, () => false)
  }

  /** The file appears under its name when it lies on the disk. @throws ServerError `RESULTS_FAILED` */
  async put(name: string, bytes: Buffer): Promise<void> {
    const file = this.#fileOf(name)
    const part = `${file}.${randomUUID()}.part`
    try {
      await fs.mkdir(path.dirname(file), { recursive: true })
      const handle = await fs.open(part, 'wx')
      try {
        await handle.writeFile(bytes)
        await handle.sync()
      } finally {
        await handle.close()
      }
      await fs.rename(part, file)
    } catch (error) {
      await fs.rm(part, { force: true }).catch(() => {})
      throw failed('written', error)
    }
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  #fileOf(name: string): string {
    return path.join(this.#folder, name.slice(0, 2), name)
  }
}

function failed(what: string, error: unknown): ServerError {
  return new ServerError('RESULTS_FAILED', `A result could not be ${what}: ${(error as NodeJS.ErrnoException).code ?? (error as Error).message}`)
}
