import { AsdmError } from '../base/errors'
import { number } from '../base/options'
import { checkTensor, type Tensor } from '../base/tensor'

/**
 * Classifier-free guidance (Ho and Salimans 2022): uncond + scale * (text - uncond), each operation in float32 as PyTorch does it.
 * @param output [2N,...]: the N outputs for the negative prompts, then the N for the prompts
 * @returns [N,...]
 * @throws AsdmError `INVALID_ARGUMENT`, `SHAPE_MISMATCH` for an odd number of outputs
 */
export function guide(output: Tensor, scale: number): Tensor {
  const { data, shape } = checkTensor(output, 'output')
  number(scale, 'scale', -3.4e38, 3.4e38)
  if (shape.length === 0 || shape[0]! % 2 !== 0)
    throw new AsdmError('SHAPE_MISMATCH', `Expected output to hold an even number of samples, those for negative prompts first, but received shape [${shape}]`)
  const half = data.length / 2
  const out = new Float32Array(half)
  const factor = Math.fround(scale)
  for (let i = 0; i < half; i++) out[i] = data[i]! + Math.fround(factor * Math.fround(data[half + i]! - data[i]!))
  return { data: out, shape: [shape[0]! / 2, ...shape.slice(1)] }
}
