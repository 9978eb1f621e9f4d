import { SingleBar } from 'cli-progress'
import { formatBytes } from '../base/format'

/** One line on a terminal, on stderr; nothing where stderr is no terminal or `quiet` is set. */
export class LineBar {
  #bar: SingleBar | undefined
  readonly #show: boolean
  readonly #layout: { format: string, barsize: number }

  /** @param format of cli-progress, whose words in braces `set` gives */
  constructor(quiet: boolean, format: string, barsize = 30) {
    this.#show = !quiet && process.stderr.isTTY
    this.#layout = { format, barsize }
  }

  set(done: number, of: number, text: Record<string, string>): void {
    if (!this.#show) return
    if (this.#bar === undefined) {
      this.#bar = new SingleBar({ ...this.#layout, hideCursor: true, clearOnComplete: true, stopOnComplete: false, stream: process.stderr })
      this.#bar.start(of, done, text)
    }
    this.#bar.setTotal(of)
    this.#bar.update(done, text)
  }

  stop(): void {
    this.#bar?.stop()
    this.#bar = undefined
  }
}

/** A {@link LineBar} that counts bytes. */
export class BytesBar {
  readonly #line: LineBar

  constructor(quiet: boolean) {
    this.#line = new LineBar(quiet, '{phase} {bar} {percentage} % {amount} {note}')
  }

  set(phase: string, bytesDone: number, bytesTotal: number, note = ''): void {
    if (bytesTotal === 0) return
    const amount = `${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}`
    this.#line.set(bytesDone, bytesTotal, { phase: phase.padEnd(11), amount, note })
  }

  stop(): void {
    this.#line.stop()
  }
}
