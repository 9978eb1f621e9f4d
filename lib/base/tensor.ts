import { AsdmError, shown } from './errors'
import { fieldsOf, listOf } from './reading'
import { isFloat32Array } from './realms'
import { inPieces, type Slices } from './slices'

/** A dense float32 tensor, row-major, in diffusers' layouts: NCHW for images and latents, [batch, length, width] for text features. */
export interface Tensor {
  /** The values, as many as the shape says. */
  data: Float32Array
  /** Sizes from the outermost dimension to the innermost. */
  shape: number[]
}

/** Number of elements of a shape; 1 for the empty shape. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1)
}

/** A list of `N` sizes. */
type Sizes<N extends number, List extends number[] = []> = List['length'] extends N ? List : Sizes<N, [...List, number]>

/**
 * The sizes of a shape whose rank is known, to be taken apart by name.
 * @throws AsdmError `INTERNAL` for a shape of another rank
 */
export function sizes<Rank extends 1 | 2 | 3 | 4>(shape: readonly number[], rank: Rank): Sizes<Rank> {
  if (shape.length !== rank) throw new AsdmError('INTERNAL', `Expected ${rank} dimensions but received shape [${shape}]`)
  return shape as Sizes<Rank>
}

/**
 * Checks a tensor handed in by a caller, and gives it again with a shape of our own; the data are the caller's.
 * @param name how the argument is called, for the message
 * @param rank the expected number of dimensions, if it is fixed
 * @throws AsdmError `INVALID_ARGUMENT` when it is not a tensor, `SHAPE_MISMATCH` when data and shape disagree
 */
export function checkTensor(value: unknown, name: string, rank?: number): Tensor {
  const { data, shape: given } = fieldsOf(value, name, ['data', 'shape'])
  if (!isFloat32Array(data) || given === null || typeof given !== 'object')
    throw new AsdmError('INVALID_ARGUMENT', `Expected ${name} to be { data: Float32Array, shape: number[] } but received ${shown(value)}`)
  const sizes = listOf(given, `${name}.shape`, maxRank)
  if (!sizes.every(size => Number.isInteger(size) && size as number > 0 && size as number < 2 ** 31))
    throw new AsdmError('SHAPE_MISMATCH', `Expected ${name}.shape to hold positive integers but received ${shown(sizes)}`)
  const shape = sizes as number[]
  if (rank !== undefined && shape.length !== rank)
    throw new AsdmError('SHAPE_MISMATCH', `Expected ${name} to have ${rank} dimensions but received shape [${shape}]`)
  if (elementCount(shape) !== data.length)
    throw new AsdmError('SHAPE_MISMATCH',
      `Expected ${name}.data to hold ${elementCount(shape)} values for shape [${shape}] but received ${data.length}`)
  return { data, shape }
}

/** Most dimensions that a tensor of a caller's has. */
const maxRank = 16

/** The tensor repeated `times` times along its first dimension: [a, b] gives [a, b, a, b]. */
export function tile({ data, shape }: Tensor, times: number): Tensor {
  const out = new Float32Array(data.length * times)
  for (let i = 0; i < times; i++) out.set(data, i * data.length)
  return { data: out, shape: [shape[0]! * times, ...shape.slice(1)] }
}

/** {@link tile}, copied in slices. */
export async function tileSliced({ data, shape }: Tensor, times: number, slices: Slices): Promise<Tensor> {
  const out = new Float32Array(data.length * times)
  await inPieces(data.length, slices, (from, to) => {
    for (let i = 0; i < times; i++) out.set(data.subarray(from, to), i * data.length + from)
  })
  return { data: out, shape: [shape[0]! * times, ...shape.slice(1)] }
}

/** Tensors, at least one, of equal shape but for the first dimension, one after the other along that. */
export function join(tensors: readonly Tensor[]): Tensor {
  const out = new Float32Array(tensors.reduce((sum, { data }) => sum + data.length, 0))
  let at = 0
  for (const { data } of tensors) {
    out.set(data, at)
    at += data.length
  }
  return { data: out, shape: [tensors.reduce((sum, { shape }) => sum + shape[0]!, 0), ...tensors[0]!.shape.slice(1)] }
}

/**
 * Tensors, at least one, of equal shape but for the channels joined along these: [N,C1,...], [N,C2,...] give [N,C1+C2,...]. A batch of 1 is
 * repeated.
 */
export function joinChannels(tensors: readonly Tensor[]): Tensor {
  const batch = Math.max(...tensors.map(({ shape }) => shape[0]!))
  const rest = tensors[0]!.shape.slice(2)
  const channels = tensors.reduce((sum, { shape }) => sum + shape[1]!, 0)
  const out = new Float32Array(batch * channels * elementCount(rest))
  let at = 0
  for (let n = 0; n < batch; n++) {
    for (const { data, shape } of tensors) {
      const size = data.length / shape[0]!
      const from = shape[0] === 1 ? 0 : n * size
      out.set(data.subarray(from, from + size), at)
      at += size
    }
  }
  return { data: out, shape: [batch, channels, ...rest] }
}

/** Item `index` of the first dimension, as a batch of one. Not a copy. */
export function item({ data, shape }: Tensor, index: number): Tensor {
  const size = data.length / shape[0]!
  return { data: data.subarray(index * size, (index + 1) * size), shape: [1, ...shape.slice(1)] }
}

/** The items of the first dimension at `indices`, copied, as one batch. */
export function pick({ data, shape }: Tensor, indices: readonly number[]): Tensor {
  const size = elementCount(shape.slice(1))
  const out = new Float32Array(size * indices.length)
  indices.forEach((from, to) => out.set(data.subarray(from * size, (from + 1) * size), to * size))
  return { data: out, shape: [indices.length, ...shape.slice(1)] }
}
