import { AsdmError, throwIfAborted } from '../base/errors'
import { item, sizes, type Tensor } from '../base/tensor'
import type { VAE } from '../components/vae'
import { fromPixels } from '../image/pixels'

/** Pixels that are encoded at once: 16 images of 64x64. */
const pixelsAtOnce = 2 ** 16

/** Side of the grid that latents are pooled to for the Fréchet distance. */
const gridSide = 4

/** What an image is compared by: pooled means of its latents, as the VAE's encoder gives them, scaled as for the UNet. */
export interface ImageFeatures {
  /** 2x2 averages, [C, h/2, w/2] flattened: for the nearest drawing. A last odd row or column is left out. */
  near: Float32Array
  /** Averages over a grid of 4x4, [C,4,4] flattened: for the Fréchet distance, which wants few numbers where images are few. */
  coarse: Float32Array
}

/**
 * The features of images of one size.
 * @param pixels 3 or 4 bytes a pixel, an image each
 * @throws AsdmError as `vae.encode`, and `SHAPE_MISMATCH` for images with fewer than 4x4 latents
 */
export async function imageFeatures(
  vae: VAE, pixels: readonly (Uint8Array | Uint8ClampedArray)[], { width, height }: {
    width: number
    height: number
  }, { signal, onImage }: { signal?: AbortSignal | undefined, onImage?: ((done: number) => void) | undefined } = {},
): Promise<ImageFeatures[]> {
  const { factor, config: { scalingFactor, shiftFactor } } = vae
  if (width / factor < gridSide || height / factor < gridSide)
    throw new AsdmError('SHAPE_MISMATCH',
      `Expected images of at least ${gridSide * factor}x${gridSide * factor} pixels for this VAE but received ${width}x${height}`)
  const atOnce = Math.max(1, Math.floor(pixelsAtOnce / (width * height)))
  const features: ImageFeatures[] = []
  for (let begin = 0; begin < pixels.length; begin += atOnce) {
    throwIfAborted(signal)
    const some = pixels.slice(begin, begin + atOnce)
    const size = 3 * width * height
    const image = new Float32Array(some.length * size)
    for (const [i, { buffer, byteOffset, length }] of some.entries()) {
      const data = new Uint8Array(buffer, byteOffset, length)
      image.set((await fromPixels({ data, width, height, channels: length / (width * height) })).data, i * size)
    }
    const { mean } = await vae.encode({ data: image, shape: [some.length, 3, height, width] }, { signal })
    for (let i = 0; i < some.length; i++) {
      const latents = item(mean, i)
      const scaled: Tensor = { data: latents.data.map(value => (value - shiftFactor) * scalingFactor), shape: latents.shape }
      features.push({ near: halve(scaled), coarse: toGrid(scaled) })
    }
    onImage?.(features.length)
  }
  return features
}

/** [1,C,h,w] to averages of 2x2. Exported for tests and scripts. */
export function halve({ data, shape }: Tensor): Float32Array {
  const [, channels, height, width] = sizes(shape, 4)
  const [h, w] = [height >> 1, width >> 1]
  const out = new Float32Array(channels * h * w)
  for (let c = 0; c < channels; c++) for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) {
    const at = (c * height + 2 * y) * width + 2 * x
    out[(c * h + y) * w + x] = (data[at]! + data[at + 1]! + data[at + width]! + data[at + width + 1]!) / 4
  }
  return out
}

/**
 * [1,C,h,w] to averages over a grid of 4x4 cells of about equal size; where they do not divide evenly, neighbours share a row or column.
 * Exported for tests and scripts.
 */
export function toGrid({ data, shape }: Tensor): Float32Array {
  const [, channels, height, width] = sizes(shape, 4)
  const out = new Float32Array(channels * gridSide * gridSide)
  const range = (i: number, size: number): [number, number] => [Math.floor((i * size) / gridSide), Math.ceil(((i + 1) * size) / gridSide)]
  for (let c = 0; c < channels; c++) for (let row = 0; row < gridSide; row++) for (let column = 0; column < gridSide; column++) {
    const [[top, bottom], [left, right]] = [range(row, height), range(column, width)]
    let sum = 0
    for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) sum += data[(c * height + y) * width + x]!
    out[(c * gridSide + row) * gridSide + column] = sum / ((bottom - top) * (right - left))
  }
  return out
}

/**
 * The place of one candidate among all by their distance (L2) to a vector, counted from 1: one more than there are nearer ones; of equally
 * near ones the first is the nearest.
 */
export function rankOf(wanted: number, vector: Float32Array, candidates: readonly Float32Array[]): number {
  const distance = (candidate: Float32Array): number => {
    let sum = 0
    for (let i = 0; i < vector.length; i++) sum += (candidate[i]! - vector[i]!) ** 2
    return sum
  }
  const own = distance(candidates[wanted]!)
  let rank = 1
  candidates.forEach((candidate, i) => {
    const other = distance(candidate)
    if (other < own || (other === own && i < wanted)) rank++
  })
  return rank
}
