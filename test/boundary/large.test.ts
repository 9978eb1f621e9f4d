/** What is large crosses the border without holding the event loop: in pieces, or on other threads. */
import test from 'ava'
import type { Tensor } from '../../lib/base/tensor'
import type { NativeModel } from '../../lib/native/binding'
import { loadAddon } from '../../lib/native/load'
import { maxAbsDiff } from '../support/fixtures'
import { randomFloats } from '../support/op-runner'
import { passInputs, samplesOf } from '../support/passes'
import { aborted, delay, loaded, longInputs, options, unetInputs, vaeConfig, writeWeights, zeros } from './support'

const piece = 4 << 20

/** Counts turns of the event loop until a promise settles. */
async function turnsOf(promise: Promise<unknown>): Promise<number> {
  let turns = 0
  let going = true
  const turn = (): void => {
    if (!going) return
    turns++
    setImmediate(turn)
  }
  setImmediate(turn)
  await promise.catch(() => {})
  going = false
  return turns
}

/** A VAE's half that takes large maps in little time. */
async function vae(kind: 'vae_encoder' | 'vae_decoder'): Promise<NativeModel> {
  const config = { ...vaeConfig, blockOutChannels: [8, 8], midBlockAddAttention: false, normNumGroups: 4 }
  const model = loadAddon().createModel({ kind, config }, options)
  await model.load(writeWeights(model)).promise
  return model
}

const samples = (batch: number, channels: number, side: number): Tensor =>
  ({ data: randomFloats(batch * channels * side * side, 3), shape: [batch, channels, side, side] })

for (const [kind, channels, side] of [['vae_encoder', 3, 512], ['vae_decoder', 4, 256]] as const)
  test(`${kind}: inputs and outputs beyond a piece come across as smaller ones do`, async t => {
    const model = await vae(kind)
    const whole = passInputs({ sample: samples(2, channels, side) })
    const together = (await model.forward(whole).promise).sample
    t.true(Math.max(whole.values.sample.data.byteLength, together.data.byteLength) > piece)
    const half = together.data.length / 2
    for (const i of [0, 1]) {
      const { sample } = await model.forward(samplesOf(whole, i, i + 1)).promise
      t.true(sample.data.byteLength <= piece)
      t.true(maxAbsDiff(sample.data, together.data.slice(i * half, (i + 1) * half)) < 1e-5)
    }
    model.dispose()
  })

test.serial('large inputs are read a piece at a time, with the event loop turning between', async t => {
  const model = await vae('vae_encoder')
  const inputs = passInputs({ sample: zeros(1, 3, 2048, 2048) })
  const pieces = inputs.values.sample.data.byteLength / piece
  t.is(pieces, 12)
  const call = model.forward(inputs)
  // Read to the end, or the call could not begin; then it is stopped.
  const turns = turnsOf(call.promise)
  for (let i = 0; i < pieces + 2; i++) await new Promise(resolve => setImmediate(resolve))
  structuredClone(inputs.values.sample.data, { transfer: [inputs.values.sample.data.buffer as ArrayBuffer] })
  call.cancel()
  await t.throwsAsync(call.promise, aborted)
  t.true(await turns >= pieces)

  const second = model.forward(passInputs({ sample: zeros(1, 3, 2048, 2048) }))
  second.cancel()
  await t.throwsAsync(second.promise, aborted)
  // What waits behind it comes as if it had not been.
  t.is((await model.forward(passInputs({ sample: samples(1, 3, 8) })).promise).sample.data.length, 8 * 16)
  model.dispose()
})

test('an array that is detached or shortened while it is read fails its call', async t => {
  const model = await vae('vae_encoder')
  const bytes = 4 * 3 * 2048 * 2048
  const buffer = new (ArrayBuffer as any)(bytes, { maxByteLength: bytes }) as ArrayBuffer & { resize(size: number): void }
  const shape = [1, 3, 2048, 2048]
  const shortened = model.forward({ values: { sample: { data: new Float32Array(buffer), shape } } })
  const { data } = zeros(1, 3, 2048, 2048)
  const detached = model.forward({ values: { sample: { data, shape } } })
  buffer.resize(1 << 20)
  structuredClone(data, { transfer: [data.buffer as ArrayBuffer] })
  for (const call of [shortened, detached])
    await t.throwsAsync(call.promise, { code: 'INVALID_ARGUMENT', message: /sample\.data to stay as it is/ })
  model.dispose()
})

test('disposing while inputs are read stops the call', async t => {
  const model = await vae('vae_encoder')
  const call = model.forward(passInputs({ sample: zeros(1, 3, 2048, 2048) }))
  model.dispose()
  await t.throwsAsync(call.promise, aborted)
})

// By itself: other tests hold the event loop for moments.
test.serial('runs are compiled off the event loop, and compiling is stopped by cancelling', async t => {
  const model = await loaded()
  const shape = { batch: 1, height: 8, width: 8, length: 5 }
  const full = { inherit: [], conditionalOnly: false }
  // Each step inherits another set of features: 400 programs.
  const prefixes = model.tapNames().filter(name => /resnets\.\d+$|attn\d$|ff$/.test(name)).slice(0, 9)
  const steps = [full, ...Array.from({ length: 400 }, (_, i) => ({
    inherit: prefixes.filter((_, bit) => ((i + 1) >> bit) % 2 === 1).map(prefix => ({ prefix, feature: 'branch' as const })), conditionalOnly: false,
  }))]
  const create = model.createRun(shape, steps)
  const turns = turnsOf(create.promise)
  const run = await create.promise
  t.true(run.info.programs.length > 300)
  t.true(await turns > 10)
  run.dispose()
  const stopped = model.createRun(shape, steps)
  await delay(1)
  stopped.cancel()
  await t.throwsAsync(stopped.promise, aborted)
  t.is((await model.forward(unetInputs()).promise).sample.data.length, 256)
  model.dispose()
})

test('a run that is disposed while passes wait fails those, and frees what it holds behind the one under way', async t => {
  const model = await loaded()
  const { sample, timesteps, ...text } = longInputs(model).values
  const [, , height, width] = sample.shape
  const full = { inherit: [], conditionalOnly: false }
  const run = await model.createRun({ batch: 1, height, width, length: 5 }, [full, full]).promise
  await run.condition(text).promise
  const [first, second] = [0, 1].map(step => run.forward(step, { values: { sample, timesteps } }))
  await delay(20)
  run.dispose()
  await t.throwsAsync(second.promise, { code: 'DISPOSED' })
  t.is((await first.promise).sample.data.length, sample.data.length)
  run.dispose()
  model.dispose()
})
