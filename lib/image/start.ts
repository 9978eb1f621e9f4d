import { AsdmError } from '../base/errors'
import { Slices } from '../base/slices'
import { tile, type Tensor } from '../base/tensor'
import type { Posterior, VAE } from '../components/vae'
import type { Sampler } from '../samplers'
import type { Fit } from './fit'
import { hideMasked, shrinkNearest } from './pixels'
import type { PixelImage } from './source'

/** Where random numbers come from, in order: a `TorchGenerator`. */
export interface NoiseSource {
  randn(shape: readonly number[]): Tensor
  /** Images that each have random numbers of their own, where they do; every draw is then one of [streams, ...]. */
  readonly streams?: number
}

/** A request's images and the size to generate in pixels, once they are read. */
export interface Opened {
  width: number
  height: number
  image: Tensor | undefined
  /** Ones (repaint) and zeros (keep), one a pixel. */
  mask: Float32Array | undefined
  /** How image or mask were fitted, where they had to be. */
  fit?: Fit
  /** The pixels to put back outside of the mask, and the mask in grey. */
  outside?: { image: PixelImage, mask: Uint8Array }
}

/** What of a request decides how it begins. */
export interface StartOptions {
  /** Set to the steps of the request, strength included. */
  sampler: Sampler
  /** Images in all. */
  images: number
  /** The initial noise, where it was handed in. */
  latents: Tensor | undefined
  strength: number
}

/** What the denoising loop begins with. */
export interface Start {
  /** Latents [N,C,h,w] at the noise level of the first step. */
  latents: Tensor
  /** What an inpainting UNet sees beside the latents: mask [1,1,h,w] and the masked image's latents [1,C,h,w]. */
  condition: Tensor[] | undefined
  /** For inpainting with a plain UNet: puts the part to keep back into the latents after step `i`. */
  keep: ((latents: Tensor, i: number) => Tensor) | undefined
}

/**
 * Makes the latents to begin with. Draws as diffusers does: for a text the initial noise; for an image its posterior's noise,
 * then the noise to add; with a mask also the masked image's posterior's noise.
 */
export async function start(
  request: StartOptions, opened: Opened, vae: VAE, noise: NoiseSource, inpaintingUNet: boolean, signal: AbortSignal,
): Promise<Start> {
  const { sampler, images } = request
  const { image, mask, width, height } = opened
  const shape = [images, vae.config.latentChannels, height / vae.factor, width / vae.factor]
  if (image === undefined)
    return { latents: multiply(request.latents ?? noise.randn(shape), sampler.initNoiseSigma), condition: undefined, keep: undefined }

  const whole = mask !== undefined && request.strength === 1
  // An inpainting UNet that begins with pure noise never sees the whole image's latents.
  const drawn = noise.streams ?? 1
  const original = inpaintingUNet && whole ? undefined : tile(await encodeImage(vae, image, noise, signal), images / drawn)
  const added = noise.randn(shape)
  const latents = whole || original === undefined ? multiply(added, sampler.initNoiseSigma) : sampler.addNoise(original, added, 0)
  if (mask === undefined) return { latents, condition: undefined, keep: undefined }

  const small = shrinkNearest(mask, width, height, vae.factor)
  if (inpaintingUNet) {
    const masked = await encodeImage(vae, await hideMasked(image, mask, new Slices(signal)), noise, signal)
    return { latents, condition: [small, masked], keep: undefined }
  }
  // diffusers encodes the masked image here too, without using it; the generator must move on all the same.
  noise.randn([drawn, ...shape.slice(1)])
  if (original === undefined) throw new AsdmError('INTERNAL', 'Expected latents of the image to keep')
  const keep = (current: Tensor, i: number): Tensor =>
    blend(i + 1 < sampler.timesteps.length ? sampler.addNoise(original, added, i + 1) : original, current, small)
  return { latents, condition: undefined, keep }
}

/** An image's latents, drawn from the VAE's posterior and scaled: [1,C,h,w], or one for each of the noise's streams. */
async function encodeImage(vae: VAE, image: Tensor, noise: NoiseSource, signal: AbortSignal): Promise<Tensor> {
  const { mean, logvar } = await vae.encodeOwned(image, signal)
  const drawn = noise.streams ?? 1
  const posterior = { mean: tile(mean, drawn), logvar: tile(logvar, drawn) }
  const { scalingFactor, shiftFactor } = vae.config
  const sample = samplePosterior(posterior, noise.randn(posterior.mean.shape))
  const factor = Math.fround(scalingFactor)
  return { data: sample.data.map(value => factor * Math.fround(value - shiftFactor)), shape: sample.shape }
}

/** mean + std * noise, std = exp(logvar / 2). */
export function samplePosterior({ mean, logvar }: Posterior, noise: Tensor): Tensor {
  return {
    data: mean.data.map((value, i) => value + Math.fround(Math.fround(Math.exp(Math.fround(0.5 * logvar.data[i]))) * noise.data[i])),
    shape: [...mean.shape],
  }
}

/** (1 - mask) * kept + mask * made; the mask [1,1,h,w] holds for every item and channel. */
function blend(kept: Tensor, made: Tensor, mask: Tensor): Tensor {
  const plane = mask.data.length
  return {
    data: made.data.map((value, i) => (1 - mask.data[i % plane]) * kept.data[i] + mask.data[i % plane] * value), shape: [...made.shape],
  }
}

function multiply({ data, shape }: Tensor, factor: number): Tensor {
  const rounded = Math.fround(factor)
  return { data: data.map(value => value * rounded), shape: [...shape] }
}
