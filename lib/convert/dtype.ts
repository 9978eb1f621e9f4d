import { AsdmError, shown, throwIfAborted } from '../base/errors'
import { fileError, isFileError, openFile, readAt } from '../files/files'
import type { StoredDType, WeightSource } from '../native/configs'

/** Bytes that are read and converted at a time; a multiple of every element's size. */
const pieceBytes = 1 << 20

/** Float16's largest number; from the middle between it and the next step on, numbers round to infinity. */
const largestHalf = 65_504
const firstHalfInfinity = 0x477f_f000 // 65520
const firstHalfNormal = 0x3880_0000 // 2^-14
const infinity = 0x7f80_0000

/** Where a finite number was met that the new format rounds to infinity. */
export interface Overflow {
  index: number
  value: number
}

export const elementBytes: Record<StoredDType, number> = { F32: 4, F16: 2, BF16: 2 }

/**
 * A float32's bits as float16's, rounded to the nearest, ties to even; NaN stays NaN, with its upper bits. Numbers from 65520 on
 * give infinity.
 */
export function halfOfFloat(bits: number): number {
  const sign = (bits >>> 16) & 0x8000
  const magnitude = bits & 0x7fff_ffff
  if (magnitude > infinity) return sign | 0x7e00 | ((magnitude >>> 13) & 0x3ff)
  if (magnitude >= firstHalfInfinity) return sign | 0x7c00
  // The carry of the rounding may move on into the exponent, as it should.
  if (magnitude >= firstHalfNormal) return sign | ((magnitude - 0x3800_0000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13)
  // Steps of 2^-24. Below half a step, and float32's own subnormals, is zero.
  const exponent = magnitude >>> 23
  if (exponent < 102) return sign
  const shift = 126 - exponent
  const mantissa = (magnitude & 0x7f_ffff) | 0x80_0000
  const half = mantissa >>> shift
  const rest = mantissa - half * 2 ** shift
  const middle = 2 ** (shift - 1)
  return sign | (rest > middle || rest === middle && (half & 1) === 1 ? half + 1 : half)
}

/** A float16's bits as float32's; exact. */
export function floatOfHalf(bits: number): number {
  const sign = (bits & 0x8000) << 16
  const magnitude = bits & 0x7fff
  if (magnitude >= 0x7c00) return (sign | 0x7f80_0000 | ((magnitude & 0x3ff) << 13)) >>> 0
  if (magnitude >= 0x400) return (sign | ((magnitude << 13) + 0x3800_0000)) >>> 0
  if (magnitude === 0) return sign >>> 0
  // A subnormal: the highest bit set becomes the implicit one.
  const zeros = Math.clz32(magnitude) - 21
  return (sign | ((113 - zeros) << 23) | ((magnitude << (zeros + 13)) & 0x7f_ffff)) >>> 0
}

/** A float32's bits as bfloat16's, rounded to the nearest, ties to even; NaN stays NaN. */
export function bfloatOfFloat(bits: number): number {
  if ((bits & 0x7fff_ffff) > infinity) return (bits >>> 16) | 0x40
  return ((bits >>> 0) + 0x7fff + ((bits >>> 16) & 1)) / 0x1_0000 & 0xffff
}

/**
 * Converts numbers as stored (little-endian, as every machine that asdm runs on).
 * @param bytes whole elements @returns bytes of the new format, and the first finite number that became infinite
 */
export function convert(bytes: Uint8Array, from: StoredDType, to: StoredDType): { bytes: Uint8Array, overflow: Overflow | undefined } {
  if (from === to) return { bytes, overflow: undefined }
  const floats = from === 'F32' ? aligned32(bytes) : widen(bytes, from)
  if (to === 'F32') return { bytes: new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength), overflow: undefined }
  const narrow = to === 'F16' ? halfOfFloat : bfloatOfFloat
  const limit = to === 'F16' ? 0x7c00 : 0x7f80
  const out = new Uint16Array(floats.length)
  let overflow: Overflow | undefined
  for (let i = 0; i < floats.length; i++) {
    const value = narrow(floats[i])
    out[i] = value
    if ((value & 0x7fff) === limit && (floats[i] & 0x7fff_ffff) !== infinity)
      overflow ??= { index: i, value: new Float32Array(floats.buffer, floats.byteOffset, floats.length)[i] }
  }
  return { bytes: new Uint8Array(out.buffer), overflow }
}

function aligned32(bytes: Uint8Array): Uint32Array {
  const place = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice()
  return new Uint32Array(place.buffer, place.byteOffset, place.byteLength / 4)
}

function widen(bytes: Uint8Array, from: 'F16' | 'BF16'): Uint32Array {
  const place = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice()
  const halves = new Uint16Array(place.buffer, place.byteOffset, place.byteLength / 2)
  const floats = new Uint32Array(halves.length)
  for (let i = 0; i < halves.length; i++) floats[i] = from === 'F16' ? floatOfHalf(halves[i]) : halves[i] << 16
  return floats
}

/**
 * Reads weights one after the other, converts them, and yields them in pieces.
 * @param name the tensor that is written, for messages
 * @throws AsdmError `FILE_NOT_FOUND`, `FILE_READ`; `TENSOR_DTYPE` for a number that the new format cannot hold; an `AbortError`
 */
export async function* readConverted(
  sources: readonly WeightSource[], to: StoredDType, name: string, signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  for (const { file, begin, end, dtype } of sources) {
    const handle = await openFile(file)
    try {
      for (let at = begin; at < end; at += pieceBytes) {
        throwIfAborted(signal)
        const { bytes, overflow } = convert(await readAt(handle, at, Math.min(pieceBytes, end - at), file), dtype, to)
        if (overflow !== undefined)
          throw new AsdmError('TENSOR_DTYPE',
            `Expected ${to === 'F16' ? `numbers up to ${largestHalf}, float16's largest,` : 'numbers that bfloat16 can hold'} in `
            + `${shown(name)} but element ${(at - begin) / elementBytes[dtype] + overflow.index} is ${overflow.value}; bf16 or fp32 `
            + 'holds it')
        yield bytes
      }
    } catch (error) {
      throw isFileError(error) ? fileError(error, file) : error
    } finally {
      await handle.close()
    }
  }
}
