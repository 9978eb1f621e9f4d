import fs from 'node:fs'
import path from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { convertModel } from '../../lib/convert/convert'
import { item, type Tensor } from '../../lib/base/tensor'
import { VAE } from '../../lib/components/vae'
import { writeSafetensors, type TensorToWrite } from '../../lib/files/safetensors'
import { openCheckpoint } from '../../lib/model/checkpoint'
import { parseVAEConfig } from '../../lib/model/vae-config'
import { exportOnnx } from '../../lib/onnx/export'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { copyCheckpoint, editJson } from '../model/checkpoints'
import { fixture, maxAbsDiff, repoPath } from '../support/fixtures'
import { readOnnx } from '../support/onnx'
import { runOnnx } from '../support/onnx-interpreter'
import { temporaryFolder } from '../support/temporary'

// Made by taesd.py.
interface Few { shape: number[], at: number[], values: number[] }
interface Reference extends Record<'decode' | 'encode' | 'decodeTiled' | 'encodeTiled' | 'img2img', Few> {
  weights: [name: string, shape: number[]][]
  config: object
}
const reference = JSON.parse(fs.readFileSync(repoPath('test', 'golden', 'taesd.json'), 'utf8')) as Reference

function wave(shape: number[], step: number, start: number, scale = 1): Tensor {
  return { data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(start + i * step) * scale), shape }
}

const weights: TensorToWrite[] = reference.weights.map(([name, shape], number) => {
  const fan = shape.length > 1 ? shape.slice(1).reduce((a, b) => a * b, 1) : 16
  const value = (i: number): number => ((31 * i * i + 7 * i + 127 * number) % 2003 / 1001 - 1) * 1.2 / Math.sqrt(fan)
  return { name, dtype: 'F32', shape, data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => value(i)) }
})

/** As diffusers saves it. */
async function folderOf(t: ExecutionContext, place = path.join(temporaryFolder(t), 'vae')): Promise<string> {
  fs.mkdirSync(place, { recursive: true })
  fs.writeFileSync(path.join(place, 'config.json'), JSON.stringify({
    _class_name: 'AutoencoderTiny', _diffusers_version: '0.40.0', act_fn: 'relu', block_out_channels: [12, 12, 12, 12], force_upcast: false,
    in_channels: 3, latent_channels: 4, latent_magnitude: 3, latent_shift: 0.5, out_channels: 3, scaling_factor: 1.0, shift_factor: 0.0,
    upsample_fn: 'nearest', upsampling_scaling_factor: 2, ...reference.config,
  }))
  await writeSafetensors(path.join(place, 'diffusion_pytorch_model.safetensors'), weights)
  return place
}

/** As the original's two files, of which the decoder counts its clamp as a layer. */
async function filesOf(t: ExecutionContext, halves = ['encoder', 'decoder']): Promise<string> {
  const folder = temporaryFolder(t)
  for (const half of halves)
    await writeSafetensors(path.join(folder, `taesd_${half}.safetensors`), weights.filter(each => each.name.startsWith(half)).map(tensor => ({
      ...tensor, name: tensor.name.replace(/^\w+\.layers\.(\d+)\./, (_, n) => `${Number(n) + (half === 'decoder' ? 1 : 0)}.`),
    })))
  return path.join(folder, 'taesd_decoder.safetensors')
}

function agrees(
  t: ExecutionContext, name: keyof Reference, { data, shape }: { data: ArrayLike<number>, shape: number[] }, tolerance: number,
): void {
  const few = reference[name] as Few
  t.deepEqual(shape, few.shape)
  const difference = maxAbsDiff(few.at.map(i => data[i]), few.values)
  t.true(difference <= tolerance, `${name}: ${difference}`)
}

async function load(t: ExecutionContext, place: string, dtype: 'fp32' | 'bf16' | 'int8' = 'fp32'): Promise<VAE> {
  const vae = await VAE.load(place, { threads: 2, dtype })
  t.teardown(() => vae.dispose())
  return vae
}

