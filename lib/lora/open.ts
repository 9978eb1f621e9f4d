/** LoRA files, opened: which layers of a model they change, and by what. */
import fs from 'node:fs/promises'
import { AsdmError, shown, throwIfAborted } from '../base/errors'
import { shownPath } from '../files/files'
import { isJsonObject } from '../files/json'
import { readSafetensorsHeader } from '../files/safetensors'
import { firstFew, type FoundTensor } from '../model/weights'
import type { WeightSource } from '../native/configs'
import { checkAdapter, type Adapter } from './adapter'
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

/** What one LoRA does to a layer. */
export interface Change {
  adapter: Adapter
  amount: number
  /** Tells the file's state, so that one that was written again counts as another. */
  stamp: string
}

/** The layers that LoRAs change. */
interface Changes {
  /** For each part the layers, and for each what changes it, in the order of the LoRAs. */
  layers: Record<LoraPart, Map<string, Change[]>>
  /** What the user should know: sentences. */
  warnings: string[]
}

/**
 * Opens LoRAs and finds the layers that they change.
 * @param sources the weights of a UNet and a text encoder
 * @throws AsdmError `BAD_SAFETENSORS`, `FILE_NOT_FOUND`, `FILE_READ`, `UNSUPPORTED_FORMAT`; `TENSOR_MISSING` where nothing of a file fits
 * the model, or half a product is missing; an `AbortError`
 */
export async function findChanges(
  sources: Readonly<Record<LoraPart, readonly WeightSource[]>>, loras: readonly LoraToMerge[], signal: AbortSignal | undefined,
): Promise<Changes> {
  const warnings: string[] = []
  const names = {
    unet: new LayerNames(sources.unet.map(({ name }) => name)), text_encoder: new LayerNames(sources.text_encoder.map(({ name }) => name)),
  }
  const layers = { unet: new Map<string, Change[]>(), text_encoder: new Map<string, Change[]>() }
  for (const lora of loras) {
    throwIfAborted(signal)
    const { adapters, warning } = await openLora(lora.path, names)
    const { size, mtimeMs } = await fs.stat(lora.path)
    if (warning !== undefined) warnings.push(warning)
    for (const adapter of adapters) {
      const amount = adapter.part === 'unet' ? lora.weight : lora.textWeight
      if (amount === 0) continue
      const list = layers[adapter.part].get(adapter.layer) ?? []
      layers[adapter.part].set(adapter.layer, [...list, { adapter, amount, stamp: JSON.stringify([lora.path, size, mtimeMs, amount]) }])
    }
  }
  return { layers, warnings }
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
