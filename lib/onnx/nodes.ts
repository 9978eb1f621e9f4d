import { Message, type Deferred } from './protobuf'

/** ONNX's numbers for types of tensors (`TensorProto.DataType`). */
const dataTypes = { FLOAT: 1, INT32: 6, INT64: 7, FLOAT16: 10, BFLOAT16: 16 } as const

export type DataType = keyof typeof dataTypes

/** An attribute's value: whole numbers are given as such, floats as `{ float }`. */
type AttributeValue = number | { float: number } | string | readonly number[]

/** A constant tensor: small ones by their numbers, weights as what they are made of. */
interface Initializer {
  name: string
  type: DataType
  shape: readonly number[]
  data: Uint8Array | Deferred
}

/** An input or output: a number, or a name for a size that is left open, for each dimension. */
interface Port {
  name: string
  type: DataType
  shape: readonly (number | string)[]
}

/** Collects nodes and constants. Methods give the name of the node's (first) output. */
export class Nodes {
  readonly nodes: Message[] = []
  readonly initializers = new Map<string, Initializer>()

  /** Adds a node. @param name of the node and of its output @param inputs names of values, '' for those left out */
  add(
    op: string, name: string, inputs: readonly string[], attributes: Readonly<Record<string, AttributeValue>> = {},
    outputs: readonly string[] = [name],
  ): string {
    const node = new Message()
    for (const input of inputs) node.text(1, input)
    for (const output of outputs) node.text(2, output)
    node.text(3, name).text(4, op)
    for (const [key, value] of Object.entries(attributes)) node.message(5, attribute(key, value))
    this.nodes.push(node)
    return outputs[0]!
  }

  /** A constant; the same name must stand for the same numbers. */
  constant(initializer: Initializer): string {
    this.initializers.set(initializer.name, initializer)
    return initializer.name
  }

  floats(name: string, values: ArrayLike<number>, shape: readonly number[]): string {
    const bytes = Float32Array.from(values)
    return this.constant({ name, type: 'FLOAT', shape, data: new Uint8Array(bytes.buffer) })
  }

  /** A list of whole numbers, as shapes and axes are given; its name says what it holds. */
  integers(...values: number[]): string {
    const bytes = BigInt64Array.from(values, BigInt)
    return this.constant({ name: `integers[${values}]`, type: 'INT64', shape: [values.length], data: new Uint8Array(bytes.buffer) })
  }

  /** One number; its name says which. */
  scalar(value: number): string {
    return this.floats(`scalar[${value}]`, [value], [])
  }
}

function attribute(name: string, value: AttributeValue): Message {
  const message = new Message().text(1, name)
  if (typeof value === 'number') return message.int(3, value).int(20, 2)
  if (typeof value === 'string') return message.bytes(4, Buffer.from(value, 'utf8')).int(20, 3)
  if (!('float' in value)) {
    for (const each of value) message.int(8, each)
    return message.int(20, 7)
  }
  return message.float(2, value.float).int(20, 1)
}

function port({ name, type, shape }: Port): Message {
  const dimensions = new Message()
  for (const size of shape) dimensions.message(1, typeof size === 'number' ? new Message().int(1, size) : new Message().text(2, size))
  const tensorType = new Message().int(1, dataTypes[type]).message(2, dimensions)
  return new Message().text(1, name).message(2, new Message().message(1, tensorType))
}

/** Where an initializer's bytes lie outside the model's file. */
export interface External {
  location: string
  offset: number
}

function tensor({ name, type, shape, data }: Initializer, external: External | undefined): Message {
  const message = new Message()
  for (const size of shape) message.int(1, size)
  message.int(2, dataTypes[type]).text(8, name)
  if (external === undefined) return message.bytes(9, data)
  const entry = (key: string, value: string): Message => new Message().text(1, key).text(2, value)
  message.message(13, entry('location', external.location)).message(13, entry('offset', String(external.offset)))
  return message.message(13, entry('length', String(data.byteLength))).int(14, 1)
}

interface ModelParts {
  /** The graph's name. */
  name: string
  nodes: Nodes
  inputs: readonly Port[]
  outputs: readonly Port[]
  /** The version of ONNX's operators that the nodes speak. */
  opset: number
  /** Written into the file for people and programs. */
  metadata: Readonly<Record<string, string>>
  /** Which initializers lie outside, and where. */
  external: ReadonlyMap<string, External>
}

/** A whole ONNX model (`ModelProto`, of IR version 8, which every runtime of the last years reads). */
export function modelMessage({ name, nodes, inputs, outputs, opset, metadata, external }: ModelParts): Message {
  const graph = new Message()
  for (const node of nodes.nodes) graph.message(1, node)
  graph.text(2, name)
  for (const initializer of nodes.initializers.values()) graph.message(5, tensor(initializer, external.get(initializer.name)))
  for (const each of inputs) graph.message(11, port(each))
  for (const each of outputs) graph.message(12, port(each))
  const model = new Message().int(1, 8).text(2, 'asdm').message(7, graph).message(8, new Message().text(1, '').int(2, opset))
  for (const [key, value] of Object.entries(metadata)) model.message(14, new Message().text(1, key).text(2, value))
  return model
}
