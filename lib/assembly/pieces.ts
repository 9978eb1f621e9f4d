import type { FileHandle } from 'node:fs/promises'
import { AsdmError } from '../errors'
import type { MadeWeight } from './coverage'
import { readAt } from './files'

const pieceBytes = 1 << 20

/** The dtype a made weight is stored as. */
export function madeDType({ mean, from }: MadeWeight): string {
  return mean ? 'F32' : from[0].source.dtype
}

/** The bytes of a made weight, in pieces of about a megabyte; only a sliced tensor is held whole. */
export async function* madePieces(weight: MadeWeight, handleOf: (file: string) => Promise<FileHandle>): AsyncIterable<Uint8Array> {
  const { source } = weight.from[0]
  if (weight.mean) {
    yield* meanPieces(weight, handleOf)
  } else if (weight.pick !== undefined) {
    const bytes = await readAt(await handleOf(source.file), source.begin, source.end - source.begin, source.file)
    yield* picked(bytes, source.shape, weight.pick, source.dtype === 'F32' ? 4 : 2)
  } else {
    const handle = await handleOf(source.file)
    for (let at = source.begin; at < source.end; at += pieceBytes) yield readAt(handle, at, Math.min(pieceBytes, source.end - at), source.file)
  }
}

/** The numbers of a row-major tensor that `pick` lists for each axis. */
function* picked(bytes: Uint8Array, shape: readonly number[], pick: readonly (readonly number[])[], width: number): Iterable<Uint8Array> {
  const strides = shape.map((_, d) => shape.slice(d + 1).reduce((a, b) => a * b, width))
  const rowAxes = pick.slice(0, 1)
  const inner = offsets(strides.slice(1), pick.slice(1))
  for (const row of rowAxes[0] ?? [0]) {
    const out = new Uint8Array(inner.length * width)
    const base = row * (strides[0] ?? 0)
    inner.forEach((offset, i) => { for (let b = 0; b < width; b++) out[i * width + b] = bytes[base + offset + b] })
    yield out
  }
}

function offsets(strides: readonly number[], pick: readonly (readonly number[])[]): number[] {
  let all = [0]
  pick.forEach((axis, d) => { all = all.flatMap(offset => axis.map(i => offset + i * strides[d])) })
  return all
}

async function* meanPieces({ from }: MadeWeight, handleOf: (file: string) => Promise<FileHandle>): AsyncIterable<Uint8Array> {
  const count = (source: MadeWeight['from'][0]['source']): number => (source.end - source.begin) / (source.dtype === 'F32' ? 4 : 2)
  const total = count(from[0].source)
  if (from.some(({ source }) => count(source) !== total)) throw new AsdmError('INTERNAL', 'Expected tensors of one length but they differ')
  const step = pieceBytes / 4
  for (let at = 0; at < total; at += step) {
    const length = Math.min(step, total - at)
    const sum = new Float64Array(length)
    for (const { source, share } of from) {
      const width = source.dtype === 'F32' ? 4 : 2
      const bytes = await readAt(await handleOf(source.file), source.begin + at * width, length * width, source.file)
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      for (let i = 0; i < length; i++) sum[i] += share * element(view, i, source.dtype)
    }
    const out = new DataView(new ArrayBuffer(length * 4))
    for (let i = 0; i < length; i++) out.setFloat32(i * 4, sum[i], true)
    yield new Uint8Array(out.buffer)
  }
}

const word = new DataView(new ArrayBuffer(4))

function element(view: DataView, i: number, dtype: string): number {
  if (dtype === 'F32') return view.getFloat32(i * 4, true)
  const bits = view.getUint16(i * 2, true)
  if (dtype === 'BF16') {
    word.setUint32(0, bits * 0x10000)
    return word.getFloat32(0)
  }
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 31
  const fraction = bits & 1023
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15))
}
