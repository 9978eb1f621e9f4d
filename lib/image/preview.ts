import { Slices } from '../base/slices'
import { item, sizes, type Tensor } from '../base/tensor'
import type { VAE } from '../components/vae'
import { TorchGenerator } from '../random/torch-generator'
import { toRgba } from './pixels'
import { RgbaImage } from './rgba-image'

/** A rough image of latents: one pixel for each latent pixel, or as large as the image where a tiny autoencoder decodes it. */
export class Preview extends RgbaImage {}

/** How previews are made: `rough`, from the latents' own pixels, or `taesd`, by a tiny autoencoder. */
export type PreviewKind = 'rough' | 'taesd'

/** One image for each item of scaled latents [N,C,h,w], as a tiny autoencoder decodes them. */
export async function drawTiny(tiny: VAE, latents: Tensor, signal: AbortSignal): Promise<Preview[]> {
  const { scalingFactor, shiftFactor } = tiny.config
  const previews: Preview[] = []
  for (let i = 0; i < latents.shape[0]!; i++) {
    const { data, shape } = item(latents, i)
    const decoded = await tiny.decode({ data: data.map(value => value / scalingFactor + shiftFactor), shape }, { signal })
    const [, , height, width] = sizes(decoded.shape, 4)
    previews.push(new Preview(await toRgba(decoded, 0, new Slices(signal)), width, height))
  }
  return previews
}

/** Latents that the colours are fitted on: a field of flat patches, whose decoded colours hardly depend on their neighbours. */
const fieldSize = 24
const patchSize = 4

/**
 * Colours of latents without the decoder: an affine map from a latent pixel to RGB, fitted once by least squares to what the VAE
 * itself makes of random flat patches. So it suits every VAE, at the price of decoding one small image.
 */
export class Previewer {
  /** @param weights [3][C+1]: for each colour the factor of each channel, then the constant */
  private constructor(private readonly weights: number[][]) {}

  static async fit(vae: VAE, signal: AbortSignal | undefined): Promise<Previewer> {
    const { config: { latentChannels, scalingFactor, shiftFactor }, factor } = vae
    const patches = fieldSize / patchSize
    const values = new TorchGenerator(0).randn([latentChannels, patches, patches])
    const plane = fieldSize * fieldSize
    const data = new Float32Array(latentChannels * plane)
    for (let c = 0; c < latentChannels; c++)
      for (let i = 0; i < plane; i++) {
        const [y, x] = [Math.floor(i / fieldSize / patchSize), Math.floor((i % fieldSize) / patchSize)]
        data[c * plane + i] = values.data[(c * patches + y) * patches + x]!
      }
    const latents = { data: data.map(value => value / scalingFactor + shiftFactor), shape: [1, latentChannels, fieldSize, fieldSize] }
    const image = await vae.decode(latents, { signal })
    return new Previewer([0, 1, 2].map(colour => leastSquares(data, latentChannels, meanOfCells(image, colour, factor))))
  }

  /** One image for each item of scaled latents [N,C,h,w]. */
  draw({ data, shape }: Tensor): Preview[] {
    const [batch, channels, height, width] = sizes(shape, 4)
    const plane = height * width
    return Array.from({ length: batch }, (_, n) => {
      const rgba = new Uint8ClampedArray(plane * 4).fill(255)
      for (let i = 0; i < plane; i++)
        for (let colour = 0; colour < 3; colour++) {
          const weights = this.weights[colour]!
          let value = weights[channels]!
          for (let c = 0; c < channels; c++) value += weights[c]! * data[(n * channels + c) * plane + i]!
          rgba[i * 4 + colour] = (value / 2 + 0.5) * 255
        }
      return new Preview(rgba, width, height)
    })
  }
}

/** The mean colour of the pixels that each latent pixel becomes. */
function meanOfCells({ data, shape }: Tensor, colour: number, factor: number): Float64Array {
  const [, , height, width] = sizes(shape, 4)
  const means = new Float64Array((height / factor) * (width / factor))
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      means[Math.floor(y / factor) * (width / factor) + Math.floor(x / factor)]! += data[(colour * height + y) * width + x]! / factor ** 2
  return means
}

/** The C factors and the constant that bring the channels nearest to `targets`: normal equations, a little ridge, elimination. */
function leastSquares(data: Float32Array, channels: number, targets: Float64Array): number[] {
  const size = channels + 1
  const rows = Array.from({ length: size }, (_, i) => Float64Array.from({ length: size + 1 }, (_unused, j) => (i === j ? 1e-6 : 0)))
  const at = (c: number, i: number): number => (c < channels ? data[c * targets.length + i]! : 1)
  for (let i = 0; i < targets.length; i++)
    for (let a = 0; a < size; a++) {
      for (let b = 0; b < size; b++) rows[a]![b]! += at(a, i) * at(b, i)
      rows[a]![size]! += at(a, i) * targets[i]!
    }
  for (let p = 0; p < size; p++)
    for (let r = 0; r < size; r++) {
      if (r === p) continue
      const times = rows[r]![p]! / rows[p]![p]!
      for (let c = p; c <= size; c++) rows[r]![c]! -= times * rows[p]![c]!
    }
  return rows.map((row, i) => row[size]! / row[i]!)
}
