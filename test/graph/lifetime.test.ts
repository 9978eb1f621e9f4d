import test from 'ava'
import fc from 'fast-check'
import { graphs, placementFaults, type Lifetime } from '../support/graph-runner'

// A value is read in a later step than the one that writes it.
const someValues: fc.Arbitrary<Lifetime[]> = fc.array(fc.record({
  first: fc.nat({ max: 30 }), length: fc.integer({ min: 1, max: 12 }), bytes: fc.oneof(
    fc.integer({ min: 1, max: 5000 }), fc.constantFrom(64, 4096),
  ), over: fc.nat(),
}), { maxLength: 40 }).map(list => {
  const values: Lifetime[] = []
  for (const { first, length, bytes, over } of [...list].sort((a, b) => a.first - b.first)) {
    // Every third value continues an earlier one that nobody continues yet.
    const before = values.length === 0 ? -1 : over % values.length
    const continues = over % 3 === 0 && before >= 0 && !values.some(value => value.takesOver === before)
    if (continues)
      values.push({ first: values[before].last, last: values[before].last + length, bytes: values[before].bytes, takesOver: before })
    else values.push({ first, last: first + length, bytes, takesOver: -1 })
  }
  return values
})

test('values that live together never share memory', t => {
  fc.assert(fc.property(someValues, values => {
    const { offsets, bytes } = graphs.place(values)
    t.deepEqual(placementFaults(values, offsets, bytes), [])
  }), { numRuns: 1000, seed: 2 })
})

test('the arena is no larger than what has to live together, where that is easy to reach', t => {
  const chain = Array.from({ length: 20 }, (_, i) => ({ first: i, last: i + 1, bytes: 1024, takesOver: -1 }))
  t.is(graphs.place(chain).bytes, 2048, 'each value lives beside the next')
  t.is(graphs.place([...chain, { first: 0, last: 20, bytes: 512, takesOver: -1 }]).bytes, 2560)
  t.is(graphs.place([]).bytes, 0)
})

test('the smallest gap that fits is taken', t => {
  const { offsets } = graphs.place([
    { first: 0, last: 9, bytes: 1024, takesOver: -1 }, { first: 0, last: 1, bytes: 768, takesOver: -1 },
    {
      first: 0, last: 9, bytes: 512, takesOver: -1,
    }, { first: 0, last: 1, bytes: 256, takesOver: -1 }, { first: 0, last: 9, bytes: 192, takesOver: -1 },
    { first: 2, last: 3, bytes: 128, takesOver: -1 },
  ])
  t.is(offsets[5], offsets[3])
})

test('the check itself sees a fault', t => {
  const values = [{ first: 0, last: 2, bytes: 64, takesOver: -1 }, { first: 2, last: 3, bytes: 64, takesOver: -1 }]
  t.deepEqual(placementFaults(values, [0, 0], 64), ['values 0 and 1 share memory'])
  t.deepEqual(placementFaults([values[0], { ...values[1], takesOver: 0 }], [0, 0], 64), [])
})
