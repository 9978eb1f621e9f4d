import test from 'ava'
import fc from 'fast-check'
import { graphs } from '../support/graph-runner'

/**
 * Straight from the definition: a unit is needed if it is an output or some unit that runs reads it; it runs if needed and not inherited.
 */
function naive(inputs: number[][], outputs: number[], inherited: number[]): { run: boolean[], read: boolean[] } {
  const needed = (unit: number): boolean => outputs.includes(unit) || inputs.some((list, reader) => list.includes(unit) && runs(reader))
  const runs = (unit: number): boolean => !inherited.includes(unit) && needed(unit)
  return { run: inputs.map((_, unit) => runs(unit)), read: inputs.map((_, unit) => inherited.includes(unit) && needed(unit)) }
}

/** Acyclic by construction: each unit reads up to three earlier ones. */
const someGraph = fc.array(fc.array(fc.nat(), { maxLength: 3 }), { minLength: 1, maxLength: 14 })
  .map(units => units.map((list, unit) => (unit === 0 ? [] : list.map(input => input % unit))))

const someUnits = (count: number): fc.Arbitrary<number[]> => fc.array(fc.nat({ max: count - 1 }), { maxLength: 4 })

test('reach equals a naive search on random graphs', t => {
  fc.assert(fc.property(someGraph.chain(inputs => fc.tuple(fc.constant(inputs), someUnits(inputs.length), someUnits(inputs.length))),
    ([inputs, outputs, inherited]) => {
      t.deepEqual(graphs.reach(inputs, outputs, inherited), naive(inputs, outputs, inherited))
    }), { numRuns: 2000, seed: 1 })
})

test('a long skip keeps an early unit alive although its next neighbour is inherited', t => {
  // 0 -> 1 -> 2 -> 3, and 0 -> 3
  t.deepEqual(graphs.reach([[], [0], [1], [2, 0]], [3], [2]), { run: [true, false, false, true], read: [false, false, true, false] })
})

test('an inherited output asks for nothing', t => {
  t.deepEqual(graphs.reach([[], [0]], [1], [1]), { run: [false, false], read: [false, true] })
})
