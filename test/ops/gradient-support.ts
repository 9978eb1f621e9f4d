/** What tests of gradients and of training's other kernels compare with: PyTorch's numbers and differences in float64. */
import { loadExpected } from '../support/fixtures'

/** Parts of a result that lie one behind the other, by name. */
type Parts = Record<string, ArrayLike<number>>

/** PyTorch's operators, with the gradients that lie in a set of their own. */
export function operators() {
  const values = loadExpected('ops'), gradients = loadExpected('ops-gradients')
  return { json: values.json, tensor: (name: string) => (values.has(name) ? values : gradients).tensor(name) }
}

/** Compares a result with what its parts should be: largest difference at most `bound` times the part's largest value, or one. */
export function compare(t: { fail(message: string): void }, what: string, y: Float32Array, want: Parts, bound: number) {
  let at = 0
  for (const [name, part] of Object.entries(want)) {
    let largest = 1, worst = 0
    for (let i = 0; i < part.length; i++) {
      largest = Math.max(largest, Math.abs(part[i]!))
      const difference = Math.abs(y[at + i]! - part[i]!)
      if (!(difference <= worst)) worst = difference
    }
    at += part.length
    if (!(worst <= bound * largest)) t.fail(`${what}, ${name}: off by ${worst}, at most ${bound * largest} expected`)
  }
  if (at !== y.length) t.fail(`${what}: ${y.length} numbers, ${at} expected`)
}

/** The gradient of sum(f() * dy) with regard to each of the given numbers, by central differences in float64. */
export function differences(
  inputs: Record<string, Float64Array>, f: () => Float64Array, dy: ArrayLike<number>,
): Record<string, Float64Array> {
  const total = () => f().reduce((sum, value, i) => sum + value * dy[i]!, 0), step = 1e-4
  const result: Record<string, Float64Array> = {}
  for (const [name, values] of Object.entries(inputs))
    result[name] = values.map((value, i) => {
      const at = (offset: number) => {
        values[i] = value + offset
        const sum = total()
        values[i] = value
        return sum
      }
      // Fourth order, so that the error is that of float64.
      return (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step)
    })
  return result
}

/** The same numbers in float64. */
export const double = (values: Float32Array) => Float64Array.from(values)
/** 1 / (1 + exp(-x)) */
export const sigmoid = (x: number) => 1 / (1 + Math.exp(-x))

/** [n, c, pixels] -> [n, pixels, c] */
export function channelsLast({ data, shape }: { data: Float32Array, shape: readonly number[] }): Float32Array {
  const [, c, h, w] = shape as [number, number, number, number], rows = h * w
  return Float32Array.from(data, (_, i) => data[(Math.floor(i / (rows * c)) * c + (i % c)) * rows + (Math.floor(i / c) % rows)]!)
}

/** For sums of products of numbers of order one: a few roundings of the largest result. */
export const BOUND = 1e-5
