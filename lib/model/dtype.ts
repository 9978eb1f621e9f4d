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
interface Overflow {
  index: number
  value: number
}

export const elementBytes: Record<StoredDType, number> = { F32: 4, F16: 2, BF16: 2, F64: 8, F8_E4M3: 1, F8_E5M2: 1 }

/**
 * A float32's bits as float16's, rounded to the nearest, ties to even; NaN stays NaN, with its upper bits. Numbers from 65520 on
 * give infinity. Exported for tests and scripts.
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

/** A float16's bits as float32's; exact. Exported for tests and scripts. */
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

/** A float32's bits as bfloat16's, rounded to the nearest, ties to even; NaN stays NaN. Exported for tests and scripts. */
export function bfloatOfFloat(bits: number): number {
  if ((bits & 0x7fff_ffff) > infinity) return (bits >>> 16) | 0x40
  return ((bits >>> 0) + 0x7fff + ((bits >>> 16) & 1)) / 0x1_0000 & 0xffff
}

/**
 * An 8-bit number's bits as float32's, as PyTorch converts them; exact. E4M3 is the variant without infinities (`float8_e4m3fn`;
 * Micikevicius et al. 2022, arXiv 2209.05433): exponent bias 7, all ones are NaN, the largest number is 448. E5M2 is float16's upper byte.
 */
function floatOfEight(bits: number, format: 'F8_E4M3' | 'F8_E5M2'): number {
  const sign = (bits & 0x80) << 24
  const magnitude = bits & 0x7f
  if (format === 'F8_E4M3') {
    if (magnitude === 0x7f) return (sign | 0x7ff0_0000) >>> 0
    if (magnitude >= 8) return (sign | ((magnitude << 20) + (120 << 23))) >>> 0
  } else {
    if (magnitude > 0x7c) return (sign | 0x7fc0_0000 | ((magnitude & 3) << 21)) >>> 0
    if (magnitude === 0x7c) return (sign | infinity) >>> 0
    if (magnitude >= 4) return (sign | ((magnitude << 21) + (112 << 23))) >>> 0
  }
  if (magnitude === 0) return sign >>> 0
  // A subnormal, in steps of 2^-9 or 2^-16: the highest bit set becomes the implicit one.
  const highest = 31 - Math.clz32(magnitude)
  const exponent = highest + 127 - (format === 'F8_E4M3' ? 9 : 16)
  return (sign | (exponent << 23) | ((magnitude << (23 - highest)) & 0x7f_ffff)) >>> 0
}

/**
 * Converts numbers as stored (little-endian, as every machine that asdm runs on). Nothing is converted to float64 or to 8 bits.
 * @param bytes whole elements @returns bytes of the new format, and the first finite number that became infinite
 */
export function convert(
  bytes: Uint8Array, from: StoredDType, to: 'F32' | 'F16' | 'BF16',
): { bytes: Uint8Array, overflow: Overflow | undefined } {
  if (from === to) return { bytes, overflow: undefined }
  const widened = from === 'F32' ? { floats: aligned32(bytes), overflow: undefined } : widen(bytes, from)
  const { floats } = widened
  let { overflow } = widened
  if (to === 'F32') return { bytes: new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength), overflow }
  const narrow = to === 'F16' ? halfOfFloat : bfloatOfFloat
  const limit = to === 'F16' ? 0x7c00 : 0x7f80
  const out = new Uint16Array(floats.length)
  for (let i = 0; i < floats.length; i++) {
    const value = narrow(floats[i]!)
    out[i] = value
    if ((value & 0x7fff) === limit && (floats[i]! & 0x7fff_ffff) !== infinity && !(overflow !== undefined && overflow.index < i))
      overflow = { index: i, value: new Float32Array(floats.buffer, floats.byteOffset, floats.length)[i]! }
  }
  return { bytes: new Uint8Array(out.buffer), overflow }
}

function aligned32(bytes: Uint8Array): Uint32Array {
  const place = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice()
  return new Uint32Array(place.buffer, place.byteOffset, place.byteLength / 4)
}

function widen(bytes: Uint8Array, from: Exclude<StoredDType, 'F32'>): { floats: Uint32Array, overflow: Overflow | undefined } {
  if (from === 'F64') return rounded(bytes)
  const floats = new Uint32Array(bytes.byteLength / elementBytes[from])
  if (from === 'F8_E4M3' || from === 'F8_E5M2') {
    for (let i = 0; i < floats.length; i++) floats[i] = floatOfEight(bytes[i]!, from)
    return { floats, overflow: undefined }
  }
  const place = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice()
  const halves = new Uint16Array(place.buffer, place.byteOffset, floats.length)
  for (let i = 0; i < floats.length; i++) floats[i] = from === 'F16' ? floatOfHalf(halves[i]!) : halves[i]! << 16
  return { floats, overflow: undefined }
}

/** Float64 to the nearest float32, ties to even. */
function rounded(bytes: Uint8Array): { floats: Uint32Array, overflow: Overflow | undefined } {
  const place = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice()
  const doubles = new Float64Array(place.buffer, place.byteOffset, place.byteLength / 8)
  const floats = new Float32Array(doubles)
  const index = doubles.findIndex((value, i) => Number.isFinite(value) && !Number.isFinite(floats[i]!))
  return { floats: new Uint32Array(floats.buffer), overflow: index === -1 ? undefined : { index, value: doubles[index]! } }
}

const limits = {
  F32: 'numbers that float32 can hold', F16: `numbers up to ${largestHalf}, float16's largest,`, BF16: 'numbers that bfloat16 can hold',
}

/**
 * Reads weights one after the other, converts them, and yields them in pieces.
 * @param to F32, F16 or BF16, or the dtype that all sources have @param name the tensor that is written, for messages
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
        const piece = await readAt(handle, at, Math.min(pieceBytes, end - at), file)
        if (dtype === to) {
          yield piece
          continue
        }
        const { bytes, overflow } = convert(piece, dtype, to as 'F32' | 'F16' | 'BF16')
        if (overflow !== undefined)
          throw new AsdmError('TENSOR_DTYPE',
            `Expected ${limits[to as keyof typeof limits]} in ${shown(name)} but element `
            + `${(at - begin) / elementBytes[dtype] + overflow.index} is ${overflow.value}${to === 'F16' ? '; bf16 or fp32 holds it' : ''}`)
        yield bytes
      }
    } catch (error) {
      throw isFileError(error) ? fileError(error, file) : error
    } finally {
      await handle.close()
    }
  }
}
