import type { JsonObject } from '../files/json'
import { tinyVAEJson } from '../model/tiny-vae'
import { asdmSection } from '../model/unet-config'
import type { TextEncoderConfig, UNetConfig, VAEConfig } from '../native/configs'

/** The version of diffusers whose files these are like; its inpainting pipeline looks for one. */
const version = { _diffusers_version: '0.30.0' }

/** One number where all stages have the same, as published configs write it. */
function perStage<T>(values: readonly T[]): T | T[] {
  const [first, ...others] = values
  return first !== undefined && others.every(value => value === first) ? first : [...values]
}

/** The `config.json` that parses to this config, of a diffusers `UNet2DConditionModel`. */
export function unetJson(config: UNetConfig, upcastAttention: boolean): JsonObject {
  const section = asdmSection(config)
  return {
    _class_name: 'UNet2DConditionModel', ...version,
    act_fn: 'silu',
    ...(config.additionDim === undefined ? {} : { addition_embed_type: 'text_time', addition_time_embed_dim: config.additionTimeDim! }),
    attention_head_dim: perStage(config.attentionHeads),
    block_out_channels: config.blockOutChannels,
    center_input_sample: false,
    cross_attention_dim: config.crossAttentionDim,
    down_block_types: config.downCrossAttention.map(attends => (attends ? 'CrossAttnDownBlock2D' : 'DownBlock2D')),
    downsample_padding: config.downsamplePadding,
    dual_cross_attention: false,
    flip_sin_to_cos: config.flipSinToCos,
    freq_shift: config.freqShift,
    in_channels: config.inChannels,
    layers_per_block: perStage(config.layersPerBlock),
    mid_block_scale_factor: 1,
    ...(config.hasMidBlock ? {} : { mid_block_type: null }),
    norm_eps: config.normEps,
    norm_num_groups: config.normNumGroups,
    ...(config.onlyCrossAttention.includes(true) ? { only_cross_attention: config.onlyCrossAttention } : {}),
    out_channels: config.outChannels,
    ...(config.additionDim === undefined ? {} : { projection_class_embeddings_input_dim: config.additionDim }),
    sample_size: config.sampleSize,
    ...(config.transformerLayersPerBlock.some(layers => layers !== 1)
      ? { transformer_layers_per_block: config.transformerLayersPerBlock }
      : {}),
    up_block_types: config.upCrossAttention.map(attends => (attends ? 'CrossAttnUpBlock2D' : 'UpBlock2D')),
    ...(upcastAttention ? { upcast_attention: true } : {}),
    use_linear_projection: config.useLinearProjection,
    ...(section === undefined ? {} : { asdm: section }),
  }
}

/**
 * The `config.json` of a diffusers `AutoencoderKL` or `AutoencoderTiny`.
 * @param sampleSize side of the images, in pixels, where the config does not say
 */
export function vaeJson(config: VAEConfig, sampleSize: number): JsonObject {
  const { tiny } = config
  if (tiny !== undefined) return { _class_name: 'AutoencoderTiny', ...version, ...tinyVAEJson({ ...config, tiny }) }
  const stages = config.blockOutChannels.length
  return {
    _class_name: 'AutoencoderKL', ...version,
    act_fn: 'silu',
    block_out_channels: config.blockOutChannels,
    down_block_types: new Array(stages).fill('DownEncoderBlock2D'),
    in_channels: config.inChannels,
    latent_channels: config.latentChannels,
    layers_per_block: config.layersPerBlock,
    ...(config.midBlockAddAttention ? {} : { mid_block_add_attention: false }),
    norm_num_groups: config.normNumGroups,
    out_channels: config.outChannels,
    sample_size: config.sampleSize ?? sampleSize,
    scaling_factor: config.scalingFactor,
    ...(config.shiftFactor === 0 ? {} : { shift_factor: config.shiftFactor }),
    up_block_types: new Array(stages).fill('UpDecoderBlock2D'),
    ...(config.usePostQuantConv ? {} : { use_post_quant_conv: false }),
    ...(config.useQuantConv ? {} : { use_quant_conv: false }),
  }
}

/** The `config.json` of a transformers `CLIPTextModel`. The token ids are those of every published one, and are not used. */
export function textEncoderJson(config: TextEncoderConfig, dtype: string): JsonObject {
  return {
    architectures: ['CLIPTextModel'],
    attention_dropout: 0,
    bos_token_id: 0,
    eos_token_id: 2,
    hidden_act: config.hiddenAct,
    hidden_size: config.hiddenSize,
    initializer_factor: 1,
    initializer_range: 0.02,
    intermediate_size: config.intermediateSize,
    layer_norm_eps: config.layerNormEps,
    max_position_embeddings: config.maxPositionEmbeddings,
    model_type: 'clip_text_model',
    num_attention_heads: config.numAttentionHeads,
    num_hidden_layers: config.numHiddenLayers,
    pad_token_id: 1,
    torch_dtype: dtype,
    vocab_size: config.vocabSize,
  }
}

/**
 * The `model_index.json` of a text-to-image pipeline without a safety checker. @param unetChannels what the UNet takes: an inpainting one
 * sees more than latents
 */
export function modelIndexJson(
  className: string | undefined, unetChannels: number, latentChannels: number, scheduler: unknown,
): JsonObject {
  return {
    _class_name: className ?? (unetChannels === latentChannels ? 'StableDiffusionPipeline' : 'StableDiffusionInpaintPipeline'), ...version,
    feature_extractor: [null, null],
    requires_safety_checker: false,
    safety_checker: [null, null],
    scheduler: ['diffusers', scheduler],
    text_encoder: ['transformers', 'CLIPTextModel'],
    tokenizer: ['transformers', 'CLIPTokenizer'],
    unet: ['diffusers', 'UNet2DConditionModel'],
    vae: ['diffusers', 'AutoencoderKL'],
  }
}
