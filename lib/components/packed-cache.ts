import { createHash } from 'node:crypto'
import fs from 'node:fs/promises'
import path from 'node:path'
import { withFile } from '../files/files'
import { makeFolders } from '../files/folders'
import type { NativeModelOptions, NativeModelSpec } from '../native/binding'
import type { WeightSource } from '../native/configs'

/**
 * What became of a part's packed cache: a file that holds its weights as its kernels want them, beside those it was made of or in a folder
 * for such files. It is of one kernel set and number format, and of these weights; a file that is not, or is damaged, is never used. It is
 * read into memory of the model's own, so what happens to it afterwards does not matter (`docs/loading.md`).
 */
export interface PackedCache {
  /**
   * - `used`: the weights were read from the file.
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

/** What a part's packed cache is called by: what it holds, and for which kernels. */
export interface PackedCacheKind {
  kind: NativeModelSpec['kind']
  cpu: string
  dtype: NativeModelOptions['dtype']
}

/**
 * Where the packed cache of a part lies.
 * @param cache `true` for the folder of the first of its weight files, where it is named after that; else a folder, made where there is
 * none, which models may share: a name there holds a key of what the weights are, wherever they lie
 */
export async function packedCacheFile(cache: string | true, sources: readonly WeightSource[], kind: PackedCacheKind): Promise<string> {
  const { dir, name } = path.parse(sources[0]!.file)
  const rest = `${kind.kind.replace('_', '-')}.${kind.cpu}.${kind.dtype}.asdm`
  if (cache === true) return path.join(dir, `${name}.${rest}`)
  // Where that fails, writing the file says why.
  await makeFolders(cache).catch(() => {})
  return path.join(path.resolve(cache), `${name}.${await contentKey(sources)}.${rest}`)
}

/** Of each weight file as many pieces count for the key, spread evenly. */
const samples = 64

const sampleBytes = 4096

/** Tells weights apart by their table of tensors, and their files' sizes and some of their bytes. 24 hexadecimal digits. */
async function contentKey(sources: readonly WeightSource[]): Promise<string> {
  const hash = createHash('sha256')
  const files = [...new Set(sources.map(({ file }) => file))]
  for (const { name, file, dtype, shape, begin, end } of sources)
    hash.update(JSON.stringify([name, files.indexOf(file), dtype, shape, begin, end]))
  for (const file of files) {
    await withFile(file, async (handle, size) => {
      hash.update(`${size} `)
      const last = Math.max(0, size - sampleBytes)
      for (let i = 0; i < samples; i++) {
        const { buffer, bytesRead } = await handle.read(Buffer.alloc(sampleBytes), 0, sampleBytes, Math.floor(last * i / (samples - 1)))
        hash.update(buffer.subarray(0, bytesRead))
      }
    })
  }
  return hash.digest('hex').slice(0, 24)
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
