/** Published configs of the sizes that are measured, as their `config.json` files give them. */
export interface ModelShape {
  unet: Record<string, unknown>
  vae: Record<string, unknown>
  textEncoder: Record<string, unknown>
  scheduler: Record<string, unknown>
  /** What fills a prompt's window, where that is not CLIP's own token. */
  padToken?: string
}

const vae = {
  _class_name: 'AutoencoderKL', act_fn: 'silu', block_out_channels: [
    128, 256, 512, 512,
  ], in_channels: 3, out_channels: 3, latent_channels: 4,
  layers_per_block: 2, norm_num_groups: 32, sample_size: 512,
  down_block_types: Array(4).fill('DownEncoderBlock2D'), up_block_types: Array(4).fill('UpDecoderBlock2D'),
}

const blocks = {
  down_block_types: ['CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'DownBlock2D'],
  up_block_types: ['UpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D'],
}

const unet = {
  _class_name: 'UNet2DConditionModel', act_fn: 'silu', block_out_channels: [320, 640, 1280, 1280], center_input_sample: false,
  downsample_padding: 1, flip_sin_to_cos: true, freq_shift: 0, in_channels: 4, out_channels: 4, layers_per_block: 2,
  mid_block_scale_factor: 1, norm_eps: 1e-5, norm_num_groups: 32, ...blocks,
}

const text = {
  model_type: 'clip_text_model', architectures: ['CLIPTextModel'], vocab_size: 49408, max_position_embeddings: 77, layer_norm_eps: 1e-5,
}

export const shapes: Record<string, ModelShape> = {
  sd15: {
    unet: { ...unet, attention_head_dim: 8, cross_attention_dim: 768, sample_size: 64 },
    vae,
    textEncoder: {
      ...text, hidden_act: 'quick_gelu', hidden_size: 768, intermediate_size: 3072, num_attention_heads: 12, num_hidden_layers: 12,
    },
    scheduler: {
      _class_name: 'PNDMScheduler', beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear', num_train_timesteps: 1000,
      set_alpha_to_one: false, skip_prk_steps: true, steps_offset: 1,
    },
  },
  sd21: {
    unet: { ...unet, attention_head_dim: [5, 10, 20, 20], cross_attention_dim: 1024, sample_size: 64, use_linear_projection: true },
    vae,
    textEncoder: {
      ...text, hidden_act: 'gelu', hidden_size: 1024, intermediate_size: 4096, num_attention_heads: 16, num_hidden_layers: 23,
    },
    scheduler: {
      _class_name: 'DDIMScheduler', beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear', num_train_timesteps: 1000,
      set_alpha_to_one: false, steps_offset: 1, prediction_type: 'v_prediction', clip_sample: false,
    },
    padToken: '!',
  },
}
