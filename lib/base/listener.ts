/** Is this a promise, or something that is awaited like one? It may be of another realm. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return value !== null && (typeof value === 'object' || typeof value === 'function') && typeof (value as PromiseLike<unknown>).then === 'function'
}

/** A callback of the caller's. Its result is not awaited. */
export type Listener = (...told: never[]) => unknown

/**
 * The same function, whose rejection, if it is async, does not end the process as an unhandled one.
 * @param failed takes the reason; without it, it becomes a process warning
 */
export function guarded<F extends Listener>(listener: F, failed?: (reason: unknown) => void): F {
  let warned = false
  const warnOnce = (reason: unknown): void => {
    if (!warned) warnOfRejection(reason)
    warned = true
  }
  return ((...told: never[]): void => {
    const result = listener(...told)
    if (isThenable(result)) void Promise.resolve(result).catch(failed ?? warnOnce)
  }) as F
}

/** Says that a listener has failed where nobody waits for it. */
export function warnOfRejection(reason: unknown): void {
  let text = 'something that cannot be shown'
  try {
    text = String(reason)
  } catch {
    // It stays at that.
  }
  process.emitWarning(`A listener rejected: ${text.slice(0, 1000)}`, { type: 'AsdmWarning', code: 'LISTENER' })
}
