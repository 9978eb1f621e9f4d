/**
 * A Brownian motion whose increments do not depend on where else it was asked: torchsde's `BrownianInterval` with `halfway_tree` (Li et
 * al. 2020, "Scalable Gradients for Stochastic Differential Equations", https://arxiv.org/abs/2001.01328, section 4), as k-diffusion and
 * diffusers set it up for SDE samplers. The interval is halved until the halves end where they were asked for, to 6 digits; each half is
 * a Brownian bridge drawn from a seed of its own.
 */
import type { Tensor } from '../base/tensor'
import { seedSequence } from './seed-sequence'
import { TorchGenerator } from './torch-generator'

const poolSize = 24
/** Increments that are remembered: more than one path down the tree has, in both halves. */
const mostKept = 96
const f32 = Math.fround

/** Rounded to 6 digits, as Python's `round(time, 6)`: only odd multiples of 2^-7 are ties, which go to the even one. */
function rounded(time: number): number {
  const tie = Math.abs((time * 128) % 2) === 1
  return tie ? (2 * Math.round(time * 1e6 / 2)) / 1e6 : Number(time.toFixed(6))
}

class Interval {
  middle: number | undefined
  readonly start: number
  readonly end: number
  left: Interval | undefined
  right: Interval | undefined

  /** @param key its place among those as deep as it @param depth 0 at the root */
  constructor(start: number, end: number, readonly parent: Interval | undefined, readonly key: bigint, readonly depth: number) {
    this.start = rounded(start)
    this.end = rounded(end)
  }

  split(): void {
    const middle = 0.5 * (this.end + this.start)
    this.middle = rounded(middle)
    this.left = new Interval(this.start, middle, this, 2n * this.key, this.depth + 1)
    this.right = new Interval(middle, this.end, this, 2n * this.key + 1n, this.depth + 1)
  }
}

/** Increments of a Brownian motion over [start, end] in float32, all values of a tensor at once. */
export class BrownianTree {
  readonly #root: Interval
  readonly #shape: readonly number[]
  readonly #entropy: bigint
  readonly #whole: Float32Array
  /** Increments over intervals asked for lately, the latest last; others are drawn again. */
  readonly #kept = new Map<Interval, Float32Array>()

  /** @param entropy the seed, 0 or above @param shape of the tensor that moves */
  constructor(entropy: bigint, start: number, end: number, shape: readonly number[]) {
    this.#entropy = entropy
    this.#shape = [...shape]
    this.#root = new Interval(start, end, undefined, 0n, 0)
    const seed = seedSequence(entropy, [], poolSize, 1)[0]!
    const deviation = f32(Math.sqrt(end - start))
    this.#whole = this.#draw(seed).map(value => value * deviation)
  }

  /** W(to) - W(from): normal values of variance `to` - `from`. Times beyond the ends count as these. */
  between(from: number, to: number): Tensor {
    const { start, end } = this.#root
    const inside = (time: number): number => rounded(Math.min(Math.max(time, start), end))
    const [a, b] = [inside(from), inside(to)]
    let sum: Float32Array | undefined
    for (const interval of a < b ? this.#cover(a, b) : []) {
      const part = this.#incrementOf(interval)
      sum = sum === undefined ? part : sum.map((value, i) => value + part[i]!)
    }
    return { data: sum?.slice() ?? new Float32Array(this.#whole.length), shape: [...this.#shape] }
  }

  /** The intervals that [from, to] is made of, in order. */
  #cover(from: number, to: number): Interval[] {
    const found: Interval[] = []
    const visit = (interval: Interval, a: number, b: number): void => {
      if (a === interval.start && b === interval.end) {
        found.push(interval)
        return
      }
      if (interval.middle === undefined) interval.split()
      const middle = interval.middle!
      // At the limit of 6 digits a half may be empty; then the whole is the nearest there is.
      if (middle <= interval.start || middle >= interval.end) {
        found.push(interval)
        return
      }
      if (a < middle) visit(interval.left!, a, Math.min(b, middle))
      if (b > middle) visit(interval.right!, Math.max(a, middle), b)
    }
    visit(this.#root, from, to)
    return found
  }

  #incrementOf(interval: Interval): Float32Array {
    const { parent } = interval
    if (parent === undefined) return this.#whole
    const kept = this.#kept.get(interval)
    if (kept !== undefined) return kept
    const whole = this.#incrementOf(parent)
    // A bridge: the mean in proportion, the variance of what both sides leave open.
    const reciprocal = 1 / (parent.end - parent.start)
    const [before, after] = [parent.middle! - parent.start, parent.end - parent.middle!]
    const [share, deviation] = [f32(before), f32(Math.sqrt(before * after * reciprocal))]
    const noise = this.#draw(seedSequence(this.#entropy, [parent.key, BigInt(parent.depth)], poolSize, 1)[0]!)
    const left = whole.map((value, i) => f32(f32(share * value) * f32(reciprocal)) + f32(deviation * noise[i]!))
    const right = whole.map((value, i) => value - left[i]!)
    this.#keep(parent.left!, left)
    this.#keep(parent.right!, right)
    return interval === parent.left ? left : right
  }

  #keep(interval: Interval, increment: Float32Array): void {
    this.#kept.set(interval, increment)
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= mostKept) break
      this.#kept.delete(oldest)
    }
  }

  #draw(seed: number): Float32Array {
    return new TorchGenerator(seed).randn(this.#shape).data
  }
}
