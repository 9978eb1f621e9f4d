import { Slices } from '../base/slices'
import { elementCount, sizes, type Tensor } from '../base/tensor'
import type { PixelImage } from './source'

/** Pixels converted before the clock is looked at. */
const pixelsAtOnce = 1 << 14

/** Rounds to the nearest integer, halves to the even one, as numpy does. For values from 0 to 255. Exported for tests and scripts. */
export function roundHalfToEven(value: number): number {
  const floor = Math.floor(value)
  const part = value - floor
  return part > 0.5 || (part === 0.5 && floor % 2 === 1) ? floor + 1 : floor
}

/**
 * One image of a VAE's output [N,3,H,W] in about [-1, 1] as RGBA bytes: (x / 2 + 0.5) clamped to [0, 1], times 255, rounded half to
 * even; each operation in float32, as diffusers' `VaeImageProcessor.postprocess` does it. NaN gives 0.
 */
export async function toRgba(image: Tensor, index: number, slices = new Slices()): Promise<Uint8ClampedArray<ArrayBuffer>> {
  const [, , height, width] = sizes(image.shape, 4)
  const plane = height * width
  const rgba = new Uint8ClampedArray(plane * 4).fill(255)
  for (let start = 0; start < plane; start += pixelsAtOnce) {
    const end = Math.min(plane, start + pixelsAtOnce)
    for (let channel = 0; channel < 3; channel++) {
      const from = (index * 3 + channel) * plane
      for (let i = start; i < end; i++) {
        const unit = Math.fround(Math.fround(image.data[from + i]! / 2) + 0.5)
        rgba[i * 4 + channel] = unit > 0 ? roundHalfToEven(Math.fround(Math.min(unit, 1) * 255)) : 0
      }
    }
    if (slices.over) await slices.next()
  }
  return rgba
}

/** RGB pixels as RGBA with an alpha of 255. */
export function withAlpha(
  { data, width, height }: { data: Uint8Array, width: number, height: number },
): { rgba: Uint8ClampedArray<ArrayBuffer>, width: number, height: number } {
  const rgba = new Uint8ClampedArray(width * height * 4)
  for (let from = 0, to = 0; to < rgba.length; from += 3, to += 4) {
    rgba[to] = data[from]!
    rgba[to + 1] = data[from + 1]!
    rgba[to + 2] = data[from + 2]!
    rgba[to + 3] = 255
  }
  return { rgba, width, height }
}

/** Pixels of 3 or 4 channels (the fourth is ignored) as a tensor [1,3,H,W] in [-1, 1], as diffusers normalises. */
export async function fromPixels({ data, width, height, channels }: PixelImage, slices = new Slices()): Promise<Tensor> {
  const plane = width * height
  const out = new Float32Array(3 * plane)
  const values = Float32Array.from({ length: 256 }, (_, byte) => Math.fround(2 * Math.fround(byte / 255)) - 1)
  for (let start = 0; start < plane; start += pixelsAtOnce) {
    const end = Math.min(plane, start + pixelsAtOnce)
    for (let channel = 0; channel < 3; channel++)
      for (let i = start; i < end; i++) out[channel * plane + i] = values[data[i * channels + channel]!]!
    if (slices.over) await slices.next()
  }
  return { data: out, shape: [1, 3, height, width] }
}

/** Pixels of 1, 3 or 4 channels as grey: ITU-R 601-2 luma in 16-bit fixed point, as PIL's `convert("L")`. */
export async function greyOf({ data, width, height, channels }: PixelImage, slices = new Slices()): Promise<Uint8Array> {
  if (channels === 1) return data
  const grey = new Uint8Array(width * height)
  for (let start = 0; start < grey.length; start += pixelsAtOnce) {
    const end = Math.min(grey.length, start + pixelsAtOnce)
    for (let i = start, at = start * channels; i < end; i++, at += channels)
      grey[i] = (19595 * data[at]! + 38470 * data[at + 1]! + 7471 * data[at + 2]! + 0x8000) >> 16
    if (slices.over) await slices.next()
  }
  return grey
}

/** A mask in grey as ones (repaint, from half grey on) and zeros (keep). */
export async function maskFromGrey(grey: Uint8Array, slices = new Slices()): Promise<Float32Array> {
  const out = new Float32Array(grey.length)
  for (let start = 0; start < grey.length; start += pixelsAtOnce) {
    const end = Math.min(grey.length, start + pixelsAtOnce)
    for (let i = start; i < end; i++) out[i] = grey[i]! / 255 >= 0.5 ? 1 : 0
    if (slices.over) await slices.next()
  }
  return out
}

/** Every `factor`-th pixel of every `factor`-th row: what nearest-neighbour scaling by a whole factor gives. Result [1,1,h,w]. */
export function shrinkNearest(mask: Float32Array, width: number, height: number, factor: number): Tensor {
  const [w, h] = [width / factor, height / factor]
  const out = new Float32Array(w * h)
  for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) out[y * w + x] = mask[y * factor * width + x * factor]!
  return { data: out, shape: [1, 1, h, w] }
}

/** The image [1,3,H,W] where the mask is 0, and 0 (mid grey) where it is 1. */
export async function hideMasked(image: Tensor, mask: Float32Array, slices = new Slices()): Promise<Tensor> {
  const out = new Float32Array(elementCount(image.shape))
  for (let start = 0; start < out.length; start += pixelsAtOnce) {
    const end = Math.min(out.length, start + pixelsAtOnce)
    for (let i = start; i < end; i++) out[i] = mask[i % mask.length]! < 0.5 ? image.data[i]! : 0
    if (slices.over) await slices.next()
  }
  return { data: out, shape: [...image.shape] }
}
