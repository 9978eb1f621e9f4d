import { oneOf } from '../base/options'
import { AsdmError, shown } from '../base/errors'
import { inPieces, type Slices } from '../base/slices'
import { sizes, type Tensor } from '../base/tensor'

/** Whether a VAE works on tiles; `auto`: for images of more than 1024x1024 pixels. */
export type Tiling = 'auto' | boolean

/** Most pixels of an image that is decoded or encoded in one piece where tiling is `auto`. */
const mostPixels = 1024 * 1024

/** Side of tiles where the VAE's config has no `sample_size`, in pixels: Stable Diffusion's. */
const usualTile = 512

/** Share of a tile that overlaps the next. */
const overlap = 4

/** @throws AsdmError `INVALID_ARGUMENT` */
export function checkTiling(value: unknown): Tiling {
  if (typeof value === 'boolean') return value
  if (typeof value === 'string') return oneOf<'auto'>(value, 'tiling', ['auto'])
  throw new AsdmError('INVALID_ARGUMENT', `Expected tiling to be true, false or auto but received ${shown(value)}`)
}

/**
 * Side of the tiles that an image of this size is worked on in, in latent pixels, or `undefined` for none. A tile is the VAE's
 * `sample_size` wide, down to a multiple of four latent pixels, so that a quarter of it is a whole number.
 * @param height of the latents @param width of the latents @param factor pixels of a latent pixel
 */
export function tileSide(
  tiling: Tiling, height: number, width: number, factor: number, sampleSize: number | undefined,
): number | undefined {
  if (tiling === false || (tiling === 'auto' && height * width * factor ** 2 <= mostPixels)) return undefined
  const side = Math.max(1, Math.floor((sampleSize ?? usualTile) / factor / overlap)) * overlap
  return height > side || width > side ? side : undefined
}

/** Sides of tiles on their way in and out. */
interface Sides {
  input: number
  output: number
}

/**
 * What `run` gives for a feature map [N,C,H,W], tile by tile: diffusers' `tiled_decode` and `tiled_encode`. Tiles begin every three
 * quarters of their side; in the quarter where two overlap, the later one is faded in, first from above, then from the left. At the end
 * of a row or column tiles may be smaller.
 */
export async function tiled(input: Tensor, sides: Sides, run: (tile: Tensor) => Promise<Tensor>, slices: Slices): Promise<Tensor> {
  const [batch, , height, width] = sizes(input.shape, 4)
  const scaled = (size: number): number => size / sides.input * sides.output
  const [step, blend] = [sides.input / overlap * (overlap - 1), sides.output / overlap]
  let whole: Tensor | undefined
  let above: Tensor[] = []
  for (let y = 0; y < height; y += step) {
    const row: Tensor[] = []
    for (let x = 0; x < width; x += step) {
      const rows = Math.min(sides.input, height - y)
      const columns = Math.min(sides.input, width - x)
      const tile = await run(cut(input, y, x, rows, columns))
      const [upper, left] = [above[row.length], row.at(-1)]
      if (upper !== undefined) await fadeDown(upper, tile, blend, slices)
      if (left !== undefined) await fadeRight(left, tile, blend, slices)
      row.push(tile)
      const channels = tile.shape[1]!
      whole ??= {
        data: new Float32Array(batch * channels * scaled(height) * scaled(width)), shape: [batch, channels, scaled(height), scaled(width)],
      }
      put(tile, whole, scaled(y), scaled(x), Math.min(scaled(step), scaled(rows)), Math.min(scaled(step), scaled(columns)))
      if (slices.over) await slices.next()
    }
    above = row
  }
  return whole!
}

/** Whether an `AutoencoderTiny` works on tiles: diffusers' does with every size where it is asked to. */
export function tilesTiny(tiling: Tiling, height: number, width: number, factor: number): boolean {
  return tiling === true || tiling === 'auto' && height * width * factor ** 2 > mostPixels
}

/** Pixels of a tile of an `AutoencoderTiny`, in diffusers a number of its own. */
export const tinyTile = 512

/**
 * {@link tiled} as diffusers' `AutoencoderTiny` does it: an eighth of a tile overlaps the next, and the later one is laid over what is
 * there, transparent at its upper and left edge.
 */
