import fs from 'node:fs'
import test from 'ava'
import { parseUNetConfig } from '../../lib/model/unet-config'
import { parseVAEConfig } from '../../lib/model/vae-config'
import type { NativeModel } from '../../lib/native/binding'
import { fixture, loadExpected, maxAbsDiff } from '../support/fixtures'
import { idInputs, passInputs, samplesOf, withValues } from '../support/passes'
import { temporaryFolder } from '../support/temporary'
import { addon, create, fixtureWeights, options, smallText, smallUNet, writeWeights } from './support'

const config = (...parts: string[]): Record<string, never> => JSON.parse(fs.readFileSync(fixture(...parts, 'config.json'), 'utf8'))
const tensor = (shape: number[]) =>
  ({ shape, data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.cos(i * i)) })
const buffer = ({ data }: { data: Float32Array }): Buffer => Buffer.from(data.buffer, data.byteOffset, data.byteLength)

for (const set of ['sd15-tiny', 'sd21-tiny']) {
  test(`${set}: the VAE's inner values`, async t => {
    const expected = loadExpected(set)
    const vae = parseVAEConfig(config(set, 'vae'), 'config.json')
    const sources = fixtureWeights(set, 'vae', 'diffusion_pytorch_model.safetensors')
    let hooks = 0
    for (const [kind, direction, input, part] of [
      ['vae_decoder', 'decode', 'latents', /^(decoder|post_quant_conv)\./], ['vae_encoder', 'encode', 'image', /^(encoder|quant_conv)\./],
    ] as const) {
      const model = create({ kind, config: vae })
      await model.load(sources.filter(({ name }) => part.test(name))).promise
      for (const { name, hooks: taps } of expected.json.vae[direction]) {
        const { taps: values } = await model.forward(passInputs({ sample: expected.tensor(`vae/${name}/${input}`), taps })).promise
        for (const tap of taps) {
          const wanted = expected.tensor(`vae/${name}/hooks/${tap}`)
          t.deepEqual(values[tap].shape, wanted.shape)
          const difference = maxAbsDiff(values[tap].data, wanted.data)
          t.true(difference <= 5e-5, `${tap}: ${difference}`)
          hooks++
        }
      }
      model.dispose()
    }
    t.is(hooks, 4)
  })
}

test('every kernel set gives the reference, each with the same bits for any number of threads', async t => {
  const set = 'bk-sdm-base-tiny'
  const expected = loadExpected(set)
  const sources = fixtureWeights(set, 'unet', 'diffusion_pytorch_model.safetensors')
  const { name, timesteps } = expected.json.unet.cases[1]
  const wanted = expected.tensor(`unet/${name}/out`)
  for (const cpu of addon.cpuInfo().usable) {
    const results: Buffer[] = []
    for (const threads of [1, 2, 5]) {
      const model = addon.createModel(
        { kind: 'unet', config: parseUNetConfig(config(set, 'unet'), 'config.json') }, { ...options, device: 'cpu', cpu, threads },
      )
      t.is(model.cpu, cpu)
      await model.load(sources).promise
      const { sample } = await model.forward(passInputs({
        sample: expected.tensor(`unet/${name}/sample`), timesteps, encoderHiddenStates: expected.tensor(`unet/${name}/encoder_hidden_states`),
      })).promise
      model.dispose()
      const difference = maxAbsDiff(sample.data, wanted.data)
      t.true(difference <= 2e-5, `${cpu}, ${threads} threads: ${difference}`)
      results.push(buffer(sample))
    }
    t.true(results.every(result => result.equals(results[0])), cpu)
  }
})

async function loaded(folder: string): Promise<NativeModel> {
  const model = create({ kind: 'unet', config: smallUNet })
  await model.load(writeWeights(folder, model)).promise
  return model
}
const inputs = passInputs({ sample: tensor([2, 4, 6, 7]), timesteps: [1, 2], encoderHiddenStates: tensor([2, 3, 12]) })

test('programs of many shapes and taps come and go, and give what they gave', async t => {
  const folder = temporaryFolder(t)
  const model = await loaded(folder)
  const wanted = buffer((await model.forward(inputs).promise).sample)
  for (let i = 1; i <= 12; i++) {
    const sample = tensor([1, 4, i, 13 - i])
    const { sample: y } = await model.forward(passInputs({ sample, timesteps: [i], encoderHiddenStates: tensor([1, i, 12]) })).promise
    t.deepEqual(y.shape, sample.shape)
    if (i % 4 === 0) model.trim()
    t.true(buffer((await model.forward({ ...inputs, taps: model.tapNames().slice(0, i) }).promise).sample).equals(wanted))
  }
  model.dispose()
})

test('all taps at once, one value under two names, one name twice', async t => {
  const folder = temporaryFolder(t)
  const model = await loaded(folder)
  const plain = await model.forward(inputs).promise
  const names = model.tapNames()
  const { sample, taps } = await model.forward({ ...inputs, taps: [...names, names[0]] }).promise
  t.true(buffer(sample).equals(buffer(plain.sample)))
  t.deepEqual(Object.keys(taps).sort(), [...names].sort())
  t.deepEqual(taps['down_blocks.0'], taps['down_blocks.0.downsamplers.0'])
  for (const name of names) t.deepEqual((await model.forward({ ...inputs, taps: [name] }).promise).taps[name], taps[name], name)
  model.dispose()
})

