import fs from 'node:fs'
import path from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { convertModel, StableDiffusion, type DType, type GenerateOptions, type LoadOptions, type LoraOptions, type Tensor } from '../../lib'
import { writeSafetensors, type TensorToWrite } from '../../lib/files/safetensors'
import { openCheckpoint } from '../../lib/model/checkpoint'
import { fixture } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

const base = fixture('sd15-tiny')

const wave = (count: number, step: number): Float32Array => Float32Array.from({ length: count }, (_, i) => Math.sin(step * i))

interface Kind {
  layers: RegExp
  rank?: number
  salt?: number
  /** Stored as F16, with an alpha. */
  kohya?: boolean
  /** Gives the rows norms, which the addon does not merge. */
  dora?: boolean
}

/** A LoRA for some layers of UNet and text encoder. */
async function makeLora(file: string, { layers, rank = 2, salt = 1, kohya = false, dora = false }: Kind): Promise<string> {
  const { unet, textEncoder } = await openCheckpoint(base)
  const tensors: TensorToWrite[] = []
  for (const [part, weights] of [['unet', unet.weights], ['te', textEncoder.weights]] as const)
    for (const { name, shape } of weights) {
      if (!layers.test(`${part}.${name}`)) continue
      const [out = 1, ...rest] = shape
      const inputs = rest.reduce((product, size) => product * size, 1)
      const prefix = `lora_${part}_${name.slice(0, -'.weight'.length).replaceAll('.', '_')}`
      const add = (suffix: string, of: number[], step: number): void => {
        const data = wave(of.reduce((product, size) => product * size, 1), step * salt).map(value => value / 3)
        tensors.push({ name: `${prefix}.${suffix}`, shape: of, dtype: 'F32', data })
      }
      add('lora_down.weight', [rank, ...rest], 0.7 + inputs / 1e4)
      add('lora_up.weight', [out, rank, ...rest.slice(1).map(() => 1)], 1.3 + out / 1e4)
      if (kohya) tensors.push({ name: `${prefix}.alpha`, shape: [], dtype: 'F32', data: Float32Array.of(rank / 2) })
      const norms = wave(out, 0.3).map(value => 1 + value / 4)
      if (dora) tensors.push({ name: `${prefix}.dora_scale`, shape: [out, ...rest.map(() => 1)], dtype: 'F32', data: norms })
    }
  if (tensors.length === 0) throw new Error('no layers changed')
  await writeSafetensors(file, tensors)
  return file
}

const everywhere = /(?:to_[qkv]|to_out\.0|q_proj|fc1|ff\.net\.2|resnets\.0\.conv1|proj_in|downsamplers\.0\.conv)\.weight$/
const attentions = /unet.*(?:to_q|to_v)\.weight$/

const request = { prompt: 'x', steps: 2, width: 64, height: 64, seed: 3, sampler: 'euler' } satisfies GenerateOptions

async function open(t: ExecutionContext, options: LoadOptions = {}, model = base): Promise<StableDiffusion> {
  const sd = await StableDiffusion.load(model, { threads: 2, ...options })
  t.teardown(() => sd.dispose())
  return sd
}

/** Both parts that LoRAs change, to the last bit. */
async function bits(sd: StableDiffusion): Promise<[Float32Array, Float32Array]> {
  const { inChannels, crossAttentionDim } = sd.unet.config
  const tensor = (shape: number[], step: number): Tensor => ({ data: wave(shape.reduce((a, b) => a * b), step), shape })
  const { sample } = await sd.unet.forward({
    sample: tensor([1, inChannels, 8, 8], 0.37), timestep: 500, encoderHiddenStates: tensor([1, 77, crossAttentionDim], 0.53),
  })
  return [sample.data, (await sd.textEncoder.encode(Int32Array.of(1, 2, 3, 4))).data]
}

async function after(sd: StableDiffusion, loras: LoraOptions[]): Promise<[Float32Array, Float32Array]> {
  await sd.generate({ ...request, steps: 1, loras })
  return bits(sd)
}

for (const dtype of ['fp32', 'bf16', 'int8'] satisfies DType[])
  test(`${dtype}: LoRAs of a request are those baked in, and taken off they leave no trace`, async t => {
    const folder = temporaryFolder(t)
    const one = await makeLora(path.join(folder, 'one.safetensors'), { layers: everywhere, kohya: true })
    const two = await makeLora(path.join(folder, 'two.safetensors'), { layers: attentions, rank: 150, salt: 1.1 })
    const dora = await makeLora(path.join(folder, 'dora.safetensors'), { layers: /unet.*to_q\.weight$|te.*fc1\.weight$/, dora: true })
    const sets: LoraOptions[][] = [
      [{ path: one, weight: 0.8 }], [{ path: two, weight: -0.5 }, { path: one, weight: 1, textWeight: 0 }], [{ path: two, weight: 0.3 }],
      [{ path: dora, weight: 1 }, { path: one, weight: 0.25 }], [{ path: dora }],
    ]
    const sd = await open(t, { dtype })
    const plain = await bits(sd)
    for (const [i, loras] of sets.entries()) {
      const found = await after(sd, loras)
      t.notDeepEqual(found[0], plain[0])
      const baked = path.join(folder, `baked${i}`)
      await convertModel(base, baked, { dtype: 'fp32', loras })
      t.deepEqual(found, await bits(await open(t, { dtype }, baked)), `baked, ${i}`)
      t.deepEqual(found, await bits(await open(t, { dtype, loras })), `loaded, ${i}`)
      if (i % 2 === 0) t.deepEqual(await after(sd, []), plain, `taken off, ${i}`)
    }
    t.deepEqual(await after(sd, [{ path: one, weight: 0 }]), plain)
  })

