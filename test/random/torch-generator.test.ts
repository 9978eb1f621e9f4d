import test from 'ava'
import fc from 'fast-check'
import { AsdmError } from '../../lib/base/errors'
import { Slices } from '../../lib/base/slices'
import { elementCount } from '../../lib/base/tensor'
import { MersenneTwister } from '../../lib/random/mersenne-twister'
import { checkSeed, TorchGenerator } from '../../lib/random/torch-generator'
import { loadExpected, maxAbsDiff } from '../support/fixtures'
import { rounds, seedOf } from '../support/random'

const expected = loadExpected('torch-rng')
const cases: { key: string, seed: number, shape: number[] }[] = expected.json.cases

test('mt19937 gives the 10000th number of the C++ standard', t => {
  const engine = new MersenneTwister()
  engine.seed(5489)
  let value = 0
  for (let i = 0; i < 10000; i++) value = engine.next()
  t.is(value, 4123659995)
})

test('every draw of every reference seed is that of PyTorch, bit for bit', t => {
  t.is(cases.length, 84)
  t.is(expected.names.length, 3 * cases.length)
  for (const { key, seed, shape } of cases) {
    const generator = new TorchGenerator(seed)
    for (const [name, size] of [['first', shape], ['second', [5]], ['third', [1, 4, 4, 5]]] as [string, number[]][]) {
      const reference = expected.tensor(`${key}.${name}`)
      const got = generator.randn(size)
      t.deepEqual(got.shape, reference.shape)
      t.true(
        Buffer.from(got.data.buffer).equals(Buffer.from(reference.data.buffer)),
        `${key}.${name} differs by ${maxAbsDiff(got.data, reference.data)}`,
      )
    }
  }
})

test('a bigint seed is the number; only the lower 32 bits count', t => {
  const values = (seed: number | bigint): number[] => [...new TorchGenerator(seed).randn([20]).data]
  t.deepEqual(values(7n), values(7))
  t.deepEqual(values(2n ** 64n - 1n), values(2 ** 32 - 1))
  t.deepEqual(values(2 ** 53), values(0))
  t.deepEqual(values(2n ** 40n + 5n), values(5))
  t.notDeepEqual(values(6), values(7))
  t.is(new TorchGenerator(2n ** 64n - 1n).seed, 2n ** 64n - 1n)
  t.is(new TorchGenerator(42).seed, 42n)
})

test('manualSeed starts anew and forgets the value kept from a pair', t => {
  const generator = new TorchGenerator(3)
  const first = [...generator.randn([3]).data]
  t.is(generator.manualSeed(3), generator)
  t.deepEqual([...generator.randn([3]).data], first)
  generator.manualSeed(4)
  t.deepEqual([...generator.randn([16]).data], [...new TorchGenerator(4).randn([16]).data])
  t.is(generator.seed, 4n)
})

test('drawing in slices gives the same values, and leaves the generator where it was', async t => {
  for (const shape of [[3], [15], [16], [17], [3, 1 << 14], [100_003]]) {
    const [whole, sliced] = [new TorchGenerator(5), new TorchGenerator(5)]
    t.deepEqual((await sliced.randnSliced(shape, new Slices())), whole.randn(shape), String(shape))
    t.deepEqual(sliced.randn([20]), whole.randn([20]))
  }
})

test('the value kept from a pair outlives a draw by blocks', t => {
  const [whole, split] = [new TorchGenerator(9), new TorchGenerator(9)]
  const pair = [...whole.randn([2]).data]
  t.is(split.randn([1]).data[0], pair[0])
  t.deepEqual([...split.randn([16]).data], [...whole.randn([16]).data])
  t.is(split.randn([1]).data[0], pair[1])
})

test('generators do not share anything', t => {
  const alone = [...new TorchGenerator(1).randn([40]).data]
  const [a, b] = [new TorchGenerator(1), new TorchGenerator(2)]
  b.randn([40])
  t.deepEqual([...a.randn([40]).data], alone)
})

test('shapes: finite values of any valid one, mean and variance of a normal distribution', t => {
  const property = fc.property(fc.array(
    fc.integer({ min: 1, max: 6 }), { maxLength: 5 },
  ), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (shape, seed) => {
    const tensor = new TorchGenerator(seed).randn(shape)
    t.deepEqual(tensor.shape, shape)
    t.not(tensor.shape, shape)
    t.is(tensor.data.length, elementCount(shape))
    t.true(tensor.data.every(value => Number.isFinite(value) && Math.abs(value) < 9))
  })
  fc.assert(property, { numRuns: rounds(300), seed: seedOf(7) })
  const { data } = new TorchGenerator(0).randn([100003])
  const mean = data.reduce((sum, value) => sum + value, 0) / data.length
  const variance = data.reduce((sum, value) => sum + (value - mean) ** 2, 0) / data.length
  t.true(Math.abs(mean) < 0.02 && Math.abs(variance - 1) < 0.02, `${mean} ${variance}`)
})

test('wrong seeds and shapes are refused', t => {
  for (const bad of [-1, 0.5, NaN, Infinity, 2 ** 53 + 2, -1n, 2n ** 64n, '1', null, undefined, {}, [], true]) {
    t.is(
      t.throws(() => new TorchGenerator(bad as never), { instanceOf: AsdmError, message: /seed/ })?.code, 'INVALID_ARGUMENT', String(bad),
    )
    t.throws(() => checkSeed(bad), { instanceOf: AsdmError })
  }
  const generator = new TorchGenerator(0)
  const before = new TorchGenerator(0).randn([4])
  t.throws(() => generator.manualSeed(-1), { instanceOf: AsdmError })
  for (const bad of [
    undefined, null, 5, '16', [0], [-1], [1.5], [NaN], [2 ** 31], [2 ** 20, 2 ** 20], ['4'], new Array(17).fill(1), [2 ** 28, 2],
  ])
    t.is(t.throws(() => generator.randn(bad as never), { instanceOf: AsdmError, message: /shape/ })?.code, 'INVALID_ARGUMENT', String(bad))
  t.deepEqual(generator.randn([4]), before, 'refused calls draw nothing')
})
