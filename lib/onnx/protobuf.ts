/**
 * Writes protocol buffers. Own code, since a library's writer holds all bytes of a message before it knows the length that goes in
 * front of them, and an ONNX file is weights that should pass through a megabyte at a time: here a message is a list of pieces, of
 * which some have nothing but a length until they are written.
 */

/** Bytes, or what will have been written of so many bytes when its turn comes. */
type Piece = Uint8Array | Deferred

/** Bytes that are made when they are written. */
export interface Deferred {
  byteLength: number
  read(): AsyncIterable<Uint8Array>
}

/** A message under construction, or a finished one. */
export class Message {
  readonly pieces: Piece[] = []
  byteLength = 0

  /** An integer: int32, int64 or an enumeration. */
  int(field: number, value: number): this {
    return this.#push(varint(field << 3), varint(value))
  }

  /** A 32-bit float. */
  float(field: number, value: number): this {
    const bytes = Buffer.alloc(4)
    bytes.writeFloatLE(value)
    return this.#push(varint(field << 3 | 5), bytes)
  }

  text(field: number, value: string): this {
    return this.bytes(field, Buffer.from(value, 'utf8'))
  }

  bytes(field: number, value: Piece): this {
    return this.#push(varint(field << 3 | 2), varint(value.byteLength), value)
  }

  message(field: number, value: Message): this {
    this.#push(varint(field << 3 | 2), varint(value.byteLength))
    for (const piece of value.pieces) this.#push(piece)
    return this
  }

  #push(...pieces: Piece[]): this {
    for (const piece of pieces) {
      this.byteLength += piece.byteLength
      this.pieces.push(piece)
    }
    return this
  }
}

/** Seven bits a byte, lowest first; negative numbers are 64 bits in two's complement. */
function varint(value: number): Uint8Array {
  let rest = BigInt.asUintN(64, BigInt(value))
  const bytes: number[] = []
  do {
    const low = Number(rest & 0x7fn)
    rest >>= 7n
    bytes.push(rest === 0n ? low : low | 0x80)
  } while (rest !== 0n)
  return Uint8Array.from(bytes)
}
