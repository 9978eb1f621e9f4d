import { repoPath } from './fixtures'

/** The testing addon (native/testing): runs one kernel of one set; throws when a sentinel around an output or scratch was touched. */
export interface OpRunner {
  sets(): string[]
  /** Bytes outside of its heap that V8 has been told of. */
  externalMemory(): number
  run(op: string, set: string, threads: number, args: Record<string, unknown>): Float32Array
}

// eslint-disable-next-line @typescript-eslint/no-require-imports
export const runner: OpRunner = require(process.env.ASDM_TESTING_BINARY ?? repoPath('build', 'Release', 'asdm_testing.node'))

/** Runs the op on every usable set with 1, 2 and 5 threads; the results of one set must have identical bits. Returns one result per set. */
export function runEverywhere(op: string, args: Record<string, unknown>): { set: string, y: Float32Array }[] {
  return runner.sets().map(set => {
    const y = runner.run(op, set, 1, args)
    for (const threads of [2, 5]) {
      const again = runner.run(op, set, threads, args)
      if (Buffer.compare(Buffer.from(y.buffer), Buffer.from(again.buffer)) !== 0)
        throw new Error(`${op} on ${set}: ${threads} threads give other bits than 1`)
    }
    return { set, y }
  })
}

/** Deterministic values, roughly normal, from a 32-bit seed (mulberry32). */
export function randomFloats(count: number, seed: number, scale = 1): Float32Array {
  let state = seed >>> 0
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  return Float32Array.from({ length: count }, () => scale * (uniform() + uniform() + uniform() + uniform() - 2) * 1.732)
}

/** Float32 unit roundoff. */
export const EPS = 2 ** -24
