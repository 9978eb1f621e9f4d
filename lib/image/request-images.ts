import { AsdmError, shown } from '../base/errors'
import { boolean, number, oneOf, optional, type Unchecked } from '../base/options'
import { Slices } from '../base/slices'
import { checkTensor, type Tensor } from '../base/tensor'
import { fitImage, fits, type Fit } from './fit'
import { fromPixels, greyOf, maskFromGrey, toRgba } from './pixels'
import type { GenerationSettings } from './generation-settings'
import { imageSource, type ImageSource, type PixelImage, type Size } from './source'
import type { Opened } from './start'

/** Longest side of a generated image. */
const maxSide = 8192

/** Most pixels of one request, all images together: 256 images of 512x512, or one of 8192x8192. */
const maxPixels = 2 ** 26

/** What of a model decides the sizes of images. */
interface ImageFacts {
  vaeFactor: number
  defaultSize: number
  latentChannels: number
  inpainting: boolean
}

/** What a request says about images: those handed in, the size to generate, and the latents. */
interface RequestImages {
  /** What settings say of them. */
  from: GenerationSettings['from']
  strength: number
  latents: Tensor | undefined
  /** Reads image and mask and fits them. */
  open(signal: AbortSignal): Promise<Opened>
}

/**
 * Checks the options `image`, `mask`, `from`, `fit`, `keepOutside`, `strength`, `latents`, `width` and `height`.
 * @param images how many are generated
 * @throws AsdmError `INVALID_ARGUMENT`, `SHAPE_MISMATCH`
 */
export function parseImages(options: Unchecked, facts: ImageFacts, images: number): RequestImages {
  const hasImage = options.image !== undefined
  const hasMask = options.mask !== undefined
  const from = optional(options.from, value => oneOf(value, 'from', ['image', 'inpaint']))
  if (from !== undefined && !(from === 'inpaint' ? hasImage && hasMask : hasImage))
    throw bad(`${from === 'inpaint' ? 'image and mask' : 'the image'} to be handed in again for settings with from ${shown(from)}`,
      hasImage ? 'no mask' : 'none')
  if (options.latents === true) throw bad('the initial noise to be handed in again, as a tensor,', 'true')
  if (hasMask && !hasImage) throw bad('an image together with the mask', 'none')
  if (facts.inpainting && !hasMask)
    throw bad('an image and a mask, since the UNet is made for inpainting', hasImage ? 'no mask' : 'neither')
  if (options.strength !== undefined && !hasImage) throw bad('strength only together with an image', 'none')
  if (options.fit !== undefined && !hasImage) throw bad('fit only together with an image', 'none')
  if (options.keepOutside !== undefined && !hasMask) throw bad('keepOutside only together with a mask', 'none')
  if (options.latents !== undefined && hasImage) throw bad('either latents or an image to start from', 'both')
  const strength = optional(options.strength, value => number(value, 'strength', Number.MIN_VALUE, 1)) ?? (hasMask ? 1 : 0.8)
  const fit = optional(options.fit, value => oneOf<Fit>(value, 'fit', fits)) ?? 'cover'
  const keepOutside = optional(options.keepOutside, value => boolean(value, 'keepOutside')) ?? false
  const asked = {
    width: optional(options.width, value => side(value, 'width', facts.vaeFactor)),
    height: optional(options.height, value => side(value, 'height', facts.vaeFactor)),
  }

  const image = hasImage ? imageSource(options.image, 'image') : undefined
  const mask = hasMask ? imageSource(options.mask, 'mask') : undefined
  const sizeFor = (own: Size): Size => {
    const size = image === undefined ? { width: asked.width ?? own.width, height: asked.height ?? own.height }
      : image.isTensor ? tensorSize(own, asked, facts.vaeFactor)
        : fittedSize(own, asked, facts.vaeFactor)
    if (images * size.width * size.height > maxPixels)
      throw bad(`at most ${maxPixels} pixels in one request`, `${images} images of ${size.width}x${size.height}; make fewer at a time`)
    return size
  }
  // The size of an image in a file is not known before the file is read.
  const known = image === undefined ? { width: facts.defaultSize, height: facts.defaultSize } : image.size
  const size = known && sizeFor(known)
  const latents = optional(options.latents, value => checkLatents(value, images, facts, size!))
  return {
    from: hasMask ? 'inpaint' : hasImage ? 'image' : undefined, strength, latents,
    async open(signal) {
      if (image === undefined) return { ...size!, image: undefined, mask: undefined }
      return openImages({ image, mask, sizeFor, fit, keepOutside }, signal)
    },
  }
}