test('samples of a batch do not see each other', async t => {
  const folder = temporaryFolder(t)
  const model = await loaded(folder)
  const both = (await model.forward(inputs).promise).sample
  const half = (value: { shape: number[], data: Float32Array }, i: number) =>
    ({ shape: [1, ...value.shape.slice(1)], data: value.data.slice(i * value.data.length / 2, (i + 1) * value.data.length / 2) })
  for (const i of [0, 1]) {
    const alone = await model.forward(samplesOf(inputs, i, i + 1)).promise
    t.true(maxAbsDiff(alone.sample.data, half(both, i).data) < 1e-6)
  }
  model.dispose()
})

test('inputs that do not fit are refused, saying what was expected', async t => {
  const folder = temporaryFolder(t)
  const model = await loaded(folder)
  const cases: [Parameters<typeof withValues>[1], string, RegExp][] = [
    [{ sample: tensor([2, 3, 6, 7]) }, 'SHAPE_MISMATCH', /\[N,4,H,W\] but received \[2,3,6,7\]/],
    [{ sample: tensor([4, 6, 7]) }, 'SHAPE_MISMATCH', /\[4,6,7\]/],
    [{ sample: { shape: [2, 4, 6, 7], data: new Float32Array(5) } }, 'SHAPE_MISMATCH', /sample/],
    [{ sample: { shape: [2, 4, 0, 7], data: new Float32Array(0) } }, 'SHAPE_MISMATCH', /sample/],
    [{ timesteps: Float32Array.of(1) }, 'SHAPE_MISMATCH', /timestep/],
    [{ timesteps: Float32Array.of(1, NaN) }, 'INVALID_ARGUMENT', /finite/],
    [{ encoderHiddenStates: tensor([2, 3, 11]) }, 'SHAPE_MISMATCH', /\[2,L,12\] but received \[2,3,11\]/],
    [{ encoderHiddenStates: tensor([1, 3, 12]) }, 'SHAPE_MISMATCH', /encoder_hidden_states/],
  ]
  for (const [changes, code, message] of cases)
    await t.throwsAsync(async () => model.forward(withValues(inputs, changes)).promise, { code, message })
  await t.throwsAsync(async () => model.forward({ ...inputs, taps: ['nowhere'] }).promise, { code: 'INVALID_ARGUMENT', message: /nowhere/ })
  const { sample, ...rest } = inputs.values
  await t.throwsAsync(async () => model.forward({ values: rest }).promise, { code: 'INVALID_ARGUMENT', message: /the input sample/ })
  await t.throwsAsync(async () => model.forward({ values: { ...inputs.values, text: sample } }).promise, {
    code: 'INVALID_ARGUMENT', message: /\(sample, timesteps, encoder_hidden_states\) but received "text"/,
  })
  const whole = { data: Int32Array.of(1, 2), shape: [2] }
  await t.throwsAsync(async () => model.forward({ values: { ...inputs.values, timesteps: whole } }).promise, { code: 'TENSOR_DTYPE', message: /timesteps in fp32/ })
  await t.notThrowsAsync(model.forward(inputs).promise)
  model.dispose()
})

test('the text encoder: ids, lengths and clipSkip are checked; shorter texts are allowed', async t => {
  const folder = temporaryFolder(t)
  const model = create({ kind: 'text_encoder', config: smallText })
  await model.load(writeWeights(folder, model)).promise
  const encode = async (ids: number[], batch = 1, clipSkip = 0) => model.forward(idInputs(Int32Array.from(ids), batch, clipSkip)).promise
  t.deepEqual((await encode([1, 2, 3, 4, 5, 6], 2)).sample.shape, [2, 3, 8])
  const states = await Promise.all([0, 1, 2].map(skip => encode([1, 2, 3], 1, skip)))
  t.is(new Set(states.map(({ sample }) => buffer(sample).toString('hex'))).size, 3)
  // Causal: what comes later changes nothing before it.
  const longer = await encode([1, 2, 3, 49])
  t.true(maxAbsDiff(longer.sample.data.slice(0, 24), states[0].sample.data) < 1e-6)
  await t.throwsAsync(encode([1, 50]), { code: 'INVALID_ARGUMENT', message: /50/ })
  await t.throwsAsync(encode([-1]), { code: 'INVALID_ARGUMENT' })
  await t.throwsAsync(encode([]), { code: 'SHAPE_MISMATCH' })
  await t.throwsAsync(encode([1, 2, 3], 2), { code: 'SHAPE_MISMATCH' })
  await t.throwsAsync(encode([1, 2, 3, 4, 5, 6, 7, 8]), { code: 'SHAPE_MISMATCH' })
  await t.throwsAsync(encode([1], 1, 3), { code: 'INVALID_ARGUMENT', message: /clipSkip/ })
  model.dispose()
})

test('more memory than the machine has is an error, and the model works on', async t => {
  const folder = temporaryFolder(t)
  const model = create({
    kind: 'vae_decoder',
    config: {
      inChannels: 3, outChannels: 3, latentChannels: 1, blockOutChannels: [256, 256, 256], layersPerBlock: 1, normNumGroups: 4,
      useQuantConv: false, usePostQuantConv: false, midBlockAddAttention: false, scalingFactor: 1, shiftFactor: 0,
    },
  })
  await model.load(writeWeights(folder, model)).promise
  await t.throwsAsync(
    model.forward(passInputs({ sample: { shape: [1, 1, 4096, 4096], data: new Float32Array(4096 * 4096) } })).promise, { code: 'OUT_OF_MEMORY' },
  )
  t.deepEqual((await model.forward(passInputs({ sample: tensor([1, 1, 2, 2]) })).promise).sample.shape, [1, 3, 8, 8])
  model.dispose()
})
