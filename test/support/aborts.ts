import type { ExecutionContext } from 'ava'

/**
 * Expects a promise to reject with an `AbortError`, which it gives; a `DOMException` is no native error, so ava's own assertion does not
 * take it.
 */
export async function aborts(t: ExecutionContext, promise: Promise<unknown>, message?: string): Promise<DOMException> {
  const error = await t.throwsAsync(promise, { any: true }, message) as unknown as DOMException
  t.is(error?.name, 'AbortError', message ?? String(error))
  return error
}
