import { AsdmError, shown, throwIfAborted } from '../base/errors'
import { shownPath } from '../files/files'
import type { JsonObject } from '../files/json'
import { readSafetensorsHeader } from '../files/safetensors'
import { readConfigSet } from './folder'
import { inferTextEncoderConfig, inferUNetConfig, inferVAEConfig, Shapes, type Family } from './infer-config'
import { openClipName, unetNames, vaeNames } from './ldm-keys'
import type { Checkpoint, OpenOptions } from './part'
import { correctedScheduler } from './scheduler-config'
import { checkTextEncoderConfig } from './text-encoder-config'
import { checkUNetConfig } from './unet-config'
import { checkVAEConfig } from './vae-config'
import { firstFew, toWeightSources, type FoundTensor } from './weights'

const unetPrefix = 'model.diffusion_model.'
const vaePrefix = 'first_stage_model.'
const clipPrefix = 'cond_stage_model.transformer.'
const openClipPrefix = 'cond_stage_model.model.'

/**
 * Empty tensors by which files say that the UNet predicts v, and that the noise schedule ends in pure noise (zero terminal SNR), as ComfyUI
 * and AUTOMATIC1111 write and read them.
 */
const vMarker = 'v_pred'
const zeroSnrMarker = 'ztsnr'

/**
 * Beside the three parts: training state, noise schedules, averaged copies, the rest of CLIP. None of it takes part in running the model.
 */
const unused = new RegExp('^(?:model_ema\\.|betas$|alphas_cumprod|sqrt_|log_one_minus_alphas_cumprod$|posterior_|logvar$|lvlb_weights$|global_step$|'
  + 'ztsnr$|v_pred$|cond_stage_model\\.logit_scale$|cond_stage_model\\.model\\.(?:logit_scale|attn_mask|text_projection|visual\\.)|'
  + 'cond_stage_model\\.transformer\\.(?:vision_model\\.|logit_scale$)|embedding_manager\\.|safety_checker\\.)')

/** Stable Diffusion 1.5's published scheduler. */
const sd1Scheduler: JsonObject = {
  _class_name: 'PNDMScheduler', beta_end: 0.012, beta_schedule: 'scaled_linear', beta_start: 0.00085, num_train_timesteps: 1000,
  set_alpha_to_one: false, skip_prk_steps: true, steps_offset: 1, trained_betas: null, clip_sample: false,
}

/** Stable Diffusion 2.1's published scheduler, its prediction type aside. */
const sd2Scheduler: JsonObject = {
  _class_name: 'DDIMScheduler', beta_end: 0.012, beta_schedule: 'scaled_linear', beta_start: 0.00085, clip_sample: false,
  num_train_timesteps: 1000, set_alpha_to_one: false, steps_offset: 1, trained_betas: null,
}

/** SD 2.x's text encoder is OpenCLIP's ViT-H/14, 24 layers 1024 wide, of which the last is not used. */
const openClipWidth = 1024
const openClipUsedLayers = 23

/**
 * Opens one file with the original key names of Stable Diffusion 1.x (CLIP text encoder) or 2.x (OpenCLIP); see
 * {@link openCheckpoint}, which also checks the arguments.
 *
 * Configs are inferred from shapes. What shapes cannot tell is SD 1.5's (8 heads, quick_gelu, epsilon) or SD 2.x's (heads 64
 * channels wide, gelu), with 32 groups. Whether a 2.x model predicts v or epsilon cannot be seen either; in this order: a
 * `v_pred` tensor, what `modelspec.prediction_type` in the file's metadata says, epsilon for inpainting UNets (9 channels, as the published
 * one), else v as 2.1 does, which is also how diffusers decides. `{ config: folder }` takes a diffusers folder's configs instead.
 */
