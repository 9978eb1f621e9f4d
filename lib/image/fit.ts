import type { Slices } from '../base/slices'
import { bicubic, lanczos, resize } from './resize'
import type { PixelImage, Size } from './source'

/**
 * How an image of another size is fitted: `cover` fills the size and crops what stands out; `contain` shows all of the image, and
 * continues its edges where it leaves room; `stretch` changes its proportions.
 */
export type Fit = 'cover' | 'contain' | 'stretch'

/** All of them. */
export const fits: readonly Fit[] = ['cover', 'contain', 'stretch']

/**
 * Brings an image to a size, bit for bit as diffusers' `VaeImageProcessor.resize` does with `resize_mode` `crop` (cover), `fill`
 * (contain) and `default` (stretch): Lanczos, and for continued edges bicubic.
 */
export async function fitImage(image: PixelImage, { width, height }: Size, fit: Fit, slices: Slices): Promise<PixelImage> {
  if (image.width === width && image.height === height) return image
  if (fit === 'stretch') return resize(image, { width, height }, lanczos, slices)

  const wanted = width / height
  const own = image.width / image.height
  const byWidth = fit === 'cover' ? wanted > own : wanted < own
  const byHeight = fit === 'cover' ? wanted <= own : wanted >= own
  // At least one pixel, where proportions are extreme.
  const inner = {
    width: Math.max(1, byWidth ? width : Math.floor(image.width * height / image.height)),
    height: Math.max(1, byHeight ? height : Math.floor(image.height * width / image.width)),
  }
  const left = Math.floor(width / 2) - Math.floor(inner.width / 2)
  const top = Math.floor(height / 2) - Math.floor(inner.height / 2)
  if (fit === 'cover') return resize(image, inner, lanczos, slices, { window: { left: -left, top: -top, width, height } })

  const resized = await resize(image, inner, lanczos, slices)
  const out: PixelImage = { width, height, channels: image.channels, data: new Uint8Array(width * height * image.channels) }
  paste(resized, out, left, top)
  if (wanted < own && top > 0) {
    const edge = (y: number): Promise<PixelImage> =>
      resize(resized, { width, height: top }, bicubic, slices, { box: { left: 0, top: y, right: width, bottom: y } })
    paste(await edge(0), out, 0, 0)
    paste(await edge(inner.height), out, 0, top + inner.height)
  } else if (wanted > own && left > 0) {
    const edge = (x: number): Promise<PixelImage> =>
      resize(resized, { width: left, height }, bicubic, slices, { box: { left: x, top: 0, right: x, bottom: height } })
    paste(await edge(0), out, 0, 0)
    paste(await edge(inner.width), out, left + inner.width, 0)
  }
  return out
}

/** Puts `image` into `target` with its top left corner at (left, top); what stands out on the right or below is cut off. */
function paste(image: PixelImage, target: PixelImage, left: number, top: number): void {
  const { channels } = image
  const rowBytes = Math.min(image.width, target.width - left) * channels
  for (let y = 0; y < Math.min(image.height, target.height - top); y++) {
    const from = y * image.width * channels
    target.data.set(image.data.subarray(from, from + rowBytes), ((top + y) * target.width + left) * channels)
  }
}
