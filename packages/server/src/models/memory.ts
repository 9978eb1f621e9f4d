import fs from 'node:fs/promises'
import path from 'node:path'
import type { StableDiffusion } from 'asdm'

/** Bytes a number takes in memory; in int8 convolutions and embeddings stay in bf16. */
const bytesOfNumber = { fp32: 4, bf16: 2, int8: 1.5 } as const

/** Longest safetensors header that is read. */
const maxHeader = 100_000_000

/** What a loaded model holds: packed weights, and the largest part's activations for one guided image of its own size. */
export function bytesOfModel(sd: StableDiffusion, dtype: keyof typeof bytesOfNumber = 'fp32'): number {
  const latent = sd.sizes.default / sd.sizes.multiple
  const length = sd.textEncoder.config.maxPositionEmbeddings
  const parts = [
    sd.textEncoder.describe({ batch: 2, length }),
    sd.vae.describe({ batch: 1, height: latent, width: latent }),
    ...[sd.unet, ...Object.values(sd.unets)].map(unet => unet.describe({ batch: 2, height: latent, width: latent, length })),
  ]
  const weights = parts.reduce((sum, part) => sum + part.parameters, 0) * bytesOfNumber[dtype]
  return Math.round(weights + Math.max(...parts.map(part => part.arenaBytes)))
}

/**
 * What the weights of a model will take, from the headers of its files; `undefined` where that cannot be told before it is loaded. Of a
 * diffusers folder with several variants of a part the smallest file counts.
 */
export async function bytesOfFiles(source: string, dtype: keyof typeof bytesOfNumber = 'fp32'): Promise<number | undefined> {
  const stat = await fs.stat(source).catch(() => undefined)
  if (stat === undefined) return undefined
  const numbers = stat.isFile() ? await numbersIn(source) : await numbersOfParts(source)
  return numbers === undefined ? undefined : numbers * bytesOfNumber[dtype]
}

async function numbersOfParts(folder: string): Promise<number | undefined> {
  let sum = 0
  for (const part of ['unet', 'vae', 'text_encoder']) {
    const files = (await fs.readdir(path.join(folder, part)).catch(() => [])).filter(name => name.endsWith('.safetensors'))
    if (files.some(name => /-\d{5}-of-\d{5}/.test(name))) return undefined
    const counts = (await Promise.all(files.map(name => numbersIn(path.join(folder, part, name))))).filter(count => count !== undefined)
    if (counts.length === 0) return undefined
    sum += Math.min(...counts)
  }
  return sum
}

/** How many numbers a safetensors file holds. */
async function numbersIn(file: string): Promise<number | undefined> {
  const handle = await fs.open(file).catch(() => undefined)
  if (handle === undefined) return undefined
  try {
    const { buffer } = await handle.read(Buffer.alloc(8), 0, 8, 0)
    const length = Number(buffer.readBigUInt64LE())
    if (length > maxHeader) return undefined
    const header = await handle.read(Buffer.alloc(length), 0, length, 8)
    const tensors = JSON.parse(header.buffer.toString('utf8')) as Record<string, { shape?: number[] }>
    return Object.values(tensors).reduce((sum, { shape }) => sum + (Array.isArray(shape) ? shape.reduce((a, b) => a * b, 1) : 0), 0)
  } catch {
    // A damaged file says so when it is loaded.
    return undefined
  } finally {
    await handle.close()
  }
}
