import { AsdmError } from '../base/errors'
import { inPieces, Slices } from '../base/slices'
import { item, tileSliced, type Tensor } from '../base/tensor'
import type { Posterior, VAE } from '../components/vae'
import type { Tiling } from '../components/tiling'
import type { Sampler } from '../samplers'
import type { Fit } from './fit'
import { hideMasked, shrinkNearest } from './pixels'
import type { PixelImage } from './source'

/** Where random numbers come from, in order: a `TorchGenerator`. */
export interface NoiseSource {
  randnSliced(shape: readonly number[], slices: Slices): Promise<Tensor>
  /** Images that each have random numbers of their own, where they do; every draw is then one of [streams, ...]. */
  readonly streams?: number
  /** The one image that is made, of a batch whose other images have their share of the random numbers. */
  readonly one?: { index: number, of: number } | undefined
}

/** A draw for the images that are made, of a shape [images, ...]. */
export async function imageNoise(noise: NoiseSource, shape: readonly number[], slices: Slices): Promise<Tensor> {
  if (noise.one === undefined) return noise.randnSliced(shape, slices)
  return item(await noise.randnSliced([noise.one.of, ...shape.slice(1)], slices), noise.one.index)
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
interface StartOptions {
  /** Set to the steps of the request, strength included. */
  sampler: Sampler
  /** Images in all. */
  images: number
  /** The initial noise, where it was handed in. */
  latents: Tensor | undefined
  strength: number
  tiling: Tiling
}

/** What the denoising loop begins with. */
interface Start {
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
  const slices = new Slices(signal)
  const shape = [images, vae.config.latentChannels, height / vae.factor, width / vae.factor]
  if (image === undefined)
    return {
      latents: await multiply(request.latents ?? await imageNoise(noise, shape, slices), sampler.initNoiseSigma, slices),
      condition: undefined, keep: undefined,
    }

  const whole = mask !== undefined && request.strength === 1
  // An inpainting UNet that begins with pure noise never sees the whole image's latents.
  const drawn = noise.streams ?? 1
  const original = inpaintingUNet && whole ? undefined
    : await tileSliced(await encodeImage(vae, image, noise, request.tiling, signal), images / drawn, slices)
  const added = await imageNoise(noise, shape, slices)
  const latents = whole || original === undefined
    ? await multiply(added, sampler.initNoiseSigma, slices)
    : sampler.addNoise(original, added, 0)
  if (mask === undefined) return { latents, condition: undefined, keep: undefined }

  const small = shrinkNearest(mask, width, height, vae.factor)
  if (inpaintingUNet) {
    const masked = await encodeImage(vae, await hideMasked(image, mask, slices), noise, request.tiling, signal)
    return { latents, condition: [small, masked], keep: undefined }
  }
  // diffusers encodes the masked image here too, without using it; the generator must move on all the same.
  if (vae.config.tiny === undefined) await noise.randnSliced([drawn, ...shape.slice(1)], slices)
  if (original === undefined) throw new AsdmError('INTERNAL', 'Expected latents of the image to keep')
  const keep = (current: Tensor, i: number): Tensor =>
    blend(i + 1 < sampler.timesteps.length ? sampler.addNoise(original, added, i + 1) : original, current, small)
  return { latents, condition: undefined, keep }
}

/** An image's latents, drawn from the VAE's posterior and scaled: [1,C,h,w], or one for each of the noise's streams. */
async function encodeImage(vae: VAE, image: Tensor, noise: NoiseSource, tiling: Tiling, signal: AbortSignal): Promise<Tensor> {
  const { mean, logvar } = await vae.encodeOwned(image, signal, tiling)
  const drawn = noise.streams ?? 1
  const { scalingFactor, shiftFactor } = vae.config
  const slices = new Slices(signal)
  const factor = Math.fround(scalingFactor)
  const scale = (sample: Tensor): Promise<Tensor> => mapValues(sample, value => factor * Math.fround(value - shiftFactor), slices)
  // It draws nothing.
  if (vae.config.tiny !== undefined) return scale(await tileSliced(mean, drawn, slices))
  const posterior = { mean: await tileSliced(mean, drawn, slices), logvar: await tileSliced(logvar, drawn, slices) }
  return scale(await samplePosterior(posterior, await noise.randnSliced(posterior.mean.shape, slices), slices))
}

/** mean + std * noise, std = exp(logvar / 2). Exported for tests and scripts. */
export function samplePosterior({ mean, logvar }: Posterior, noise: Tensor, slices = new Slices()): Promise<Tensor> {
  const std = (i: number): number => Math.fround(Math.exp(Math.fround(0.5 * logvar.data[i]!)))
  return mapValues(mean, (value, i) => value + Math.fround(std(i) * noise.data[i]!), slices)
}

/** (1 - mask) * kept + mask * made; the mask [1,1,h,w] holds for every item and channel. */
function blend(kept: Tensor, made: Tensor, mask: Tensor): Tensor {
  const plane = mask.data.length
  return {
    data: made.data.map((value, i) => (1 - mask.data[i % plane]!) * kept.data[i]! + mask.data[i % plane]! * value), shape: [...made.shape],
  }
}

function multiply(tensor: Tensor, factor: number, slices: Slices): Promise<Tensor> {
  const rounded = Math.fround(factor)
  return mapValues(tensor, value => value * rounded, slices)
}

/** A tensor's values, each made another. */
async function mapValues({ data, shape }: Tensor, map: (value: number, i: number) => number, slices: Slices): Promise<Tensor> {
  const made = new Float32Array(data.length)
  await inPieces(data.length, slices, (from, to) => {
    for (let i = from; i < to; i++) made[i] = map(data[i]!, i)
  })
  return { data: made, shape: [...shape] }
}
