import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { loadAddon } from '../../lib/native/load'
import { aborted, delay, loaded, longInputs, options, specs, unetInputs, writeWeights } from './support'

// Each worker is an environment of its own: it loads the addon again and has its own state. (ava runs this file in one already.)
const body = `
const { parentPort, workerData } = require('node:worker_threads')
const support = require(workerData.support)
void (async () => {
  const model = require(workerData.load).loadAddon().createModel(support.specs.unet, { ...support.options, threads: 2 })
  await model.load(workerData.sources).promise
  const { sample } = await model.forward(support.unetInputs()).promise
  parentPort.postMessage(Array.from(sample.data))
  if (workerData.long) {
    const call = model.forward(support.longInputs(model))
    model.forward(support.unetInputs())
    parentPort.postMessage('running')
    await call.promise
  }
})()
`
const sources = (() => {
  const model = loadAddon().createModel(specs.unet, options)
  try {
    return writeWeights(model)
  } finally {
    model.dispose()
  }
})()
const start = (long: boolean): Worker =>
  new Worker(body, {
    eval: true, workerData: { support: require.resolve('./support'), load: require.resolve('../../lib/native/load'), sources, long },
  })

test('several workers load and run at once; terminating one in the middle disturbs no other', async t => {
  const model = await loaded()
  const expected = Array.from((await model.forward(unetInputs()).promise).sample.data)
  const doomed = start(true)
  const others = [start(false), start(false)]
  const results = others.map(async worker => {
    const [[values], [code]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')])
    t.deepEqual(values, expected)
    t.is(code, 0)
  })
  const [values] = await once(doomed, 'message')
  t.deepEqual(values, expected)
  await once(doomed, 'message')
  await delay(30)
  const began = Date.now()
  t.is(await doomed.terminate(), 1)
  t.true(Date.now() - began < 10_000, 'terminating waits for the running chunk only')
  await Promise.all(results)
  t.deepEqual(Array.from((await model.forward(unetInputs()).promise).sample.data), expected)
  model.dispose()
})

test('workers terminated at any moment leave the process whole', async t => {
  const model = await loaded()
  const call = model.forward(longInputs(model))
  for (const ms of [0, 20, 40, 60, 80, 120, 160]) {
    const worker = start(true)
    worker.on('error', error => t.fail(String(error)))
    await delay(ms)
    await worker.terminate()
  }
  call.cancel()
  await t.throwsAsync(call.promise, aborted)
  t.is((await model.forward(unetInputs()).promise).sample.data.length, 256)
  model.dispose()
})
