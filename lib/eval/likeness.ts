import { types } from 'node:util'
import { AsdmError, shown } from '../base/errors'
import { fieldsOf } from '../base/reading'

/** An 8-bit image, 4 bytes a pixel; alpha does not count. A generated image is one. */
export interface ImagePixels {
  /** 4 bytes a pixel, row by row. */
  rgba: Uint8Array | Uint8ClampedArray
  /** In pixels. */
  width: number
  /** In pixels. */
  height: number
}

/** Side of SSIM's window. */
const windowSide = 11

/** Gaussian of SSIM's window, sigma 1.5, its sum 1; the window is the product of two. */
const gaussian = (() => {
  const values = Float64Array.from({ length: windowSide }, (_, i) => Math.exp(-((i - (windowSide - 1) / 2) ** 2) / (2 * 1.5 ** 2)))
  const sum = values.reduce((total, value) => total + value, 0)
  return values.map(value => value / sum)
})()

/**
 * Mean of the squared differences of red, green and blue, in levels of 255.
 * @throws AsdmError `INVALID_ARGUMENT`, `SHAPE_MISMATCH`
 */
export function meanSquaredError(first: ImagePixels, second: ImagePixels): number {
  const [image, reference] = sameImages(first, second)
  const pixels = image.width * image.height
  let sum = 0
  for (let i = 0; i < 4 * pixels; i += 4)
    for (let channel = 0; channel < 3; channel++) sum += (image.rgba[i + channel]! - reference.rgba[i + channel]!) ** 2
  return sum / (3 * pixels)
}

/**
 * Peak signal-to-noise ratio in decibels: `10 log10(255² / e)`, `e` the mean of the squared differences of red, green and blue together.
 * Infinity for equal images.
 * @throws AsdmError `INVALID_ARGUMENT`, `SHAPE_MISMATCH`
 */
export function psnr(image: ImagePixels, reference: ImagePixels): number {
  return decibels(meanSquaredError(image, reference))
}

/** Decibels of a mean squared error in levels of 255. */
export function decibels(error: number): number {
  return 10 * Math.log10(255 ** 2 / error)
}

/**
 * Structural similarity (Wang, Bovik, Sheikh and Simoncelli 2004, eq. 13), 1 for equal images: on luma, 0.299 R + 0.587 G + 0.114 B,
 * unrounded, range 255; statistics in a Gaussian window of 11x11 pixels and sigma 1.5, variances those of the weighted window itself;
 * K1 = 0.01, K2 = 0.03; the mean over every place where the whole window fits.
 * @throws AsdmError `SHAPE_MISMATCH` for different sizes, or images smaller than the window
 */
export function ssim(first: ImagePixels, second: ImagePixels): number {
  const [image, reference] = sameImages(first, second)
  const { width, height } = image
  if (width < windowSide || height < windowSide)
    throw new AsdmError('SHAPE_MISMATCH',
      `Expected images of at least ${windowSide}x${windowSide} pixels but received ${width}x${height}`)
  const [x, y] = [luma(image), luma(reference)]
  const product = (a: Float64Array, b: Float64Array): Float64Array => a.map((value, i) => value * b[i]!)
  const means = (plane: Float64Array): Float64Array => filter(plane, width, height)
  const [meanX, meanY] = [means(x), means(y)]
  const [meanXX, meanYY, meanXY] = [means(product(x, x)), means(product(y, y)), means(product(x, y))]
  const [c1, c2] = [(0.01 * 255) ** 2, (0.03 * 255) ** 2]
  let sum = 0
  for (let i = 0; i < meanX.length; i++) {
    const [mx, my] = [meanX[i]!, meanY[i]!]
    const [vx, vy, cov] = [meanXX[i]! - mx * mx, meanYY[i]! - my * my, meanXY[i]! - mx * my]
    sum += ((2 * mx * my + c1) * (2 * cov + c2)) / ((mx * mx + my * my + c1) * (vx + vy + c2))
  }
  return sum / meanX.length
}

function luma({ rgba, width, height }: ImagePixels): Float64Array {
  return Float64Array.from({ length: width * height }, (_, i) => 0.299 * rgba[4 * i]! + 0.587 * rgba[4 * i + 1]! + 0.114 * rgba[4 * i + 2]!)
}

/** The Gaussian over every place where it fits: along the rows, then along the columns. */
function filter(plane: Float64Array, width: number, height: number): Float64Array {
  const [w, h] = [width - windowSide + 1, height - windowSide + 1]
  const rows = new Float64Array(w * height)
  for (let y = 0; y < height; y++) for (let x = 0; x < w; x++) {
    let sum = 0
    for (let k = 0; k < windowSide; k++) sum += gaussian[k]! * plane[y * width + x + k]!
    rows[y * w + x] = sum
  }
  const out = new Float64Array(w * h)
  for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) {
    let sum = 0
    for (let k = 0; k < windowSide; k++) sum += gaussian[k]! * rows[(y + k) * w + x]!
    out[y * w + x] = sum
  }
  return out
}

/**
 * An image handed in, read once.
 * @throws AsdmError `INVALID_ARGUMENT` when it is none, `SHAPE_MISMATCH` when it has other bytes than its size says
 */
export function checkImage(value: unknown, name: string): ImagePixels {
  const { rgba, width, height } = fieldsOf(value, name, ['rgba', 'width', 'height'])
  if (!isBytes(rgba) || !isSide(width) || !isSide(height))
    throw new AsdmError('INVALID_ARGUMENT', `Expected ${name} to be { rgba, width, height } with 4 bytes a pixel but received ${shown(value)}`)
  if (rgba.length !== 4 * width * height)
    throw new AsdmError('SHAPE_MISMATCH', `Expected ${4 * width * height} bytes for ${width}x${height} pixels but received ${rgba.length}`)
  return { rgba, width, height }
}

function isBytes(value: unknown): value is Uint8Array | Uint8ClampedArray {
  return types.isUint8Array(value) || types.isUint8ClampedArray(value)
}

function isSide(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value > 0 && value <= 65_536
}

function sameImages(first: unknown, second: unknown): [image: ImagePixels, reference: ImagePixels] {
  const [a, b] = [checkImage(first, 'image'), checkImage(second, 'reference')]
  if (a.width !== b.width || a.height !== b.height)
    throw new AsdmError('SHAPE_MISMATCH', `Expected images of one size but received ${a.width}x${a.height} and ${b.width}x${b.height}`)
  return [a, b]
}
