const LENGTH = 624
const MIDDLE = 397

/** The 32-bit Mersenne twister, mt19937 (Matsumoto and Nishimura 1998), seeded with one 32-bit number. */
export class MersenneTwister {
  readonly #state = new Uint32Array(LENGTH)
  #position = LENGTH

  /** Starts the sequence of a seed from 0 to 2^32 - 1. */
  seed(seed: number): void {
    const state = this.#state
    state[0] = seed
    for (let i = 1; i < LENGTH; i++) {
      const previous = state[i - 1]! ^ (state[i - 1]! >>> 30)
      state[i] = Math.imul(1812433253, previous) + i
    }
    this.#position = LENGTH
  }

  /** The next number, from 0 to 2^32 - 1. */
  next(): number {
    if (this.#position === LENGTH) this.#twist()
    let y = this.#state[this.#position++]!
    y ^= y >>> 11
    y ^= (y << 7) & 0x9d2c5680
    y ^= (y << 15) & 0xefc60000
    return (y ^ (y >>> 18)) >>> 0
  }

  #twist(): void {
    const state = this.#state
    for (let i = 0; i < LENGTH; i++) {
      const y = (state[i]! & 0x80000000) | (state[(i + 1) % LENGTH]! & 0x7fffffff)
      state[i] = state[(i + MIDDLE) % LENGTH]! ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0)
    }
    this.#position = 0
  }
}