/** Image and mask, and what becomes of them. */
interface HandedIn {
  image: ImageSource
  mask: ImageSource | undefined
  /** The size to generate from an image of this size. */
  sizeFor(own: Size): Size
  fit: Fit
  keepOutside: boolean
}

/** Reads image and mask and brings them to the size to generate. */
async function openImages({ image: source, mask: maskSource, sizeFor, fit, keepOutside }: HandedIn, signal: AbortSignal): Promise<Opened> {
  const slices = new Slices(signal)
  const read = await source.read(signal)
  const size = sizeFor(read)
  const image = 'tensor' in read ? read : await fitImage(read, size, fit, slices)
  const tensor = 'tensor' in image ? image.tensor : await fromPixels(image, slices)
  let fitted = !sameSize(read, size)
  if (maskSource === undefined) return { ...size, image: tensor, mask: undefined, ...(fitted && { fit }) }

  const readMask = await maskSource.read(signal) as PixelImage
  fitted ||= !sameSize(readMask, size)
  const grey = await greyOf(await fitImage(readMask, size, fit, slices), slices)
  const opened = { ...size, image: tensor, mask: await maskFromGrey(grey, slices), ...(fitted && { fit }) }
  if (!keepOutside) return opened
  const pixels = 'tensor' in image ? { ...size, channels: 4, data: new Uint8Array((await toRgba(tensor, 0, slices)).buffer) } : image
  return { ...opened, outside: { image: pixels, mask: grey } }
}

function sameSize(a: Size, b: Size): boolean {
  return a.width === b.width && a.height === b.height
}

/** A tensor's size, which must be as asked for. */
function tensorSize(own: Size, asked: { width: number | undefined, height: number | undefined }, multiple: number): Size {
  const [width, height] = [asked.width ?? own.width, asked.height ?? own.height]
  if (width !== own.width || height !== own.height)
    throw bad(`image to be ${width}x${height} pixels like the image to generate, since it is a tensor,`, `${own.width}x${own.height}`)
  return { width: side(own.width, 'the width of the image', multiple), height: side(own.height, 'the height of the image', multiple) }
}

/**
 * The size to generate from an image: as asked for; where one side is asked for, the other keeps the proportions; where none is, the
 * image's own, down to multiples.
 */
function fittedSize(own: Size, { width, height }: { width: number | undefined, height: number | undefined }, multiple: number): Size {
  const nearest = (pixels: number): number => Math.max(multiple, Math.round(pixels / multiple) * multiple)
  const below = (pixels: number): number => Math.max(multiple, pixels - pixels % multiple)
  const size = width !== undefined ? { width, height: height ?? nearest(width * own.height / own.width) }
    : height !== undefined ? { width: nearest(height * own.width / own.height), height }
      : { width: below(own.width), height: below(own.height) }
  if (size.width > maxSide || size.height > maxSide)
    throw bad(`sides of at most ${maxSide} pixels`,
      `an image of ${own.width}x${own.height}, which becomes ${size.width}x${size.height}; set width and height`)
  return size
}

/** A side in pixels; one that is no multiple is answered with those next to it. */
function side(value: unknown, name: string, multiple: number): number {
  const most = Math.floor(maxSide / multiple) * multiple
  if (typeof value !== 'number' || !Number.isInteger(value) || value < multiple || value > most)
    throw bad(`${name} to be a multiple of ${multiple} from ${multiple} to ${most}`, shown(value))
  if (value % multiple !== 0) {
    const below = Math.floor(value / multiple) * multiple
    throw bad(`${name} to be a multiple of ${multiple}, as ${below} or ${below + multiple},`, shown(value))
  }
  return value
}

function checkLatents(value: unknown, images: number, { latentChannels, vaeFactor }: ImageFacts, { width, height }: Size): Tensor {
  const { data, shape } = checkTensor(value, 'latents', 4)
  const wanted = [images, latentChannels, height / vaeFactor, width / vaeFactor]
  if (shape.some((size, i) => size !== wanted[i]))
    throw new AsdmError('SHAPE_MISMATCH',
      `Expected latents to be [${wanted}] for ${images} images of ${width}x${height} but received [${shape}]`)
  if (!data.every(Number.isFinite)) throw bad('latents to hold finite values', 'NaN or infinity')
  return { data: data.slice(), shape }
}

function bad(expected: string, received: string): AsdmError {
  return new AsdmError('INVALID_ARGUMENT', `Expected ${expected} but received ${received}`)
}
