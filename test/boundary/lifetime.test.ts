import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import type { NativeModel } from '../../lib/native/binding'
import { loadAddon } from '../../lib/native/load'
import { aborted, delay, inputsOf, loaded, longInputs, options, runScript, specs, unetInputs, writeWeights } from './support'

const addon = loadAddon()
const disposed = { instanceOf: AsdmError, code: 'DISPOSED' }

/** Every method that works on a model. */
const uses: Record<string, (model: NativeModel) => unknown> = {
  weights: model => model.weights(),
  tapNames: model => model.tapNames(),
  describe: model => model.describe({ batch: 1, height: 8, width: 8, length: 5 }),
  load: model => model.load([]),
  forward: model => model.forward(unetInputs()),
  trim: model => model.trim(),
}

test('every method throws DISPOSED after dispose, which may be called again', async t => {
  for (const fresh of [addon.createModel(specs.unet, options), await loaded()]) {
    const cpu = fresh.cpu
    fresh.dispose()
    for (const [name, use] of Object.entries(uses)) t.throws(() => use(fresh), disposed, name)
    t.notThrows(() => fresh.dispose())
    t.is(fresh.cpu, cpu)
  }
})

test('every method works while a forward runs', async t => {
  const model = await loaded()
  const running = model.forward(longInputs(model))
  t.true(model.weights().length > 0)
  t.true(model.tapNames().length > 0)
  t.true(model.describe({ batch: 2, height: 16, width: 16, length: 5 }).macs > 0)
  model.trim()
  const queued = model.forward(unetInputs())
  running.cancel()
  await t.throwsAsync(running.promise, aborted)
  t.is((await queued.promise).sample.data.length, 256)
  model.dispose()
})

test('dispose while a forward runs and others wait aborts them all', async t => {
  const model = await loaded()
  const calls = [
    model.forward(longInputs(model)), model.forward(unetInputs()), model.load(writeWeights(model)), model.forward(unetInputs()),
  ]
  await delay(50)
  model.dispose()
  model.dispose()
  for (const [name, use] of Object.entries(uses)) t.throws(() => use(model), disposed, name)
  for (const { promise, cancel } of calls) {
    await t.throwsAsync(promise, aborted)
    t.notThrows(cancel)
  }
})

test('cancel before the start, while running, after the end, and twice', async t => {
  const model = await loaded()
  const running = model.forward(longInputs(model))
  const early = model.forward(longInputs(model))
  early.cancel()
  early.cancel()
  // Settled although the call before it still runs.
  await t.throwsAsync(early.promise, aborted)
  await delay(50)
  running.cancel()
  await t.throwsAsync(running.promise, aborted)

  const whole = model.forward(unetInputs())
  const first = await whole.promise
  whole.cancel()
  const again = model.forward(unetInputs())
  whole.cancel()
  t.deepEqual((await again.promise).sample, first.sample)

  // An open call that is cancelled is aborted, however far its thread has come.
  for (let i = 0; i < 40; i++) {
    const call = model.forward(unetInputs())
    for (const until = performance.now() + i / 8; performance.now() < until;) { /* the event loop, which would deliver, does not turn */ }
    call.cancel()
    await t.throwsAsync(call.promise, aborted)
  }
  model.dispose()
})

test('a cancelled load leaves a model that loads', async t => {
  const model = addon.createModel(specs.unet, options)
  const sources = writeWeights(model)
  const call = model.load(sources)
  call.cancel()
  await t.throwsAsync(call.promise, aborted)
  const thrown = new Error('from the listener')
  let told = 0
  const result = await model.load(sources, () => { told++; throw thrown }).promise.then(() => undefined, error => error as unknown)
  t.true(told === 0 ? result === undefined : result === thrown, 'the load rejects with what the listener threw')
  const reports: number[] = []
  await model.load(sources, ({ bytesDone, bytesTotal }) => reports.push(bytesDone, bytesTotal)).promise
  t.true(reports.every(bytes => Number.isSafeInteger(bytes) && bytes >= 0))
  t.is((await model.forward(unetInputs()).promise).sample.data.length, 256)
  model.dispose()
})

test('inputs are copied before the call returns', async t => {
  const model = await loaded()
  const expected = (await model.forward(unetInputs()).promise).sample
  const inputs = unetInputs()
  const call = model.forward(inputs)
  const { sample, timesteps, encoder_hidden_states: text } = inputs.values
  sample.data.fill(NaN)
  timesteps.data.fill(NaN)
  structuredClone(text.data, { transfer: [text.data.buffer as ArrayBuffer] })
  t.deepEqual((await call.promise).sample, expected)
  model.dispose()
})