export async function openSingleFile(file: string, options: OpenOptions): Promise<Checkpoint> {
  throwIfAborted(options.signal)
  if (options.variant !== undefined)
    throw new AsdmError('INVALID_ARGUMENT',
      `Expected no variant for the single file ${shownPath(file)} but received ${shown(options.variant)}`)
  const { tensors, metadata } = await readSafetensorsHeader(file)
  const all: FoundTensor[] = [...tensors].map(([name, tensor]) => ({ name, file, ...tensor }))
  refuseOtherKinds(all, file)
  throwIfAborted(options.signal)
  const override = options.config === undefined ? undefined : await readConfigSet(options.config)
  const warnings: string[] = []

  const { unet, vae, clip, openClip, others } = sort(all)
  if (unet.length === 0)
    throw new AsdmError('UNSUPPORTED_FORMAT',
      `Expected ${shownPath(file)} to be a Stable Diffusion checkpoint but it has no tensors named ${unetPrefix}*`)
  if (vae.length === 0) throw new AsdmError('TENSOR_MISSING', `Expected a VAE (${vaePrefix}*) in ${shownPath(file)} but it holds none`)
  if (clip.length === 0 && openClip.length === 0)
    throw new AsdmError('TENSOR_MISSING',
      `Expected a text encoder (${clipPrefix}* or ${openClipPrefix}*) in ${shownPath(file)} but it holds none`)
  if (clip.length > 0 && openClip.length > 0)
    throw new AsdmError('TENSOR_EXTRA',
      `Expected one text encoder in ${shownPath(file)} but it holds both ${clipPrefix}* and ${openClipPrefix}*`)
  if (others.length > 0)
    warnings.push(`Tensors that belong to no part of the model are not used: ${firstFew(others.map(({ name }) => name))}.`)
  const family: Family = openClip.length > 0 ? 'sd2' : 'sd1'

  const unetTensors = rename(unet, unetNames)
  const vaeTensors = rename(vae, vaeNames)
  const textTensors = openClip.length > 0 ? renameOpenClip(openClip, file, override?.textEncoder?.numHiddenLayers) : clip
  const unetWeights = toWeightSources('unet', unetTensors, file)
  const vaeWeights = toWeightSources('vae', vaeTensors, file)
  const textWeights = toWeightSources('text_encoder', textTensors, file)

  const prediction = predictionType(tensors, metadata, family, unetWeights.find(({ name }) => name === 'conv_in.weight')?.shape[1])
  if (prediction.assumed && override?.scheduler === undefined)
    warnings.push(
      'Whether this 2.x model predicts v or epsilon cannot be seen from its weights; v is assumed, as for 2.1. For a 2.x base model (512 '
      + 'pixels) give the configs of its diffusers folder.',
    )
  const sampleSize = family === 'sd2' && prediction.type === 'v_prediction' ? 96 : 64
  const infer = <Config>(make: () => Config, check: (config: Config, where: string) => void): Config => inferred(make, check, file)
  return {
    kind: 'single-file',
    path: file,
    unet: {
      config: override?.unet ?? infer(() => inferUNetConfig(new Shapes(unetWeights, file), family, sampleSize), checkUNetConfig),
      weights: unetWeights, path: file,
    },
    vae: {
      config: override?.vae ?? infer(() => inferVAEConfig(new Shapes(vaeWeights, file)), checkVAEConfig), weights: vaeWeights, path: file,
    },
    textEncoder: {
      config: override?.textEncoder ?? infer(() => inferTextEncoderConfig(new Shapes(textWeights, file), family), checkTextEncoderConfig),
      weights: textWeights, path: file,
    },
    tokenizerFolder: options.tokenizer ?? override?.tokenizerFolder,
    padToken: family === 'sd2' ? '!' : undefined,
    schedulerConfig: override?.scheduler === undefined
      ? inferredScheduler(family, prediction.type, tensors.has(zeroSnrMarker))
      : correctedScheduler(override.scheduler, undefined, warnings),
    warnings,
  }
}

/**
 * Infers and checks; a group or head count that does not divide a width only says that the family's does not fit, and how to give the right
 * one.
 */
