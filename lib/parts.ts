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
import { openGivenVAE } from './model/part-file'
import type { Addon, NativeModelOptions } from './native/binding'
import type { UNetConfig, VAEConfig } from './native/configs'
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
  /** A tiny autoencoder for previews. */
  taesd?: VAE | undefined
}

/** In the order in which they load. */
export function allParts({ textEncoder, unet, unets, vae, taesd }: Parts): (TextEncoder | UNet | VAE)[] {
  return [textEncoder, unet, ...Object.values(unets), vae, ...taesd === undefined ? [] : [taesd]]
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
  for (const key of ['inChannels', 'outChannels', 'crossAttentionDim', 'timeCondDim', 'additionDim', 'additionTimeDim'] as const)
    if (part.config[key] !== main[key])
      throw new AsdmError('SHAPE_MISMATCH',
        `Expected unets.${name} to have the main UNet's ${key}, ${main[key] ?? 'none'}, but received ${part.config[key] ?? 'none'}`)
  return part
}

/**
 * Opens the tiny autoencoder that previews are decoded by.
 * @throws AsdmError as `openCheckpoint`; `UNSUPPORTED_CONFIG` for another VAE, `SHAPE_MISMATCH` for one of other latents
 */
export async function openTaesd(
  place: string, { config: vae }: Part<VAEConfig>, options: { variant: string | undefined, signal: AbortSignal | undefined },
): Promise<Part<VAEConfig>> {
  const part = await openGivenVAE(place, options)
  const { tiny, latentChannels, blockOutChannels } = part.config
  if (tiny === undefined) throw new AsdmError('UNSUPPORTED_CONFIG', `Expected taesd to be an AutoencoderTiny but ${shown(place)} is an AutoencoderKL`)
  const [own, wanted] = [[latentChannels, blockOutChannels.length], [vae.latentChannels, vae.blockOutChannels.length]]
  if (String(own) !== String(wanted))
    throw new AsdmError('SHAPE_MISMATCH',
      `Expected taesd to have ${wanted[0]} latent channels and ${wanted[1]} stages, as the model's VAE, but received ${own[0]} and ${own[1]}`)
  return part
}

/** Makes the parts, without weights. */
export function buildParts(
  addon: Addon, { textEncoder, unet, vae }: Checkpoint, unets: Readonly<Record<string, Part<UNetConfig>>>, native: NativeModelOptions,
  taesd?: Part<VAEConfig>,
): Parts {
  const built: { dispose(): Promise<void> }[] = []
  const keep = <T extends { dispose(): Promise<void> }>(part: T): T => { built.push(part); return part }
  try {
    return {
      textEncoder: keep(new TextEncoder(addon, textEncoder, native)),
      unet: keep(new UNet(addon, unet, native)),
      unets: Object.fromEntries(Object.entries(unets).map(([name, part]) => [name, keep(new UNet(addon, part, native))])),
      vae: keep(new VAE(addon, vae, native)),
      taesd: taesd && keep(new VAE(addon, taesd, native)),
    }
  } catch (error) {
    for (const part of built) void part.dispose()
    throw error
  }
}

/** Reads the parts one after the other, so that packing needs memory for one at a time. */
export async function loadWeights(
  { textEncoder, unet, unets, vae, taesd }: Parts, options: WeightsLoadOptions, onProgress: ((progress: LoadStep) => void) | undefined,
): Promise<void> {
  const stages: { name: LoadStep['part'], part: TextEncoder | UNet | VAE, bytes: number }[] = [
    { name: 'textEncoder', part: textEncoder, bytes: textEncoder.part.storedBytes },
    ...[unet, ...Object.values(unets)].map(part => ({ name: 'unet' as const, part, bytes: part.part.storedBytes })),
    ...[vae, ...taesd === undefined ? [] : [taesd]].map(part => ({ name: 'vae' as const, part, bytes: part.decoderPart.storedBytes })),
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
