/** LoRAs merged into the weights of a checkpoint, before these are loaded, converted or written. */
import { randomBytes } from 'node:crypto'
import { mkdtemp, open, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { AsdmError, shown, throwIfAborted } from '../base/errors'
import { Slices } from '../base/slices'
import { isFileError, shownPath, writeError } from '../files/files'
import { isJsonObject } from '../files/json'
import { readSafetensorsHeader } from '../files/safetensors'
import type { Checkpoint, Part } from '../model/checkpoint'
import { convert, elementBytes, readConverted } from '../model/dtype'
import { firstFew, type FoundTensor } from '../model/weights'
import type { UNetConfig, WeightSource } from '../native/configs'
import { applyAdapter, changesBiasAlone, checkAdapter, type Adapter } from './adapter'
import { LayerNames, placePiece, type LoraPart, type Piece } from './keys'

/** A LoRA to merge. */
export interface LoraToMerge {
  /** Its `.safetensors` file. */
  path: string
  /** How much of it the UNet gets. */
  weight: number
  /** How much of it the text encoder gets. */
  textWeight: number
}

/** A checkpoint with LoRAs in its weights. */
export interface MergedCheckpoint {
  checkpoint: Checkpoint
  /** What the user should know: sentences. */
  warnings: string[]
  /** Removes the file that the changed weights lie in; they cannot be read any more. Twice is fine. */
  dispose(): Promise<void>
}

/** A checkpoint and its further UNets with LoRAs in their weights. */
export interface MergedModel extends MergedCheckpoint {
  unets: Record<string, Part<UNetConfig>>
}

/**
 * {@link mergeLoras}, of the main UNet, the text encoder, and the UNets that plans may name beside it.
 * @throws AsdmError as {@link mergeLoras}
 */
export async function mergeLorasOfAll(
  checkpoint: Checkpoint, unets: Readonly<Record<string, Part<UNetConfig>>>, loras: readonly LoraToMerge[], signal: AbortSignal | undefined,
): Promise<MergedModel> {
  const all: MergedCheckpoint[] = []
  const dispose = async (): Promise<void> => {
    for (const each of all) await each.dispose()
  }
  try {
    const main = await mergeLoras(checkpoint, loras, { signal })
    all.push(main)
    const warnings = [...main.warnings]
    const merged: Record<string, Part<UNetConfig>> = {}
    for (const [name, unet] of Object.entries(unets)) {
      const other = await mergeLoras({ ...checkpoint, unet }, loras.map(lora => ({ ...lora, textWeight: 0 })), { signal })
      all.push(other)
      warnings.push(...other.warnings.map(warning => `The UNet ${name}: ${warning}`))
      merged[name] = other.checkpoint.unet
    }
    return { ...main, unets: merged, warnings, dispose }
  } catch (error) {
    await dispose()
    throw error
  }
}

/**
 * Merges LoRAs into the weights that they change. These are computed in float32, whatever the checkpoint's format, and lie in a temporary
 * file until {@link MergedCheckpoint.dispose}; all others stay where they are. Several LoRAs add up, in their order.
 * @param stored whether changed weights keep the checkpoint's number format; float32 if not
 * @throws AsdmError `BAD_SAFETENSORS`, `FILE_NOT_FOUND`, `FILE_READ`, `UNSUPPORTED_FORMAT`; `TENSOR_MISSING` where nothing of a file fits
 * the model, or half a product is missing, `TENSOR_SHAPE` for another base model's, `TENSOR_DTYPE`, `FILE_WRITE`; an `AbortError`
 */
export async function mergeLoras(
  checkpoint: Checkpoint, loras: readonly LoraToMerge[],
  { stored = false, signal }: { stored?: boolean, signal?: AbortSignal | undefined } = {},
): Promise<MergedCheckpoint> {
  const warnings: string[] = []
  const sources: Record<LoraPart, readonly WeightSource[]> = { unet: checkpoint.unet.weights, text_encoder: checkpoint.textEncoder.weights }
  const layers = {
    unet: new LayerNames(sources.unet.map(({ name }) => name)), text_encoder: new LayerNames(sources.text_encoder.map(({ name }) => name)),
  }
  /** What changes each layer, in the order of the LoRAs. */
  const changes = new Map<string, { adapter: Adapter, amount: number }[]>()
  for (const lora of loras) {
    throwIfAborted(signal)
    const { adapters, warning } = await openLora(lora.path, layers)
    if (warning !== undefined) warnings.push(warning)
    for (const adapter of adapters) {
      const amount = adapter.part === 'unet' ? lora.weight : lora.textWeight
      if (amount === 0) continue
      const key = `${adapter.part} ${adapter.layer}`
      changes.set(key, [...changes.get(key) ?? [], { adapter, amount }])
    }
  }
  if (changes.size === 0) return { checkpoint, warnings, dispose: async () => {} }

  const folder = await mkdtemp(path.join(os.tmpdir(), 'asdm-lora-'))
  const dispose = async (): Promise<void> => rm(folder, { recursive: true, force: true })
  try {
    const file = path.join(folder, `${randomBytes(6).toString('hex')}.weights`)
    const merged = { unet: new Map<string, WeightSource>(), text_encoder: new Map<string, WeightSource>() }
    const handle = await open(file, 'wx')
    try {
      let position = 0
      const byName = { unet: byNameOf(sources.unet), text_encoder: byNameOf(sources.text_encoder) }
      for (const list of changes.values()) {
        const { part, layer } = list[0]!.adapter
        const found = [`${layer}.weight`, `${layer}.bias`].map(name => byName[part].get(name)).filter(source => source !== undefined)
        for (const { source, data } of await mergeLayer(found, list, signal)) {
          const dtype = stored ? dtypeToWrite(source.dtype) : 'F32'
          const bytes = narrowed(data, source.name, dtype)
          // Unlike write, which may stop half-way on a full disk.
          await handle.appendFile(bytes)
          merged[part].set(source.name, { ...source, file, dtype, begin: position, end: position + bytes.byteLength, merged: true })
          position += bytes.byteLength
        }
      }
    } finally {
      await handle.close()
    }
    const replaced = (part: LoraPart): WeightSource[] => sources[part].map(source => merged[part].get(source.name) ?? source)
    return {
      checkpoint: {
        ...checkpoint, unet: { ...checkpoint.unet, weights: replaced('unet') },
        textEncoder: { ...checkpoint.textEncoder, weights: replaced('text_encoder') },
      },
      warnings, dispose,
    }
  } catch (error) {
    await dispose()
    throw isFileError(error) ? writeError(error, folder) : error
  }
}

function byNameOf(sources: readonly WeightSource[]): Map<string, WeightSource> {
  return new Map(sources.map(source => [source.name, source]))
}

/** A layer's weight, and its bias where a LoRA changes that, merged in float32. */
async function mergeLayer(
  sources: readonly WeightSource[], changes: readonly { adapter: Adapter, amount: number }[], signal: AbortSignal | undefined,
): Promise<{ source: WeightSource, data: Float32Array }[]> {
  const slices = new Slices(signal)
  const layer: { source: WeightSource, data: Float32Array }[] = []
  for (const source of sources) layer.push({ source, data: await readFloats(source, signal) })
  const [weight, bias] = layer
  for (const { adapter, amount } of changes)
    await applyAdapter(adapter, weight!.data, weight!.source.shape, bias?.data, amount, slices)
  const biased = changes.some(({ adapter }) => adapter.pieces.has('diff_b'))
  const weighted = changes.some(({ adapter }) => !changesBiasAlone(adapter.pieces))
  return layer.filter((_, i) => (i === 0 ? weighted : biased))
}

async function readFloats(source: WeightSource, signal: AbortSignal | undefined): Promise<Float32Array> {
  const whole = new Uint8Array((source.end - source.begin) / elementBytes[source.dtype] * 4)
  let at = 0
  for await (const piece of readConverted([source], 'F32', source.name, signal)) {
    whole.set(piece, at)
    at += piece.byteLength
  }
  return new Float32Array(whole.buffer)
}

/** The format that a tensor keeps when it is written again; float32 for those that are only read. */
function dtypeToWrite(dtype: WeightSource['dtype']): 'F32' | 'F16' | 'BF16' {
  return dtype === 'F16' || dtype === 'BF16' ? dtype : 'F32'
}

function narrowed(data: Float32Array, name: string, dtype: 'F32' | 'F16' | 'BF16'): Uint8Array {
  const { bytes, overflow } = convert(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), 'F32', dtype)
  if (overflow !== undefined)
    throw new AsdmError('TENSOR_DTYPE',
      `Expected ${shown(name)} with the LoRAs in it to fit its number format, ${dtype}, but it holds ${overflow.value}; fp32 does`)
  return bytes
}

