/**
 * Reads ONNX files, after the published schema (onnx.proto), and runs them: the plainest code for each operator, in double precision
 * inside. It shares nothing with lib/, so that it can find mistakes there.
 */
import fs from 'node:fs'
import path from 'node:path'

type Field = number | bigint | Buffer

/** The fields of one message by their numbers, in order. */
function fields(bytes: Buffer): Map<number, Field[]> {
  const found = new Map<number, Field[]>()
  let at = 0
  const varint = (): bigint => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      if (at >= bytes.length || shift > 63n) throw new Error('a number runs over the end')
      const byte = bytes[at++]
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return BigInt.asIntN(64, value)
    }
  }
  while (at < bytes.length) {
    const key = Number(varint())
    const list = found.get(key >> 3) ?? []
    found.set(key >> 3, list)
    if ((key & 7) === 0) list.push(varint())
    else if ((key & 7) === 5) list.push(bytes.readFloatLE((at += 4) - 4))
    else if ((key & 7) === 2) {
      const length = Number(varint())
      if (at + length > bytes.length) throw new Error('a field runs over the end')
      list.push(bytes.subarray(at, at += length))
    } else throw new Error(`wire type ${key & 7}`)
  }
  return found
}

class Message {
  readonly #fields: Map<number, Field[]>

  constructor(bytes: Buffer, known: readonly number[]) {
    this.#fields = fields(bytes)
    for (const key of this.#fields.keys()) if (!known.includes(key)) throw new Error(`an unknown field ${key}`)
  }

  all<T extends Field>(field: number): T[] {
    return (this.#fields.get(field) ?? []) as T[]
  }

  has(field: number): boolean {
    return this.#fields.has(field)
  }

  text(field: number): string {
    return this.texts(field).at(-1) ?? ''
  }

  texts(field: number): string[] {
    return this.all<Buffer>(field).map(bytes => bytes.toString('utf8'))
  }

  int(field: number): number {
    return Number(this.all<bigint>(field).at(-1) ?? 0n)
  }

  messages(field: number, known: readonly number[]): Message[] {
    return this.all<Buffer>(field).map(bytes => new Message(bytes, known))
  }
}

export interface Value {
  shape: number[]
  data: Float64Array
  /** Are its numbers whole? */
  whole: boolean
}

export type Attribute = number | string | number[]

export interface OnnxNode {
  name: string
  op: string
  inputs: string[]
  outputs: string[]
  attributes: Record<string, Attribute>
}

export interface OnnxModel {
  opset: number
  nodes: OnnxNode[]
  constants: Map<string, Value>
  /** Type, and whether the bytes lie in another file and where. */
  stored: Map<string, { type: number, external?: { location: string, offset: number, length: number } }>
  inputs: { name: string, type: number, shape: (number | string)[] }[]
  outputs: { name: string, type: number, shape: (number | string)[] }[]
  metadata: Record<string, string>
}

/** Numbers as they are stored, by ONNX's types: float32, int32, int64, float16, bfloat16. */
export function numbers(bytes: Buffer, type: number, count: number): Float64Array {
  const width = { 1: 4, 6: 4, 7: 8, 10: 2, 16: 2 }[type]
  if (width === undefined) throw new Error(`tensor type ${type}`)
  if (bytes.length !== width * count) throw new Error(`${bytes.length} bytes for ${count} numbers of type ${type}`)
  const float = (bits: number): number => { const b = Buffer.alloc(4); b.writeUInt32LE(bits); return b.readFloatLE() }
  const half = (bits: number): number => {
    const exponent = (bits >> 10) & 31
    const value = exponent === 31
      ? ((bits & 1023) === 0 ? Infinity : NaN)
      : exponent === 0
        ? (bits & 1023) * 2 ** -24
        : (1 + (bits & 1023) / 1024) * 2 ** (exponent - 15)
    return bits & 0x8000 ? -value : value
  }
  if (type === 1) return new Float64Array(new Float32Array(new Uint8Array(bytes).buffer))
  return Float64Array.from({ length: count }, (_, i) => {
    switch (type) {
      case 6: return bytes.readInt32LE(4 * i)
      case 7: return Number(bytes.readBigInt64LE(8 * i))
      case 10: return half(bytes.readUInt16LE(2 * i))
      default: return float(bytes.readUInt16LE(2 * i) * 65536)
    }
  })
}

/** Reads a file, and the one beside it where weights lie there. Anything that the schema does not have, or that is there twice, fails. */
export function readOnnx(file: string): OnnxModel {
  const model = new Message(fs.readFileSync(file), [1, 2, 7, 8, 14])
  const [graph] = model.messages(7, [1, 2, 5, 11, 12])
  const [opset] = model.messages(8, [1, 2])
  if (model.int(1) !== 8 || opset.text(1) !== '') throw new Error('IR version or domain')
  const constants: OnnxModel['constants'] = new Map()
  const stored: OnnxModel['stored'] = new Map()
  for (const tensor of graph.messages(5, [1, 2, 8, 9, 13, 14])) {
    const name = tensor.text(8), type = tensor.int(2), shape = tensor.all<bigint>(1).map(Number)
    if (constants.has(name)) throw new Error(`${name} is there twice`)
    const entries = Object.fromEntries(tensor.messages(13, [1, 2]).map(entry => [entry.text(1), entry.text(2)]))
    const external = tensor.int(14) === 1
      ? { location: entries.location, offset: Number(entries.offset), length: Number(entries.length) }
      : undefined
    if (external !== undefined && tensor.has(9)) throw new Error(`${name} lies inside and outside`)
    const bytes = external === undefined ? tensor.all<Buffer>(9)[0]
      : fs.readFileSync(path.join(path.dirname(file), external.location)).subarray(external.offset, external.offset + external.length)
    constants.set(name, { shape, data: numbers(bytes, type, count(shape)), whole: type === 6 || type === 7 })
    stored.set(name, { type, ...(external && { external }) })
  }
  const ports = (field: number): OnnxModel['inputs'] => graph.messages(field, [1, 2]).map(port => {
    const [tensor] = port.messages(2, [1])[0].messages(1, [1, 2])
    const dimensions = tensor.messages(2, [1])[0].messages(1, [1, 2])
    return { name: port.text(1), type: tensor.int(1), shape: dimensions.map(size => (size.has(1) ? size.int(1) : size.text(2))) }
  })
  const nodes = graph.messages(1, [1, 2, 3, 4, 5]).map(node => ({
    name: node.text(3), op: node.text(4), inputs: node.texts(1), outputs: node.texts(2),
    attributes: Object.fromEntries(node.messages(5, [1, 2, 3, 4, 8, 20]).map(attribute => {
      const read: Record<number, () => Attribute> = {
        1: () => attribute.all<number>(2)[0], 2: () => attribute.int(3), 3: () => attribute.text(4),
        7: () => attribute.all<bigint>(8).map(Number),
      }
      return [attribute.text(1), read[attribute.int(20)]()]
    })),
  }))
  return {
    opset: opset.int(2), nodes, constants, stored, inputs: ports(11), outputs: ports(12),
    metadata: Object.fromEntries(model.messages(14, [1, 2]).map(entry => [entry.text(1), entry.text(2)])),
  }
}

export const count = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1)
