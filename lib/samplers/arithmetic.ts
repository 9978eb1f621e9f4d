import { elementCount, type Tensor } from '../base/tensor'

/** The sum of tensors, at least one, of one shape, each times a number; summed in double, rounded once. Always a new tensor. */
export function combine(...terms: readonly (readonly [number, Tensor])[]): Tensor {
  const { data: { length }, shape } = terms[0]![1]
  const sum = new Float64Array(length)
  for (const [factor, { data }] of terms) for (let i = 0; i < length; i++) sum[i]! += factor * data[i]!
  return { data: Float32Array.from(sum), shape: [...shape] }
}

/** A copy, for what is kept over steps: the caller may reuse its buffers. */
export function copyOf(tensor: Tensor): Tensor {
  return { data: tensor.data.slice(), shape: [...tensor.shape] }
}

/** Signal and noise mixed by factors per sample of the batch (the first dimension). */
export function combinePerSample(a: Tensor, factorsA: readonly number[], b: Tensor, factorsB: readonly number[]): Tensor {
  const perSample = elementCount(a.shape) / a.shape[0]!
  const data = a.data.map((value, i) => {
    const sample = Math.floor(i / perSample)
    return factorsA[sample]! * value + factorsB[sample]! * b.data[i]!
  })
  return { data, shape: [...a.shape] }
}

/** Adams and Bashforth's weights for even steps by order, from 1 to 4, latest output first. */
export const adamsBashforth: readonly (readonly number[])[] = [
  [1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24],
]
