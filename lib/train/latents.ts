import { createHash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { AsdmError } from '../base/errors'
import { Slices } from '../base/slices'
import { join, type Tensor } from '../base/tensor'
import { openFile, readAt, statIfAny } from '../files/files'
import { readSafetensorsHeader, writeSafetensors } from '../files/safetensors'
import { fitImage } from '../image/fit'
import { fromPixels } from '../image/pixels'
import type { StableDiffusion } from '../stable-diffusion'
import type { Dataset } from './data'

const encodedAtOnce = 8
const heldBytes = 1 << 29

/** One example as training sees it. */
interface Row {
  caption: string
  heldOut: boolean
}

/**
 * Latents and text features of a training's examples, computed once and kept in a file, from which batches are read. The text features of
 * equal captions are there once; row 0 is the empty caption's.
 */
export class LatentData {
  readonly train: readonly number[]
  readonly validation: readonly number[]
  readonly #handle: FileHandle
  #held: Record<'latents' | 'text', Float32Array> | undefined

  private constructor(
    readonly file: string, readonly captions: readonly string[], private readonly rows: { text: number, heldOut: boolean }[],
    /** Of one example. */
    readonly shapes: { latents: number[], text: number[] }, private readonly places: { latents: number, text: number }, handle: FileHandle,
  ) {
    const which = (heldOut: boolean): number[] => rows.flatMap((row, i) => (row.heldOut === heldOut ? [i] : []))
    this.train = which(false)
    this.validation = which(true)
    this.#handle = handle
  }

  /** Opens what {@link writeLatents} wrote, if it is of this key. */
  static async open(file: string, key: string): Promise<LatentData | undefined> {
    if (await statIfAny(file) === undefined) return undefined
    const { tensors, metadata } = await readSafetensorsHeader(file)
    const [latents, text] = [tensors.get('latents'), tensors.get('text')]
    if (metadata.get('key') !== key || latents === undefined || text === undefined) return undefined
    const rows = JSON.parse(metadata.get('rows') ?? '[]') as { text: number, heldOut: boolean }[]
    const captions = JSON.parse(metadata.get('captions') ?? '[]') as string[]
    const data = new LatentData(file, captions, rows, { latents: latents.shape.slice(1), text: text.shape.slice(1) },
      { latents: latents.begin, text: text.begin }, await openFile(file))
    // What fits is held, so that batches need no file.
    if (latents.end - latents.begin + text.end - text.begin <= heldBytes)
      data.#held = { latents: await data.#all('latents', latents.shape[0]!), text: await data.#all('text', text.shape[0]!) }
    return data
  }

  /** [N,C,h,w] of examples. */
  latents(indices: readonly number[]): Promise<Tensor> {
    return this.#read('latents', indices)
  }

  /** [N,L,D] of examples' captions, and where `dropped` says so of the empty one. */
  text(indices: readonly number[], dropped: readonly boolean[]): Promise<Tensor> {
    return this.#read('text', indices.map((index, i) => (dropped[i] === true ? 0 : this.rows[index]!.text)))
  }

  /** The caption of an example. */
  caption(index: number): string {
    return this.captions[this.rows[index]!.text]!
  }

  async close(): Promise<void> {
    await this.#handle.close()
  }

  async #all(what: 'latents' | 'text', count: number): Promise<Float32Array> {
    return (await this.#read(what, Array.from({ length: count }, (_, i) => i))).data
  }

  async #read(what: 'latents' | 'text', indices: readonly number[]): Promise<Tensor> {
    const shape = this.shapes[what]
    const size = shape.reduce((a, b) => a * b)
    const data = new Float32Array(indices.length * size)
    for (const [i, index] of indices.entries()) {
      if (this.#held !== undefined) {
        data.set(this.#held[what].subarray(index * size, (index + 1) * size), i * size)
        continue
      }
      const bytes = await readAt(this.#handle, this.places[what] + 4 * index * size, 4 * size, this.file)
      new Uint8Array(data.buffer).set(bytes, 4 * i * size)
    }
    return { data, shape: [indices.length, ...shape] }
  }
}

/** What the latents depend on: another key, another file. */
export function latentKey(parts: unknown): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex')
}

/** How {@link writeLatents} is told and tells. */
interface WriteOptions {
  key: string
  signal: AbortSignal
  onProgress(done: number, of: number): void
}

const bytesOf = ({ data: { buffer, byteOffset, byteLength } }: Tensor): Uint8Array => new Uint8Array(buffer, byteOffset, byteLength)

/**
 * Encodes images and captions: the means of the latents, scaled as the UNet sees them.
 * @param size pixels of a side @param validation how many are held out where the data does not say which: evenly spread
 * @throws AsdmError what reading an image gives, naming it
 */
export async function writeLatents(
  file: string, sd: StableDiffusion, dataset: Dataset, size: number, validation: number, { key, signal, onProgress }: WriteOptions,
): Promise<void> {
  const { examples } = dataset
  const said = examples.some(({ heldOut }) => heldOut !== undefined)
  const spread = Math.min(validation, Math.floor(examples.length / 2))
  const chosen = new Set(Array.from({ length: spread }, (_, i) => Math.floor((i + 0.5) * examples.length / spread)))
  const rows = examples.map(({ caption, heldOut }, i): Row => ({ caption, heldOut: said ? heldOut === true : chosen.has(i) }))
  const side = size / sd.vae.factor
  const { scalingFactor, shiftFactor, latentChannels } = sd.vae.config
  async function* latents(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < examples.length; at += encodedAtOnce) {
      const some = examples.slice(at, at + encodedAtOnce)
      const images: Tensor[] = []
      for (const each of some) images.push(await fromPixels(await fitImage(await each.read(signal), { width: size, height: size }, 'cover', new Slices(signal))))
      const { mean } = await sd.vae.encode(join(images), { signal })
      yield bytesOf({ data: mean.data.map(value => Math.fround(value - shiftFactor) * scalingFactor), shape: mean.shape })
      onProgress(at + some.length, examples.length)
    }
  }
  await write(file, sd, rows, [examples.length, latentChannels, side, side], latents, key, signal)
  sd.vae.trim()
}

