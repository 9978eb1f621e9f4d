import { randomBytes } from 'node:crypto'
import { open, rename, unlink, type FileHandle } from 'node:fs/promises'
import path from 'node:path'
import { AsdmError, throwIfAborted } from '../base/errors'
import { abortSignal, boolean, callback, checkOptions, integer, oneOf, optional, path as checkPath } from '../base/options'
import { Slices } from '../base/slices'
import { sizes } from '../base/tensor'
import { shownPath, statTarget, sync, targetError } from '../files/files'
import { elementBytes, readConverted } from '../model/dtype'
import { matchWeights } from '../model/weights'
import type { StoredDType, WeightSource } from '../native/configs'
import { loadAddon } from '../native/load'
import { GraphWriter, type WeightUse } from './graph'
import { modelMessage, Nodes, type DataType, type External } from './nodes'
import { checkSizes, onnxParts, openPart, trialShape, type ExportedPart, type OnnxPart, type Size } from './parts'
import type { Deferred, Message } from './protobuf'

/** How a graph is exported. */
export interface ExportOnnxOptions {
  /** Which graph. */
  part: OnnxPart
  /** Samples in a pass. Sizes that are left out stay open in the graph. */
  batch?: number | undefined
  /** Height of the input: latent pixels, of the VAE encoder pixels. */
  height?: number | undefined
  /** Width of the input: latent pixels, of the VAE encoder pixels. */
  width?: number | undefined
  /** Tokens of the text, for the UNet and the text encoder. */
  length?: number | undefined
  /** How many last layers of the text encoder to leave out; 0. */
  clipSkip?: number | undefined
  /** Number format of the weights in the file; `fp32`. The graph computes in float32, whichever. */
  dtype?: 'fp32' | 'fp16' | 'bf16' | undefined
  /**
   * Weights in a file of their own beside the graph, named as it with `.data` behind. Left out: where they are more than the 2 GiB that one
   * file may have.
   */
  externalData?: boolean | undefined
  /** Which variant of the weight files: `fp16` for `diffusion_pytorch_model.fp16.safetensors`. */
  variant?: string | undefined
  /** A diffusers folder whose configs are used instead of the checkpoint's own, or of those inferred for a single file. */
  config?: string | undefined
  /** Replace files that are there. */
  overwrite?: boolean | undefined
  /** Stops the export, which then rejects with an `AbortError` and leaves nothing behind. */
  signal?: AbortSignal | undefined
  /** Called as weights are written. */
  onProgress?: ((progress: { bytesDone: number, bytesTotal: number }) => void) | undefined
}

/** An input or output of an ONNX graph. */
export interface OnnxValue {
  /** As diffusers' exports name it. */
  name: string
  /** A size that is left open has a name. */
  shape: (number | string)[]
}

/** What an export gave. */
export interface ExportedOnnx {
  /** The file of the graph. */
  path: string
  /** The file of the weights, where they lie beside the graph. */
  dataPath: string | undefined
  /** Number of nodes. */
  nodes: number
  /** Bytes of the weights. */
  weightBytes: number
  /** Names and shapes; sizes that are left open have names. */
  inputs: OnnxValue[]
  /** Name and shape. */
  output: OnnxValue
}

const exportKeys = [
  'part', 'batch', 'height', 'width', 'length', 'clipSkip', 'dtype', 'externalData', 'variant', 'config', 'overwrite', 'signal',
  'onProgress',
] as const satisfies readonly (keyof ExportOnnxOptions)[]
const opset = 17
const storedDTypes = { fp32: 'F32', fp16: 'F16', bf16: 'BF16' } as const satisfies Record<string, StoredDType>
const dataTypeOf = { F32: 'FLOAT', F16: 'FLOAT16', BF16: 'BFLOAT16' } as const satisfies Partial<Record<StoredDType, DataType>>
/** What a protocol buffer may have. */
const longestFile = 2 ** 31 - 1
/** Weights begin where a page does, so that runtimes can map them. */
const pageBytes = 4096

/**
 * Writes one graph of a model as an ONNX file: standard operators of version 17, feature maps [N,C,H,W], nodes and weights under diffusers'
 * names, inputs and outputs as diffusers' own exports call them. Matrices of linear layers are stored as ONNX multiplies by them, [in,
 * out]. Weights pass through a piece at a time.
 * @param model a diffusers folder, a single file, `owner/name` on the hub, or the folder of the one part @param target the file to write
 * @throws AsdmError as `StableDiffusion.load`; `TENSOR_DTYPE` for a number that the number format cannot hold, `SHAPE_MISMATCH` for sizes
 * that the graph cannot have, `FILE_WRITE`; an `AbortError` when the signal fires
 */
