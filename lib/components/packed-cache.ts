import fs from 'node:fs/promises'
import path from 'node:path'
import type { NativeModelOptions, NativeModelSpec } from '../native/binding'

/**
 * What became of a part's packed cache: the file beside its weights that holds them as its kernels want them. It is of one kernel set and
 * number format, and of the weights it was made of; a file that is not, or is damaged, is never used. While a model uses it, nobody may
 * shorten or overwrite it in place (`docs/loading.md`).
 */
export interface PackedCache {
  /**
   * - `used`: the weights are mapped from the file.
   * - `written`: there was none, and the next load will find one.
   * - `replaced`: the one that was there did not fit; `reason` says why.
   * - `unwritten`: the weights were packed, but no file could be written; `reason` says why.
   */
  outcome: 'used' | 'written' | 'replaced' | 'unwritten'
  /** The file. */
  file: string
  /** What was wrong, as `the weights have changed`. */
  reason?: string
}

/** The packed cache of a part: beside the first of its weight files, named after it, the part, the kernel set and the number format. */
export function packedCacheFile(weights: string, kind: NativeModelSpec['kind'], cpu: string, dtype: NativeModelOptions['dtype']): string {
  const { dir, name } = path.parse(weights)
  return path.join(dir, `${name}.${kind.replace('_', '-')}.${cpu}.${dtype}.asdm`)
}

/** How old what a writer left behind has to be before it counts as left behind. */
const leftoverAge = 3600e3

/** Removes unfinished files of writers that were killed. What does not work is left. */
export async function removeLeftovers(file: string): Promise<void> {
  const { dir, base } = path.parse(file)
  const names = await fs.readdir(dir).catch(() => [])
  for (const name of names) {
    if (!name.startsWith(`${base}.`) || !/^[0-9a-f]{16}\.tmp$/.test(name.slice(base.length + 1))) continue
    const leftover = path.join(dir, name)
    try {
      if (Date.now() - (await fs.stat(leftover)).mtimeMs > leftoverAge) await fs.unlink(leftover)
    } catch {
      // Another process was faster, or the folder is read-only.
    }
  }
}
