import type { ExecutionContext } from 'ava'
import { AsdmError, type ErrorCode } from '../../lib/base/errors'
import type { Tensor } from '../../lib/base/tensor'

export const sd = { beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' }

export const tensor = (data: ArrayLike<number>, shape: number[] = [1, data.length]): Tensor => ({ data: Float32Array.from(data), shape })

/** The k-th tensor of a stack. */
export function slice({ data, shape }: Tensor, k: number): Tensor {
  const rest = shape.slice(1)
  const length = rest.reduce((product, size) => product * size, 1)
  return { data: data.slice(k * length, (k + 1) * length), shape: rest }
}

export const scaled = ({ data, shape }: Tensor, factor: number): Tensor => ({ data: data.map(value => value * factor), shape })

/** Largest difference relative to each expected value; where 0 is expected, the value itself. */
export function relativeDifference(actual: readonly number[], expected: readonly number[]): number {
  if (actual.length !== expected.length) return Infinity
  return Math.max(...actual.map((value, i) => Math.abs(value - expected[i]) / (Math.abs(expected[i]) || 1)))
}

export function throwsCode(t: ExecutionContext, code: ErrorCode, message: RegExp, call: () => unknown): void {
  const error = t.throws(call, { instanceOf: AsdmError, message })
  t.is(error?.code, code)
}
