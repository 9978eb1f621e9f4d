import test from 'ava'
import type { ForwardInputs } from '../../lib/native/binding'
import { aborted, delay, loaded, longInputs, runScript, unetInputs } from './support'

/** Inputs that are not all zero, and differ by `seed`. */
function inputs(seed: number, size = 16): ForwardInputs {
  const given = unetInputs(size, 2), { data } = given.values.sample
  data.forEach((_, i) => { data[i] = Math.sin(seed + i * 0.37) })
  return given
}

// In a process of its own, since others of this one start threads, too.
test('models of an environment share the threads of their number', async t => {
  if (process.platform !== 'linux') return t.pass('threads are counted in /proc')
  const { code, stdout, stderr } = await runScript(`
    const fs = require('node:fs')
    const threads = () => fs.readdirSync('/proc/self/task').length
    const addon = loadAddon()
    const make = threads => addon.createModel(support.specs.unet, { ...support.options, threads })
    const before = threads()
    const first = make(5)
    const one = threads()
    const more = [make(5), make(5), make(5)]
    const four = threads()
    const other = make(3)
    const five = threads()
    for (const model of [first, ...more, other]) model.dispose()
    const settled = async wanted => {
      for (let i = 0; i < 200 && threads() !== wanted; i++) await support.delay(10)
      return threads()
    }
    console.log(JSON.stringify([one - before, four - before, five - before, await settled(before) - before]))
  `)
  t.is(code, 0, stderr)
  t.deepEqual(JSON.parse(stdout), [4, 4, 6, 0])
})

test('models that compute at once on shared threads give the bits that each gives alone', async t => {
  const alone = await loaded('unet', { threads: 1 })
  const expected = await Promise.all([0, 1, 2].map(async seed => (await alone.forward(inputs(seed)).promise).sample.data))
  const models = await Promise.all([0, 1, 2].map(() => loaded('unet', { threads: 3 })))
  for (let round = 0; round < 8; round++) {
    const results = await Promise.all(models.map((model, seed) => model.forward(inputs(seed)).promise))
    results.forEach(({ sample }, seed) => t.deepEqual(sample.data, expected[seed]))
  }
  for (const model of [alone, ...models]) model.dispose()
})

test('an abort or dispose of one model leaves those that share its threads alone', async t => {
  const [stopped, disposed, other] = await Promise.all([0, 1, 2].map(() => loaded('unet', { threads: 3 })))
  const expected = (await other.forward(inputs(7, 64)).promise).sample.data
  const long = [stopped.forward(longInputs(stopped)), disposed.forward(longInputs(disposed))]
  const going = other.forward(inputs(7, 64))
  await delay(30)
  long[0].cancel()
  disposed.dispose()
  for (const { promise } of long) await t.throwsAsync(promise, aborted)
  t.deepEqual((await going.promise).sample.data, expected)
  t.deepEqual((await other.forward(inputs(7, 64)).promise).sample.data, expected)
  t.deepEqual((await stopped.forward(inputs(7, 64)).promise).sample.data, expected)
  stopped.dispose()
  other.dispose()
})
