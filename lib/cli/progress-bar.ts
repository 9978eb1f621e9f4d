import { SingleBar } from 'cli-progress'
import { formatBytes } from '../base/format'

/** One line on a terminal, on stderr, that counts bytes; nothing where stderr is no terminal or `quiet` is set. */
export class BytesBar {
  #bar: SingleBar | undefined
  readonly #show: boolean

  constructor(quiet: boolean) {
    this.#show = !quiet && process.stderr.isTTY
  }

  set(phase: string, bytesDone: number, bytesTotal: number, note = ''): void {
    if (!this.#show || bytesTotal === 0) return
    const text = { phase: phase.padEnd(11), amount: `${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}`, note }
    if (this.#bar === undefined) {
      this.#bar = new SingleBar({
        format: '{phase} {bar} {percentage} % {amount} {note}', barsize: 30, hideCursor: true, clearOnComplete: true, stopOnComplete: false,
        stream: process.stderr,
      })
      this.#bar.start(bytesTotal, bytesDone, text)
    }
    this.#bar.setTotal(bytesTotal)
    this.#bar.update(bytesDone, text)
  }

  stop(): void {
    this.#bar?.stop()
    this.#bar = undefined
  }
}
