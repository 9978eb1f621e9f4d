import { randomInt } from 'node:crypto'
import { AsdmError } from '../base/errors'
import { oneOf, optional } from '../base/options'
import { listOf } from '../base/reading'
import { checkSeed } from './torch-generator'

/** A seed, or a random one for -1 and none. */
export function seedOrRandom(seed: number | bigint | undefined): number | bigint {
  return seed === undefined || seed === -1 || seed === -1n ? randomInt(2 ** 32) : seed
}

/**
 * The seed of a request, or one for each of its images, from its options `seed` and `seeds`.
 * @throws AsdmError `INVALID_ARGUMENT`
 */
export function parseSeeds(seed: unknown, seeds: unknown, images: number): number | bigint | (number | bigint)[] {
  const mode = optional(seeds, item => oneOf(item, 'seeds', ['same-generator', 'per-image']))
  const one = (value: unknown): number | bigint => {
    const seed = seedOrRandom(value as number | bigint | undefined)
    checkSeed(seed)
    return seed
  }
  if (typeof seed === 'object' && seed !== null) {
    const list = listOf(seed, 'a list of seeds', 65_536)
    if (mode === 'same-generator') throw new AsdmError('INVALID_ARGUMENT', 'Expected one seed with seeds "same-generator" but received a list')
    if (list.length !== images) throw new AsdmError('INVALID_ARGUMENT', `Expected a seed for each of ${images} images but received ${list.length}`)
    return list.map(value => one(value ?? null))
  }
  const first = one(seed)
  if (mode !== 'per-image') return first
  return Array.from({ length: images }, (_, i) => nextSeed(first, i))
}

/** `seed + i`; beyond 2^53 as a BigInt, beyond 2^64 - 1 from 0 again. */
function nextSeed(seed: number | bigint, i: number): number | bigint {
  if (i === 0) return seed
  const next = BigInt.asUintN(64, BigInt(seed) + BigInt(i))
  return typeof seed === 'number' && next <= 2n ** 53n ? Number(next) : next
}
