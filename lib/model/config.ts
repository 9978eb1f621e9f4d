/**
 * The normalised configs that the native graph builders read. `lib/model/*-config.ts` parse the published JSON files into these;
 * every option they do not carry is either at the one supported value or refused with `UNSUPPORTED_CONFIG`.
 */

/** What `graph/build_unet.cpp` needs of a `UNet2DConditionModel` config. Arrays run from the first (highest-resolution) stage to the last. */
export interface UNetConfig {
  inChannels: number
  outChannels: number
  /** Latent height and width the model was trained at, in latent pixels; only a default for the pipeline. */
  sampleSize: number
  blockOutChannels: number[]
  /** Per stage: does the down block (its mirror among the up blocks) hold transformers (`CrossAttnDownBlock2D`) or not (`DownBlock2D`)? */
  downCrossAttention: boolean[]
  /** Per up block, in running order (`up_blocks.0` first). */
  upCrossAttention: boolean[]
  /** ResNets per down block; up blocks have one more each. */
  layersPerBlock: number[]
  /** Transformer blocks per transformer, per stage. */
  transformerLayersPerBlock: number[]
  /** Attention heads per stage (diffusers calls this `attention_head_dim`). */
  attentionHeads: number[]
  crossAttentionDim: number
  hasMidBlock: boolean
  /** The mid block holds a transformer (`UNetMidBlock2DCrossAttn`). */
  normNumGroups: number
  normEps: number
  useLinearProjection: boolean
  onlyCrossAttention: boolean[]
  downsamplePadding: number
  flipSinToCos: boolean
  freqShift: number
}

/** What `graph/build_vae.cpp` needs of an `AutoencoderKL` config. */
export interface VAEConfig {
  inChannels: number
  outChannels: number
  latentChannels: number
  blockOutChannels: number[]
  layersPerBlock: number
  normNumGroups: number
  useQuantConv: boolean
  usePostQuantConv: boolean
  midBlockAddAttention: boolean
  scalingFactor: number
  /** Added to latents after dividing by the scaling factor; 0 for Stable Diffusion. */
  shiftFactor: number
}

/** What `graph/build_clip.cpp` needs of a `CLIPTextModel` config. */
export interface TextEncoderConfig {
  vocabSize: number
  hiddenSize: number
  intermediateSize: number
  numHiddenLayers: number
  numAttentionHeads: number
  /** Window length in tokens. */
  maxPositionEmbeddings: number
  hiddenAct: 'quick_gelu' | 'gelu'
  layerNormEps: number
}

/** dtypes of stored weights that are read; `I64` occurs only as position ids, which are not loaded. */
export type StoredDType = 'F32' | 'F16' | 'BF16'

/**
 * Where one weight of a model lies: bytes [begin, end) of `file`, row-major, little-endian. `name` is always the diffusers key
 * (`down_blocks.0.resnets.0.conv1.weight`, current spelling: `to_q`, `to_out.0`), whatever the file calls it, and `shape` the
 * PyTorch shape that the module has (a view: a 1x1 convolution's weight may be handed as a matrix).
 */
export interface WeightSource {
  name: string
  file: string
  dtype: StoredDType
  shape: number[]
  begin: number
  end: number
}
