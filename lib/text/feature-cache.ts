import type { Tensor } from '../base/tensor'
import type { TextEncoder } from '../components/text-encoder'

/** Most bytes of features that are kept; a prompt of Stable Diffusion 1.5 takes 231 KiB. */
const mostBytes = 16 * 2 ** 20

/**
 * A cache of text features by token ids, so that the same prompt is not encoded twice. A row's features do not
 * depend on the rows beside it, so they are the same bits. Least recently used rows are evicted.
 */
export class FeatureCache {
  /** Least recently used first. */
  readonly #rows = new Map<string, Float32Array>()
  #bytes = 0

  /** @param most bytes that are kept */
  constructor(readonly most = mostBytes) {}

  /** Bytes that are kept. */
  get bytes(): number {
    return this.#bytes
  }

  /**
   * What `encoder.encode` gives for rows, at least one, of one length, of which only those are encoded that are not here.
   * @returns [N,L,D], the caller's own
   * @throws as `TextEncoder.encode`
   */
  async encode(encoder: TextEncoder, rows: readonly Int32Array[], clipSkip: number, signal: AbortSignal | undefined): Promise<Tensor> {
    const keys = rows.map(row => `${clipSkip}:${row.join()}`)
    const known = keys.map(key => this.#rows.get(key))
    const missing = rows.filter((_, i) => known[i] === undefined)
    const fresh = missing.length > 0 ? await encoder.encode(missing, { clipSkip, signal }) : undefined
    const { length } = rows[0]!
    const size = length * encoder.config.hiddenSize
    const data = new Float32Array(rows.length * size)
    let next = 0
    keys.forEach((key, i) => {
      const row = known[i] ?? fresh!.data.slice(next * size, ++next * size)
      data.set(row, i * size)
      this.#keep(key, row)
    })
    this.#shrink()
    return { data, shape: [rows.length, length, encoder.config.hiddenSize] }
  }

  /** Forgets everything. */
  clear(): void {
    this.#rows.clear()
    this.#bytes = 0
  }

  #keep(key: string, row: Float32Array): void {
    this.#drop(key)
    this.#rows.set(key, row)
    this.#bytes += row.byteLength
  }

  #drop(key: string): void {
    this.#bytes -= this.#rows.get(key)?.byteLength ?? 0
    this.#rows.delete(key)
  }

  #shrink(): void {
    for (const key of this.#rows.keys()) {
      if (this.#bytes <= this.most) return
      this.#drop(key)
    }
  }
}
