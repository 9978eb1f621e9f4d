/**
 * Gives what `source` gives. Until `pause` says otherwise the source waits for its consumer, as generators do; then it runs to its end, and
 * what it gives is kept until it is taken.
 * @param pause called when an item is handed over and the source begins to wait; calls `go` for the source to run, at once or later; what
 * it gives is called when the next item is asked for
 * @param stop makes the source end early: called when the consumer leaves, or has all, after the source has run by itself
 */
export async function* runAhead<T, R>(
  source: AsyncGenerator<T, R, void>, pause: (go: () => void) => () => void, stop: () => void,
): AsyncGenerator<T, R, void> {
  const ready: (() => IteratorResult<T, R>)[] = []
  let arrived = (): void => {}
  let ahead: Promise<void> | undefined
  const run = async (): Promise<void> => {
    for (let done = false; !done;) {
      try {
        const next = await source.next()
        done = next.done === true
        ready.push(() => next)
      } catch (error) {
        done = true
        ready.push(() => { throw error })
      }
      arrived()
    }
  }
  const go = (): void => { ahead ??= run() }
  const take = async (): Promise<IteratorResult<T, R>> => {
    if (ready.length === 0) await new Promise<void>(resolve => { arrived = resolve })
    return ready.shift()!()
  }
  try {
    for (;;) {
      const next = await (ahead === undefined ? source.next() : take())
      if (next.done === true) return next.value
      const resume = ahead === undefined ? pause(go) : () => {}
      try {
        yield next.value
      } finally {
        resume()
      }
    }
  } finally {
    // However it ends, also by an error that the consumer throws in. A source that has ended takes no notice.
    if (ahead !== undefined) stop()
    await ahead
    await source.return(undefined as R)
  }
}
