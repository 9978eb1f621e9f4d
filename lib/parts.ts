import pathModule from 'node:path'
import { AsdmError, shown, throwIfAborted } from './base/errors'
import { path as checkPath } from './base/options'
import { plain } from './base/reading'
import type { WeightsLoadOptions } from './components/options'
import { TextEncoder } from './components/text-encoder'
import { UNet } from './components/unet'
import { VAE } from './components/vae'
import { fileExists } from './files/files'
import { isJsonObject } from './files/json'
import type { Checkpoint, Part } from './model/checkpoint'
import { openUNet } from './model/folder'
import type { Addon, NativeModelOptions } from './native/binding'
import type { UNetConfig } from './native/configs'
import { mainUNet } from './plan/plan'

/** Loading goes on. */
export interface LoadStep {
  /** Which part is being read; further UNets count as `unet`. */
  part: 'textEncoder' | 'unet' | 'vae'
  /** Bytes of weights read and packed, and of all weights, as stored. */
  bytesDone: number
  /** Bytes of all weights that loading reads. */
  bytesTotal: number
}

/** The native parts of a model. */
export interface Parts {
  textEncoder: TextEncoder
  unet: UNet
  unets: Readonly<Record<string, UNet>>
  vae: VAE
}

/** In the order in which they load. */
export function allParts({ textEncoder, unet, unets, vae }: Parts): (TextEncoder | UNet | VAE)[] {
  return [textEncoder, unet, ...Object.values(unets), vae]
}

/** Names and paths of further UNets. @throws AsdmError `INVALID_ARGUMENT` */
export function checkUNetPaths(value: unknown): Record<string, string> {
  const paths = plain(value, 'unets')
  if (!isJsonObject(paths)) throw new AsdmError('INVALID_ARGUMENT', `Expected unets to be an object of paths but received ${shown(value)}`)
  return Object.fromEntries(Object.entries(paths).map(([name, folder]) => {
    if (!/^[a-z][\w-]{0,63}$/i.test(name) || name === mainUNet)
      throw new AsdmError('INVALID_ARGUMENT',
        `Expected names of unets to be letters, digits, - and _, but not ${shown(mainUNet)}, which is the main UNet, but received `
        + shown(name))
    return [name, checkPath(folder, `unets.${name}`)]
  }))
}

/** A UNet beside the main one; it reads the same latents and text features. */
export async function openFurtherUNet(
  folder: string, name: string, main: UNetConfig, options: { variant: string | undefined, signal: AbortSignal | undefined },
): Promise<Part<UNetConfig>> {
  const inside = pathModule.join(folder, 'unet')
  const part = await openUNet(await fileExists(pathModule.join(inside, 'config.json')) ? inside : folder, options)
  for (const key of ['inChannels', 'outChannels', 'crossAttentionDim', 'timeCondDim'] as const)
    if (part.config[key] !== main[key])
      throw new AsdmError('SHAPE_MISMATCH',
        `Expected unets.${name} to have the main UNet's ${key}, ${main[key] ?? 'none'}, but received ${part.config[key] ?? 'none'}`)
  return part
}

/** Makes the parts, without weights. */
export function buildParts(
  addon: Addon, { textEncoder, unet, vae }: Checkpoint, unets: Readonly<Record<string, Part<UNetConfig>>>, native: NativeModelOptions,
): Parts {
  const built: { dispose(): Promise<void> }[] = []
  const keep = <T extends { dispose(): Promise<void> }>(part: T): T => { built.push(part); return part }
  try {
    return {
      textEncoder: keep(new TextEncoder(addon, textEncoder, native)),
      unet: keep(new UNet(addon, unet, native)),
      unets: Object.fromEntries(Object.entries(unets).map(([name, part]) => [name, keep(new UNet(addon, part, native))])),
      vae: keep(new VAE(addon, vae, native)),
    }
  } catch (error) {
    for (const part of built) void part.dispose()
    throw error
  }
}

/** Reads the parts one after the other, so that packing needs memory for one at a time. */
export async function loadWeights(
  { textEncoder, unet, unets, vae }: Parts, options: WeightsLoadOptions, onProgress: ((progress: LoadStep) => void) | undefined,
): Promise<void> {
  const stages: { name: LoadStep['part'], part: TextEncoder | UNet | VAE, bytes: number }[] = [
    { name: 'textEncoder', part: textEncoder, bytes: textEncoder.part.storedBytes },
    ...[unet, ...Object.values(unets)].map(part => ({ name: 'unet' as const, part, bytes: part.part.storedBytes })),
    { name: 'vae', part: vae, bytes: vae.decoderPart.storedBytes },
  ]
  const bytesTotal = stages.reduce((sum, { bytes }) => sum + bytes, 0)
  let before = 0
  for (const { name, part, bytes } of stages) {
    throwIfAborted(options.signal)
    // The addon may count other bytes (of float32) than those stored.
    const report = onProgress && ((progress: { bytesDone: number, bytesTotal: number }) =>
      onProgress({
        part: name, bytesDone: Math.round(before + bytes * (progress.bytesTotal > 0 ? progress.bytesDone / progress.bytesTotal : 1)),
        bytesTotal,
      }))
    await part.loadWeights({ ...options, onProgress: report })
    before += bytes
  }
  throwIfAborted(options.signal)
  onProgress?.({ part: 'vae', bytesDone: bytesTotal, bytesTotal })
}