test('every kernel set merges the same', async t => {
  const folder = temporaryFolder(t)
  const lora = await makeLora(path.join(folder, 'x.safetensors'), { layers: everywhere, rank: 131 })
  await convertModel(base, path.join(folder, 'baked'), { dtype: 'fp32', loras: [{ path: lora }] })
  for (const cpu of ['portable', 'auto'])
    t.deepEqual(await after(await open(t, { cpu }), [{ path: lora }]), await bits(await open(t, { cpu }, path.join(folder, 'baked'))))
})

test('requests in a queue get their own LoRAs, and those of the model where they do not say', async t => {
  const folder = temporaryFolder(t)
  const one = await makeLora(path.join(folder, 'one.safetensors'), { layers: everywhere })
  const two = await makeLora(path.join(folder, 'two.safetensors'), { layers: attentions, salt: 1.3 })
  const sd = await open(t, { loras: [{ name: 'one' }], loraFolder: folder })
  const sets: (LoraOptions[] | undefined)[] = [undefined, [], [{ path: one, weight: 2 }], [{ name: 'two' }], [{ path: one }], [], undefined]
  const images = await Promise.all(sets.map(async loras => (await sd.generate({ ...request, loras }))[0]!))
  const rgba = images.map(image => image.rgba)
  t.deepEqual(rgba[0], rgba[4])
  t.deepEqual(rgba[0], rgba[6])
  t.deepEqual(rgba[1], rgba[5])
  for (const [i, loras] of [[1, []], [2, [{ path: one, weight: 2 }]], [3, [{ path: two }]]] as const) {
    t.notDeepEqual(rgba[i], rgba[0])
    t.deepEqual(rgba[i], (await (await open(t, { loras })).generate(request))[0]!.rgba, `${i}`)
  }
  // Settings have them, whole.
  t.is(images[0]!.settings.loras, undefined)
  t.deepEqual(images[3]!.settings.loras, [{ path: two, weight: 1, textWeight: 1 }])
  t.deepEqual((await sd.generate(images[3]!.settings))[0]!.rgba, rgba[3])
})

test('a prompt names LoRAs where there is a folder for them', async t => {
  const folder = temporaryFolder(t)
  await makeLora(path.join(folder, 'one.safetensors'), { layers: everywhere })
  const sd = await open(t, { loraFolder: folder })
  const rgba = async (options: Partial<GenerateOptions>): Promise<unknown> =>
    (await sd.generate({ ...request, ...options })).map(image => image.rgba)
  const whole = await rgba({ loras: [{ name: 'one', weight: 0.8 }] })
  t.deepEqual(await rgba({ prompt: 'x <lora:one:0.8>' }), whole)
  t.deepEqual(await rgba({ prompt: '<lora:one:0.5:0.8>x' }), await rgba({ loras: [{ name: 'one', weight: 0.8, textWeight: 0.5 }] }))
  t.deepEqual(await rgba({ prompt: 'x<lora:one:te=0.5:unet=0.8>' }), await rgba({ loras: [{ name: 'one', weight: 0.8, textWeight: 0.5 }] }))
  t.deepEqual(await rgba({ prompt: 'x<lora:one:0>' }), await rgba({}))
  const [image] = await sd.generate({ ...request, prompt: 'x <lora:one>' })
  t.is(image!.settings.prompt, 'x <lora:one>')
  t.deepEqual(await rgba(image!.settings), [image!.rgba])
  for (const [options, code, message] of [
    [{ prompt: '<lora:one:much>' }, 'INVALID_ARGUMENT', /Expected <lora:name>.* but received "<lora:one:much>"/],
    [{ prompt: '<lora:one:1:2:3>' }, 'INVALID_ARGUMENT', /numbers from -10 to 10/],
    [{ prompt: '<lora:one:11>' }, 'INVALID_ARGUMENT', /numbers from -10 to 10/],
    [{ prompt: ['<lora:one>', 'x'] }, 'INVALID_ARGUMENT', /the same LoRAs/],
    [{ prompt: '<lora:../one>' }, 'INVALID_ARGUMENT', /name of a file in loraFolder/],
    [{ prompt: '<lora:none>' }, 'FILE_NOT_FOUND', /none\.safetensors/],
    [{ loras: [{ path: 'x', size: 1 }] }, 'INVALID_ARGUMENT', /loras\[0\]/],
    [{ loras: 'one' }, 'INVALID_ARGUMENT', /loras/],
  ] as const) await t.throwsAsync(sd.generate({ ...request, ...options } as GenerateOptions), { code, message } as object)
  const without = await open(t)
  await t.throwsAsync(without.generate({ ...request, loras: [{ name: 'one' }] }), { message: /loraFolder/ })
  await t.notThrowsAsync(without.generate({ ...request, prompt: 'x <lora:one:much>' }))
})

