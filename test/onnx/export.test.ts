import { execFile } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { assemble } from '../../lib/assembly/assemble'
import type { Recipe } from '../../lib/assembly/recipe'
import type { Tensor } from '../../lib/base/tensor'
import { UNet } from '../../lib/components/unet'
import { readSafetensorsHeader } from '../../lib/files/safetensors'
import { exportOnnx } from '../../lib/onnx/export'
import { TorchGenerator } from '../../lib/random/torch-generator'
import { aborts } from '../support/aborts'
import { fixture, loadExpected, maxAbsDiff } from '../support/fixtures'
import { count, numbers, readOnnx, type Value } from '../support/onnx'
import { runOnnx } from '../support/onnx-interpreter'
import { temporaryFolder } from '../support/temporary'

test('every weight is there once, as it is stored or transposed', async t => {
  const folder = temporaryFolder(t)
  const written = await exportOnnx(fixture('sd15-tiny'), path.join(folder, 'unet.onnx'), {
    part: 'unet', batch: 2, height: 8, width: 8, length: 77,
  })
  const model = readOnnx(written.path)
  t.is(model.opset, 17)
  t.is(model.nodes.length, written.nodes)
  const file = fixture('sd15-tiny', 'unet', 'diffusion_pytorch_model.safetensors')
  const { tensors } = await readSafetensorsHeader(file)
  const bytes = fs.readFileSync(file)
  for (const [name, { dtype, shape, begin, end }] of tensors) {
    const { data, shape: own } = model.constants.get(name)!
    const stored = numbers(bytes.subarray(begin, end), { F32: 1, F16: 10, BF16: 16 }[dtype]!, count(shape))
    const turned = shape.length === 2 && own[0] === shape[1] && own[1] === shape[0]
    const at = turned ? (i: number): number => (i % own[1]) * own[0] + Math.floor(i / own[1]) : (i: number): number => i
    t.true(data.every((value, i) => value === stored[at(i)]), name)
  }
})

const within = (t: ExecutionContext, actual: Value, wanted: Tensor, bound: number, what: string): void => {
  t.deepEqual(actual.shape, wanted.shape, what)
  const difference = maxAbsDiff(actual.data, wanted.data)
  t.true(difference <= bound, `${what}: ${difference} is above ${bound}`)
}

for (const set of ['sd15-tiny', 'sd21-tiny', 'bk-sdm-base-tiny', 'bk-sdm-small-tiny', 'bk-sdm-tiny-tiny'])
  test(`${set}: the UNet's file, run by an interpreter, gives what diffusers gives, at any size`, async t => {
    const { json, tensor } = loadExpected(set)
    const { path: file } = await exportOnnx(fixture(set, 'unet'), path.join(temporaryFolder(t), 'a.onnx'), { part: 'unet' })
    const model = readOnnx(file)
    t.deepEqual(
      model.inputs.map(({ shape }) => shape.filter(size => typeof size === 'string')),
      [['batch', 'height', 'width'], ['batch'], ['batch', 'length']],
    )
    // One picture of the smaller models, whose graphs lack units that these have.
    for (const { name, timesteps } of json.unet.cases.slice(0, set === 'sd21-tiny' ? 2 : 1)) {
      const [sample, text] = [tensor(`unet/${name}/sample`), tensor(`unet/${name}/encoder_hidden_states`)]
      const { outputs } = runOnnx(model, { sample, timestep: { shape: [sample.shape[0]], data: timesteps }, encoder_hidden_states: text })
      within(t, outputs.out_sample, tensor(`unet/${name}/out`), 2e-5, name)
    }
  })

for (const set of ['sd15-tiny', 'sd21-tiny']) {
  const { json, tensor } = loadExpected(set)

  // Both sets' VAEs are alike; the smaller pictures will do.
  if (set === 'sd21-tiny') test(`${set}: the VAE's two files`, async t => {
    const folder = temporaryFolder(t)
    const model = async (part: 'vae_decoder' | 'vae_encoder') =>
      readOnnx((await exportOnnx(fixture(set), path.join(folder, `${part}.onnx`), { part, batch: 1 })).path)
    const [decoder, encoder] = [await model('vae_decoder'), await model('vae_encoder')]
    const { name: decode } = json.vae.decode[1]
    within(
      t, runOnnx(decoder, { latent_sample: tensor(`vae/${decode}/latents`) }).outputs.sample, tensor(`vae/${decode}/image`), 2e-5, decode,
    )
    const { name: encode } = json.vae.encode[1]
    const mean = tensor(`vae/${encode}/mean`)
    const { latent_parameters: moments } = runOnnx(encoder, { sample: tensor(`vae/${encode}/image`) }).outputs
    within(t, { ...moments, shape: mean.shape, data: moments.data.subarray(0, moments.data.length / 2) }, mean, 2e-5, encode)
  })

  test(`${set}: the text encoder's file, also with fewer layers and of one length`, async t => {
    const folder = temporaryFolder(t)
    const { ids } = json.text_encoder
    for (const [name, clipSkip] of [['last_hidden_state', 0], ['clip_skip_1', 1]] as const) {
      const wanted = tensor(`text_encoder/${name}`)
      const { path: file } = await exportOnnx(fixture(set), path.join(folder, `${name}.onnx`), {
        part: 'text_encoder', clipSkip, ...(clipSkip === 1 && { length: wanted.shape[1] }),
      })
      within(
        t, runOnnx(readOnnx(file), { input_ids: { shape: wanted.shape.slice(0, 2), data: ids.flat() } }).outputs.last_hidden_state, wanted,
        2e-5, name,
      )
    }
  })
}