function inferred<Config>(make: () => Config, check: (config: Config, where: string) => void, file: string): Config {
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

/** Says what a file is that is no checkpoint of Stable Diffusion 1 or 2, where its names tell. */
function refuseOtherKinds(tensors: readonly FoundTensor[], file: string): void {
  const format = (kind: string): AsdmError =>
    new AsdmError('UNSUPPORTED_FORMAT', `Expected ${shownPath(file)} to be a whole Stable Diffusion checkpoint but it is ${kind}`)
  const model = (kind: string): AsdmError =>
    new AsdmError('UNSUPPORTED_CONFIG',
      `Expected ${shownPath(file)} to be Stable Diffusion 1 or 2 but it is ${kind}, which is not supported`)
  for (const { name } of tensors) {
    if (name.startsWith('conditioner.embedders.')) throw model('Stable Diffusion XL')
    if (name.startsWith('model.diffusion_model.joint_blocks.')) throw model('Stable Diffusion 3')
    if (/^(?:model\.diffusion_model\.)?(?:double|single)_blocks\./.test(name)) throw model('Flux')
    if (name.startsWith('model.diffusion_model.label_emb.')) throw model('a model with class or image embeddings (label_emb)')
    if (name.startsWith('control_model.')) throw format('a ControlNet')
    if (/(?:^lora_|\.lora_|_lora\.|\.hada_w|\.lokr_w)/.test(name)) throw format('a LoRA, a set of changes to another model')
    if (/^(?:down_blocks|up_blocks|text_model|encoder\.down_blocks|decoder\.up_blocks)\./.test(name))
      throw format('a single part with diffusers names: put it into a diffusers folder and open that')
  }
}

function sort(tensors: readonly FoundTensor[]) {
  const parts = {
    unet: [] as FoundTensor[], vae: [] as FoundTensor[], clip: [] as FoundTensor[], openClip: [] as FoundTensor[],
    others: [] as FoundTensor[],
  }
  const prefixes = [[unetPrefix, parts.unet], [vaePrefix, parts.vae], [clipPrefix, parts.clip], [openClipPrefix, parts.openClip]] as const
  for (const tensor of tensors) {
    if (unused.test(tensor.name)) continue
    const [prefix, part] = prefixes.find(([start]) => tensor.name.startsWith(start)) ?? ['', parts.others]
    part.push({ ...tensor, name: tensor.name.slice(prefix.length) })
  }
  return parts
}

function rename(tensors: readonly FoundTensor[], names: (old: Iterable<string>) => Map<string, string>): FoundTensor[] {
  const renamed = names(tensors.map(({ name }) => name))
  return tensors.map(tensor => ({ ...tensor, name: renamed.get(tensor.name)! }))
}

/**
 * OpenCLIP's names and stacked projections. SD 2.x takes the features before the last layer, so that layer is left out: layers
 * from `usedLayers` on, or the last one; none where the file was written without it.
 */
function renameOpenClip(tensors: readonly FoundTensor[], file: string, usedLayers: number | undefined): FoundTensor[] {
  const named = tensors.map(tensor => ({ tensor, place: openClipName(tensor.name) }))
  const layers = named.reduce((most, { place }) => Math.max(most, (place?.layer ?? -1) + 1), 0)
  const width = tensors.find(({ name }) => name === 'token_embedding.weight')?.shape[1]
  const used = usedLayers ?? (width === openClipWidth && layers === openClipUsedLayers ? layers : layers - 1)
  const renamed: FoundTensor[] = []
  for (const { tensor, place } of named) {
    if (place === undefined) renamed.push(tensor)
    else if (place.layer !== undefined && place.layer >= used) continue
    else if ('name' in place) renamed.push({ ...tensor, name: place.name })
    else renamed.push(...splitStacked(tensor, place.stacked, file))
  }
  return renamed
}

/** Rows are contiguous, so each third of the rows is a third of the bytes. */
function splitStacked(tensor: FoundTensor, names: readonly string[], file: string): FoundTensor[] {
  const rows = tensor.shape[0] / names.length
  if (!Number.isInteger(rows))
    throw new AsdmError('TENSOR_SHAPE',
      `Expected ${openClipPrefix}${tensor.name} in ${shownPath(file)} to stack ${names.length} matrices but received [${tensor.shape}]`)
  const bytes = (tensor.end - tensor.begin) / names.length
  return names.map((name, i) =>
    ({ ...tensor, name, shape: [rows, ...tensor.shape.slice(1)], begin: tensor.begin + i * bytes, end: tensor.begin + (i + 1) * bytes }))
}

function predictionType(
  tensors: ReadonlyMap<string, unknown>, metadata: ReadonlyMap<string, string>, family: Family, inChannels: number | undefined,
): { type: 'epsilon' | 'v_prediction', assumed: boolean } {
  const said = metadata.get('modelspec.prediction_type')
  if (tensors.has(vMarker) || said === 'v') return { type: 'v_prediction', assumed: false }
  if (said === 'epsilon' || family === 'sd1' || inChannels === 9) return { type: 'epsilon', assumed: false }
  return { type: 'v_prediction', assumed: true }
}

/**
 * The family's published scheduler, with what the file says. PNDM cannot start from pure noise, so a schedule that ends in it gets DDIM,
 * from its last timestep on.
 */
function inferredScheduler(family: Family, prediction: 'epsilon' | 'v_prediction', zeroSnr: boolean): JsonObject {
  if (zeroSnr) return { ...sd2Scheduler, prediction_type: prediction, rescale_betas_zero_snr: true, timestep_spacing: 'trailing' }
  if (family === 'sd2') return { ...sd2Scheduler, prediction_type: prediction }
  return { ...sd1Scheduler, ...(prediction === 'epsilon' ? {} : { prediction_type: prediction }) }
}
