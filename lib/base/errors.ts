/**
 * Stable error codes. A code never changes its meaning; messages may be reworded.
 *
 * - `INVALID_ARGUMENT`: an option or argument of a public call is wrong.
 * - `FILE_NOT_FOUND`, `FILE_READ`: a file is missing, or cannot be read or ended early.
 * - `UNSUPPORTED_FORMAT`: the file is of a kind that is never read (pickles, for example).
 * - `BAD_SAFETENSORS`: a safetensors header or its offsets break the format.
 * - `BAD_JSON`: a JSON file does not parse or is not the expected shape.
 * - `BAD_CONFIG`: a config value is missing, absurd or of the wrong type.
 * - `UNSUPPORTED_CONFIG`: a config option asks for something that is not implemented.
 * - `TENSOR_MISSING`, `TENSOR_EXTRA`, `TENSOR_SHAPE`, `TENSOR_DTYPE`: the weights do not fit the config.
 * - `SHAPE_MISMATCH`: an input's shape does not fit the model.
 * - `OUT_OF_MEMORY`: an allocation failed; the model still works.
 * - `DISPOSED`: the object was disposed before the call.
 * - `NATIVE_NOT_FOUND`: no native binary loads; the message lists every attempt.
 * - `UNKNOWN_CPU`: a forced instruction set is unknown or not available.
 * - `UNKNOWN_DEVICE`: a forced device is unknown or not available.
 * - `TRAINING_DIVERGED`: a training met a number that is NaN or infinite; its last checkpoint stays.
 * - `FILE_WRITE`: a file or folder cannot be written, or there is no room for it.
 * - `HUB_ACCESS`, `HUB_NOT_FOUND`: the hub denies a model, or has none of that name or revision.
 * - `HUB_RESPONSE`: the hub's answer makes no sense or is hostile.
 * - `NETWORK`: the hub cannot be reached, or the connection keeps breaking; what has arrived is kept.
 * - `OFFLINE`: a model is not in the cache and the network is not to be used.
 * - `BAD_DOWNLOAD`: what arrived is not the file that was announced, by size or hash; it is not kept.
 * - `PACKAGE_MISSING`: an optional package that the call needs is not installed or does not load; the message has the command.
 * - `INTERNAL`: a bug in asdm.
 */
export type ErrorCode
  = | 'INVALID_ARGUMENT' | 'FILE_NOT_FOUND' | 'FILE_READ' | 'UNSUPPORTED_FORMAT' | 'BAD_SAFETENSORS' | 'BAD_JSON'
    | 'BAD_CONFIG' | 'UNSUPPORTED_CONFIG' | 'TENSOR_MISSING' | 'TENSOR_EXTRA' | 'TENSOR_SHAPE' | 'TENSOR_DTYPE'
    | 'SHAPE_MISMATCH' | 'OUT_OF_MEMORY' | 'DISPOSED' | 'NATIVE_NOT_FOUND' | 'UNKNOWN_CPU' | 'UNKNOWN_DEVICE'
    | 'TRAINING_DIVERGED' | 'FILE_WRITE' | 'HUB_ACCESS' | 'HUB_NOT_FOUND' | 'HUB_RESPONSE' | 'NETWORK' | 'OFFLINE' | 'BAD_DOWNLOAD' | 'PACKAGE_MISSING' | 'INTERNAL'

/**
 * Every error asdm throws on purpose, except aborts: a stable `code` and one sentence saying what was expected, what was received and
 * where.
 */
export class AsdmError extends Error {
  /** What went wrong, for programs. */
  readonly code: ErrorCode

  /** Errors are made by asdm itself. */
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(typeof message === 'string' ? printable(message) : shown(message), causeOf(options))
    this.name = 'AsdmError'
    this.code = code
  }
}

/** An error's options, read here since what is no such thing could throw from within an error's own making. */
function causeOf(options: ErrorOptions | undefined): ErrorOptions | undefined {
  try {
    return options !== undefined && 'cause' in options ? { cause: options.cause } : undefined
  } catch {
    return undefined
  }
}

/** The error an aborted call rejects with: a `DOMException` named `AbortError`, as `fetch` gives, with the signal's reason as its cause. */
export function abortError(reason?: unknown): DOMException {
  const error = new DOMException('The operation was aborted', 'AbortError')
  if (reason !== undefined) Object.defineProperty(error, 'cause', { value: reason, configurable: true, writable: true })
  return error
}

/** Is this what an aborted call rejects with? */
export function isAbortError(error: unknown): boolean {
  return (error as Error | null | undefined)?.name === 'AbortError'
}

/** Throws {@link abortError} when the signal is aborted. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortError(signal.reason)
}

/**
 * A text as a terminal may print it: control characters other than line feed, and those that turn the direction of writing, are escaped as
 * JSON does. Names in files may hold them.
 */
export function printable(text: string): string {
  return text.replace(/(?!\n)[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu, character =>
    `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** Shows a received value in an error message: short, quoted where it is text, never throwing whatever it is handed. */
export function shown(value: unknown): string {
  try {
    if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value)
    if (typeof value === 'bigint') return `${value}n`
    if (typeof value === 'function') return 'a function'
    if (typeof value === 'symbol') return 'a symbol'
    if (Array.isArray(value))
      return value.length <= 8 && value.every(v => typeof v === 'number') ? `[${value.join(', ')}]` : `an array of ${value.length}`
    if (ArrayBuffer.isView(value)) return `a ${value.constructor?.name ?? 'view'} of ${value.byteLength} bytes`
    if (value !== null && typeof value === 'object') return 'an object'
    return String(value)
  } catch {
    return 'an unprintable value'
  }
}