test('a tiny autoencoder decodes and encodes as diffusers\' AutoencoderTiny, from its folder and from the original\'s files', async t => {
  for (const place of [await folderOf(t), await filesOf(t), path.join(path.dirname(await filesOf(t)), 'taesd_encoder.safetensors')]) {
    const vae = await load(t, place)
    t.is(vae.factor, 8)
    t.like(vae.config, { scalingFactor: 1, latentChannels: 4 })
    t.like(vae.config, { tiny: { encoderWidth: 8, encoderBlocks: [1, 1, 0, 2], decoderBlocks: [2, 1, 0, 1] } })
    agrees(t, 'decode', await vae.decode(wave([2, 4, 7, 9], 0.37, 1, 4)), 2e-5)
    const { mean, logvar } = await vae.encode(wave([2, 3, 56, 72], 0.61, 2))
    agrees(t, 'encode', mean, 2e-5)
    t.true(logvar.data.every(value => value === -Infinity))
  }
})

test('tile by tile it is diffusers\' tiling', async t => {
  const vae = await load(t, await folderOf(t))
  agrees(t, 'decodeTiled', await vae.decode(wave([1, 4, 61, 120], 0.37, 1, 4), { tiling: true }), 2e-5)
  agrees(t, 'encodeTiled', (await vae.encode(wave([1, 3, 488, 960], 0.61, 2), { tiling: true })).mean, 2e-5)
})

test('in bf16 and int8, which are one format to a VAE, it is near', async t => {
  const place = await folderOf(t)
  const [bf16, int8] = [await load(t, place, 'bf16'), await load(t, place, 'int8')]
  const largest = Math.max(...reference.decode.values.map(Math.abs))
  const [one, other] = await Promise.all([bf16, int8].map(vae => vae.decode(wave([2, 4, 7, 9], 0.37, 1, 4))))
  agrees(t, 'decode', one, 0.03 * largest)
  t.deepEqual(one, other)
})

test('a pipeline with it starts from an image as diffusers does, without drawing the posterior\'s noise', async t => {
  for (const vae of [await folderOf(t), await filesOf(t)]) {
    const sd = await StableDiffusion.load(fixture('sd15-tiny'), { threads: 2, vae })
    t.teardown(() => sd.dispose())
    let latents: Tensor | undefined
    const [image] = await sd.generate({
      prompt: 'a lighthouse', image: wave([1, 3, 64, 64], 0.61, 2), strength: 0.5, steps: 4, guidanceScale: 1, sampler: 'ddim', seed: 7,
      onProgress: step => { if (step.phase === 'denoise') latents = step.latents },
    })
    agrees(t, 'img2img', latents!, 1e-3)
    t.is(image.width, 64)
  }
})

test('a decoder alone decodes; what needs the encoder says which file', async t => {
  const sd = await StableDiffusion.load(fixture('sd15-tiny'), { threads: 1, vae: await filesOf(t, ['decoder']) })
  t.teardown(() => sd.dispose())
  agrees(t, 'decode', await sd.vae.decode(wave([2, 4, 7, 9], 0.37, 1, 4)), 2e-5)
  const message = /encoder beside .*taesd_decoder\.safetensors/
  await t.throwsAsync(sd.vae.encode(wave([1, 3, 8, 8], 1, 1)), { code: 'TENSOR_MISSING', message })
  await t.throwsAsync(sd.generate({ prompt: '', image: wave([1, 3, 64, 64], 1, 1) }), { code: 'TENSOR_MISSING', message })
  const alone = (await filesOf(t, ['encoder'])).replace('decoder', 'encoder')
  await t.throwsAsync(VAE.load(alone), { code: 'TENSOR_MISSING', message: /decoder of .* beside it/ })
})

test('a model folder may hold one; converted it stays one, and a single file refuses it by name', async t => {
  const folder = temporaryFolder(t)
  const model = copyCheckpoint('sd15-tiny', folder)
  fs.rmSync(path.join(model, 'vae'), { recursive: true })
  await folderOf(t, path.join(model, 'vae'))
  editJson(path.join(model, 'model_index.json'), json => { json.vae = ['diffusers', 'AutoencoderTiny'] })
  const opened = await openCheckpoint(model)
  await convertModel(model, path.join(folder, 'converted'), { dtype: 'bf16' })
  const converted = await openCheckpoint(path.join(folder, 'converted'))
  t.deepEqual(converted.vae.config, opened.vae.config)
  const error = await t.throwsAsync(convertModel(model, path.join(folder, 'one.safetensors')))
  t.like(error, { code: 'UNSUPPORTED_CONFIG' })
})

