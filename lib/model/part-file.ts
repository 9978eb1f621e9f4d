import path from 'node:path'
import { AsdmError, shown } from '../base/errors'
import { fileExists, shownPath, statIfAny } from '../files/files'
import { isPickleName, pickleError } from '../files/pickle'
import { readSafetensorsHeader } from '../files/safetensors'
import type { TextEncoderConfig, VAEConfig } from '../native/configs'
import { openTextEncoder, openVAE, type PartOptions } from './folder'
import { inferTextEncoderConfig, inferVAEConfig } from './infer-config'
import { openClipName, vaeNames } from './ldm-keys'
import type { Part } from './part'
import { Shapes } from './shapes'
import { checkTextEncoderConfig } from './text-encoder-config'
import { inferTinyVAEConfig, isTinyVAE, tinyVAETensors } from './tiny-vae'
import { checkVAEConfig } from './vae-config'
import { toWeightSources, type FoundTensor } from './weights'

/** How the original code prefixes the parts in a whole checkpoint. */
export const vaePrefix = 'first_stage_model.'
export const clipPrefix = 'cond_stage_model.transformer.'
export const openClipPrefix = 'cond_stage_model.model.'

/** SD 2.x's text encoder is OpenCLIP's ViT-H/14, 24 layers 1024 wide, of which the last is not used. */
const openClipWidth = 1024
const openClipUsedLayers = 23

/** What OpenCLIP's whole model holds beside the text encoder's layers. */
const besideOpenClip = /^(?:logit_scale|attn_mask|text_projection|visual\.)/

interface GivenOptions<Config> extends PartOptions {
  /** Counts for a file, which has no config of its own, instead of one inferred from its shapes. */
  config?: Config | undefined
}

/**
 * Opens a VAE that is given by itself: its folder, a diffusers folder that has one in `vae/`, or a `.safetensors` file with the names of
 * diffusers or of the original code, with the prefix of whole checkpoints or without it; also a tiny autoencoder's (TAESD).
 * @throws AsdmError as `openCheckpoint`
 */
export async function openGivenVAE(place: string, options: GivenOptions<VAEConfig> = {}): Promise<Part<VAEConfig>> {
  const found = await findPart(place, 'vae')
  if (found.folder !== undefined) return openVAE(found.folder, options)
  if (isTinyVAE(found.tensors.map(({ name }) => name))) {
    const weights = toWeightSources('vae', await tinyVAETensors(found.tensors, found.file), found.file)
    return { config: options.config ?? inferTinyVAEConfig(new Shapes(weights, found.file)), weights, path: found.file }
  }
  const tensors = prefixed(found.tensors, vaePrefix) ?? found.tensors
  const weights = toWeightSources('vae', renamed(tensors, vaeNames), found.file)
  const config = options.config ?? inferred(() => inferVAEConfig(new Shapes(weights, found.file)), checkVAEConfig, found.file)
  return { config, weights, path: found.file }
}

/**
 * Opens a text encoder that is given by itself, as {@link openGivenVAE}; a file may have the names of transformers' CLIP or of OpenCLIP.
 * Its activation cannot be seen: gelu for OpenCLIP's names or a width of 1024, as in Stable Diffusion 2, else quick_gelu.
 * @throws AsdmError as `openCheckpoint`
 */
export async function openGivenTextEncoder(place: string, options: GivenOptions<TextEncoderConfig> = {}): Promise<Part<TextEncoderConfig>> {
  const found = await findPart(place, 'text_encoder')
  if (found.folder !== undefined) return openTextEncoder(found.folder, options)
  const { file } = found
  const tensors = prefixed(found.tensors, clipPrefix) ?? prefixed(found.tensors, openClipPrefix) ?? found.tensors
  const isOpenClip = tensors.some(({ name }) => name.startsWith('transformer.resblocks.'))
  const clip = isOpenClip
    ? renameOpenClip(tensors.filter(({ name }) => !besideOpenClip.test(name)), file, options.config?.numHiddenLayers)
    : tensors
  const weights = toWeightSources('text_encoder', clip, file)
  const width = weights.find(({ name }) => name === 'embeddings.token_embedding.weight')?.shape[1]
  const family = isOpenClip || width === openClipWidth ? 'sd2' : 'sd1'
  const config = options.config ?? inferred(() => inferTextEncoderConfig(new Shapes(weights, file), family), checkTextEncoderConfig, file)
  return { config, weights, path: file }
}

