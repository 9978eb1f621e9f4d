/** A small generator with a fixed seed for fuzz tests (mulberry32): numbers from 0 up to 1, and whole numbers below a limit. */
export function seeded(seed: number): { next(): number, below(limit: number): number, pick<T>(items: readonly T[]): T } {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (limit: number): number => Math.floor(next() * limit)
  return { next, below, pick: items => items[below(items.length)] }
}

/** How often a fuzz test tries: `usual` in the test run, `ASDM_FUZZ` times as often where that is set. */
export const rounds = (usual: number): number => Math.ceil(usual * Number(process.env.ASDM_FUZZ ?? 1))

/** The seed of a fuzz test: fixed in the test run, moved by `ASDM_FUZZ_SEED` where that is set. */
export const seedOf = (fixed: number): number => fixed + Number(process.env.ASDM_FUZZ_SEED ?? 0)