test('a change that fails or is aborted leaves weights as they were, and the next request changes what it wants', async t => {
  const folder = temporaryFolder(t)
  const one = await makeLora(path.join(folder, 'one.safetensors'), { layers: everywhere })
  const two = await makeLora(path.join(folder, 'two.safetensors'), { layers: everywhere, salt: 1.7 })
  const wide = path.join(folder, 'wide.safetensors')
  await writeSafetensors(wide, [
    { name: 'unet.mid_block.attentions.0.proj_in.lora_A.weight', dtype: 'F32', shape: [2, 7], data: new Float32Array(14) },
    { name: 'unet.mid_block.attentions.0.proj_in.lora_B.weight', dtype: 'F32', shape: [7, 2], data: new Float32Array(14) },
  ])
  const sd = await open(t)
  const plain = await bits(sd)
  const first = await after(sd, [{ path: one }])
  await t.throwsAsync(sd.generate({ ...request, loras: [{ path: two }, { path: wide }] }),
    { code: 'TENSOR_SHAPE', message: /wide.*another base model/s })
  t.deepEqual((await bits(sd))[0], first[0])
  await t.throwsAsync(sd.generate({ ...request, loras: [{ path: path.join(folder, 'none') }] }), { code: 'FILE_NOT_FOUND' })
  t.deepEqual(await after(sd, [{ path: one }]), first)
  const second = await after(sd, [{ path: two }])
  for (let wait = 0; wait < 40; wait++) {
    const controller = new AbortController()
    const call = sd.generate({ ...request, loras: [{ path: wait % 2 === 0 ? one : two }], signal: controller.signal })
    for (let i = 0; i < wait * 3; i++) await turn()
    controller.abort()
    await call.catch((error: unknown) => t.is((error as Error).name, 'AbortError'))
    const next = await after(sd, [[], [{ path: one }], [{ path: two }]][wait % 3]!)
    t.deepEqual(next, [plain, first, second][wait % 3], `${wait}`)
  }
})

test('a model may be disposed of while its LoRAs change', async t => {
  const folder = temporaryFolder(t)
  const one = await makeLora(path.join(folder, 'one.safetensors'), { layers: everywhere })
  for (let wait = 0; wait < 20; wait++) {
    const sd = await StableDiffusion.load(base, { threads: 2 })
    const call = sd.generate({ ...request, loras: [{ path: one }] })
    for (let i = 0; i < wait * 4; i++) await turn()
    await sd.dispose()
    await call.catch((error: unknown) => t.is((error as Error).name, 'AbortError'))
  }
  t.pass()
})

test('a LoRA that was written again is another one', async t => {
  const file = path.join(temporaryFolder(t), 'x.safetensors')
  await makeLora(file, { layers: attentions })
  const sd = await open(t)
  const first = await after(sd, [{ path: file }])
  await makeLora(file, { layers: attentions, salt: 2 })
  fs.utimesSync(file, 1, 1)
  const second = await after(sd, [{ path: file }])
  t.notDeepEqual(second[0], first[0])
  t.deepEqual(second, await bits(await open(t, { loras: [{ path: file }] })))
})

test('further UNets get them, too', async t => {
  const folder = temporaryFolder(t)
  const one = await makeLora(path.join(folder, 'one.safetensors'), { layers: attentions })
  const sd = await open(t, { unets: { same: base } })
  await after(sd, [{ path: one }])
  const { inChannels, crossAttentionDim } = sd.unet.config
  const input = {
    sample: { data: wave(inChannels * 64, 0.3), shape: [1, inChannels, 8, 8] }, timestep: 9,
    encoderHiddenStates: { data: wave(77 * crossAttentionDim, 0.2), shape: [1, 77, crossAttentionDim] },
  }
  t.deepEqual((await sd.unets['same']!.forward(input)).sample, (await sd.unet.forward(input)).sample)
})

test('packed caches hold the checkpoint alone, whatever LoRAs there are', async t => {
  const folder = temporaryFolder(t)
  const one = await makeLora(path.join(folder, 'one.safetensors'), { layers: attentions })
  const loras = [{ path: one }]
  const first = await open(t, { loras, packedCache: path.join(folder, 'cache') })
  t.is(first.unet.packedCache?.outcome, 'written')
  const again = await open(t, { loras, packedCache: path.join(folder, 'cache') })
  t.is(again.unet.packedCache?.outcome, 'used')
  t.deepEqual(await bits(again), await bits(first))
  t.deepEqual(await after(again, []), await bits(await open(t)))
})
