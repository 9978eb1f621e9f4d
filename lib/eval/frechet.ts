import { AsdmError } from '../base/errors'
import { symmetricEigen } from './symmetric-eigen'

/**
 * Fréchet distance (squared 2-Wasserstein distance) between the normal distributions fitted to two sets of vectors:
 * `|m1 - m2|² + tr(C1 + C2 - 2 (C1^½ C2 C1^½)^½)` (Dowson and Landau 1982), as the FID of Heusel et al. 2017 has it, whose
 * `(C1 C2)^½` has the same trace. Covariances divide by n - 1; a single vector has none. Few vectors overestimate the distance
 * of their distributions, so only distances of equally many to the same set compare.
 * @param a vectors of equal length @param b vectors of the same length
 * @throws AsdmError `SHAPE_MISMATCH`
 */
export function frechetDistance(a: readonly ArrayLike<number>[], b: readonly ArrayLike<number>[]): number {
  const size = a[0]?.length ?? 0
  for (const vector of [...a, ...b])
    if (vector.length !== size)
      throw new AsdmError('SHAPE_MISMATCH', `Expected vectors of length ${size} but received one of ${vector.length}`)
  if (a.length === 0 || b.length === 0 || size === 0)
    throw new AsdmError('SHAPE_MISMATCH', `Expected vectors in both sets but received ${a.length} and ${b.length}`)
  const [one, two] = [moments(a, size), moments(b, size)]
  const root = squareRoot(one.covariance, size)
  const inner = multiply(multiply(root, two.covariance, size), root, size)
  const { values } = symmetricEigen(symmetrised(inner, size), size)
  let distance = 0
  for (let i = 0; i < size; i++) {
    distance += (one.mean[i]! - two.mean[i]!) ** 2 + one.covariance[i * size + i]! + two.covariance[i * size + i]!
    distance -= 2 * Math.sqrt(Math.max(0, values[i]!))
  }
  // Rounding may take a distance of zero a little below it.
  return Math.max(0, distance)
}

function moments(vectors: readonly ArrayLike<number>[], size: number): { mean: Float64Array, covariance: Float64Array } {
  const mean = new Float64Array(size)
  for (const vector of vectors) for (let i = 0; i < size; i++) mean[i]! += vector[i]! / vectors.length
  const covariance = new Float64Array(size * size)
  const centred = new Float64Array(size)
  for (const vector of vectors) {
    for (let i = 0; i < size; i++) centred[i] = vector[i]! - mean[i]!
    for (let i = 0; i < size; i++) for (let j = 0; j < size; j++) covariance[i * size + j]! += centred[i]! * centred[j]!
  }
  const divisor = Math.max(1, vectors.length - 1)
  return { mean, covariance: covariance.map(value => value / divisor) }
}

/** The symmetric root of a symmetric matrix without negative eigenvalues; those that rounding made negative count as zero. */
function squareRoot(matrix: Float64Array, size: number): Float64Array {
  const { values, vectors } = symmetricEigen(matrix, size)
  const out = new Float64Array(size * size)
  for (let k = 0; k < size; k++) {
    const root = Math.sqrt(Math.max(0, values[k]!))
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < size; j++) out[i * size + j]! += root * vectors[i * size + k]! * vectors[j * size + k]!
    }
  }
  return out
}

function multiply(a: Float64Array, b: Float64Array, size: number): Float64Array {
  const out = new Float64Array(size * size)
  for (let i = 0; i < size; i++) for (let k = 0; k < size; k++) {
    const factor = a[i * size + k]!
    for (let j = 0; j < size; j++) out[i * size + j]! += factor * b[k * size + j]!
  }
  return out
}

function symmetrised(matrix: Float64Array, size: number): Float64Array {
  return matrix.map((value, at) => (value + matrix[(at % size) * size + Math.floor(at / size)]!) / 2)
}
