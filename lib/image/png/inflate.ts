import { createInflate } from 'node:zlib'
import { abortError, throwIfAborted } from '../../base/errors'

/** Bytes of compressed data handed to zlib at once; smaller pieces are gathered, whatever chunks they come in. */
const inputBytes = 1 << 16

/**
 * Inflates a zlib stream that comes in pieces, in libuv's pool, and hands what comes out to `take` as it comes: no more than 64 KiB of it
 * are ever held. What follows the end of the stream is passed over.
 */
export class Inflater {
  readonly #zlib = createInflate({ chunkSize: 1 << 16 })
  readonly #failed: Promise<never>
  readonly #ended: Promise<void>
  readonly #staged = new Uint8Array(inputBytes)
  readonly #abort: () => void
  #count = 0
  #over = false

  /**
   * @param take is handed each piece; the error that it gives ends the work
   * @param signal ends the work with an `AbortError`
   */
  constructor(take: (piece: Uint8Array) => Error | undefined, private readonly signal: AbortSignal | undefined) {
    throwIfAborted(signal)
    this.#abort = () => { this.#zlib.destroy(abortError(signal!.reason)) }
    signal?.addEventListener('abort', this.#abort, { once: true })
    this.#failed = new Promise((_resolve, reject) => this.#zlib.once('error', reject))
    this.#failed.catch(() => {})
    this.#ended = new Promise(resolve => this.#zlib.once('end', () => { this.#over = true; resolve() }))
    this.#zlib.on('data', (piece: Buffer) => {
      if (this.#zlib.destroyed) return
      const problem = take(piece)
      if (problem !== undefined) this.#zlib.destroy(problem)
    })
  }

  /** Takes the next compressed bytes; resolves when most of what they inflate to has been handed on. */
  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length && !this.#over;) {
      const count = Math.min(inputBytes - this.#count, bytes.length - at)
      this.#staged.set(bytes.subarray(at, at + count), this.#count)
      at += count
      this.#count += count
      if (this.#count === inputBytes) await this.#flush()
    }
  }

  /** Resolves at the end of the stream, and rejects where it is cut short. */
  async end(): Promise<void> {
    await this.#flush()
    if (!this.#over) this.#zlib.end()
    await Promise.race([this.#ended, this.#failed])
  }

  /** Frees zlib's memory and takes the listener off the signal. */
  close(): void {
    this.signal?.removeEventListener('abort', this.#abort)
    this.#zlib.once('error', () => {})
    this.#zlib.destroy()
  }

  async #flush(): Promise<void> {
    if (this.#count === 0 || this.#over) return
    const piece = this.#staged.slice(0, this.#count)
    this.#count = 0
    await Promise.race([new Promise<void>(resolve => { this.#zlib.write(piece, () => resolve()) }), this.#failed])
  }
}
