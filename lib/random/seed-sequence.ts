/**
 * NumPy's `SeedSequence`, which makes 32-bit seeds of an integer and a path of spawned children: M. O'Neill's `seed_seq_fe` (2015), as
 * NumPy has it in `bit_generator.pyx`. All arithmetic is modulo 2^32.
 */

const INIT_A = 0x43b0d7e5
const MULT_A = 0x931e8875
const INIT_B = 0x8b51f9dd
const MULT_B = 0x58f38ded
const MIX_LEFT = 0xca01f9dd
const MIX_RIGHT = 0x4973f715
const SHIFT = 16

/** The 32-bit words of an integer that is not negative, the lowest first; 0 has one. */
function words(value: bigint): number[] {
  const found: number[] = []
  do {
    found.push(Number(value & 0xffffffffn))
    value >>= 32n
  } while (value > 0n)
  return found
}

/**
 * What `SeedSequence(entropy, spawn_key=spawnKey, pool_size=poolSize).generate_state(count)` gives.
 * @param spawnKey integers that are not negative @returns `count` numbers of 32 bits
 */
export function seedSequence(entropy: bigint, spawnKey: readonly bigint[], poolSize: number, count: number): Uint32Array {
  const run = words(entropy)
  const spawned = spawnKey.flatMap(words)
  // Spawned words come behind a whole pool, so that a child's never equal a longer entropy's.
  while (spawned.length > 0 && run.length < poolSize) run.push(0)
  const pool = mixed([...run, ...spawned], poolSize)
  let hash = INIT_B
  return Uint32Array.from({ length: count }, (_, i) => {
    let value = pool[i % poolSize]! ^ hash
    hash = Math.imul(hash, MULT_B)
    value = Math.imul(value, hash)
    return value ^ (value >>> SHIFT)
  })
}

function mixed(entropy: readonly number[], poolSize: number): Uint32Array {
  let hash = INIT_A
  const hashed = (word: number): number => {
    let value = word ^ hash
    hash = Math.imul(hash, MULT_A)
    value = Math.imul(value, hash)
    return value ^ (value >>> SHIFT)
  }
  const mix = (x: number, y: number): number => {
    const value = Math.imul(MIX_LEFT, x) - Math.imul(MIX_RIGHT, y)
    return value ^ (value >>> SHIFT)
  }
  const pool = Uint32Array.from({ length: poolSize }, (_, i) => hashed(entropy[i] ?? 0))
  for (let from = 0; from < poolSize; from++)
    for (let to = 0; to < poolSize; to++) if (from !== to) pool[to] = mix(pool[to]!, hashed(pool[from]!))
  for (const word of entropy.slice(poolSize))
    for (let to = 0; to < poolSize; to++) pool[to] = mix(pool[to]!, hashed(word))
  return pool
}
