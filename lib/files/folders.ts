import { mkdir, stat } from 'node:fs/promises'
import path from 'node:path'

/**
 * Makes a folder and those above it; one that is there stays. In place of `mkdir` with `recursive`, which never returns where the system
 * says that a folder above is missing although it is there, as under `/proc` (Node.js 20).
 * @throws what `node:fs` gives
 */
export async function makeFolders(folder: string): Promise<void> {
  const missing = [path.resolve(folder)]
  for (;;) {
    const next = missing.at(-1)!
    const above = path.dirname(next)
    try {
      await mkdir(next)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ENOENT' && above !== next && await isMissing(above)) {
        missing.push(above)
        continue
      }
      if (!await isFolder(next)) throw error
    }
    missing.pop()
    if (missing.length === 0) return
  }
}

async function isFolder(at: string): Promise<boolean> {
  return stat(at).then(found => found.isDirectory(), () => false)
}

async function isMissing(at: string): Promise<boolean> {
  return stat(at).then(() => false, (error: unknown) => (error as NodeJS.ErrnoException).code === 'ENOENT')
}
