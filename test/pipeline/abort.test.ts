import test from 'ava'
import { anySignal, settle, untilAborted } from '../../lib/base/abort'
import type { NativeCall } from '../../lib/native/binding'
import { aborts } from '../support/aborts'

/** A native call that ends when it is told to; `cancel` rejects it as the addon does. */
function fakeCall<T>(): NativeCall<T> & { resolve(value: T): void, cancelled: number } {
  let resolve!: (value: T) => void
  let reject!: (error: unknown) => void
  const promise = new Promise<T>((good, bad) => { [resolve, reject] = [good, bad] })
  const call = { promise, resolve, cancelled: 0, cancel() { call.cancelled++; reject(new DOMException('cancelled', 'AbortError')) } }
  return call
}

/** How many listeners a signal has got and lost. */
function countListeners(signal: AbortSignal): { count: number } {
  const state = { count: 0 }
  const { addEventListener: add, removeEventListener: remove } = signal
  signal.addEventListener = function (this: AbortSignal, ...args: any[]) { state.count++; return (add as any).apply(signal, args) }
  signal.removeEventListener = function (this: AbortSignal, ...args: any[]) { state.count--; return (remove as any).apply(signal, args) }
  return state
}

test('a native call is cancelled by its signal and leaves no listener behind', async t => {
  const controller = new AbortController()
  const listeners = countListeners(controller.signal)
  const done = fakeCall<number>()
  const first = settle(() => done, controller.signal)
  done.resolve(3)
  t.is(await first, 3)
  t.is(listeners.count, 0)
  const stopped = fakeCall<number>()
  const second = settle(() => stopped, controller.signal)
  controller.abort('why')
  const error = await aborts(t, second)
  t.is(error.cause, 'why')
  t.is(stopped.cancelled, 1)
  t.is(listeners.count, 0)
  await aborts(t, settle(() => { throw new Error('must not start') }, controller.signal))
})

test('other errors of a cancelled call pass through', async t => {
  const controller = new AbortController()
  const call = { promise: Promise.reject(new RangeError('real')), cancel() {} }
  const waiting = settle(() => call, controller.signal)
  controller.abort()
  await t.throwsAsync(waiting, { instanceOf: RangeError })
})

test('waiting ends with the signal, the promise goes on', async t => {
  const controller = new AbortController()
  const listeners = countListeners(controller.signal)
  t.is(await untilAborted(Promise.resolve(1), controller.signal), 1)
  await t.throwsAsync(untilAborted(Promise.reject(new Error('own')), controller.signal), { message: 'own' })
  const waiting = untilAborted(new Promise(() => {}), controller.signal)
  controller.abort()
  await aborts(t, waiting)
  t.is(listeners.count, 0)
})

test('the first of several signals aborts, and none keeps a listener', t => {
  const [a, b] = [new AbortController(), new AbortController()]
  const [countA, countB] = [countListeners(a.signal), countListeners(b.signal)]
  const any = anySignal([a.signal, undefined, b.signal])
  t.false(any.signal.aborted)
  b.abort('b')
  t.is(any.signal.reason, 'b')
  a.abort('a')
  t.is(any.signal.reason, 'b')
  t.deepEqual([countA.count, countB.count], [0, 0])
  t.true(anySignal([undefined, a.signal]).signal.aborted)
  const quiet = new AbortController()
  const count = countListeners(quiet.signal)
  anySignal([quiet.signal]).release()
  t.is(count.count, 0)
})