export async function exportOnnx(model: string, target: string, options: ExportOnnxOptions): Promise<ExportedOnnx> {
  checkPath(model, 'the path of a model')
  const file = path.resolve(checkPath(target, 'the target'))
  const given = checkOptions(options, exportKeys, 'exportOnnx')
  const part = oneOf<OnnxPart>(given.part, 'part', onnxParts)
  const sizes = Object.fromEntries((['batch', 'height', 'width', 'length'] as const).flatMap(key =>
    (given[key] === undefined ? [] : [[key, integer(given[key], key, 1, 65_536)]]))) as Partial<Record<Size, number>>
  const clipSkip = optional(given.clipSkip, value => integer(value, 'clipSkip', 0, 255)) ?? 0
  const dtype = storedDTypes[optional(given.dtype, value => oneOf<keyof typeof storedDTypes>(value, 'dtype', ['fp32', 'fp16', 'bf16']))
    ?? 'fp32']
  const externalData = optional(given.externalData, value => boolean(value, 'externalData'))
  const overwrite = optional(given.overwrite, value => boolean(value, 'overwrite')) ?? false
  const [variant, config] = (['variant', 'config'] as const).map(key => optional(given[key], value => checkPath(value, key)))
  const signal = optional(given.signal, value => abortSignal(value, 'signal'))
  const onProgress = optional(given.onProgress, value => callback<NonNullable<ExportOnnxOptions['onProgress']>>(value, 'onProgress'))
  throwIfAborted(signal)

  const exported = await openPart(model, part, { variant, config, signal })
  checkSizes(exported, part, sizes)
  const weights = new WeightBytes(dtype, signal, onProgress)
  const { nodes, inputs, output } = await writeGraph(exported, sizes, clipSkip, weights, new Slices(signal))
  const outside = externalData ?? weights.total > longestFile - (1 << 26)
  if (!outside && weights.total > longestFile - (1 << 26))
    throw new AsdmError('INVALID_ARGUMENT',
      `Expected externalData for weights of ${weights.total} bytes, which are more than an ONNX file may have`)
  const dataFile = outside ? `${file}.data` : undefined
  for (const each of dataFile === undefined ? [file] : [file, dataFile]) await checkTarget(each, overwrite)
  const external = dataFile === undefined ? new Map<string, External>() : weights.layOut(path.basename(dataFile))
  const message = modelMessage({ name: part, nodes, inputs, outputs: [output], opset, metadata: { part, weights: dtype }, external })

  const temporary = `.${process.pid}-${randomBytes(6).toString('hex')}.tmp`
  try {
    if (dataFile !== undefined) await writeFile(dataFile + temporary, handle => weights.write(handle, external))
    await writeFile(file + temporary, handle => writeMessage(handle, message))
    throwIfAborted(signal)
    if (dataFile !== undefined) await rename(dataFile + temporary, dataFile)
    await rename(file + temporary, file)
  } catch (error) {
    for (const each of [file, `${file}.data`]) await unlink(each + temporary).catch(() => {})
    throw targetError(error, file)
  }
  return {
    path: file, dataPath: dataFile, nodes: nodes.nodes.length, weightBytes: weights.total,
    inputs: inputs.map(({ name, shape }) => ({ name, shape: [...shape] })), output: { name: output.name, shape: [...output.shape] },
  }
}

/** The nodes of a part; its weights are noted, not read. */
async function writeGraph(
  part: ExportedPart, sizes: Partial<Record<Size, number>>, clipSkip: number, weights: WeightBytes, slices: Slices,
) {
  const native = loadAddon().createModel(part.spec, { dtype: 'fp32', threads: 1, cpu: 'auto' })
  try {
    await slices.next()
    const graph = native.graph()
    await slices.next()
    if (clipSkip >= graph.outputs.length)
      throw new AsdmError('INVALID_ARGUMENT',
        `Expected clipSkip to be from 0 to ${graph.outputs.length - 1} for this part but received ${clipSkip}`)
    // Sizes that do not fit the graph are refused by the rules that all of its passes are under.
    native.describe(trialShape(part, sizes))
    await slices.next()
    const nodes = new Nodes()
    weights.add(matchWeights(native.weights(), part.weights, part.path), nodes)
    await slices.next()
    const inputs = part.inputs.map(({ name, type, shape }) =>
      ({ name, type, shape: shape.map(size => (typeof size === 'number' ? size : sizes[size] ?? size)) }))
    const writer = new GraphWriter(
      graph, nodes, use => weights.use(use), new Map(part.inputs.map(({ unit, name, shape }) => [unit, { name, rank: shape.length }])),
      sizes.batch,
    )
    const last = await writer.write(graph.outputs[clipSkip]!, slices)
    nodes.add('Identity', part.output.name, [last])
    return { nodes, inputs, output: { name: part.output.name, type: 'FLOAT' as const, shape: part.output.shape(sizes) } }
  } finally {
    native.dispose()
  }
}

/** The weights that a graph uses: their places in the file, and their bytes when those are written. */
class WeightBytes {
  /** Bytes of all that are used. */
  total = 0
  readonly #data = new Map<string, Deferred>()
  readonly #values = new Map<string, string>()
  #sources = new Map<string, WeightSource>()
  #nodes: Nodes | undefined
  #done = 0

