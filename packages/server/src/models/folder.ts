import fs from 'node:fs/promises'
import path from 'node:path'

/** A model that can be loaded. */
export interface ModelEntry {
  /** What clients call it. */
  name: string
  /** What `StableDiffusion.load` is given. */
  source: string
  /** In milliseconds since 1970; when the server was started, for a model that lies in no folder of its. */
  changedMs: number
}

/** How deep folders are looked into: `owner/name` and no deeper. */
const deepest = 2

/** Most entries that are listed. */
const mostEntries = 10_000

/**
 * The models of a folder: diffusers folders (with a `model_index.json`) and `.safetensors` files, by their paths in it. What cannot be read
 * is passed over; hidden files are none.
 */
export async function listModels(folder: string): Promise<ModelEntry[]> {
  const found: ModelEntry[] = []
  const walk = async (at: string, prefix: string, depth: number): Promise<void> => {
    for (const name of await namesIn(at)) {
      if (name.startsWith('.') || found.length >= mostEntries) continue
      const source = path.join(at, name)
      const stat = await fs.stat(source).catch(() => undefined)
      if (stat?.isFile() === true && name.endsWith('.safetensors')) {
        found.push({ name: prefix + name.slice(0, -'.safetensors'.length), source, changedMs: stat.mtimeMs })
      } else if (stat?.isDirectory() === true) {
        const index = await fs.stat(path.join(source, 'model_index.json')).catch(() => undefined)
        if (index?.isFile() === true) found.push({ name: prefix + name, source, changedMs: index.mtimeMs })
        else if (depth < deepest) await walk(source, `${prefix}${name}/`, depth + 1)
      }
    }
  }
  await walk(folder, '', 1)
  return found
}

/** The LoRAs of a folder: its `.safetensors` files, by their names without that. */
export async function listLoras(folder: string): Promise<{ name: string, path: string }[]> {
  const names = (await namesIn(folder)).filter(name => name.endsWith('.safetensors') && !name.startsWith('.')).slice(0, mostEntries)
  return names.map(name => ({ name: name.slice(0, -'.safetensors'.length), path: path.join(folder, name) }))
}

async function namesIn(folder: string): Promise<string[]> {
  return (await fs.readdir(folder).catch(() => [])).sort()
}
