/**
 * The normalised configs that the native graph builders read. `lib/model/*-config.ts` parse the published JSON files into these;
 * every option they do not carry is either at the one supported value or refused with `UNSUPPORTED_CONFIG`.
 */

/** How a router rates the experts of a convolution: each by itself, or shares that sum to one. */
export type Routing = 'sigmoid' | 'softmax'

/**
 * A convolution that holds several kernels and mixes them anew for each sample (CondConv, arXiv 1904.04971): with the rates
 * r = routing(mean over pixels of x · router.weight^T + router.bias) it convolves with sum r_k · experts.weight[k] and adds
 * sum r_k · experts.bias[k]. Its weights are `<prefix>.experts.weight` [experts, out, in, height, width], `<prefix>.experts.bias`
 * [experts, out], `<prefix>.router.weight` [experts, in] and `<prefix>.router.bias` [experts].
 */
export interface ConditionalConv {
  /** Prefix of the convolution, as `down_blocks.0.resnets.0.conv1`. */
  prefix: string
  /** How many kernels it holds. */
  experts: number
  /** What the router's numbers go through. */
  router: Routing
}

/**
 * What `graph/build_unet.cpp` needs of a `UNet2DConditionModel` config. Arrays run from the first (highest-resolution) stage to the last.
 */
export interface UNetConfig {
  /** Channels of the input: the latents', or 9 where the UNet is made for inpainting (4 latents, the mask, 4 masked latents). */
  inChannels: number
  /** Channels of the output: the latents'. */
  outChannels: number
  /** Latent height and width the model was trained at, in latent pixels; only a default for the pipeline. */
  sampleSize: number
  /** Channels per stage. */
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
  /** Width of the text features. */
  crossAttentionDim: number
  /** Is there a mid block? It always holds a transformer (`UNetMidBlock2DCrossAttn`); some BK-SDM models have none. */
  hasMidBlock: boolean
  /** Groups of the group norms. */
  normNumGroups: number
  /** Added to the variance in the ResNets' group norms, inside the root. */
  normEps: number
  /** Do the transformers project by linear layers (Stable Diffusion 2.x) or by 1x1 convolutions (1.x)? The arithmetic is the same. */
  useLinearProjection: boolean
  /** Per stage: do both attentions of a transformer block look at the text? */
  onlyCrossAttention: boolean[]
  /** Zeros round a feature map before it is halved: 1 on all sides, or 0: one row and column behind it. */
  downsamplePadding: number
  /** In the features of a time step, do cosines come first? */
  flipSinToCos: boolean
  /** Taken off half the number of those features where their frequencies are spaced (`freq_shift`). */
  freqShift: number
  /**
   * Width of an embedding of the guidance scale (`time_cond_proj_dim`), which is projected and added to the time step's features; none
   * if left out.
   */
  timeCondDim?: number
  /**
   * Width of what is embedded and added to the time step's embedding (`projection_class_embeddings_input_dim` with `addition_embed_type`
   * `text_time`, as Stable Diffusion XL has it): the pooled text, then features of sizes; none if left out.
   */
  additionDim?: number
  /** Features that each of these sizes gives (`addition_time_embed_dim`); there with `additionDim`, no matter to the graph. */
  additionTimeDim?: number
  /**
   * Prefixes of units that the graph leaves out, which hand their input on: blocks, layers (`up_blocks.1.1`: `resnets.1` and
   * `attentions.1`), ResNets that keep their width, transformers, transformer blocks, `attn1`, `attn2`, `ff`. In a `config.json` they are
   * `"asdm": { "version": 1, "removed": [...] }`.
   */
  removed?: string[]
  /**
   * Convolutions that hold experts. In a `config.json` they are `"asdm": { "version": 1, "conditional": [{ "prefix":
   * "down_blocks.0.resnets.0.conv1", "experts": 4, "router": "sigmoid" }] }`; `router` may be left out where it is `sigmoid`.
   */
  conditional?: ConditionalConv[]
}

/** The layers of an `AutoencoderTiny` (TAESD). */
export interface TinyVAEConfig {
  /** Channels inside the encoder. */
  encoderWidth: number
  /** Blocks per stage, from the image on. */
  encoderBlocks: number[]
  /** Blocks per stage, from the latents on. */
  decoderBlocks: number[]
}

/** What `graph/build_vae.cpp` needs of an `AutoencoderKL` or `AutoencoderTiny` config. */
export interface VAEConfig {
  /** Channels of an image that is encoded. */
  inChannels: number
  /** Channels of an image that is decoded. */
  outChannels: number
  /** Channels of the latents. */
  latentChannels: number
  /** Channels per stage; each stage after the first halves height and width. */
  blockOutChannels: number[]
  /** ResNets per encoder block; decoder blocks have one more. */
  layersPerBlock: number
  /** Groups of the group norms. */
  normNumGroups: number
  /** Does a 1x1 convolution follow the encoder? */
  useQuantConv: boolean
  /** Does a 1x1 convolution come before the decoder? */
  usePostQuantConv: boolean
  /** Do the mid blocks hold an attention? */
  midBlockAddAttention: boolean
  /** Latents are multiplied by it on their way to the UNet, and divided by it before they are decoded. */
  scalingFactor: number
  /** Added to latents after dividing by the scaling factor; 0 for Stable Diffusion. */
  shiftFactor: number
  /** Side of the images it was trained on, in pixels, where its config says so: the side of tiles, no matter to the graph. */
  sampleSize?: number
  /**
   * Makes it an `AutoencoderTiny`: `blockOutChannels` is the decoder's one width then, once for each stage, and what it says of norms,
   * ResNets, attention and 1x1 convolutions does not count.
   */
  tiny?: TinyVAEConfig
}

/** What `graph/build_clip.cpp` needs of a `CLIPTextModel` config. */
export interface TextEncoderConfig {
  /** Tokens of the vocabulary. */
  vocabSize: number
  /** Width of the features. */
  hiddenSize: number
  /** Width inside the feed-forward layers. */
  intermediateSize: number
  /** Layers. */
  numHiddenLayers: number
  /** Attention heads of each layer. */
  numAttentionHeads: number
  /** Window length in tokens. */
  maxPositionEmbeddings: number
  /** Activation of the feed-forward layers; `gelu` is the exact one. */
  hiddenAct: 'quick_gelu' | 'gelu'
  /** Added to the variance in the layer norms, inside the root. */
  layerNormEps: number
}

/**
 * dtypes of stored weights that are read; `I64` occurs only as position ids, which are not loaded. `F8_E4M3` is PyTorch's `float8_e4m3fn`,
 * without infinities; `F64` is rounded to float32.
 */
export type StoredDType = 'F32' | 'F16' | 'BF16' | 'F64' | 'F8_E4M3' | 'F8_E5M2'

/**
 * A LoRA's difference of one weight W [out, ...]: W[r, c] += fround(scale * fround(sum over k of up[r, k] * down[k, c])), summed in
 * float64.
 */
export interface WeightProduct {
  /** [out, rank] */
  up: Pick<WeightSource, 'file' | 'dtype' | 'begin' | 'end'>
  /** [rank, numbers of W in a row] */
  down: WeightProduct['up']
  rank: number
  scale: number
}

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
  /** What is added to it in float32 before it is rounded or quantised, in this order. */
  products?: readonly WeightProduct[]
  /** Computed for one load alone: `file` is temporary, and no packed cache is kept of it. The addon does not look at this. */
  merged?: true
}