  constructor(
    readonly dtype: keyof typeof dataTypeOf, readonly signal: AbortSignal | undefined, readonly onProgress: ExportOnnxOptions['onProgress'],
  ) {}

  add(sources: readonly WeightSource[], nodes: Nodes): void {
    this.#sources = new Map(sources.map(source => [source.name, source]))
    this.#nodes = nodes
  }

  /** Notes a weight, once. @returns the name of a float32 value that holds it */
  use({ weight: { name }, shape, transposed }: WeightUse): string {
    const nodes = this.#nodes!
    const known = this.#values.get(name)
    if (known !== undefined) return known
    const source = this.#sources.get(name)!
    const byteLength = shape.reduce((product, size) => product * size, elementBytes[this.dtype])
    const data: Deferred = { byteLength, read: () => this.#read(source, shape, transposed) }
    this.total += byteLength
    this.#data.set(name, data)
    nodes.constant({ name, type: dataTypeOf[this.dtype], shape, data })
    const value = this.dtype === 'F32' ? name : nodes.add('Cast', `${name}.float`, [name], { to: 1 })
    this.#values.set(name, value)
    return value
  }

  /** Where each weight lies in a file of its own. */
  layOut(location: string): Map<string, External> {
    let next = 0
    return new Map([...this.#data].map(([name, { byteLength }]) => {
      const offset = next
      next = Math.ceil((offset + byteLength) / pageBytes) * pageBytes
      return [name, { location, offset }]
    }))
  }

  /** Writes the weights to where they lie. */
  async write(handle: FileHandle, places: ReadonlyMap<string, External>): Promise<void> {
    for (const [name, { offset }] of places) {
      let at = offset
      for await (const piece of this.#data.get(name)!.read()) {
        await writeAll(handle, piece, at)
        at += piece.byteLength
      }
    }
  }

  async *#read(source: WeightSource, shape: readonly number[], transposed: boolean): AsyncGenerator<Uint8Array> {
    const pieces = readConverted([source], this.dtype, source.name, this.signal)
    for await (const piece of transposed ? transpose(pieces, shape, elementBytes[this.dtype]) : pieces) {
      yield piece
      this.#done += piece.byteLength
      this.onProgress?.({ bytesDone: this.#done, bytesTotal: this.total })
    }
  }
}

/** A matrix's numbers row by row to those column by column; `shape` is what it becomes. It is the one tensor that is held whole. */
async function* transpose(
  pieces: AsyncIterable<Uint8Array>, shape: readonly number[], bytes: number,
): AsyncGenerator<Uint8Array> {
  const [columns, rows] = sizes(shape, 2)
  const Numbers = bytes === 4 ? Uint32Array : Uint16Array
  const from = new Numbers(rows * columns)
  const place = new Uint8Array(from.buffer)
  let at = 0
  for await (const piece of pieces) {
    place.set(piece, at)
    at += piece.byteLength
  }
  // In blocks, whose rows and columns stay in the cache; a strip of columns is a run of the result.
  const block = 64
  for (let begin = 0; begin < columns; begin += block) {
    const strip = new Numbers(Math.min(block, columns - begin) * rows)
    for (let row = 0; row < rows; row += block)
      for (let c = 0; c < strip.length / rows; c++)
        for (let r = row; r < Math.min(row + block, rows); r++) strip[c * rows + r] = from[r * columns + begin + c]!
    yield new Uint8Array(strip.buffer)
  }
}

async function checkTarget(file: string, overwrite: boolean): Promise<void> {
  const found = await statTarget(file)
  if (found === undefined || (found.isFile() && overwrite)) return
  throw new AsdmError('INVALID_ARGUMENT',
    `Expected nothing at ${shownPath(file)} but there is a ${found.isDirectory() ? 'folder' : 'file; give overwrite to replace it'}`)
}

async function writeFile(file: string, write: (handle: FileHandle) => Promise<void>): Promise<void> {
  const handle = await open(file, 'wx')
  try {
    await write(handle)
    await sync(handle)
  } finally {
    await handle.close()
  }
}

/** Small pieces, of which there are many, go out together. */
async function writeMessage(handle: FileHandle, { pieces }: Message): Promise<void> {
  let small: Uint8Array[] = []
  const flush = async (): Promise<void> => {
    await writeAll(handle, Buffer.concat(small))
    small = []
  }
  for (const piece of pieces) {
    if (piece instanceof Uint8Array) {
      small.push(piece)
      continue
    }
    await flush()
    for await (const bytes of piece.read()) await writeAll(handle, bytes)
  }
  await flush()
}

/** @param at position, or where the last write ended */
async function writeAll(handle: FileHandle, bytes: Uint8Array, at?: number): Promise<void> {
  let done = 0
  while (done < bytes.byteLength)
    done += (await handle.write(bytes, done, bytes.byteLength - done, at === undefined ? null : at + done)).bytesWritten
}
