import type { Slices } from '../base/slices'
import type { PixelImage, Size } from './source'

/** A resampling filter as PIL has it: its value, and the distance beyond which it is zero. */
interface Filter {
  support: number
  at(x: number): number
}

/** Windowed sinc of three lobes: what diffusers resizes images with. */
export const lanczos: Filter = {
  support: 3,
  at: x => (x > -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0),
}

/** Cubic convolution with a = -0.5. */
export const bicubic: Filter = {
  support: 2,
  at(x) {
    const t = Math.abs(x)
    return t < 1 ? (1.5 * t - 2.5) * t * t + 1 : t < 2 ? (((t - 5) * t + 8) * t - 4) * -0.5 : 0
  },
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI)
}

/** Part of an image in pixels, fractions allowed; right and bottom lie outside. */
interface Box {
  left: number
  top: number
  right: number
  bottom: number
}

/** Which part of the result is wanted: the rest is not computed. */
interface Window {
  left: number
  top: number
  width: number
  height: number
}

/** Bits behind the point of the weights, as in PIL for 8-bit channels. */
const weightBits = 22

/**
 * Resamples an image, bit for bit as PIL's `Image.resize`: rows first, then columns, each rounded to 8 bits, with weights in fixed point
 * (Pillow, `libImaging/Resample.c`).
 * @param size of the whole result
 * @param box the part of the image to take; all of it if left out
 * @param window the part of the result to give; all of it if left out
 */
export async function resize(
  image: PixelImage, size: Size, filter: Filter, slices: Slices, { box, window }: { box?: Box, window?: Window } = {},
): Promise<PixelImage> {
  const { left, top, right, bottom } = box ?? { left: 0, top: 0, right: image.width, bottom: image.height }
  const { width, height, ...first } = window ?? { left: 0, top: 0, ...size }
  const { channels } = image
  let { data } = image
  const sameWidth = size.width === image.width && left === 0 && right === image.width
  const sameHeight = size.height === image.height && top === 0 && bottom === image.height
  // Positions that stay as they are come out of the same products, with one weight of 1.
  if (!sameWidth || width !== image.width) {
    const weights = sameWidth ? picked(first.left, width) : weightsOf(image.width, left, right, size.width, filter, first.left, width)
    data = await resampleRows(data, image.width, image.height, channels, weights, slices)
  }
  if (!sameHeight || height !== image.height) {
    const weights = sameHeight ? picked(first.top, height) : weightsOf(image.height, top, bottom, size.height, filter, first.top, height)
    data = await resampleColumns(data, width * channels, weights, slices)
  }
  return { data, width, height, channels }
}

/** For each output position: the first input position, and the weights from there on. */
interface Weights {
  starts: Int32Array
  counts: Int32Array
  /** `most` for each output position, scaled by 2^weightBits. */
  values: Int32Array
  most: number
}

/** Weights of the `count` output positions from `first` on, of `outSize` that the input from `from` to `to` becomes. */
function weightsOf(inSize: number, from: number, to: number, outSize: number, filter: Filter, first: number, count: number): Weights {
  const scale = (to - from) / outSize
  const stretch = Math.max(1, scale)
  const support = filter.support * stretch
  const most = Math.ceil(support) * 2 + 1
  const starts = new Int32Array(count)
  const counts = new Int32Array(count)
  const values = new Int32Array(count * most)
  const floats = new Float64Array(most)
  for (let i = 0; i < count; i++) {
    const centre = from + (first + i + 0.5) * scale
    const start = Math.max(0, Math.trunc(centre - support + 0.5))
    const taps = Math.min(inSize, Math.trunc(centre + support + 0.5)) - start
    let sum = 0
    for (let k = 0; k < taps; k++) sum += floats[k] = filter.at((k + start - centre + 0.5) * (1 / stretch))
    for (let k = 0; k < taps; k++) {
      const weight = (sum === 0 ? floats[k]! : floats[k]! * (1 / sum)) * 2 ** weightBits
      values[i * most + k] = Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5)
    }
    starts[i] = start
    counts[i] = taps
  }
  return { starts, counts, values, most }
}

/** Output positions that are input positions from `first` on. */
function picked(first: number, count: number): Weights {
  const starts = Int32Array.from({ length: count }, (_, i) => first + i)
  return { starts, counts: new Int32Array(count).fill(1), values: new Int32Array(count).fill(1 << weightBits), most: 1 }
}

async function resampleRows(
  data: Uint8Array, inWidth: number, height: number, channels: number, { starts, counts, values, most }: Weights, slices: Slices,
): Promise<Uint8Array> {
  const width = starts.length
  const out = new Uint8Array(width * height * channels)
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const first = (y * inWidth + starts[x]!) * channels
      for (let channel = 0; channel < channels; channel++) {
        let sum = 1 << (weightBits - 1)
        for (let k = 0, from = first + channel; k < counts[x]!; k++, from += channels)
          sum = (sum + Math.imul(data[from]!, values[x * most + k]!)) | 0
        out[to++] = clipped(sum)
      }
    }
    if (slices.over) await slices.next()
  }
  return out
}

async function resampleColumns(
  data: Uint8Array, rowBytes: number, { starts, counts, values, most }: Weights, slices: Slices,
): Promise<Uint8Array> {
  const out = new Uint8Array(rowBytes * starts.length)
  const sums = new Int32Array(rowBytes)
  for (let y = 0; y < starts.length; y++) {
    sums.fill(1 << (weightBits - 1))
    for (let k = 0; k < counts[y]!; k++) {
      const weight = values[y * most + k]!
      const from = (starts[y]! + k) * rowBytes
      for (let i = 0; i < rowBytes; i++) sums[i]! += Math.imul(data[from + i]!, weight)
      if (slices.over) await slices.next()
    }
    for (let i = 0; i < rowBytes; i++) out[y * rowBytes + i] = clipped(sums[i]!)
  }
  return out
}

function clipped(sum: number): number {
  const value = sum >> weightBits
  return value < 0 ? 0 : value > 255 ? 255 : value
}
