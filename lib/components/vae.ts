import { checkLoaded } from '../base/options'
import { AsdmError } from '../base/errors'
import { abortSignal, checkOptions, optional } from '../base/options'
import { sizesOf } from '../base/reading'
import { copiedAtOnce, inPieces, Slices } from '../base/slices'
import { checkTensor, sizes, type Tensor } from '../base/tensor'
import type { Part } from '../model/checkpoint'
import { shownPath } from '../files/files'
import { openGivenVAE } from '../model/part-file'
import { splitVAEWeights } from '../model/weights'
import type { Addon, NativeModelOptions, ProgramInfo } from '../native/binding'
import type { VAEConfig } from '../native/configs'
import { Component, loadComponent } from './component'
import type { CallOptions, PartLoadOptions, WeightsLoadOptions } from './options'
import { NativePart } from './part'
import { checkTiling, tiled, tiledTiny, tileSide, tilesTiny, tinyTile, type Tiling } from './tiling'

/** The distribution of an image's latents: mean and logarithm of the variance, each [N,C,h,w]. */
export interface Posterior {
  /** [N,C,h,w], before scaling. */
  mean: Tensor
  /** [N,C,h,w], in [-30, 20]; of an `AutoencoderTiny`, which gives one point, -Infinity. */
  logvar: Tensor
}

/** How a VAE decodes and encodes. */
export interface VAECallOptions extends CallOptions {
  /**
   * Works tile by tile, as diffusers' `enable_tiling` does: memory does not grow with the image, which changes a little. Tiles are the
   * config's `sample_size` wide, else 512 pixels. `auto` (if left out): for images of more than 1024x1024 pixels.
   */
  tiling?: Tiling | undefined
}

/** The autoencoder between images and latents: diffusers' `AutoencoderKL` or `AutoencoderTiny`. Calls on one half queue in order. */
export class VAE extends Component<VAEConfig> {
  readonly #decoder: NativePart
  /** None of a tiny autoencoder whose encoder's file is not there. */
  readonly #encoder: NativePart | undefined
  readonly #path: string
  /** The encoder is not read before it is first used: text-to-image never does. */
  #encoderLoad: WeightsLoadOptions = {}

  /** @internal */
  constructor(addon: Addon, part: Part<VAEConfig>, options: NativeModelOptions) {
    checkLoaded(() => typeof addon.createModel === 'function' && typeof part.config === 'object', 'VAE', 'VAE.load')
    const weights = splitVAEWeights(part.weights)
    const decoder = new NativePart(addon, { kind: 'vae_decoder', config: part.config }, options, weights.decoder, part.path, 'VAE')
    let encoder: NativePart | undefined
    try {
      if (part.config.tiny === undefined || weights.encoder.length > 0)
        encoder = new NativePart(addon, { kind: 'vae_encoder', config: part.config }, options, weights.encoder, part.path, 'VAE')
    } catch (error) {
      void decoder.dispose()
      throw error
    }
    super(part.config, encoder === undefined ? [decoder] : [decoder, encoder])
    this.#decoder = decoder
    this.#encoder = encoder
    this.#path = part.path
  }

  /**
   * Loads a VAE: its folder (`config.json` and safetensors weights), a diffusers folder with one, or a single `.safetensors` file. The
   * encoder's weights are checked, but read only when {@link encode} is first called.
   * @throws AsdmError as `StableDiffusion.load`; an `AbortError` when the signal fires
   */
  static async load(path: string, options?: PartLoadOptions): Promise<VAE> {
    return loadComponent(options, 'VAE.load', async (addon, opening, native) => new VAE(addon, await openGivenVAE(path, opening), native))
  }

  /** Side of an image over the side of its latents: 8 for Stable Diffusion. */
  get factor(): number {
    return 2 ** (this.config.blockOutChannels.length - 1)
  }

  /** @internal */
  get decoderPart(): NativePart {
    return this.#decoder
  }

  /** @internal */
  get hasEncoder(): boolean {
    return this.#encoder !== undefined
  }