/** Reads a LoRA's header and finds the layers of its matrices. */
async function openLora(file: string, layers: Readonly<Record<LoraPart, LayerNames>>): Promise<{ adapters: Adapter[], warning?: string }> {
  const { tensors, metadata } = await readSafetensorsHeader(file)
  const found = new Map<string, { part: LoraPart, layer: string, pieces: Map<Piece, FoundTensor> }>()
  const unknown = new Set<string>()
  for (const [name, stored] of tensors) {
    const placed = placePiece({ name, file, ...stored }, layers)
    if (!placed?.known) {
      unknown.add(placed?.layer ?? name)
      continue
    }
    const key = `${placed.part} ${placed.layer}`
    const entry = found.get(key) ?? { part: placed.part, layer: placed.layer, pieces: new Map<Piece, FoundTensor>() }
    if (entry.pieces.has(placed.piece))
      throw new AsdmError('BAD_SAFETENSORS',
        `Expected each matrix once in ${shownPath(file)} but ${shown(name)} is there twice, once under another name`)
    entry.pieces.set(placed.piece, placed.tensor)
    found.set(key, entry)
  }
  const few = firstFew([...unknown])
  if (found.size === 0)
    throw new AsdmError('TENSOR_MISSING',
      `Expected a LoRA for this model in ${shownPath(file)} but none of its ${unknown.size} layers is one of the model's: ${few}`)
  const scaleOf = metadataScales(metadata)
  const adapters = [...found.values()].map((entry): Adapter => ({ ...entry, file, metadataScale: scaleOf(entry.part, entry.layer) }))
  for (const adapter of adapters) checkAdapter(adapter)
  return {
    adapters,
    ...(unknown.size > 0 && {
      warning: `Of the ${found.size + unknown.size} layers in the LoRA ${shownPath(file)}, ${found.size} fitted this model; not used: ${few}`,
    }),
  }
}

