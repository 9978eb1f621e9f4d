import type { DType } from '../../lib/components/options'
import { repoPath } from './fixtures'
import { remoteRunner } from './remote-runner'

/** The testing addon (native/testing): runs one kernel of one set; throws when a sentinel around an output or scratch was touched. */
export interface OpRunner {
  /** Usable sets that have kernels of their own in a number format, `fp32` if left out. */
  sets(dtype?: DType): string[]
  /** Sets that exist for tests alone: kernels for instructions that the machine need not have, on emulated ones. Only `run` knows them. */
  emulatedSets(dtype?: DType): string[]
  /** Bytes outside of its heap that V8 has been told of. */
  externalMemory(): number
  /** Runs instructions of the emulated tile registers (native/testing/op_tiles.cpp). */
  tiles(instructions: unknown[][]): { fault: string | null, stored: Uint8Array[] }
  run(op: string, set: string, threads: number, args: Record<string, unknown>, dtype?: DType): Float32Array
}

const { ASDM_TESTING_COMMAND: command, ASDM_TESTING_SETS: names, ASDM_TESTING_BINARY: binary } = process.env

export const runner: OpRunner = command !== undefined
  ? remoteRunner(command, names?.split(','))
  : require(binary ?? repoPath('build', 'Release', 'asdm_testing.node'))

/** All sets that `run` can run in a format, `fp32` if left out. */
export function everySet(dtype: DType = 'fp32'): string[] {
  return [...runner.sets(dtype), ...runner.emulatedSets(dtype)]
}

/**
 * Runs the op in a format (`fp32` if left out) on every set with 1, 2 and 5 threads; the results of one set must have identical bits.
 * Returns one result per set.
 */
export function runEverywhere(op: string, args: Record<string, unknown>, dtype: DType = 'fp32'): { set: string, y: Float32Array }[] {
  return everySet(dtype).map(set => {
    const y = runner.run(op, set, 1, args, dtype)
    for (const threads of [2, 5]) {
      const again = runner.run(op, set, threads, args, dtype)
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
/** bfloat16's. */
export const BF16_EPS = 2 ** -8

/**
 * Both formats of activations: what kernels read of given numbers, and how far a stored result may be from the exact one beyond its sum's
 * own error.
 */
export const formats: Record<'fp32' | 'bf16', { read: (values: Float32Array) => Float32Array, store: number }> = {
  fp32: { read: values => values, store: 0 },
  bf16: { read: roundToBf16, store: BF16_EPS },
}
export const formatNames = Object.keys(formats) as (keyof typeof formats)[]

/** Numbers rounded to bfloat16, as kernels read them: to nearest, ties to even. NaN stays NaN. */
export function roundToBf16(values: Float32Array): Float32Array {
  const words = new Uint32Array(values.slice().buffer)
  words.forEach((word, i) => { words[i] = Number.isNaN(values[i]) ? word : word + 0x7fff + (word >>> 16 & 1) & 0xffff0000 })
  return new Float32Array(words.buffer)
}

/** Numbers as kernels of a format read them. */
export function inFormat(dtype: DType, values: Float32Array): Float32Array {
  return dtype === 'fp32' ? values : roundToBf16(values)
}