/** How the teacher draws latents where there are no images. */
interface SampleOptions {
  count: number
  seed: number
  steps: number
  guidanceScale: number
  validation: number
  size: number
}

/** Latents from the teacher's own sampler, of prompts in turn. */
export async function sampleLatents(
  file: string, sd: StableDiffusion, prompts: readonly string[], options: SampleOptions, { key, signal, onProgress }: WriteOptions,
): Promise<void> {
  const { count, size, validation } = options
  const held = Math.min(validation, Math.floor(count / 2))
  const rows = Array.from({ length: count }, (_, i): Row => ({ caption: prompts[i % prompts.length]!, heldOut: i >= count - held }))
  const side = size / sd.vae.factor
  async function* latents(): AsyncGenerator<Uint8Array> {
    for (const [i, { caption }] of rows.entries()) {
      const { seed, steps, guidanceScale } = options
      let last: Tensor | undefined
      // The images themselves are not wanted: leaving the loop ends the request before it decodes.
      for await (const step of sd.steps({ prompt: caption, seed: seed + i, steps, guidanceScale, width: size, height: size, signal })) {
        if (step.phase !== 'denoise') continue
        last = step.latents
        if (step.index === step.of) break
      }
      if (last === undefined) throw new AsdmError('INTERNAL', 'Expected the sampler to give latents but it gave none')
      yield bytesOf(last)
      onProgress(i + 1, count)
    }
  }
  await write(file, sd, rows, [count, sd.vae.config.latentChannels, side, side], latents, key, signal)
}

async function write(
  file: string, sd: StableDiffusion, rows: readonly Row[], shape: number[], latents: () => AsyncGenerator<Uint8Array>, key: string,
  signal: AbortSignal,
): Promise<void> {
  const captions = [...new Set(['', ...rows.map(({ caption }) => caption)])]
  const places = new Map(captions.map((caption, i) => [caption, i]))
  async function* text(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < captions.length; at += encodedAtOnce)
      yield bytesOf(await sd.textEncoder.encode(
        captions.slice(at, at + encodedAtOnce).map(caption => sd.tokenizer.encode(caption)), { signal },
      ))
  }
  const { maxPositionEmbeddings, hiddenSize } = sd.textEncoder.config
  const length = sd.tokenizer.encode('').length
  if (length > maxPositionEmbeddings) throw new AsdmError('BAD_CONFIG', `Expected a window of at most ${maxPositionEmbeddings} tokens but the tokenizer's has ${length}`)
  await writeSafetensors(file, [
    { name: 'latents', dtype: 'F32', shape, data: latents }, { name: 'text', dtype: 'F32', shape: [captions.length, length, hiddenSize], data: text },
  ], {
    key, captions: JSON.stringify(captions),
    rows: JSON.stringify(rows.map(({ caption, heldOut }) => ({ text: places.get(caption), heldOut }))),
  }, { signal })
  sd.textEncoder.trim()
}