test('a getter that disposes the model is survived', async t => {
  for (const use of [
    (model: NativeModel) => model.forward({
      values: { ...unetInputs().values, get timesteps() { model.dispose(); return { data: new Float32Array([1]), shape: [1] } } },
    }),
    (model: NativeModel) => model.describe({ get batch() { model.dispose(); return 1 }, height: 8, width: 8, length: 5 }),
    (model: NativeModel) => model.load([{ ...writeWeights(model)[0], get end() { model.dispose(); return 4 } }]),
  ]) {
    const model = await loaded()
    t.throws(() => use(model), disposed)
  }
})

test('V8 knows of the weights, and of their end', async t => {
  const { code, stdout, stderr } = await runScript(`
    const model = loadAddon().createModel(support.specs.unet, support.options)
    const sources = support.writeWeights(model)
    const { runner } = require(${JSON.stringify(require.resolve('../support/op-runner'))})
    const external = async () => { gc(); await support.delay(100); gc(); return runner.externalMemory() }
    const before = await external()
    const { weightBytes } = await model.load(sources).promise
    const once = await external() - before
    await model.load(sources).promise
    const twice = await external() - before
    model.dispose()
    console.log(JSON.stringify([once, twice, await external() - before].map(bytes => bytes / weightBytes)))
  `, { flags: ['--expose-gc'] })
  t.is(code, 0, stderr)
  // A second load replaces the first: the same weights count once.
  const [once, twice, disposed] = JSON.parse(stdout) as number[]
  t.true(Math.abs(once - 1) < 0.1 && Math.abs(twice - 1) < 0.1 && Math.abs(disposed) < 0.1, stdout)
})

test('calls on one model run in order', async t => {
  const model = await loaded()
  const order: number[] = []
  await Promise.all([16, 8, 24, 8].map(async (size, i) => {
    const { sample } = await model.forward(unetInputs(size)).promise
    order.push(i)
    t.deepEqual(sample.shape, [1, 4, size, size])
  }))
  t.deepEqual(order, [0, 1, 2, 3])
  model.dispose()
})

test('models of all kinds run side by side', async t => {
  const models = await Promise.all(Object.keys(specs).map(async kind => ({ kind, model: await loaded(kind, { threads: 2 }) })))
  const alone = new Map<string, unknown>()
  for (const { kind, model } of models) alone.set(kind, (await model.forward(inputsOf[kind]()).promise).sample)
  const together = await Promise.all(models.flatMap(({ kind, model }) =>
    Array.from({ length: 5 }, async () => ({ kind, sample: (await model.forward(inputsOf[kind]()).promise).sample }))))
  for (const { kind, sample } of together) t.deepEqual(sample, alone.get(kind), kind)
  for (const { model } of models) model.dispose()
})

test('a long forward of one model holds up no other', async t => {
  const [busy, other] = [await loaded(), await loaded()]
  const long = busy.forward(longInputs(busy))
  let longDone = false
  long.promise.catch(() => {}).finally(() => { longDone = true })
  await other.forward(unetInputs()).promise
  t.false(longDone)
  long.cancel()
  await t.throwsAsync(long.promise, aborted)
  for (const model of [busy, other]) model.dispose()
})

test('garbage collection frees models, and lets calls under way end first', async t => {
  const { code, stdout, stderr } = await runScript(`
    const collect = async () => { for (let i = 0; i < 5; i++) { gc(); await support.delay(10) } }
    let model = await support.loaded()
    const promise = model.forward(support.unetInputs(24)).promise
    model = undefined
    await collect()
    const { sample } = await promise
    await collect()
    const threads = require('fs').readdirSync('/proc/self/task').length
    for (let i = 0; i < 30; i++) { await support.loaded('unet', { threads: 3 }); if (i % 10 === 9) await collect() }
    await support.delay(200)
    await collect()
    console.log(sample.data.length, require('fs').readdirSync('/proc/self/task').length - threads)
  `, { flags: ['--expose-gc'] })
  t.is(code, 0, stderr)
  const [values, threads] = stdout.trim().split(' ').map(Number)
  t.is(values, 4 * 24 * 24)
  t.true(threads <= 3, `${threads} threads left of 30 models`)
})