test('configs that ask for something else are refused by name', t => {
  const parse = (change: object) => () => parseVAEConfig({ _class_name: 'AutoencoderTiny', ...change }, 'f')
  t.deepEqual(parse({})().blockOutChannels, [64, 64, 64, 64])
  t.like(parse({})(), { tiny: { encoderWidth: 64, encoderBlocks: [1, 3, 3, 3], decoderBlocks: [3, 3, 3, 1] } })
  for (const [change, code, message] of [
    [{ act_fn: 'silu' }, 'UNSUPPORTED_CONFIG', /act_fn/],
    [{ upsample_fn: 'bilinear' }, 'UNSUPPORTED_CONFIG', /upsample_fn/],
    [{ upsampling_scaling_factor: 4 }, 'UNSUPPORTED_CONFIG', /upsampling_scaling_factor/],
    [{ decoder_block_out_channels: [64, 64, 64, 32] }, 'UNSUPPORTED_CONFIG', /decoder_block_out_channels/],
    [{ num_encoder_blocks: [1, 3] }, 'UNSUPPORTED_CONFIG', /num_encoder_blocks/],
    [{ num_decoder_blocks: [1e9, 3, 3, 1] }, 'BAD_CONFIG', /num_decoder_blocks/],
    [{ latent_channels: 0 }, 'BAD_CONFIG', /latent_channels/],
    [{ norm_num_groups: 32 }, 'UNSUPPORTED_CONFIG', /norm_num_groups/],
  ] as const) t.throws(parse(change), { code, message }, JSON.stringify(change))
})

test('as ONNX both halves give the same', async t => {
  const [folder, place] = [temporaryFolder(t), await folderOf(t)]
  const file = async (part: 'vae_decoder' | 'vae_encoder') => readOnnx((await exportOnnx(place, path.join(folder, part), { part })).path)
  const [decoder, encoder] = [await file('vae_decoder'), await file('vae_encoder')]
  agrees(t, 'decode', runOnnx(decoder, { latent_sample: wave([2, 4, 7, 9], 0.37, 1, 4) }).outputs.sample, 2e-5)
  agrees(t, 'encode', runOnnx(encoder, { sample: wave([2, 3, 56, 72], 0.61, 2) }).outputs.latent_sample, 2e-5)
})

test('previews are what the tiny autoencoder decodes of the latents', async t => {
  const place = await folderOf(t)
  const sd = await StableDiffusion.load(fixture('sd15-tiny'), { threads: 2, taesd: place })
  t.teardown(() => sd.dispose())
  const tiny = await load(t, await filesOf(t))
  const request = { prompt: ['a', 'b'], steps: 2, seed: 3, width: 64, height: 72, sampler: 'ddim' }
  let seen = 0
  for await (const step of sd.steps({ ...request, preview: 'taesd' })) {
    if (step.phase !== 'denoise') continue
    seen++
    for (const [i, { rgba, width, height }] of step.preview!.entries()) {
      t.deepEqual([width, height], [64, 72])
      const { data } = await tiny.decode(item(step.latents, i))
      const plane = width * height
      for (const at of [0, 1000, plane - 1])
        for (let colour = 0; colour < 3; colour++)
          t.true(Math.abs(rgba[4 * at + colour] - Math.min(255, Math.max(0, 255 * (data[colour * plane + at] / 2 + 0.5)))) <= 0.51)
    }
  }
  t.is(seen, 2)
  const [plain] = await sd.generate(request)
  const [other] = await sd.generate({ ...request, preview: 'taesd' })
  t.deepEqual(plain.rgba, other.rgba)
  const without = await StableDiffusion.load(fixture('sd15-tiny'), { threads: 1 })
  t.teardown(() => without.dispose())
  await t.throwsAsync(without.generate({ prompt: '', preview: 'taesd' }), { code: 'INVALID_ARGUMENT', message: /taesd: path/ })
  await t.throwsAsync(without.generate({ prompt: '', preview: 'fast' as never }), { code: 'INVALID_ARGUMENT', message: /true, false or taesd/ })
  const vae = fixture('sd15-tiny', 'vae')
  await t.throwsAsync(StableDiffusion.load(fixture('sd15-tiny'), { taesd: vae }), { code: 'UNSUPPORTED_CONFIG', message: /AutoencoderTiny/ })
  // A model whose VAE is one needs no other.
  const own = await StableDiffusion.load(fixture('sd15-tiny'), { threads: 1, vae: place })
  t.teardown(() => own.dispose())
  t.is((await own.generate({ prompt: '', steps: 1, width: 64, height: 64, preview: 'taesd' })).length, 1)
})
