/** Reading a LoRA's matrices, and multiplying them. All are float32, row-major; sums are made in double. */
import { AsdmError, shown } from '../base/errors'
import type { Slices } from '../base/slices'
import { readAt, shownPath, withFile } from '../files/files'
import { convert } from '../model/dtype'
import type { FoundTensor } from '../model/weights'
import type { StoredDType } from '../native/configs'

/** Matrices of a LoRA are never as large as what they change; this is far beyond. */
export const mostElements = 2 ** 28

/** A matrix or a kernel, read. */
export interface Numbers {
  data: Float32Array
  shape: number[]
}

/** Other numbers that an alpha is stored as. */
const wholes: Readonly<Record<string, (bytes: Buffer) => number>> = {
  F64: bytes => bytes.readDoubleLE(), I64: bytes => Number(bytes.readBigInt64LE()), I32: bytes => bytes.readInt32LE(),
}

/**
 * Reads a tensor whole.
 * @throws AsdmError `TENSOR_DTYPE` for other numbers than float32, float16 and bfloat16 (a single one may be F64, I64 or I32),
 * `TENSOR_SHAPE` for one that is too large, `FILE_READ`
 */
export async function readNumbers({ name, file, dtype, shape, begin, end }: FoundTensor): Promise<Numbers> {
  const elements = shape.reduce((product, size) => product * size, 1)
  if (elements > mostElements)
    throw new AsdmError('TENSOR_SHAPE', `Expected at most ${mostElements} numbers in ${shown(name)} of ${shownPath(file)} but received [${shape}]`)
  const bytes = await withFile(file, async handle => readAt(handle, begin, end - begin, file))
  if (elements === 1 && Object.hasOwn(wholes, dtype)) return { data: Float32Array.of(wholes[dtype]!(bytes)), shape }
  if (!['F32', 'F16', 'BF16'].includes(dtype))
    throw new AsdmError('TENSOR_DTYPE',
      `Expected ${shown(name)} in ${shownPath(file)} to be stored as F32, F16 or BF16 but received ${shown(dtype)}`)
  const floats = convert(new Uint8Array(bytes), dtype as StoredDType, 'F32').bytes
  return { data: new Float32Array(floats.buffer, floats.byteOffset, elements), shape }
}

/** a [m,k] times b [k,n]. */
export async function multiply(a: Float32Array, b: Float32Array, m: number, k: number, n: number, slices: Slices): Promise<Float32Array> {
  const out = new Float32Array(m * n)
  const row = new Float64Array(n)
  for (let i = 0; i < m; i++) {
    row.fill(0)
    for (let j = 0; j < k; j++) {
      const factor = a[i * k + j]!
      const from = j * n
      for (let column = 0; column < n; column++) row[column]! += factor * b[from + column]!
    }
    out.set(row, i * n)
    if (slices.over) await slices.next()
  }
  return out
}

/** A matrix [m,n] as [n,m]. */
export function transpose(matrix: Float32Array, m: number, n: number): Float32Array {
  const out = new Float32Array(matrix.length)
  for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) out[j * m + i] = matrix[i * n + j]!
  return out
}
