import { AsdmError, shown } from './errors'

/** A dense float32 tensor, row-major, in diffusers' layouts: NCHW for images and latents, [batch, length, width] for text features. */
export interface Tensor {
  data: Float32Array
  shape: number[]
}

/** Number of elements of a shape; 1 for the empty shape. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1)
}

/**
 * Checks a tensor handed in by a caller.
 * @param name how the argument is called, for the message
 * @param rank the expected number of dimensions, if it is fixed
 * @throws AsdmError `INVALID_ARGUMENT` when it is not a tensor, `SHAPE_MISMATCH` when data and shape disagree
 */
export function checkTensor(value: unknown, name: string, rank?: number): asserts value is Tensor {
  const tensor = value as Tensor | null | undefined
  if (tensor === null || typeof tensor !== 'object' || !(tensor.data instanceof Float32Array) || !Array.isArray(tensor.shape))
    throw new AsdmError('INVALID_ARGUMENT', `Expected ${name} to be { data: Float32Array, shape: number[] } but received ${shown(value)}`)
  if (!tensor.shape.every(size => Number.isInteger(size) && size > 0 && size < 2 ** 31))
    throw new AsdmError('SHAPE_MISMATCH', `Expected ${name}.shape to hold positive integers but received ${shown(tensor.shape)}`)
  if (rank !== undefined && tensor.shape.length !== rank)
    throw new AsdmError('SHAPE_MISMATCH', `Expected ${name} to have ${rank} dimensions but received shape [${tensor.shape}]`)
  if (elementCount(tensor.shape) !== tensor.data.length)
    throw new AsdmError('SHAPE_MISMATCH', `Expected ${name}.data to hold ${elementCount(tensor.shape)} values for shape [${tensor.shape}] but received ${tensor.data.length}`)
}
