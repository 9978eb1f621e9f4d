import { createHash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { convert, elementBytes } from '../model/dtype'
import { readAt } from '../files/files'
import type { StoredDType } from '../native/configs'
import { TorchGenerator } from '../random/torch-generator'
import type { MadeFrom, MadeWeight } from './coverage'

const pieceBytes = 1 << 20
/** Numbers that are worked on at a time: a multiple of 16, the generator's block. */
const pieceNumbers = pieceBytes / 4

type HandleOf = (file: string) => Promise<FileHandle>

/** The dtype a made weight is stored as. */
export function madeDType({ kind, from }: Pick<MadeWeight, 'kind' | 'from'>): string {
  const dtype = from[0]?.source.dtype // none where numbers are given
  const exact = kind === 'copy' || kind === 'stack' && from.every(({ source, noise }) => noise === undefined && source.dtype === dtype)
  return exact && dtype !== undefined ? dtype : 'F32'
}

/** The bytes of a made weight, in pieces of about a megabyte; only a sliced tensor is held whole. */
export async function* madePieces(weight: MadeWeight, handleOf: HandleOf): AsyncIterable<Uint8Array> {
  if (weight.kind === 'numbers') {
    yield floatBytes(weight.numbers!)
  } else if (weight.kind === 'mean') {
    yield* meanPieces(weight.from, handleOf)
  } else {
    const dtype = madeDType(weight)
    for (const from of weight.from) {
      if (dtype === from.source.dtype && from.noise === undefined) yield* storedPieces(from, handleOf)
      else yield* noisyPieces(weight.name, from, handleOf)
    }
  }
}

const widthOf = ({ source }: MadeFrom): number => elementBytes[source.dtype]

/** The bytes as they are. */
async function* storedPieces(from: MadeFrom, handleOf: HandleOf): AsyncIterable<Uint8Array> {
  const { source, pick } = from
  const handle = await handleOf(source.file)
  if (pick !== undefined)
    yield* picked(await readAt(handle, source.begin, source.end - source.begin, source.file), source.shape, pick, widthOf(from))
  else for (let at = source.begin; at < source.end; at += pieceBytes)
    yield readAt(handle, at, Math.min(pieceBytes, source.end - at), source.file)
}

/** The numbers of a row-major tensor that `pick` lists for each axis. */
function* picked(bytes: Uint8Array, shape: readonly number[], pick: readonly (readonly number[])[], width: number): Iterable<Uint8Array> {
  const strides = shape.map((_, d) => shape.slice(d + 1).reduce((a, b) => a * b, width))
  const rowAxes = pick.slice(0, 1)
  const inner = offsets(strides.slice(1), pick.slice(1))
  for (const row of rowAxes[0] ?? [0]) {
    const out = new Uint8Array(inner.length * width)
    const base = row * (strides[0] ?? 0)
    inner.forEach((offset, i) => { for (let b = 0; b < width; b++) out[i * width + b] = bytes[base + offset + b]! })
    yield out
  }
}

function offsets(strides: readonly number[], pick: readonly (readonly number[])[]): number[] {
  let all = [0]
  pick.forEach((axis, d) => { all = all.flatMap(offset => axis.map(i => offset + i * strides[d]!)) })
  return all
}

/** The numbers in pieces of {@link pieceNumbers}, the last one shorter. */
async function* numbersOf(from: MadeFrom, handleOf: HandleOf): AsyncIterable<Float64Array> {
  const { source } = from
  const width = widthOf(from)
  const rest: Uint8Array[] = []
  let held = 0
  for await (const bytes of storedPieces(from, handleOf)) {
    rest.push(bytes)
    held += bytes.byteLength
    if (held < pieceNumbers * width) continue
    const all = Buffer.concat(rest)
    let at = 0
    for (; all.length - at >= pieceNumbers * width; at += pieceNumbers * width)
      yield toNumbers(all.subarray(at, at + pieceNumbers * width), source.dtype)
    rest.splice(0, rest.length, all.subarray(at))
    held = all.length - at
  }
  if (held > 0) yield toNumbers(Buffer.concat(rest), source.dtype)
}

async function* meanPieces(from: readonly MadeFrom[], handleOf: HandleOf): AsyncIterable<Uint8Array> {
  const readers = from.map(one => ({ reader: numbersOf(one, handleOf)[Symbol.asyncIterator](), share: one.share }))
  for (;;) {
    let sum: Float64Array | undefined
    for (const { reader, share } of readers) {
      const piece = await reader.next()
      if (piece.done === true) return
      sum ??= new Float64Array(piece.value.length)
      for (let i = 0; i < sum.length; i++) sum[i]! += share * piece.value[i]!
    }
    yield floatBytes(sum!)
  }
}

/**
 * A tensor as F32 with its noise, which follows from the seed and the weight's name alone: the same seed does not give two layers the same
 * noise.
 */
async function* noisyPieces(name: string, from: MadeFrom, handleOf: HandleOf): AsyncIterable<Uint8Array> {
  const { noise } = from
  const deviation = noise === undefined ? 0 : noise.deviation * await standardDeviation(from, handleOf)
  const generator = new TorchGenerator(
    noise === undefined ? 0 : createHash('sha256').update(`${noise.seed} ${name}`).digest().readUInt32LE(0),
  )
  for await (const numbers of numbersOf(from, handleOf)) {
    if (noise !== undefined) {
      const { data } = generator.randn([numbers.length])
      for (let i = 0; i < numbers.length; i++) numbers[i]! += deviation * data[i]!
    }
    yield floatBytes(numbers)
  }
}

async function standardDeviation(from: MadeFrom, handleOf: HandleOf): Promise<number> {
  let count = 0
  let mean = 0
  let squares = 0
  // Welford's update: one pass, without the difference of two large sums.
  for await (const numbers of numbersOf(from, handleOf)) {
    for (const value of numbers) {
      const away = value - mean
      mean += away / ++count
      squares += away * (value - mean)
    }
  }
  return Math.sqrt(squares / count)
}

function floatBytes(numbers: Float32Array | Float64Array): Uint8Array {
  const out = new DataView(new ArrayBuffer(numbers.length * 4))
  for (let i = 0; i < numbers.length; i++) out.setFloat32(i * 4, numbers[i]!, true)
  return new Uint8Array(out.buffer)
}

function toNumbers(bytes: Uint8Array, dtype: StoredDType): Float64Array {
  // Copied, since the bytes may lie at any address.
  if (dtype === 'F64') return new Float64Array(new Uint8Array(bytes).buffer)
  const floats = convert(new Uint8Array(bytes), dtype, 'F32').bytes
  return new Float64Array(new Float32Array(floats.buffer, floats.byteOffset, floats.byteLength / 4))
}
