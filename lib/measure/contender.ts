import { spawn, type ChildProcess } from 'node:child_process'
import readline from 'node:readline'
import { AsdmError, throwIfAborted } from '../base/errors'

/** What a contender says after each command. */
export interface Answer {
  ms: number
  /** The most memory that the process held so far. */
  peakBytes: number
  version?: string
  [key: string]: unknown
}

/** How a contender is started. */
export interface ContenderSpec {
  /** `asdm`, `PyTorch`, … */
  name: string
  dtype: string
  ours: boolean
  command: string
  args: string[]
}

/**
 * A process of its own that answers each line of its input with a line of JSON: `load`, then `run <inputs> <outputs>` any number of times
 * (safetensors files of the working folder, whose names hold no spaces), `quit`. `ms` is the time of the work alone, not of files.
 */
export class Contender {
  readonly spec: ContenderSpec
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>
  readonly #ended: Promise<string>
  readonly #signal: AbortSignal | undefined
  #said = ''

  constructor(spec: ContenderSpec, folder: string, signal?: AbortSignal) {
    this.spec = spec
    this.#signal = signal
    this.#child = spawn(spec.command, spec.args, { cwd: folder, stdio: ['pipe', 'pipe', 'pipe'], windowsHide: true })
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => { this.#said = (this.#said + text).slice(-4000) })
    this.#child.stdin!.on('error', () => {}) // a child that ended; its end is told below
    this.#ended = new Promise(resolve => {
      this.#child.once('error', error => resolve(error.message))
      this.#child.once('close', (code, killed) => resolve(killed ?? `code ${code}`))
    })
    this.#lines = readline.createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]()
    signal?.addEventListener('abort', this.#kill)
    if (signal?.aborted === true) this.#kill() // between two processes
  }

  readonly #kill = (): void => void this.#child.kill('SIGKILL')

  /** @throws AsdmError `INTERNAL` where the process ends or says what is no answer, with what it last wrote to its error output */
  async ask(command: string): Promise<Answer> {
    this.#child.stdin!.write(`${command}\n`)
    const { value, done } = await this.#lines.next() as { value: string, done?: boolean }
    if (done !== true) {
      try {
        return JSON.parse(value) as Answer
      } catch {
        throw this.#failure(command, `said ${JSON.stringify(value.slice(0, 200))}`)
      }
    }
    throwIfAborted(this.#signal)
    throw this.#failure(command, `ended with ${await this.#ended}`)
  }

  #failure(command: string, what: string): AsdmError {
    const said = this.#said.trim().split('\n').slice(-3).join(' | ')
    return new AsdmError('INTERNAL',
      `Expected ${this.spec.name} (${this.spec.dtype}) to answer ${JSON.stringify(command)} but it `
      + `${what}${said === '' ? '' : `: ${said}`}`)
  }

  /** Ends the process and waits for it. Twice is fine. */
  async quit(): Promise<void> {
    this.#signal?.removeEventListener('abort', this.#kill)
    this.#child.stdin!.end('quit\n')
    const timer = setTimeout(this.#kill, 5000)
    await this.#ended
    clearTimeout(timer)
  }
}