test('conditional convolutions: mixed kernels with a fixed batch, mixed results with an open one, as our own UNet has them', async t => {
  const folder = temporaryFolder(t)
  // One of every kind: plain, with a time embedding, of a sequence and to one, resized, with steps of 2.
  const places = [
    'down_blocks.0.resnets.0.conv1', 'down_blocks.0.resnets.0.conv2', 'down_blocks.0.downsamplers.0.conv',
    'down_blocks.0.attentions.0.proj_in', 'mid_block.attentions.0.proj_out', 'up_blocks.0.upsamplers.0.conv', 'conv_out',
  ]
  const units = Object.fromEntries(places.map((prefix, i) => [prefix, {
    experts: [{ checkpoint: 'sd' }, { checkpoint: 'sd', noise: 0.5 }, { checkpoint: 'sd', noise: 0.5 }].slice(0, 2 + (i % 2)), router: {
      activation: i % 3 === 0 ? 'softmax' : 'sigmoid',
    },
  }]))
  await assemble(
    { version: 1, checkpoints: { sd: null }, target: { from: 'sd' }, rest: 'sd', units } as Recipe,
    { out: path.join(folder, 'model'), checkpoints: { sd: fixture('sd15-tiny') } },
  )
  const file = path.join(folder, 'model', 'unet', 'diffusion_pytorch_model.safetensors')
  trainRouters(file, await readSafetensorsHeader(file))
  const random = new TorchGenerator(3)
  const [sample, text] = [random.randn([2, 4, 9, 8]), random.randn([2, 5, 48])]
  const unet = await UNet.load(path.join(folder, 'model', 'unet'))
  const wanted = (await unet.forward({ sample, timestep: 500, encoderHiddenStates: text })).sample
  await unet.dispose()
  for (const batch of [2, undefined]) {
    const { path: file } = await exportOnnx(
      path.join(folder, 'model'), path.join(folder, `${batch}.onnx`), { part: 'unet', ...(batch && { batch }) },
    )
    const model = readOnnx(file)
    t.is(model.nodes.filter(({ op }) => op === 'ReduceMean').length, places.length)
    t.is(model.nodes.filter(({ op, attributes }) => op === 'Conv' && attributes.group === 2).length, batch === 2 ? places.length : 0)
    within(
      t, runOnnx(model, { sample, timestep: { shape: [2], data: [500, 500] }, encoder_hidden_states: text }).outputs.out_sample, wanted,
      2e-5, String(batch),
    )
  }
})

/** Gives routers numbers that rate samples differently. */
function trainRouters(file: string, { tensors }: Awaited<ReturnType<typeof readSafetensorsHeader>>): void {
  const bytes = fs.readFileSync(file)
  for (const [name, { dtype, begin, end }] of tensors) {
    if (!name.endsWith('.router.weight')) continue
    if (dtype !== 'F32') throw new Error(`${name} is ${dtype}`)
    for (let at = begin; at < end; at += 4) bytes.writeFloatLE(2 * Math.sin(at), at)
  }
  fs.writeFileSync(file, bytes)
}

