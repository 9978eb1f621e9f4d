import { InvalidArgumentError } from 'commander'
import { loadPlan } from '../plan/file'
import type { PlanSource } from '../plan/source'

/** Reads a decimal number; everything else about it is checked by the library. */
export function parseNumber(text: string): number {
  const value = text.trim() === '' ? NaN : Number(text)
  if (Number.isNaN(value)) throw new InvalidArgumentError('Expected a number.')
  return value
}

/** A seed, or several with commas between: a number, or a BigInt where a number would lose digits; -1 is random. */
export function parseSeed(text: string): number | bigint | (number | bigint)[] {
  const seeds = text.split(',').map(each => {
    if (!/^(\d{1,20}|-1)$/.test(each)) throw new InvalidArgumentError('Expected whole numbers from 0 to 18446744073709551615, or -1.')
    const seed = BigInt(each)
    return seed <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(seed) : seed
  })
  return seeds.length === 1 ? seeds[0]! : seeds
}

/** A plan on the command line: a file where the text ends as one, or else builders, which the library reads. */
export async function readPlan(text: string): Promise<PlanSource> {
  return text.endsWith('.json') ? loadPlan(text) : text
}

/** The options that were given: a key whose value is `undefined` is none. */
export function given<T extends object>(options: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as { [K in keyof T]?: NonNullable<T[K]> }
}
