import { elementCount, type Tensor } from '../base/tensor'

/** The sum of tensors of one shape, each times a number; summed in double, rounded once. Always a new tensor. */
export function combine(...terms: readonly (readonly [number, Tensor])[]): Tensor {
  const { data: { length }, shape } = terms[0][1]
  const sum = new Float64Array(length)
  for (const [factor, { data }] of terms) for (let i = 0; i < length; i++) sum[i] += factor * data[i]
  return { data: Float32Array.from(sum), shape: [...shape] }
}

/** A copy, for what is kept over steps: the caller may reuse its buffers. */
export function copyOf(tensor: Tensor): Tensor {
  return { data: tensor.data.slice(), shape: [...tensor.shape] }
}

/** Signal and noise mixed by factors per sample of the batch (the first dimension). */
export function combinePerSample(a: Tensor, factorsA: readonly number[], b: Tensor, factorsB: readonly number[]): Tensor {
  const perSample = elementCount(a.shape) / a.shape[0]
  const data = a.data.map((value, i) => {
    const sample = Math.floor(i / perSample)
    return factorsA[sample] * value + factorsB[sample] * b.data[i]
  })
  return { data, shape: [...a.shape] }
}
