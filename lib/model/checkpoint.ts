import path from 'node:path'
import { AsdmError, shown, throwIfAborted } from '../base/errors'
import { isFolder, shownPath, statIfAny } from '../files/files'
import { isPickleName, pickleError } from '../files/pickle'
import { openFolder, readConfigSet } from './folder'
import type { Checkpoint, GivenParts, OpenOptions } from './part'
import { openGivenTextEncoder, openGivenVAE } from './part-file'
import { openSingleFile } from './single-file'
import { checkVariant } from './weight-files'

export type { Checkpoint, Part } from './part'

/**
 * Opens a checkpoint: a diffusers folder, or one `.safetensors` file with the original key names of Stable Diffusion 1.x or 2.x.
 * @throws AsdmError `INVALID_ARGUMENT`, `FILE_NOT_FOUND`, `FILE_READ`, `UNSUPPORTED_FORMAT`, `BAD_SAFETENSORS`, `BAD_JSON`,
 * `BAD_CONFIG`, `UNSUPPORTED_CONFIG`, `TENSOR_MISSING`, `TENSOR_EXTRA`, `TENSOR_DTYPE`; an `AbortError` when the signal fires
 */
export async function openCheckpoint(file: string, options: OpenOptions = {}): Promise<Checkpoint> {
  checkPath(file, 'the path of a checkpoint')
  checkVariant(options.variant)
  if (options.config !== undefined) checkPath(options.config, 'config')
  for (const key of ['tokenizer', 'vae', 'textEncoder'] as const) if (options[key] !== undefined) checkPath(options[key], key)
  throwIfAborted(options.signal)
  for (const folder of [options.config, options.tokenizer]) {
    if (folder !== undefined && !await isFolder(folder))
      throw new AsdmError('FILE_NOT_FOUND', `Expected a folder at ${shownPath(folder)} but there is none`)
  }
  const found = await statIfAny(file)
  if (found === undefined)
    throw new AsdmError('FILE_NOT_FOUND', `Expected a checkpoint folder or file at ${shownPath(file)} but there is none`)
  if (!found.isDirectory() && path.extname(file).toLowerCase() !== '.safetensors') {
    if (isPickleName(file)) throw pickleError(file)
    throw new AsdmError('UNSUPPORTED_FORMAT', `Expected ${shownPath(file)} to be a diffusers folder or a .safetensors file`)
  }
  // Absolute, since the weights are read later, when the working directory may have changed.
  const checkpoint = await (found.isDirectory() ? openFolder : openSingleFile)(path.resolve(file), options, await openGiven(options))
  checkParts(checkpoint)
  return checkpoint
}

async function openGiven({ vae, textEncoder, config, signal }: OpenOptions): Promise<GivenParts> {
  if (vae === undefined && textEncoder === undefined) return { vae: undefined, textEncoder: undefined }
  const configs = config === undefined ? undefined : await readConfigSet(config)
  return {
    vae: vae === undefined ? undefined : await openGivenVAE(vae, { config: configs?.vae, signal }),
    textEncoder: textEncoder === undefined ? undefined : await openGivenTextEncoder(textEncoder, { config: configs?.textEncoder, signal }),
  }
}

function checkPath(value: unknown, what: string): asserts value is string {
  if (typeof value !== 'string' || value === '' || value.includes('\0'))
    throw new AsdmError('INVALID_ARGUMENT', `Expected ${what} to be a path but received ${shown(value)}`)
}

/** The parts must fit each other: the pipeline hands one's output to the next. */
function checkParts({ path: where, unet: { config: unet }, vae: { config: vae }, textEncoder: { config: text } }: Checkpoint): void {
  const bad = (problem: string): AsdmError =>
    new AsdmError('BAD_CONFIG', `Expected the parts of ${shownPath(where)} to fit each other but ${problem}`)
  const unsupported = (problem: string): AsdmError =>
    new AsdmError('UNSUPPORTED_CONFIG', `Expected ${shownPath(where)} to be a text-to-image model but ${problem}, which is not supported`)
  if (unet.crossAttentionDim !== text.hiddenSize)
    throw bad(
      `the UNet attends to text features ${unet.crossAttentionDim} wide (cross_attention_dim) and the text encoder's are `
      + `${text.hiddenSize} wide (hidden_size)`,
    )
  if (unet.outChannels !== vae.latentChannels)
    throw bad(
      `the UNet gives ${unet.outChannels} channels (out_channels) and the VAE's latents have ${vae.latentChannels} (latent_channels)`,
    )
  // Inpainting UNets also see the masked image's latents and the mask.
  if (unet.inChannels !== vae.latentChannels && unet.inChannels !== 2 * vae.latentChannels + 1)
    throw unsupported(
      `its UNet takes ${unet.inChannels} channels (in_channels), neither ${vae.latentChannels} nor, for inpainting, `
      + `${2 * vae.latentChannels + 1}`,
    )
  if (unet.additionDim !== undefined)
    throw unsupported('its UNet takes pooled text and sizes (addition_embed_type "text_time"), as Stable Diffusion XL\'s')
  if (vae.inChannels !== 3 || vae.outChannels !== 3)
    throw unsupported(`its VAE's images have ${vae.inChannels} and ${vae.outChannels} channels instead of 3`)
}
