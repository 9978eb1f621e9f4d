import test from 'ava'
import { graphs, placementFaults, type RandomRun } from '../support/graph-runner'

const seeds = Array.from({ length: 40 }, (_, i) => 1000 + i)
const sets = graphs.sets()
const plain: RandomRun = { seed: 0, set: sets[0], threads: 1, fuse: true, poison: false, taps: false }

const bits = (values: Float32Array): Buffer => Buffer.from(values.buffer, values.byteOffset, values.byteLength)
const same = (a: Float32Array, b: Float32Array): boolean => a.length === b.length && bits(a).equals(bits(b))

for (const set of sets) {
  test(`${set}: fused or not, tapped or not, on poisoned memory, with any number of threads: the same bits`, t => {
    let fused = 0, gated = 0, inPlace = 0, values = 0
    for (const seed of seeds) {
      const base = { ...plain, set, seed }
      const wanted = graphs.randomGraph(base)
      const result = wanted.outputs.conv_out
      t.true(result.every(Number.isFinite), `seed ${seed}: finite`)
      fused += wanted.fused
      gated += wanted.gated
      inPlace += wanted.inPlace
      for (const other of [{ fuse: false }, { poison: true }, { fuse: false, poison: true }, { threads: 2, poison: true }, { threads: 5 }])
        t.true(same(graphs.randomGraph({ ...base, ...other }).outputs.conv_out, result), `seed ${seed} ${JSON.stringify(other)}`)

      const taps = graphs.randomGraph({ ...base, taps: true, poison: true })
      const separate = graphs.randomGraph({ ...base, taps: true, fuse: false, threads: 2 })
      t.true(same(taps.outputs.conv_out, result), `seed ${seed} tapped`)
      t.deepEqual(Object.keys(taps.outputs), Object.keys(separate.outputs))
      t.true(taps.units >= wanted.units)
      for (const [name, value] of Object.entries(taps.outputs)) t.true(same(value, separate.outputs[name]), `seed ${seed} tap ${name}`)
      values += Object.keys(taps.outputs).length
      t.is(separate.fused, 0)
    }
    t.true(
      fused > 100 && gated > 20 && inPlace > 100 && values > 1000,
      `the graphs are worth testing: ${fused} fused, ${gated} of them gated, ${inPlace} in place, ${values} values`,
    )
  })
}

test('programs of random graphs place their values apart', t => {
  for (const seed of seeds)
    for (const way of [{}, { fuse: false }, { taps: true }]) {
      const { lifetimes, arenaBytes } = graphs.randomGraph({ ...plain, seed, ...way })
      t.deepEqual(placementFaults(lifetimes, lifetimes.map(({ offset }) => offset), arenaBytes), [], `seed ${seed}`)
    }
})

test('a cancelled run says so', t => {
  t.throws(() => graphs.randomGraph({ ...plain, seed: 1000, cancel: true }), { message: /aborted/ })
})
