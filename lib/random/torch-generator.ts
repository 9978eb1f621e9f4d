import { AsdmError, shown } from '../base/errors'
import { listOf } from '../base/reading'
import { inPieces, type Slices } from '../base/slices'
import type { Tensor } from '../base/tensor'
import { log32, sinCos32 } from './float32-math'
import { MersenneTwister } from './mersenne-twister'

const MAX_ELEMENTS = 2 ** 28
const TWO_PI_F32 = Math.fround(2 * Math.PI)

/**
 * PyTorch's CPU generator: after `new TorchGenerator(s)` the calls of {@link randn} give what `torch.manual_seed(s)` followed by
 * `torch.randn(shape)` in the same order gives: to the bit as PyTorch's builds for x86 with AVX2 compute it. Without AVX2, on ARM for
 * instance, PyTorch rounds log, sin and cos otherwise and is within 1e-6 of this. Follows ATen's `mt19937`, `normal_fill_AVX2` and
 * `normal_distribution<double>`.
 */
export class TorchGenerator {
  readonly #engine = new MersenneTwister()
  /** Second value of the last pair drawn in double precision; PyTorch keeps it in the generator, across calls. */
  #nextDouble: number | undefined
  #seed = 0n

  /** @throws AsdmError `INVALID_ARGUMENT`, see {@link manualSeed} */
  constructor(seed: number | bigint) {
    this.manualSeed(seed)
  }

  /** The seed that the sequence started from. */
  get seed(): bigint {
    return this.#seed
  }

  /**
   * Starts the sequence of `seed` anew, as `torch.manual_seed`; a value kept from the last pair is forgotten. Only the lower 32
   * bits count, as in PyTorch.
   * @param seed an integer from 0 to 2^53, or a bigint from 0 to 2^64 - 1
   * @throws AsdmError `INVALID_ARGUMENT` for any other value
   */
  manualSeed(seed: number | bigint): this {
    this.#seed = checkSeed(seed)
    this.#engine.seed(Number(this.#seed & 0xffffffffn))
    this.#nextDouble = undefined
    return this
  }

  /**
   * Standard normal values; the generator moves on.
   * @param shape positive sizes, 2^28 elements at most; `[]` gives one value
   * @throws AsdmError `INVALID_ARGUMENT` for another shape, `OUT_OF_MEMORY`
   */
  randn(shape: readonly number[]): Tensor {
    const { sizes, count } = checkShape(shape)
    const data = newArray(count)
    if (data.length < 16) this.#fillPairs(data)
    else {
      this.#fillUniform(data, 0, data.length)
      normalBlocks(data, 0, data.length)
      this.#fillTail(data)
    }
    return { data, shape: sizes }
  }

  /**
   * {@link randn} in slices of the event loop; nothing else may be drawn meanwhile.
   * @internal
   */
  async randnSliced(shape: readonly number[], slices: Slices): Promise<Tensor> {
    const data = newArray(checkShape(shape).count)
    if (data.length < 16) this.#fillPairs(data)
    else {
      await inPieces(data.length, slices, (from, to) => this.#fillUniform(data, from, to))
      await inPieces(data.length, slices, (from, to) => normalBlocks(data, from, to))
      this.#fillTail(data)
    }
    return { data, shape: [...shape] }
  }

  /** PyTorch's path for 16 values and more: uniform values first, then blocks of 16 in float32 … */
  #fillUniform(data: Float32Array, from: number, to: number): void {
    for (let i = from; i < to; i++) data[i] = (this.#engine.next() & 0xffffff) * 2 ** -24
  }

  /** … and a tail draws its 16 values again. */
  #fillTail(data: Float32Array): void {
    if (data.length % 16 === 0) return
    this.#fillUniform(data, data.length - 16, data.length)
    boxMuller16(data, data.length - 16)
  }

  /** PyTorch's path for fewer than 16 values. */
  #fillPairs(data: Float32Array): void {
    for (let i = 0; i < data.length; i++) data[i] = this.#normalDouble()
  }

  /** One value in double precision, drawn in pairs. */
  #normalDouble(): number {
    const kept = this.#nextDouble
    if (kept !== undefined) {
      this.#nextDouble = undefined
      return kept
    }
    const angle = 2 * Math.PI * this.#uniformDouble()
    const radius = Math.sqrt(-2 * Math.log1p(-this.#uniformDouble()))
    this.#nextDouble = radius * Math.sin(angle)
    return radius * Math.cos(angle)
  }

  /** The lower 53 bits of two draws, the first one the higher, in [0, 1). */
  #uniformDouble(): number {
    const high = this.#engine.next() & 0x1fffff
    return (high * 2 ** 32 + this.#engine.next()) * 2 ** -53
  }
}

function newArray(count: number): Float32Array {
  try {
    return new Float32Array(count)
  } catch (cause) {
    throw new AsdmError('OUT_OF_MEMORY', `Expected room for ${count} random values but the allocation failed`, { cause })
  }
}

/** The whole blocks of 16 in data[from..to); `from` is where one begins. */
function normalBlocks(data: Float32Array, from: number, to: number): void {
  for (let i = from; i + 16 <= to; i += 16) boxMuller16(data, i)
}

/** Box and Muller 1958 on data[i..i+16): radii from the first eight, angles from the last eight, every step rounded to float32. */
function boxMuller16(data: Float32Array, start: number): void {
  const fround = Math.fround
  const turned = { sin: 0, cos: 0 }
  for (let i = start; i < start + 8; i++) {
    const radius = fround(Math.sqrt(fround(-2 * log32(1 - data[i]!))))
    sinCos32(fround(TWO_PI_F32 * data[i + 8]!), turned)
    data[i] = radius * turned.cos
    data[i + 8] = radius * turned.sin
  }
}

/**
 * A seed as PyTorch takes it.
 * @throws AsdmError `INVALID_ARGUMENT` unless it is an integer from 0 to 2^53 or a bigint from 0 to 2^64 - 1
 */
export function checkSeed(seed: unknown): bigint {
  if (typeof seed === 'number' && Number.isInteger(seed) && seed >= 0 && seed <= 2 ** 53) return BigInt(seed)
  if (typeof seed === 'bigint' && seed >= 0n && seed < 2n ** 64n) return seed
  throw new AsdmError('INVALID_ARGUMENT',
    `Expected a seed that is an integer from 0 to 2^53 or a bigint from 0 to 2^64 - 1 but received ${shown(seed)}`)
}

function checkShape(shape: unknown): { sizes: number[], count: number } {
  const sizes = listOf(shape, 'a shape', 16)
  const count = sizes.reduce<number>(
    (product, size) => (Number.isInteger(size) && size as number > 0 ? product * (size as number) : NaN), 1,
  )
  if (!(count <= MAX_ELEMENTS))
    throw new AsdmError('INVALID_ARGUMENT',
      `Expected a shape of positive integers with at most ${MAX_ELEMENTS} elements but received ${shown(shape)}`)
  return { sizes: sizes as number[], count }
}