/**
 * alpha / rank of a part's layers where diffusers has put PEFT's config into the file's metadata (`lora_adapter_metadata`):
 * `unet.lora_alpha`, `unet.r`, and patterns for layers that differ.
 */
function metadataScales(metadata: ReadonlyMap<string, string>): (part: LoraPart, layer: string) => number | undefined {
  let json: unknown
  try {
    json = JSON.parse(metadata.get('lora_adapter_metadata') ?? '{}')
  } catch {
    json = {}
  }
  const config = isJsonObject(json) ? json : {}
  return (part, layer) => {
    const ofLayer = (option: string, pattern: string): number | undefined => {
      const patterns = config[`${part}.${pattern}`]
      const own = isJsonObject(patterns)
        ? Object.entries(patterns).find(([name]) => layer === name || layer.endsWith(`.${name}`))?.[1]
        : undefined
      const value = own ?? config[`${part}.${option}`]
      return typeof value === 'number' && value > 0 && Number.isFinite(value) ? value : undefined
    }
    const [alpha, rank] = [ofLayer('lora_alpha', 'alpha_pattern'), ofLayer('r', 'rank_pattern')]
    if (alpha === undefined || rank === undefined) return undefined
    return config[`${part}.use_rslora`] === true ? alpha / Math.sqrt(rank) : alpha / rank
  }
}
