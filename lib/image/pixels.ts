import { setImmediate } from 'node:timers/promises'
import { elementCount, type Tensor } from '../base/tensor'

/** Values converted before the event loop gets a turn: about 2 ms. */
const valuesAtOnce = 1 << 18

/** Rounds to the nearest integer, halves to the even one, as numpy does. For values from 0 to 255. */
export function roundHalfToEven(value: number): number {
  const floor = Math.floor(value)
  const part = value - floor
  return part > 0.5 || (part === 0.5 && floor % 2 === 1) ? floor + 1 : floor
}

/**
 * One image of a VAE's output [N,3,H,W] in about [-1, 1] as RGBA bytes: (x / 2 + 0.5) clamped to [0, 1], times 255, rounded half to
 * even; each operation in float32, as diffusers' `VaeImageProcessor.postprocess` does it. NaN gives 0.
 */
export async function toRgba(image: Tensor, index: number): Promise<Uint8ClampedArray<ArrayBuffer>> {
  const [, , height, width] = image.shape
  const plane = height * width
  const rgba = new Uint8ClampedArray(plane * 4).fill(255)
  for (let start = 0; start < plane; start += valuesAtOnce / 4) {
    const end = Math.min(plane, start + valuesAtOnce / 4)
    for (let channel = 0; channel < 3; channel++) {
      const from = (index * 3 + channel) * plane
      for (let i = start; i < end; i++) {
        const unit = Math.fround(Math.fround(image.data[from + i] / 2) + 0.5)
        rgba[i * 4 + channel] = unit > 0 ? roundHalfToEven(Math.fround(Math.min(unit, 1) * 255)) : 0
      }
    }
    if (end < plane) await setImmediate()
  }
  return rgba
}

/** RGB pixels as RGBA with an alpha of 255. */
export function withAlpha(
  { data, width, height }: { data: Uint8Array, width: number, height: number },
): { rgba: Uint8ClampedArray<ArrayBuffer>, width: number, height: number } {
  const rgba = new Uint8ClampedArray(width * height * 4)
  for (let from = 0, to = 0; to < rgba.length; from += 3, to += 4) {
    rgba[to] = data[from]
    rgba[to + 1] = data[from + 1]
    rgba[to + 2] = data[from + 2]
    rgba[to + 3] = 255
  }
  return { rgba, width, height }
}

/** Interleaved 8-bit pixels (3 or 4 channels; the fourth is ignored) as a tensor [1,3,H,W] in [-1, 1], as diffusers normalises. */
export function fromPixels(data: Uint8Array | Uint8ClampedArray, width: number, height: number): Tensor {
  const plane = width * height
  const channels = data.length / plane
  const out = new Float32Array(3 * plane)
  for (let channel = 0; channel < 3; channel++)
    for (let i = 0; i < plane; i++) out[channel * plane + i] = Math.fround(2 * Math.fround(data[i * channels + channel] / 255)) - 1
  return { data: out, shape: [1, 3, height, width] }
}

/**
 * A mask's pixels (1, 3 or 4 channels) as ones (repaint) and zeros (keep), one a pixel: grey at or above half is one. Grey is
 * ITU-R 601-2 luma in 16-bit fixed point, as PIL's `convert("L")`.
 */
export function maskFromPixels(data: Uint8Array | Uint8ClampedArray, width: number, height: number): Float32Array {
  const plane = width * height
  const channels = data.length / plane
  const out = new Float32Array(plane)
  for (let i = 0; i < plane; i++) {
    const at = i * channels
    const grey = channels === 1 ? data[at] : (19595 * data[at] + 38470 * data[at + 1] + 7471 * data[at + 2] + 0x8000) >> 16
    out[i] = grey / 255 >= 0.5 ? 1 : 0
  }
  return out
}

/** Every `factor`-th pixel of every `factor`-th row: what nearest-neighbour scaling by a whole factor gives. Result [1,1,h,w]. */
export function shrinkNearest(mask: Float32Array, width: number, height: number, factor: number): Tensor {
  const [w, h] = [width / factor, height / factor]
  const out = new Float32Array(w * h)
  for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) out[y * w + x] = mask[y * factor * width + x * factor]
  return { data: out, shape: [1, 1, h, w] }
}

/** The image [1,3,H,W] where the mask is 0, and 0 (mid grey) where it is 1. */
export function hideMasked(image: Tensor, mask: Float32Array): Tensor {
  const out = new Float32Array(elementCount(image.shape))
  for (let i = 0; i < out.length; i++) out[i] = mask[i % mask.length] < 0.5 ? image.data[i] : 0
  return { data: out, shape: [...image.shape] }
}
