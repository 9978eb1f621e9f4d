import { abortError, throwIfAborted } from './errors'

/** A call under way. `cancel` may be called at any time, also after the end. */
export interface Cancellable<T> {
  promise: Promise<T>
  cancel(): void
}

/**
 * Starts a call and waits for it; the signal cancels it, waiting in the queue or running.
 * @throws an `AbortError` when the signal is aborted, or what the call rejects with
 */
export async function settle<T>(start: () => Cancellable<T>, signal: AbortSignal | undefined): Promise<T> {
  throwIfAborted(signal)
  const call = start()
  if (signal === undefined) return call.promise
  const cancel = (): void => call.cancel()
  signal.addEventListener('abort', cancel, { once: true })
  try {
    return await call.promise
  } catch (error) {
    if (signal.aborted && (error as Error | undefined)?.name === 'AbortError') throw abortError(signal.reason)
    throw error
  } finally {
    signal.removeEventListener('abort', cancel)
  }
}

/** Waits for a promise, but not longer than until the signal is aborted. The promise itself goes on. */
export async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  throwIfAborted(signal)
  if (signal === undefined) return promise
  let stop = (): void => {}
  const aborted = new Promise<never>((_resolve, reject) => {
    stop = () => reject(abortError(signal.reason))
    signal.addEventListener('abort', stop, { once: true })
  })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

/** A signal that is aborted as soon as one of `signals` is. `release` takes its listeners off again; a signal may live long. */
export function anySignal(signals: readonly (AbortSignal | undefined)[]): { signal: AbortSignal, release(): void } {
  const controller = new AbortController()
  const undo: (() => void)[] = []
  const release = (): void => { for (const off of undo.splice(0)) off() }
  for (const signal of signals) {
    if (signal === undefined) continue
    const abort = (): void => { controller.abort(signal.reason); release() }
    if (signal.aborted) { abort(); break }
    signal.addEventListener('abort', abort, { once: true })
    undo.push(() => signal.removeEventListener('abort', abort))
  }
  return { signal: controller.signal, release }
}
