import { AsdmError, shown, throwIfAborted } from '../base/errors'
import { shownPath } from '../files/files'
import type { JsonObject } from '../files/json'
import { readSafetensorsHeader } from '../files/safetensors'
import { schedulerDefaults } from './defaults'
import { readConfigSet } from './folder'
import { inferTextEncoderConfig, inferUNetConfig, inferVAEConfig, type Family } from './infer-config'
import { unetNames, vaeNames } from './ldm-keys'
import type { Checkpoint, GivenParts, OpenOptions } from './part'
import { clipPrefix, inferred, openClipPrefix, renamed, renameOpenClip, vaePrefix } from './part-file'
import { correctedScheduler } from './scheduler-config'
import { Shapes } from './shapes'
import { checkTextEncoderConfig } from './text-encoder-config'
import { checkUNetConfig } from './unet-config'
import { checkVAEConfig } from './vae-config'
import { firstFew, toWeightSources, type FoundTensor } from './weights'

const unetPrefix = 'model.diffusion_model.'
/** The names of a UNet in a file that holds nothing else, where they have no prefix. */
const bareUNet = /^(?:input_blocks|middle_block|output_blocks|time_embed|out)\./

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

/**
 * Opens one file with the original key names of Stable Diffusion 1.x (CLIP text encoder) or 2.x (OpenCLIP); see
 * {@link openCheckpoint}, which also checks the arguments.
 *
 * Configs are inferred from shapes. What shapes cannot tell is SD 1.5's (8 heads, quick_gelu, epsilon) or SD 2.x's (heads 64
 * channels wide, gelu), with 32 groups. Whether a 2.x model predicts v or epsilon cannot be seen either; in this order: a
 * `v_pred` tensor, what `modelspec.prediction_type` in the file's metadata says, epsilon for inpainting UNets (9 channels, as the published
 * one), else v as 2.1 does, which is also how diffusers decides. `{ config: folder }` takes a diffusers folder's configs instead.
 */
export async function openSingleFile(file: string, options: OpenOptions, given: GivenParts): Promise<Checkpoint> {
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
  if (given.vae === undefined && vae.length === 0)
    throw new AsdmError('TENSOR_MISSING',
      `Expected a VAE (${vaePrefix}*) in ${shownPath(file)} but it holds none; give one as { vae: path }`)
  if (given.textEncoder === undefined && clip.length === 0 && openClip.length === 0)
    throw new AsdmError('TENSOR_MISSING',
      `Expected a text encoder (${clipPrefix}* or ${openClipPrefix}*) in ${shownPath(file)} but it holds none; give one as `
      + '{ textEncoder: path }')
  if (given.textEncoder === undefined && clip.length > 0 && openClip.length > 0)
    throw new AsdmError('TENSOR_EXTRA',
      `Expected one text encoder in ${shownPath(file)} but it holds both ${clipPrefix}* and ${openClipPrefix}*`)
  if (others.length > 0)
    warnings.push(`Tensors that belong to no part of the model are not used: ${firstFew(others.map(({ name }) => name))}.`)
  const ofSd2 = given.textEncoder === undefined ? openClip.length > 0 : given.textEncoder.config.hiddenAct === 'gelu'
  const family: Family = ofSd2 ? 'sd2' : 'sd1'
  const unetWeights = toWeightSources('unet', renamed(unet, unetNames), file)

  const prediction = predictionType(tensors, metadata, family, unetWeights.find(({ name }) => name === 'conv_in.weight')?.shape[1])
  if (prediction.assumed && override?.scheduler === undefined)
    warnings.push(
      'Whether this 2.x model predicts v or epsilon cannot be seen from its weights; v is assumed, as for 2.1. For a 2.x base model (512 '
      + 'pixels) give the configs of its diffusers folder.',
    )
  const sampleSize = family === 'sd2' && prediction.type === 'v_prediction' ? 96 : 64
  const ownVAE = () => {
    const weights = toWeightSources('vae', renamed(vae, vaeNames), file)
    const config = override?.vae ?? inferred(() => inferVAEConfig(new Shapes(weights, file), sampleSize), checkVAEConfig, file)
    return { config, weights, path: file }
  }
  const ownTextEncoder = () => {
    const tensors = openClip.length > 0 ? renameOpenClip(openClip, file, override?.textEncoder?.numHiddenLayers) : clip
    const weights = toWeightSources('text_encoder', tensors, file)
    const config = override?.textEncoder
      ?? inferred(() => inferTextEncoderConfig(new Shapes(weights, file), family), checkTextEncoderConfig, file)
    return { config, weights, path: file }
  }
  const unetConfig = override?.unet
    ?? inferred(() => inferUNetConfig(new Shapes(unetWeights, file), family, sampleSize), checkUNetConfig, file)
  const schedulerConfig = override?.scheduler === undefined
    ? inferredScheduler(family, prediction.type, tensors.has(zeroSnrMarker))
    : correctedScheduler(override.scheduler, undefined, warnings)
  return {
    kind: 'single-file',
    path: file,
    unet: { config: unetConfig, weights: unetWeights, path: file },
    vae: given.vae ?? ownVAE(),
    textEncoder: given.textEncoder ?? ownTextEncoder(),
    tokenizerFolder: options.tokenizer ?? override?.tokenizerFolder,
    padToken: family === 'sd2' ? '!' : undefined,
    schedulerConfig, defaults: schedulerDefaults(schedulerConfig, unetConfig.timeCondDim !== undefined), warnings,
  }
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
      throw format('a single part with diffusers names: put it into a diffusers folder and open that, or give it as vae or textEncoder')
    if (/^(?:en|de)coder\.(?:conv_in|mid|down|up)\b/.test(name)) throw format('a VAE on its own: give it as { vae: path } beside a model')
  }
}

function sort(tensors: readonly FoundTensor[]) {
  const parts = {
    unet: [] as FoundTensor[], vae: [] as FoundTensor[], clip: [] as FoundTensor[], openClip: [] as FoundTensor[],
    others: [] as FoundTensor[],
  }
  const prefixes = [[unetPrefix, parts.unet], [vaePrefix, parts.vae], [clipPrefix, parts.clip], [openClipPrefix, parts.openClip]] as const
  const bare = !tensors.some(({ name }) => name.startsWith(unetPrefix))
  for (const tensor of tensors) {
    if (unused.test(tensor.name)) continue
    const [prefix, part] = prefixes.find(([start]) => tensor.name.startsWith(start))
      ?? ['', bare && bareUNet.test(tensor.name) ? parts.unet : parts.others]
    part.push({ ...tensor, name: tensor.name.slice(prefix.length) })
  }
  return parts
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
