/** How many bytes an element of each stored dtype takes. Formats below one byte (F4, F6) are not known here. */
export const dtypeBytes: ReadonlyMap<string, number> = new Map([
  ['BOOL', 1], ['U8', 1], ['I8', 1], ['F8_E5M2', 1], ['F8_E4M3', 1], ['F8_E8M0', 1],
  ['I16', 2], ['U16', 2], ['F16', 2], ['BF16', 2], ['I32', 4], ['U32', 4], ['F32', 4],
  ['I64', 8], ['U64', 8], ['F64', 8], ['C64', 8],
])

/** More tensors than any checkpoint has, few enough to hold. */
export const maxTensors = 32_768
/** Likewise of metadata. */
const maxMetadata = 16_384
const maxRank = 16

/** One entry of a header; offsets are relative to the first byte after the header, as stored. */
interface HeaderEntry {
  dtype: string
  shape: number[]
  begin: number
  end: number
}

/** Bytes of a tensor, or `undefined` where the product leaves the exact integers (2^53). */
export function tensorBytes(dtype: string, shape: readonly number[]): number | undefined {
  let bytes = dtypeBytes.get(dtype) ?? NaN
  for (const size of shape) {
    bytes *= size
    if (!Number.isSafeInteger(bytes)) return undefined
  }
  return bytes
}

/**
 * Parses the JSON of a safetensors header. It is a parser of its own rather than `JSON.parse`, which keeps the last of duplicate
 * keys, accepts any number, and would build whatever a hostile header of 100 MB describes before anything can be checked.
 * @param fail makes the error that is thrown; gets what is wrong, as the end of a sentence
 */
export function parseHeader(
  text: string, fail: (problem: string) => Error,
): { entries: Map<string, HeaderEntry>, metadata: Map<string, string> } {
  const entries = new Map<string, HeaderEntry>()
  const metadata = new Map<string, string>()
  const scan = new Scanner(text, fail)
  let sawMetadata = false
  if (!text.startsWith('{')) throw fail('its header does not start with {')
  scan.object(name => {
    if (name === '__metadata__') {
      if (sawMetadata) throw fail('its header holds the key "__metadata__" twice')
      sawMetadata = true
      scan.object(key => {
        if (metadata.has(key)) throw fail(`its metadata hold the key ${quoted(key)} twice`)
        if (metadata.size >= maxMetadata) throw fail(`its header holds more than ${maxMetadata} metadata`)
        metadata.set(key, scan.string(`metadata ${quoted(key)}`))
      }, '__metadata__')
      return
    }
    if (entries.has(name)) throw fail(`its header holds the tensor ${quoted(name)} twice`)
    if (entries.size >= maxTensors) throw fail(`its header holds more than ${maxTensors} tensors`)
    entries.set(name, parseEntry(scan, name, fail))
  }, 'the header')
  scan.finish()
  return { entries, metadata }
}

function parseEntry(scan: Scanner, name: string, fail: (problem: string) => Error): HeaderEntry {
  const where = `tensor ${quoted(name)}`
  let dtype: string | undefined
  let shape: number[] | undefined
  let offsets: number[] | undefined
  scan.object(key => {
    if (key === 'dtype' && dtype === undefined) dtype = scan.string(`the dtype of ${where}`)
    else if (key === 'shape' && shape === undefined) shape = scan.integers(maxRank, `the shape of ${where}`)
    else if (key === 'data_offsets' && offsets === undefined) offsets = scan.integers(2, `the data_offsets of ${where}`)
    else throw fail(`${where} has the ${['dtype', 'shape', 'data_offsets'].includes(key) ? 'repeated' : 'unknown'} field ${quoted(key)}`)
  }, where)
  if (dtype === undefined || shape === undefined || offsets === undefined) throw fail(`${where} lacks dtype, shape or data_offsets`)
  if (!dtypeBytes.has(dtype)) throw fail(`${where} has the unknown dtype ${quoted(dtype)}`)
  const [begin, end] = offsets
  if (begin === undefined || end === undefined || offsets.length > 2) throw fail(`${where} has ${offsets.length} data_offsets instead of 2`)
  const bytes = tensorBytes(dtype, shape)
  if (bytes === undefined) throw fail(`${where} has the shape [${shape}], whose size overflows`)
  if (begin > end) throw fail(`${where} begins at ${begin}, after its end ${end}`)
  if (end - begin !== bytes) throw fail(`${where} has ${end - begin} bytes where ${dtype} [${shape}] takes ${bytes}`)
  return { dtype, shape, begin, end }
}

function quoted(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 97)}...` : text)
}

/** The few JSON productions that a header consists of. */
class Scanner {
  private at = 0

  constructor(private readonly text: string, private readonly fail: (problem: string) => Error) {}

  /** Reads an object; calls `value` after each key, which must read the value. */
  object(value: (key: string) => void, what: string): void {
    this.take('{', what)
    if (this.tryTake('}')) return
    do {
      const key = this.string(`a key of ${what}`)
      this.take(':', what)
      value(key)
    } while (this.tryTake(','))
    this.take('}', what)
  }

  integers(most: number, what: string): number[] {
    const values: number[] = []
    this.take('[', what)
    if (this.tryTake(']')) return values
    do {
      if (values.length === most) throw this.fail(`${what} holds more than ${most} numbers`)
      values.push(this.integer(what))
    } while (this.tryTake(','))
    this.take(']', what)
    return values
  }

  string(what: string): string {
    this.take('"', what)
    const start = this.at
    for (;;) {
      const code = this.text.charCodeAt(this.at)
      if (code === 0x22) break
      if (Number.isNaN(code) || code < 0x20) throw this.fail(`${what} is not valid JSON text`)
      this.at += code === 0x5c ? 2 : 1
    }
    const literal = this.text.slice(start, this.at++)
    if (!literal.includes('\\')) return literal
    try {
      return JSON.parse(`"${literal}"`) as string
    } catch {
      throw this.fail(`${what} is not valid JSON text`)
    }
  }

  /** After the outermost object only padding may follow. */
  finish(): void {
    this.skipSpace()
    if (this.at < this.text.length) throw this.fail('its header has text after the closing }')
  }

  private integer(what: string): number {
    this.skipSpace()
    const start = this.at
    while (this.text.charCodeAt(this.at) >= 0x30 && this.text.charCodeAt(this.at) <= 0x39) this.at++
    const digits = this.at - start
    const value = digits > 0 && digits <= 16 ? Number(this.text.slice(start, this.at)) : NaN
    const leadingZero = digits > 1 && this.text[start] === '0'
    const longer = /[.eE]/.test(this.text[this.at] ?? '')
    if (!Number.isSafeInteger(value) || leadingZero || longer)
      throw this.fail(`${what} holds ${quoted(this.text.slice(start, start + 24))} where a whole number from 0 to 2^53-1 belongs`)
    return value
  }

  private take(char: string, what: string): void {
    if (!this.tryTake(char))
      throw this.fail(
        `${what} is not as the format wants it: ${quoted(char)} expected at character ${this.at} of the header, found `
        + (this.at < this.text.length ? quoted(this.text.charAt(this.at)) : 'the end'),
      )
  }

  private tryTake(char: string): boolean {
    this.skipSpace()
    if (this.text[this.at] !== char) return false
    this.at++
    return true
  }

  private skipSpace(): void {
    for (;;) {
      const code = this.text.charCodeAt(this.at)
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return
      this.at++
    }
  }
}