  /** @internal */
  get encoderPart(): NativePart {
    if (this.#encoder === undefined)
      throw new AsdmError('TENSOR_MISSING',
        `Expected an encoder beside ${shownPath(this.#path)} (taesd_encoder.safetensors beside taesd_decoder.safetensors) but there is none`)
    return this.#encoder
  }

  /** @internal */
  override loadWeights(options: WeightsLoadOptions): Promise<void> {
    this.#encoderLoad = { packedCache: options.packedCache, onWarning: options.onWarning }
    return super.loadWeights(options)
  }

  /** Units, multiply-accumulates and memory of a decoder pass; the size is that of the latents. */
  describe(shape: { batch: number, height: number, width: number }): ProgramInfo {
    return this.#decoder.describe(sizesOf(shape, ['batch', 'height', 'width']))
  }

  /**
   * Latents to images. Leave latents beyond 4 MiB as they are until it settles.
   * @param latents [N,C,h,w], already divided by `config.scalingFactor`
   * @returns [N,3,h*factor,w*factor], in about [-1, 1], not clamped
   * @throws AsdmError `INVALID_ARGUMENT`, `SHAPE_MISMATCH`, `OUT_OF_MEMORY`, `DISPOSED`; an `AbortError` when the signal fires
   */
  async decode(latents: Tensor, options?: VAECallOptions): Promise<Tensor> {
    const { signal: givenSignal, tiling: givenTiling } = checkOptions(options, ['signal', 'tiling'], 'vae.decode')
    const signal = optional(givenSignal, value => abortSignal(value, 'signal'))
    const tiling = optional(givenTiling, checkTiling) ?? 'auto'
    const sample = checkTensor(latents, 'latents', 4)
    const { latentChannels } = this.config
    if (sample.shape[1] !== latentChannels)
      throw new AsdmError('SHAPE_MISMATCH', `Expected latents to be [N,${latentChannels},h,w] for this VAE but received [${sample.shape}]`)
    const run = async (tile: Tensor): Promise<Tensor> => (await this.#decoder.forward({ values: { sample: tile } }, signal)).sample
    const [, , height, width] = sizes(sample.shape, 4)
    const { tiny, sampleSize } = this.config
    const side = tiny === undefined ? tileSide(tiling, height, width, this.factor, sampleSize)
      : tilesTiny(tiling, height, width, this.factor) ? tinyTile / this.factor : undefined
    if (side === undefined) return run(sample)
    // Tiles are cut out one after the other.
    const own = sample.data.byteLength > copiedAtOnce ? sample : { data: sample.data.slice(), shape: sample.shape }
    return (tiny === undefined ? tiled : tiledTiny)(own, { input: side, output: side * this.factor }, run, new Slices(signal))
  }

  /**
   * Images to the distribution of their latents. Leave an image beyond 4 MiB as it is until it settles.
   * @param image [N,3,H,W] in [-1, 1], H and W multiples of {@link factor}
   * @returns mean and logvar (clamped to [-30, 20], as diffusers' `DiagonalGaussianDistribution`), each [N,C,H/factor,W/factor]
   * @throws AsdmError as {@link decode}, and what reading the encoder's weights gives
   */
  async encode(image: Tensor, options?: VAECallOptions): Promise<Posterior> {
    const { signal: given, tiling: givenTiling } = checkOptions(options, ['signal', 'tiling'], 'vae.encode')
    const tiling = optional(givenTiling, checkTiling) ?? 'auto'
    const signal = optional(given, value => abortSignal(value, 'signal'))
    const { data, shape } = checkTensor(image, 'image', 4)
    const [, channels, height, width] = sizes(shape, 4)
    const { factor, config: { inChannels } } = this
    if (channels !== inChannels || height % factor !== 0 || width % factor !== 0)
      throw new AsdmError('SHAPE_MISMATCH',
        `Expected image to be [N,${inChannels},H,W] with H and W multiples of ${factor} but received [${shape}]`)
    return this.encodeOwned({ data: data.byteLength > copiedAtOnce ? data : data.slice(), shape }, signal, tiling)
  }

  /**
   * {@link encode} without checks and without the copy that guards against a caller who goes on writing: for tensors of asdm's own.
   * @internal
   */
  async encodeOwned(sample: Tensor, signal: AbortSignal | undefined, tiling: Tiling): Promise<Posterior> {
    const encoder = this.encoderPart
    await encoder.load({ ...this.#encoderLoad, signal })
    const slices = new Slices(signal)
    const run = async (tile: Tensor): Promise<Tensor> => (await encoder.forward({ values: { sample: tile } }, signal)).sample
    const [, , height, width] = sizes(sample.shape, 4)
    const { factor, config: { tiny, sampleSize } } = this
    const side = tiny === undefined ? tileSide(tiling, height / factor, width / factor, factor, sampleSize)
      : tilesTiny(tiling, height, width, 1) ? tinyTile / factor : undefined
    const sides = side === undefined ? undefined : { input: side * factor, output: side }
    const encoded = sides === undefined ? await run(sample) : await (tiny === undefined ? tiled : tiledTiny)(sample, sides, run, slices)
    if (tiny === undefined) return splitMoments(encoded, slices)
    return { mean: encoded, logvar: { data: new Float32Array(encoded.data.length).fill(-Infinity), shape: [...encoded.shape] } }
  }
}

/** [N,2C,h,w] to mean (the first C channels of each) and clamped logvar (the others). */
async function splitMoments(moments: Tensor, slices: Slices): Promise<Posterior> {
  const { data } = moments
  const [batch, doubled, height, width] = sizes(moments.shape, 4)
  const half = (doubled / 2) * height * width
  const shape = [batch, doubled / 2, height, width]
  const mean = new Float32Array(batch * half)
  const logvar = new Float32Array(batch * half)
  for (let n = 0; n < batch; n++) {
    mean.set(data.subarray(2 * n * half, (2 * n + 1) * half), n * half)
    await inPieces(half, slices, (from, to) => {
      for (let i = from; i < to; i++) logvar[n * half + i] = Math.min(20, Math.max(-30, data[(2 * n + 1) * half + i]!))
    })
  }
  return { mean: { data: mean, shape }, logvar: { data: logvar, shape: [...shape] } }
}
