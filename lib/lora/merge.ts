/** LoRAs merged into the weights of a checkpoint, before these are loaded, converted or written. */
import { randomBytes } from 'node:crypto'
import { mkdtemp, open, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { AsdmError, shown } from '../base/errors'
import { Slices } from '../base/slices'
import { isFileError, writeError } from '../files/files'
import type { Checkpoint } from '../model/checkpoint'
import { convert, elementBytes, readConverted } from '../model/dtype'
import type { WeightSource } from '../native/configs'
import { applyAdapter, changesBiasAlone } from './adapter'
import type { LoraPart } from './keys'
import { findChanges, type Change, type LoraToMerge } from './open'

/** A checkpoint with LoRAs in its weights. */
export interface MergedCheckpoint {
  checkpoint: Checkpoint
  /** What the user should know: sentences. */
  warnings: string[]
  /** Removes the file that the changed weights lie in; they cannot be read any more. Twice is fine. */
  dispose(): Promise<void>
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
  const sources: Record<LoraPart, readonly WeightSource[]> = { unet: checkpoint.unet.weights, text_encoder: checkpoint.textEncoder.weights }
  const { layers, warnings } = await findChanges(sources, loras, signal)
  const found: ChangedLayer[] = []
  for (const part of ['unet', 'text_encoder'] as const) {
    const byName = new Map(sources[part].map(source => [source.name, source]))
    for (const [layer, changes] of layers[part]) found.push({ sources: sourcesOf(layer, byName), changes })
  }
  if (found.length === 0) return { checkpoint, warnings, dispose: async () => {} }
  const { merged, dispose } = await writeMerged(found, { stored, signal })
  const replaced = (part: LoraPart): WeightSource[] => sources[part].map(source => merged.get(source) ?? source)
  return {
    checkpoint: {
      ...checkpoint, unet: { ...checkpoint.unet, weights: replaced('unet') },
      textEncoder: { ...checkpoint.textEncoder, weights: replaced('text_encoder') },
    },
    warnings, dispose,
  }
}

/** A layer to merge. */
export interface ChangedLayer {
  /** Its weight, and its bias where it has one. */
  sources: readonly WeightSource[]
  changes: readonly Change[]
}

/** Weight and bias of a layer. */
export function sourcesOf(layer: string, byName: ReadonlyMap<string, WeightSource>): WeightSource[] {
  return [`${layer}.weight`, `${layer}.bias`].map(name => byName.get(name)).filter(source => source !== undefined)
}

/**
 * Merges layers into a temporary file. As {@link mergeLoras}.
 * @returns what stands for which weight now
 */
export async function writeMerged(
  layers: readonly ChangedLayer[], { stored = false, signal }: { stored?: boolean, signal?: AbortSignal | undefined } = {},
): Promise<{ merged: Map<WeightSource, WeightSource>, dispose(): Promise<void> }> {
  const merged = new Map<WeightSource, WeightSource>()
  if (layers.length === 0) return { merged, dispose: async () => {} }
  const folder = await mkdtemp(path.join(os.tmpdir(), 'asdm-lora-'))
  const dispose = async (): Promise<void> => rm(folder, { recursive: true, force: true })
  try {
    const file = path.join(folder, `${randomBytes(6).toString('hex')}.weights`)
    const handle = await open(file, 'wx')
    try {
      let position = 0
      for (const { sources, changes } of layers)
        for (const { source, data } of await mergeLayer(sources, changes, signal)) {
          const dtype = stored ? dtypeToWrite(source.dtype) : 'F32'
          const bytes = narrowed(data, source.name, dtype)
          // Unlike write, which may stop half-way on a full disk.
          await handle.appendFile(bytes)
          merged.set(source, { ...source, file, dtype, begin: position, end: position + bytes.byteLength, merged: true })
          position += bytes.byteLength
        }
    } finally {
      await handle.close()
    }
    return { merged, dispose }
  } catch (error) {
    await dispose()
    throw isFileError(error) ? writeError(error, folder) : error
  }
}

/** A layer's weight, and its bias where a LoRA changes that, merged in float32. */
async function mergeLayer(
  sources: readonly WeightSource[], changes: readonly Change[], signal: AbortSignal | undefined,
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