export async function tiledTiny(input: Tensor, sides: Sides, run: (tile: Tensor) => Promise<Tensor>, slices: Slices): Promise<Tensor> {
  const [batch, , height, width] = sizes(input.shape, 4)
  const blend = Math.floor(sides.input / 8)
  const scaled = (size: number): number => size / sides.input * sides.output
  const { fround } = Math
  const ramp = Float32Array.from({ length: sides.output }, (_, i) => Math.min(1, i / (scaled(blend) - 1)))
  let whole: Tensor | undefined
  for (let y = 0; y < height; y += sides.input - blend)
    for (let x = 0; x < width; x += sides.input - blend) {
      const tile = await run(cut(input, y, x, Math.min(sides.input, height - y), Math.min(sides.input, width - x)))
      const [, channels, rows, columns] = sizes(tile.shape, 4)
      whole ??= {
        data: new Float32Array(batch * channels * scaled(height) * scaled(width)), shape: [batch, channels, scaled(height), scaled(width)],
      }
      const { data } = whole
      await inPieces(batch * channels * rows, slices, (from, to) => {
        for (let line = from; line < to; line++) {
          const row = line % rows
          const start = (Math.floor(line / rows) * scaled(height) + scaled(y) + row) * scaled(width) + scaled(x)
          for (let column = 0; column < columns; column++) {
            const mask = fround((y === 0 ? 1 : ramp[row]!) * (x === 0 ? 1 : ramp[column]!))
            const above = fround(fround(1 - mask) * data[start + column]!)
            data[start + column] = fround(mask * tile.data[line * columns + column]!) + above
          }
        }
      })
    }
  return whole!
}

/** [N,C,rows,columns] of a feature map, from a place on. */
function cut({ data, shape }: Tensor, y: number, x: number, rows: number, columns: number): Tensor {
  const [batch, channels, height, width] = sizes(shape, 4)
  const part = new Float32Array(batch * channels * rows * columns)
  for (let plane = 0; plane < batch * channels; plane++)
    for (let i = 0; i < rows; i++) {
      const from = (plane * height + y + i) * width + x
      part.set(data.subarray(from, from + columns), (plane * rows + i) * columns)
    }
  return { data: part, shape: [batch, channels, rows, columns] }
}

/** Copies a tile's first rows and columns to a place of the whole. */
function put({ data, shape }: Tensor, whole: Tensor, y: number, x: number, rows: number, columns: number): void {
  const [batch, channels, height, width] = sizes(shape, 4)
  const [, , wholeHeight, wholeWidth] = sizes(whole.shape, 4)
  for (let plane = 0; plane < batch * channels; plane++)
    for (let i = 0; i < rows; i++) {
      const from = (plane * height + i) * width
      whole.data.set(data.subarray(from, from + columns), (plane * wholeHeight + y + i) * wholeWidth + x)
    }
}

/** diffusers' `blend_v`: the first rows of `tile` fade in over the last ones of the tile above. */
async function fadeDown(above: Tensor, tile: Tensor, most: number, slices: Slices): Promise<void> {
  const [batch, channels, height, width] = sizes(tile.shape, 4)
  const upper = above.shape[2]!
  const extent = Math.min(upper, height, most)
  await inPieces(batch * channels * extent * width, slices, (from, to) => {
    for (let i = from; i < to; i++) {
      const [plane, y, x] = [Math.floor(i / width / extent), Math.floor(i / width) % extent, i % width]
      fade(above.data, (plane * upper + upper - extent + y) * width + x, tile.data, (plane * height + y) * width + x, y / extent)
    }
  })
}

/** diffusers' `blend_h`: the first columns of `tile` fade in over the last ones of the tile to the left. */
async function fadeRight(left: Tensor, tile: Tensor, most: number, slices: Slices): Promise<void> {
  const [batch, channels, height, width] = sizes(tile.shape, 4)
  const before = left.shape[3]!
  const extent = Math.min(before, width, most)
  await inPieces(batch * channels * height * extent, slices, (from, to) => {
    for (let i = from; i < to; i++) {
      const [line, x] = [Math.floor(i / extent), i % extent]
      fade(left.data, line * before + before - extent + x, tile.data, line * width + x, x / extent)
    }
  })
}

/** In float32, each product and the sum rounded, as PyTorch does. */
function fade(old: Float32Array, from: number, made: Float32Array, at: number, share: number): void {
  made[at] = Math.fround(old[from]! * Math.fround(1 - share)) + Math.fround(made[at]! * Math.fround(share))
}
