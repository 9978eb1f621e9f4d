import { AsdmError } from '../base/errors'

/** Sweeps after which it is given up; matrices of a few hundred rows take about ten. */
const maxSweeps = 60

/**
 * Eigenvalues and eigenvectors of a symmetric matrix, by Jacobi's rotations (cyclic by rows; Golub and Van Loan, Matrix Computations,
 * section 8.5). In double precision, in a fixed order, so the same matrix gives the same bits; meant for a few hundred rows.
 * @param matrix size x size, row by row; not changed
 * @returns values in no particular order; `vectors` row by row, column k belonging to value k
 * @throws AsdmError `INVALID_ARGUMENT` for values that are not finite
 */
export function symmetricEigen(matrix: Float64Array, size: number): { values: Float64Array, vectors: Float64Array } {
  if (!matrix.every(Number.isFinite))
    throw new AsdmError('INVALID_ARGUMENT', 'Expected a matrix of finite values but received NaN or infinity')
  // Squares of very small or large values would be zero or infinite.
  const scale = matrix.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1
  const a = matrix.map(value => value / scale)
  const vectors = new Float64Array(size * size)
  for (let i = 0; i < size; i++) vectors[i * size + i] = 1
  const norm = Math.sqrt(a.reduce((sum, value) => sum + value * value, 0))
  for (let sweep = 0; sweep < maxSweeps; sweep++) {
    let off = 0
    for (let p = 0; p < size; p++) for (let q = p + 1; q < size; q++) off += 2 * a[p * size + q]! ** 2
    if (Math.sqrt(off) <= 1e-15 * norm) break
    for (let p = 0; p < size; p++) for (let q = p + 1; q < size; q++) rotate(a, vectors, size, p, q)
  }
  return { values: Float64Array.from({ length: size }, (_, i) => a[i * size + i]! * scale), vectors }
}

/** Turns the plane of p and q so that a[p][q] becomes zero. */
function rotate(a: Float64Array, vectors: Float64Array, size: number, p: number, q: number): void {
  const apq = a[p * size + q]!
  if (apq === 0) return
  const theta = (a[q * size + q]! - a[p * size + p]!) / (2 * apq)
  // The smaller of the two angles, which makes the sweeps converge. With a huge theta its square may be infinite, and t zero.
  const t = Math.sign(theta || 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1))
  const c = 1 / Math.sqrt(t * t + 1)
  const s = t * c
  for (let i = 0; i < size; i++) {
    const [ip, iq] = [a[i * size + p]!, a[i * size + q]!]
    a[i * size + p] = c * ip - s * iq
    a[i * size + q] = s * ip + c * iq
  }
  for (let i = 0; i < size; i++) {
    const [pi, qi] = [a[p * size + i]!, a[q * size + i]!]
    a[p * size + i] = c * pi - s * qi
    a[q * size + i] = s * pi + c * qi
    const [vp, vq] = [vectors[i * size + p]!, vectors[i * size + q]!]
    vectors[i * size + p] = c * vp - s * vq
    vectors[i * size + q] = s * vp + c * vq
  }
  a[p * size + q] = a[q * size + p] = 0
}
