const length = 624
const middle = 397

/**
 * Python's `random.Random(seed)`: the Mersenne Twister seeded with an array (Matsumoto and Nishimura 2002), numbers of 53 bits, and the
 * way in which `sample` of CPython 3.2 to 3.14 picks. The choice of held-out drawings was first made in Python and must stay what it was.
 */
export class PythonRandom {
  #state = new Uint32Array(length)
  #position = length

  /** @param {number} seed whole number from 0 to 2^32 - 1 */
  constructor(seed) {
    const state = this.#state
    state[0] = 19650218
    for (let i = 1; i < length; i++) state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i
    let i = 1
    for (let k = 0; k < length; k++) {
      state[i] = (state[i] ^ Math.imul(state[i - 1] ^ (state[i - 1] >>> 30), 1664525)) + seed
      if (++i === length) [state[0], i] = [state[length - 1], 1]
    }
    for (let k = 0; k < length - 1; k++) {
      state[i] = (state[i] ^ Math.imul(state[i - 1] ^ (state[i - 1] >>> 30), 1566083941)) - i
      if (++i === length) [state[0], i] = [state[length - 1], 1]
    }
    state[0] = 0x80000000
  }

  /** The next 32 bits. */
  #next() {
    if (this.#position === length) {
      const state = this.#state
      for (let i = 0; i < length; i++) {
        const y = (state[i] & 0x80000000) | (state[(i + 1) % length] & 0x7fffffff)
        state[i] = state[(i + middle) % length] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0)
      }
      this.#position = 0
    }
    let y = this.#state[this.#position++]
    y ^= y >>> 11
    y ^= (y << 7) & 0x9d2c5680
    y ^= (y << 15) & 0xefc60000
    return (y ^ (y >>> 18)) >>> 0
  }

  /** `random()`: a number from 0 up to 1. */
  random() {
    const high = this.#next() >>> 5
    return (high * 67108864 + (this.#next() >>> 6)) / 9007199254740992
  }

  /** A whole number from 0 up to `limit`, which is at most 2^32 - 1. */
  #below(limit) {
    const bits = 32 - Math.clz32(limit)
    let value
    do value = this.#next() >>> (32 - bits)
    while (value >= limit)
    return value
  }

  /** `sample(items, count)`: different items in random order. The first of a longer sample are those of a shorter one that picks alike. */
  sample(items, count) {
    const setSize = 21 + (count > 5 ? 4 ** Math.ceil(Math.log(count * 3) / Math.log(4)) : 0)
    if (items.length <= setSize) {
      const pool = [...items]
      return Array.from({ length: count }, (_, i) => {
        const at = this.#below(items.length - i)
        const picked = pool[at]
        pool[at] = pool[items.length - i - 1]
        return picked
      })
    }
    const taken = new Set()
    return Array.from({ length: count }, () => {
      let at
      do at = this.#below(items.length)
      while (taken.has(at))
      taken.add(at)
      return items[at]
    })
  }
}
