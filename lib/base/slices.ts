import { setImmediate } from 'node:timers/promises'
import { throwIfAborted } from './errors'

/** Longest time in milliseconds that sliced work holds the event loop at once. */
const sliceMs = 8

/** Values that are worked on before the clock is looked at: a millisecond's work or less. */
const pieceLength = 1 << 14

/** Bytes of a caller's array that are copied at once; larger ones are read in pieces while the call is under way. */
export const copiedAtOnce = 1 << 22

/** Long work on the event loop, cut into slices between which timers, I/O and aborts get their turn. */
export class Slices {
  #end = performance.now() + sliceMs

  /** @param signal ends the work at the next slice */
  constructor(private readonly signal?: AbortSignal) {}

  /** Is the slice over? Cheap enough to ask every few thousand operations. */
  get over(): boolean {
    return performance.now() >= this.#end
  }

  /**
   * Lets the event loop turn once and begins the next slice: `if (slices.over) await slices.next()`.
   * @throws an `AbortError` when the signal is aborted
   */
  async next(): Promise<void> {
    await setImmediate()
    throwIfAborted(this.signal)
    this.#end = performance.now() + sliceMs
  }
}

/** Calls `body` for one piece of [0, count) after the other, with the event loop turning between slices. */
export async function inPieces(count: number, slices: Slices, body: (from: number, to: number) => void): Promise<void> {
  for (let from = 0; from < count; from += pieceLength) {
    body(from, Math.min(count, from + pieceLength))
    if (slices.over) await slices.next()
  }
}