test('number formats and a file of weights: the same numbers, rounded; in pages; nothing left behind', async t => {
  const folder = temporaryFolder(t)
  const source = fixture('sd15-tiny', 'unet')
  const options = { part: 'unet', batch: 1, height: 4, width: 4, length: 3 } as const
  const plain = readOnnx((await exportOnnx(source, path.join(folder, 'a.onnx'), options)).path)
  const beside = await exportOnnx(source, path.join(folder, 'b.onnx'), { ...options, externalData: true })
  t.is(beside.dataPath, path.join(folder, 'b.onnx.data'))
  const outside = readOnnx(beside.path)
  t.deepEqual(outside.constants, plain.constants)
  const places = [...outside.stored.values()].flatMap(({ external }) => (external ? [external] : [])).sort((a, b) => a.offset - b.offset)
  t.true(places.length > 100 && places.every(({ location, offset }) => location === 'b.onnx.data' && offset % 4096 === 0))
  t.true(places.every(({ offset, length }, i) => offset + length <= (places[i + 1]?.offset ?? fs.statSync(beside.dataPath!).size)))
  const weights = [...outside.stored].filter(([, { external }]) => external).map(([name]) => name)
  for (const [dtype, type, width] of [['fp16', 10, 2 ** -11], ['bf16', 16, 2 ** -8]] as const) {
    const { path: file, weightBytes } = await exportOnnx(source, path.join(folder, `${dtype}.onnx`), { ...options, dtype })
    t.is(weightBytes * 2, beside.weightBytes)
    const model = readOnnx(file)
    for (const name of weights) {
      t.is(model.stored.get(name)!.type, type)
      const { data } = plain.constants.get(name)!
      t.true(model.constants.get(name)!.data.every((value, i) => Math.abs(value - data[i]) <= Math.abs(data[i]) * width + 2 ** -25), name)
    }
    const random = new TorchGenerator(1)
    const feeds = {
      sample: random.randn([1, 4, 4, 4]), timestep: { shape: [1], data: [10] }, encoder_hidden_states: random.randn([1, 3, 48]),
    }
    const [a, b] = [plain, model].map(each => runOnnx(each, feeds).outputs.out_sample.data)
    t.true(maxAbsDiff(a, b) < 0.1)
  }
  t.deepEqual(fs.readdirSync(folder).sort(), ['a.onnx', 'b.onnx', 'b.onnx.data', 'bf16.onnx', 'fp16.onnx'])
})

test('what cannot be written is refused, and leaves nothing behind', async t => {
  const folder = temporaryFolder(t)
  const target = path.join(folder, 'a.onnx')
  const source = fixture('sd15-tiny')
  const refused = async (options: unknown, code: string, message: RegExp): Promise<void> => {
    await t.throwsAsync(exportOnnx(source, target, options as never), { code, message })
  }
  await refused({}, 'INVALID_ARGUMENT', /part/)
  await refused({ part: 'vae' }, 'INVALID_ARGUMENT', /vae_decoder/)
  await refused({ part: 'unet', heigth: 3 }, 'INVALID_ARGUMENT', /did you mean "height"/)
  await refused({ part: 'unet', batch: 0 }, 'INVALID_ARGUMENT', /batch/)
  await refused({ part: 'text_encoder', height: 8 }, 'INVALID_ARGUMENT', /no height/)
  await refused({ part: 'text_encoder', length: 78 }, 'SHAPE_MISMATCH', /embeddings/)
  await refused({ part: 'text_encoder', clipSkip: 9 }, 'INVALID_ARGUMENT', /clipSkip/)
  await refused({ part: 'unet', clipSkip: 1 }, 'INVALID_ARGUMENT', /clipSkip/)
  await t.throwsAsync(exportOnnx(path.join(folder, 'none'), target, { part: 'unet' }), { code: 'FILE_NOT_FOUND' })
  await t.throwsAsync(exportOnnx(source, path.join(folder, 'no', 'a.onnx'), { part: 'unet' }), { code: 'FILE_NOT_FOUND' })
  await aborts(t, exportOnnx(source, target, { part: 'unet', signal: AbortSignal.abort() }))
  const stop = new AbortController()
  await aborts(t, exportOnnx(source, target, { part: 'unet', externalData: true, signal: stop.signal, onProgress: () => stop.abort() }))
  await t.throwsAsync(exportOnnx(source, target, { part: 'unet', onProgress: () => { throw new Error('mine') } }), { message: 'mine' })
  t.deepEqual(fs.readdirSync(folder), [])
  let last = { bytesDone: 0, bytesTotal: 0 }
  const { weightBytes } = await exportOnnx(source, target, { part: 'text_encoder', onProgress: progress => { last = progress } })
  t.deepEqual(last, { bytesDone: weightBytes, bytesTotal: weightBytes })
  await refused({ part: 'text_encoder' }, 'INVALID_ARGUMENT', /overwrite/)
  await exportOnnx(source, target, { part: 'text_encoder', overwrite: true })
  t.deepEqual(fs.readdirSync(folder), ['a.onnx'])
})

test('the command says what it wrote', async t => {
  const folder = temporaryFolder(t)
  const main = path.join(__dirname, '..', '..', 'lib', 'cli', 'main.js')
  const args = [
    'export-onnx', '--model', fixture('sd15-tiny'), '--part', 'unet', '--batch', '2', '--height', '8', '--width', '8', '--out',
    path.join(folder, 'unet.onnx'), '--external-data',
  ]
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [main, ...args])
  t.is(stdout, `${path.join(folder, 'unet.onnx')}\n${path.join(folder, 'unet.onnx.data')}\n`)
  t.regex(
    stderr, /nodes, weights .* sample \[2, 4, 8, 8\], timestep \[2\], encoder_hidden_states \[2, length, 48\] -> out_sample \[2, 4, 8, 8\]/,
  )
})
