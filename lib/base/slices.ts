import { setImmediate } from 'node:timers/promises'
import { throwIfAborted } from './errors'

/** Longest time in milliseconds that sliced work holds the event loop at once. */
const sliceMs = 8

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
