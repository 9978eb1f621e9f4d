import { setImmediate } from 'node:timers'
import type { Cancellable } from '../base/abort'
import { AsdmError, abortError, type ErrorCode } from '../base/errors'
import { isError } from '../base/realms'

/** Ends a call: `(null, result)`, or `(code, message)` where the code is one of `ErrorCode` or `ABORTED`. */
export type Settle<T> = (code: string | null, value: T | string) => void

/** Native errors carry a `code`; anything else (a stack overflow, for example) is not ours and passes as it is. */
export function translated<T>(call: () => T): T {
  try {
    return call()
  } catch (error) {
    const { code, message, cause } = error as { code?: unknown, message?: unknown, cause?: unknown }
    if (!isError(error) || typeof code !== 'string') throw error
    throw new AsdmError(code as ErrorCode, String(message), cause === undefined ? undefined : { cause })
  }
}

/** What calls need of a binary. */
interface Binary {
  /** Copies a piece of large inputs of calls that were started; true while there is more. */
  feed(): boolean
  cancel(call: number): void
}

/** Starts calls of a binary, and hands it their large inputs piece by piece between other events. */
export class Calls {
  readonly #raw: Binary
  #feeding = false

  constructor(raw: Binary) {
    this.#raw = raw
  }

  /**
   * Makes a promise of a call's callback.
   * @param overriding what the promise rejects with instead, once there is something
   */
  start<T>(begin: (settle: Settle<T>) => number, overriding: () => { error: unknown } | undefined = () => undefined): Cancellable<T> {
    let id = 0
    // What the executor throws rejects the promise, but wrong arguments are to be thrown to the caller: hence the detour.
    let resolve!: (value: T) => void, reject!: (error: unknown) => void
    const promise = new Promise<T>((good, bad) => { resolve = good; reject = bad })
    translated(() => {
      id = begin((code, value) => {
        const override = overriding()
        if (override !== undefined) reject(override.error)
        else if (code === null) resolve(value as T)
        else if (code === 'ABORTED') reject(abortError())
        else reject(new AsdmError(code as ErrorCode, value as string))
      })
    })
    if (!this.#feeding) this.#feed()
    return { promise, cancel: () => this.#raw.cancel(id) }
  }

  #feed(): void {
    this.#feeding = this.#raw.feed()
    if (this.#feeding) setImmediate(() => this.#feed())
  }
}