/** The folder of a part, or the tensors of the file that a place is. */
async function findPart(
  place: string, name: 'vae' | 'text_encoder',
): Promise<{ folder: string } | { folder: undefined, file: string, tensors: FoundTensor[] }> {
  if (typeof place !== 'string' || place === '' || place.includes('\0'))
    throw new AsdmError('INVALID_ARGUMENT', `Expected the path of a ${name} but received ${shown(place)}`)
  // Absolute, since the weights are read later, when the working directory may have changed.
  const file = path.resolve(place)
  const found = await statIfAny(file)
  if (found === undefined)
    throw new AsdmError('FILE_NOT_FOUND', `Expected a ${name} (a folder or a .safetensors file) at ${shownPath(file)} but there is none`)
  const inside = path.join(file, name)
  if (found.isDirectory()) return { folder: await fileExists(path.join(inside, 'config.json')) ? inside : file }
  if (isPickleName(file)) throw pickleError(file)
  const { tensors } = await readSafetensorsHeader(file)
  return { folder: undefined, file, tensors: [...tensors].map(([tensor, stored]) => ({ name: tensor, file, ...stored })) }
}

/** The tensors under a prefix, without it; undefined where there are none. */
function prefixed(tensors: readonly FoundTensor[], prefix: string): FoundTensor[] | undefined {
  const found = tensors.filter(({ name }) => name.startsWith(prefix))
  return found.length === 0 ? undefined : found.map(tensor => ({ ...tensor, name: tensor.name.slice(prefix.length) }))
}

/** Tensors under the names that `names` gives their old ones. */
export function renamed(tensors: readonly FoundTensor[], names: (old: Iterable<string>) => Map<string, string>): FoundTensor[] {
  const found = names(tensors.map(({ name }) => name))
  return tensors.map(tensor => ({ ...tensor, name: found.get(tensor.name)! }))
}

/**
 * OpenCLIP's names and stacked projections. SD 2.x takes the features before the last layer, so that layer is left out: layers
 * from `usedLayers` on, or the last one; none where the file was written without it.
 */
export function renameOpenClip(tensors: readonly FoundTensor[], file: string, usedLayers: number | undefined): FoundTensor[] {
  const named = tensors.map(tensor => ({ tensor, place: openClipName(tensor.name) }))
  const layers = named.reduce((most, { place }) => Math.max(most, (place?.layer ?? -1) + 1), 0)
  const width = tensors.find(({ name }) => name === 'token_embedding.weight')?.shape[1]
  const used = usedLayers ?? (width === openClipWidth && layers === openClipUsedLayers ? layers : layers - 1)
  const out: FoundTensor[] = []
  for (const { tensor, place } of named) {
    if (place === undefined) out.push(tensor)
    else if (place.layer !== undefined && place.layer >= used) continue
    else if ('name' in place) out.push({ ...tensor, name: place.name })
    else out.push(...splitStacked(tensor, place.stacked, file))
  }
  return out
}

/** Rows are contiguous, so each third of the rows is a third of the bytes. */
function splitStacked(tensor: FoundTensor, names: readonly string[], file: string): FoundTensor[] {
  const rows = tensor.shape[0]! / names.length
  if (!Number.isInteger(rows))
    throw new AsdmError('TENSOR_SHAPE',
      `Expected ${openClipPrefix}${tensor.name} in ${shownPath(file)} to stack ${names.length} matrices but received [${tensor.shape}]`)
  const bytes = (tensor.end - tensor.begin) / names.length
  return names.map((name, i) =>
    ({ ...tensor, name, shape: [rows, ...tensor.shape.slice(1)], begin: tensor.begin + i * bytes, end: tensor.begin + (i + 1) * bytes }))
}

/**
 * Infers and checks; a group or head count that does not divide a width only says that the family's does not fit, and how to give the right
 * one.
 */
export function inferred<Config>(make: () => Config, check: (config: Config, where: string) => void, file: string): Config {
  const config = make()
  try {
    check(config, shownPath(file))
  } catch (error) {
    if (!(error instanceof AsdmError)) throw error
    throw new AsdmError(
      error.code,
      `${error.message}; group and head counts cannot be seen from the weights, give { config: folder } with a diffusers folder's configs`,
      { cause: error },
    )
  }
  return config
}
