import type { Tensor } from '../base/tensor'

/**
 * Classifier-free guidance (Ho and Salimans 2022): uncond + scale * (text - uncond), each operation in float32 as PyTorch does it.
 * @param output [2N,...]: the N outputs for the negative prompts, then the N for the prompts
 * @returns [N,...]
 */
export function guide({ data, shape }: Tensor, scale: number): Tensor {
  const half = data.length / 2
  const out = new Float32Array(half)
  const factor = Math.fround(scale)
  for (let i = 0; i < half; i++) out[i] = data[i] + Math.fround(factor * Math.fround(data[half + i] - data[i]))
  return { data: out, shape: [shape[0] / 2, ...shape.slice(1)] }
}
