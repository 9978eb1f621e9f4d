import { throwIfAborted, abortError } from './errors'

/** A call that has its turn, or waits for it. */
export interface QueuedCall {
  /** Calls of higher priority run before others that wait. */
  readonly priority: number
  /** Whether it has its turn. */
  readonly running: boolean
}

/** Lets calls run one after the other: those of higher priority first, else in the order in which they came. */
export class Queue {
  #running: { priority: number } | undefined
  readonly #waiting: { priority: number, begin: () => void }[] = []
  readonly #watchers = new Set<() => void>()

  /**
   * Waits for its turn; the function it gives ends the turn and may be called twice.
   * @throws an `AbortError` when the signal is aborted before the turn comes; the calls behind it then move up
   */
  async turn(signal: AbortSignal | undefined, priority = 0): Promise<() => void> {
    throwIfAborted(signal)
    if (this.#running === undefined) return this.#begin({ priority })
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(call), 1)
        reject(abortError(signal?.reason))
      }
      const call = {
        priority,
        begin: () => {
          signal?.removeEventListener('abort', leave)
          resolve(this.#begin(call))
        },
      }
      signal?.addEventListener('abort', leave, { once: true })
      const behind = this.#waiting.findIndex(other => other.priority < priority)
      this.#waiting.splice(behind < 0 ? this.#waiting.length : behind, 0, call)
      for (const watcher of this.#watchers) watcher()
    })
  }

  /** The call that has its turn, then those that wait, in the order in which they will run. */
  get calls(): QueuedCall[] {
    const running = this.#running === undefined ? [] : [{ priority: this.#running.priority, running: true }]
    return [...running, ...this.#waiting.map(({ priority }) => ({ priority, running: false }))]
  }

  /** Calls `watcher` when a call waits, at once where one does; the function it gives ends that. */
  whenWaiting(watcher: () => void): () => void {
    if (this.#waiting.length > 0) watcher()
    this.#watchers.add(watcher)
    return () => void this.#watchers.delete(watcher)
  }

  #begin(call: { priority: number }): () => void {
    this.#running = call
    return () => {
      if (this.#running !== call) return
      this.#running = undefined
      this.#waiting.shift()?.begin()
    }
  }
}
