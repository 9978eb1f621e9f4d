import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import { frechetDistance } from '../../lib/eval/frechet'
import { symmetricEigen } from '../../lib/eval/symmetric-eigen'
import { seeded } from '../support/random'
import { reference, vectors } from './references'

for (const { counts: [one, two], size, distance } of reference.distances)
  test(`the distance of ${one} and ${two} vectors of ${size} numbers is SciPy's`, t => {
    const [a, b] = [vectors(one, size, 0), vectors(two, size, 1)]
    // Where there are fewer vectors than numbers, covariances are singular, and a root of a rounding error of 1e-16 is 1e-8.
    const bound = Math.min(one, two) > size ? 1e-9 : 1e-5
    t.true(Math.abs(frechetDistance(a, b) - distance) < bound, `${frechetDistance(a, b)} instead of ${distance}`)
    t.true(Math.abs(frechetDistance(b, a) - distance) < bound)
    t.is(frechetDistance(a, b), frechetDistance(a, b))
  })

test('normal distributions in one dimension: squared distances of means and of deviations', t => {
  const [a, b] = [[[1], [3], [5]], [[10], [10], [13]]]
  const deviation = (values: number[][], mean: number): number =>
    Math.sqrt(values.reduce((sum, [value]) => sum + (value - mean) ** 2, 0) / 2)
  t.true(Math.abs(frechetDistance(a, b) - ((11 - 3) ** 2 + (deviation(a, 3) - deviation(b, 11)) ** 2)) < 1e-12)
})

test('equal sets, in any order, have no distance; a shift has its square', t => {
  const a = vectors(30, 10, 0)
  t.true(frechetDistance(a, [...a].reverse()) < 1e-12)
  t.true(Math.abs(frechetDistance(a, a.map(vector => vector.map(value => value + 2))) - 40) < 1e-9)
  // One vector has no spread.
  t.is(frechetDistance([[0, 0]], [[3, 4]]), 25)
})

test('eigenvalues and eigenvectors give the matrix back, of any size and sign, also with equal eigenvalues', t => {
  const random = seeded(3)
  for (const size of [1, 2, 3, 17, 40]) for (const kind of ['random', 'low rank', 'diagonal', 'identity', 'zero', 'tiny']) {
    const full = Float64Array.from({ length: size * size }, () => (random.next() - 0.5) * (kind === 'tiny' ? 1e-200 : 1))
    const matrix = new Float64Array(size * size)
    for (let i = 0; i < size; i++) for (let j = 0; j < size; j++) {
      if (kind === 'random' || kind === 'tiny') matrix[i * size + j] = full[i * size + j] + full[j * size + i]
      if (kind === 'low rank') matrix[i * size + j] = full[i] * full[j]
      if (i === j && kind === 'diagonal') matrix[i * size + j] = i - 2
      if (i === j && kind === 'identity') matrix[i * size + j] = 1
    }
    const { values, vectors: columns } = symmetricEigen(matrix, size)
    const scale = Math.max(...matrix.map(Math.abs)) || 1
    for (let i = 0; i < size; i++) for (let j = 0; j < size; j++) {
      let [again, product] = [0, 0]
      for (let k = 0; k < size; k++) {
        again += columns[i * size + k] * values[k] * columns[j * size + k]
        product += columns[k * size + i] * columns[k * size + j]
      }
      t.true(Math.abs(again - matrix[i * size + j]) <= 1e-13 * size * scale, `${kind} ${size}: ${again} instead of ${matrix[i * size + j]}`)
      t.true(Math.abs(product - (i === j ? 1 : 0)) < 1e-13 * size)
    }
  }
})

test('what has no distance is refused', t => {
  for (const [a, b] of [[[], [[1]]], [[[1]], []], [[[1, 2]], [[1]]], [[[]], [[]]]])
    t.is(t.throws(() => frechetDistance(a, b), { instanceOf: AsdmError })?.code, 'SHAPE_MISMATCH')
  t.is(t.throws(() => frechetDistance([[NaN]], [[1]]), { instanceOf: AsdmError })?.code, 'INVALID_ARGUMENT')
})
