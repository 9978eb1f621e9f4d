import type { JsonObject } from '../files/json'
import type { TextEncoderConfig, UNetConfig, VAEConfig, WeightSource } from '../native/configs'
import type { ModelDefaults } from './defaults'

/** How a checkpoint is opened. */
export interface OpenOptions {
  /**
   * Which variant of the weight files (`fp16` for `diffusion_pytorch_model.fp16.safetensors`). Without it: the files without a variant, or
   * the only variant there is.
   */
  variant?: string | undefined
  /** A folder whose tokenizer (`vocab.json`, `merges.txt`, configs) is used instead of the checkpoint's. */
  tokenizer?: string | undefined
  /** A diffusers folder whose configs are used instead of the checkpoint's own or inferred ones; it needs no weights and may lack parts. */
  config?: string | undefined
  /** A VAE that is used instead of the checkpoint's: its folder, a diffusers folder with one, or a `.safetensors` file. */
  vae?: string | undefined
  /** A text encoder that is used instead of the checkpoint's, likewise. */
  textEncoder?: string | undefined
  /** Stops between two files. */
  signal?: AbortSignal | undefined
}

/** One part of a checkpoint: what its graph is built from, and where its weights lie. */
export interface Part<Config> {
  config: Config
  weights: WeightSource[]
  /** File or folder that the weights come from, for messages. */
  path: string
}

/** Parts that the caller gives, opened. */
export interface GivenParts {
  vae: Part<VAEConfig> | undefined
  textEncoder: Part<TextEncoderConfig> | undefined
}

/** A checkpoint as found on the disk: nothing but configs and headers has been read. */
export interface Checkpoint {
  kind: 'folder' | 'single-file'
  path: string
  unet: Part<UNetConfig>
  vae: Part<VAEConfig>
  textEncoder: Part<TextEncoderConfig>
  /** Where the tokenizer lies; `undefined` for CLIP's, which comes with the package. */
  tokenizerFolder: string | undefined
  /** The token that fills the window where the packaged tokenizer is used: `!` for Stable Diffusion 2, `undefined` for CLIP's own. */
  padToken: string | undefined
  /** The scheduler's config, with `_class_name`, as diffusers' pipelines correct it. */
  schedulerConfig: JsonObject
  /** What requests use where they do not say. */
  defaults: ModelDefaults
  /** What the user should know: sentences. */
  warnings: string[]
}
