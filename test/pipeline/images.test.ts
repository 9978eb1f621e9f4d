import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import test from 'ava'
import { item, joinChannels, tile, type Tensor } from '../../lib/base/tensor'
import { readSafetensorsHeader, writeSafetensors } from '../../lib/files/safetensors'
import { fromPixels as tensorOf } from '../../lib/image/pixels'
import { samplePosterior } from '../../lib/image/start'
import { unscale } from '../../lib/pipeline'
import { TorchGenerator } from '../../lib/random/torch-generator'
import { createSampler, samplerNames, samplersFor } from '../../lib/samplers'
import { guide } from '../../lib/samplers/guidance'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { fixture, maxAbsDiff, repoPath } from '../support/fixtures'
import { NoiseList, runWithNoise } from '../support/pipeline'

let sd: StableDiffusion
test.before(async () => { sd = await StableDiffusion.load(repoPath('models', 'emoji'), { threads: 2 }) })
test.after.always(async () => { await sd?.dispose() })

const fromPixels = (data: Uint8Array, width: number, height: number): Promise<Tensor> =>
  tensorOf({ data, width, height, channels: data.length / (width * height) })
const noiseOf = (seed: number, shape: number[]): Tensor => new TorchGenerator(seed).randn(shape)
const base = { prompt: 'a flat emoji of rocket', guidanceScale: 3, steps: 4, seed: 11 }

/** A round red spot on white. */
function spot(side = 64): { data: Uint8Array, width: number, height: number } {
  const data = new Uint8Array(side * side * 3).fill(255)
  for (let y = 0; y < side; y++) for (let x = 0; x < side; x++)
    if ((y - side / 2) ** 2 + (x - side / 2) ** 2 < (side / 3) ** 2) data.set([200, 30, 40], (y * side + x) * 3)
  return { data, width: side, height: side }
}

/** A mask whose right half is to be repainted. */
function rightHalf(side = 64): { data: Uint8Array, width: number, height: number } {
  return { data: Uint8Array.from({ length: side * side }, (_, i) => (i % side >= side / 2 ? 255 : 0)), width: side, height: side }
}

test('pictures of any multiple of the VAE factor come out, wide, tall and odd', async t => {
  t.deepEqual(sd.sizes, { default: 64, multiple: 4 })
  for (const [width, height] of [[32, 32], [96, 32], [36, 44], [52, 100], [220, 92]]) {
    const [image] = await sd.generate({ ...base, steps: 2, width, height })
    t.deepEqual([image.width, image.height, image.rgba.length], [width, height, width * height * 4])
    t.true(new Set(image.rgba).size > 20, 'not a flat picture')
  }
  const [dot] = await sd.generate({ ...base, steps: 2, width: 4, height: 4 })
  t.is(dot.rgba.length, 64)
})

test('a batch is its pictures, one generator drawing all their noise at once', async t => {
  const images = await sd.generate({ ...base, count: 3 })
  const noise = noiseOf(11, [3, 4, 16, 16])
  for (let i = 0; i < 3; i++) {
    const [alone] = await sd.generate({ ...base, latents: item(noise, i) })
    t.true(maxAbsDiff(alone.rgba, images[i].rgba) <= 1)
    t.is(images[i].settings.index, i)
  }
})

test('several prompts make one batch, each with its negative prompt', async t => {
  const latents = noiseOf(3, [4, 4, 16, 16])
  const prompts = ['a flat emoji of rocket', 'a 3d emoji of heart']
  const images = await sd.generate({ ...base, prompt: prompts, negativePrompt: ['3d', 'flat'], count: 2, latents })
  t.deepEqual(
    images.map(({ settings }) => `${settings.prompt}, ${settings.negativePrompt}`),
    prompts.flatMap((prompt, i) => new Array(2).fill(`${prompt}, ${['3d', 'flat'][i]}`)),
  )
  for (let i = 0; i < 4; i++) {
    const [alone] = await sd.generate({
      ...base, prompt: prompts[i >> 1], negativePrompt: ['3d', 'flat'][i >> 1], latents: item(latents, i),
    })
    t.true(maxAbsDiff(alone.rgba, images[i].rgba) <= 1)
  }
})

test('guidance 1 runs no unconditional pass', async t => {
  const watched = await StableDiffusion.load(repoPath('models', 'emoji'), { threads: 2 })
  t.teardown(() => watched.dispose())
  const batches: number[] = []
  const createRun = watched.unet.createRun
  watched.unet.createRun = async (...given) => {
    const run = await createRun.apply(watched.unet, given)
    return { ...run, forward: (step, inputs) => { batches.push(inputs.sample.shape[0]); return run.forward(step, inputs) } }
  }
  const [one] = await watched.generate({ ...base, steps: 2, guidanceScale: 1 })
  const [other] = await watched.generate({ ...base, steps: 2, guidanceScale: 1, negativePrompt: 'rocket' })
  t.deepEqual(batches, [1, 1, 1, 1])
  t.deepEqual(one.rgba, other.rgba)
  await watched.generate({ ...base, steps: 2, guidanceScale: 1.5 })
  t.deepEqual(batches.slice(4), [2, 2])
})

test('clipSkip and prompt weighting change the picture', async t => {
  const [plain] = await sd.generate(base)
  t.notDeepEqual((await sd.generate({ ...base, clipSkip: 1 }))[0].rgba, plain.rgba)
  t.deepEqual((await sd.generate({ ...base, promptWeighting: true }))[0].rgba, plain.rgba)
  const weighted = { ...base, prompt: 'a flat emoji of (rocket:1.5)' }
  t.notDeepEqual((await sd.generate({ ...weighted, promptWeighting: true }))[0].rgba, plain.rgba)
  t.notDeepEqual((await sd.generate({ ...weighted, promptWeighting: true }))[0].rgba, (await sd.generate(weighted))[0].rgba)
})

test('every sampler draws something, from its name', async t => {
  const tiny = await StableDiffusion.load(fixture('sd15-tiny'), { threads: 2 })
  t.teardown(() => tiny.dispose())
  const seen = new Set<string>()
  for (const sampler of samplerNames) {
    const [image] = await tiny.generate({ ...base, sampler, steps: 5, width: 64, height: 64 })
    t.is(image.settings.sampler, sampler)
    t.true(new Set(image.rgba).size > 20, sampler)
    seen.add(Buffer.from(image.rgba).toString('base64'))
  }
  t.is(seen.size, samplerNames.length)
  // A sampler that the checkpoint's noise schedule rules out says so.
  await t.throwsAsync(sd.generate({ ...base, sampler: 'pndm' }), { code: 'UNSUPPORTED_CONFIG', message: /rescale_betas_zero_snr/ })
  t.deepEqual(tiny.samplers, samplerNames)
  t.deepEqual(sd.samplers, samplersFor(sd.schedulerConfig))
  t.false(sd.samplers.includes('pndm'))
  for (const sampler of ['nothing', 3])
    await t.throwsAsync(
      sd.generate({ ...base, sampler: sampler as never }),
      { code: 'INVALID_ARGUMENT', message: /sampler to be one of ddim, ddpm, euler, / },
    )
})

test('a picture handed in is what strength leaves of it', async t => {
  const image = spot()
  const round = (await sd.vae.encode(await fromPixels(image.data, 64, 64))).mean
  const kept = await sd.generate({ ...base, prompt: '', steps: 50, image, strength: 0.02, seed: 1 })
  const strong = await sd.generate({ ...base, steps: 10, image, strength: 1, seed: 1 })
  t.deepEqual(round.shape, [1, 4, 16, 16])
  const rgba = Uint8Array.from({ length: 64 * 64 * 4 }, (_, i) => (i % 4 === 3 ? 255 : image.data[(i >> 2) * 3 + (i % 4)]))
  const meanDifference = (a: Uint8ClampedArray): number => a.reduce((sum, value, i) => sum + Math.abs(value - rgba[i]), 0) / a.length
  t.true(meanDifference(kept[0].rgba) < 10, `${meanDifference(kept[0].rgba)}`)
  t.true(meanDifference(strong[0].rgba) > 20, `${meanDifference(strong[0].rgba)}`)
  t.like(kept[0].settings, { from: 'image', strength: 0.02 })
})

test('a picture may be pixels, RGBA, a PNG, a path, a tensor or a generated image', async t => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'asdm-images-'))
  t.teardown(() => fs.rmSync(folder, { recursive: true }))
  const [source] = await sd.generate(base)
  const file = await source.save(path.join(folder, 'a.png'))
  const rgb = Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => source.rgba[Math.floor(i / 3) * 4 + (i % 3)])
  const make = async (image: unknown): Promise<Uint8ClampedArray> => (await sd.generate({ ...base, image: image as never }))[0].rgba
  const wanted = await make(source)
  for (const image of [
    file, fs.readFileSync(file), new Uint8Array(fs.readFileSync(file)), { data: rgb, width: 64, height: 64 },
    { rgba: source.rgba, width: 64, height: 64 }, await fromPixels(rgb, 64, 64),
  ])
    t.deepEqual(await make(image), wanted)
})

test('the size of a picture handed in is the default', async t => {
  const image = { data: new Uint8Array(96 * 32 * 3).fill(90), width: 96, height: 32 }
  const [made] = await sd.generate({ ...base, image })
  t.deepEqual([made.width, made.height], [96, 32])
})

test('what the mask does not cover stays, what it covers is made anew', async t => {
  const image = spot()
  const [made] = await sd.generate({ ...base, prompt: 'a flat emoji of blue heart', steps: 8, image, mask: rightHalf() })
  const { scalingFactor } = sd.vae.config
  const posterior = await sd.vae.encode(await fromPixels(image.data, 64, 64))
  const original = await samplePosterior(posterior, noiseOf(11, [1, 4, 16, 16]))
  const decoded = await sd.vae.decode({ data: original.data.map(value => value * scalingFactor / scalingFactor), shape: original.shape })
  const difference = (from: number, to: number): number => {
    let sum = 0
    for (let y = 0; y < 64; y++) for (let x = from; x < to; x++) for (let c = 0; c < 3; c++)
      sum += Math.abs(made.rgba[(y * 64 + x) * 4 + c] - (decoded.data[(c * 64 + y) * 64 + x] / 2 + 0.5) * 255) / (64 * (to - from) * 3)
    return sum
  }
  // The decoder sees a few pixels across the border.
  t.true(difference(0, 16) < 3, `${difference(0, 16)}`)
  t.true(difference(48, 64) > 5, `${difference(48, 64)}`)
  t.like(made.settings, { from: 'inpaint', strength: 1 })
})

test('a mask that covers all gives the picture of the text alone', async t => {
  const shape = [1, 4, 16, 16]
  const noise = noiseOf(5, shape)
  const all = { data: new Uint8Array(64 * 64).fill(255), width: 64, height: 64 }
  const { latents } = await runWithNoise(
    sd, { ...base, image: spot(), mask: all }, new NoiseList([noiseOf(1, shape), noise, noiseOf(2, shape)]),
  )
  const plain = await runWithNoise(sd, base, new NoiseList([noise]))
  t.deepEqual(latents.map(({ data }) => data), plain.latents.map(({ data }) => data))
})

for (const strength of [1, 0.6])
  test(`inpainting with strength ${strength} follows diffusers' loop`, async t => {
    const shape = [2, 4, 16, 16]
    const [posteriorNoise, noise, unused] = [noiseOf(1, [1, 4, 16, 16]), noiseOf(2, shape), noiseOf(3, [1, 4, 16, 16])]
    const { latents } = await runWithNoise(
      sd, { ...base, steps: 5, count: 2, image: spot(), mask: rightHalf(), strength }, new NoiseList([posteriorNoise, noise, unused]),
    )

    const sampler = createSampler(sd.schedulerConfig)
    sampler.setTimesteps(5)
    const skipped = 5 - Math.min(Math.trunc(5 * strength), 5)
    const factor = sd.vae.config.scalingFactor
    const sampled = await samplePosterior(await sd.vae.encode(await fromPixels(spot().data, 64, 64)), posteriorNoise)
    const original = tile({ data: sampled.data.map(value => value * factor), shape: sampled.shape }, 2)
    const mask = (i: number): number => (i % 16 >= 8 ? 1 : 0)
    const text = await sd.textEncoder.encode([
      ...new Array(2).fill(sd.tokenizer.encode('')), ...new Array(2).fill(sd.tokenizer.encode(base.prompt)),
    ])
    let x = strength === 1
      ? { data: noise.data.map(value => value * sampler.initNoiseSigma), shape }
      : sampler.addNoise(original, noise, skipped)
    for (let i = skipped; i < 5; i++) {
      const output = await sd.unet.forward({
        sample: tile(sampler.scaleInput(x, i), 2), timestep: sampler.timesteps[i], encoderHiddenStates: text,
      })
      const made = sampler.step(guide(output.sample, base.guidanceScale), i, x, {})
      const kept = i < 4 ? sampler.addNoise(original, noise, i + 1) : original
      x = { data: made.data.map((value, k) => (1 - mask(k)) * kept.data[k] + mask(k) * value), shape }
      const difference = maxAbsDiff(x.data, latents[i - skipped].data)
      t.true(difference < 1e-4, `step ${i}: ${difference}`)
    }
    t.is(latents.length, 5 - skipped)
  })

test('an inpainting UNet of nine channels sees mask and masked picture', async t => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'asdm-inpaint-'))
  t.teardown(() => fs.rmSync(folder, { recursive: true }))
  await makeInpaintingModel(folder)
  const nine = await StableDiffusion.load(folder, { threads: 2 })
  t.teardown(() => nine.dispose())
  await t.throwsAsync(nine.generate(base), { message: /image and a mask/ })

  const [width, height] = [128, 128]
  const image = spot(128)
  const mask = rightHalf(128)
  const small = [1, 4, 16, 16]
  const [noise, maskedNoise] = [noiseOf(2, small), noiseOf(3, small)]
  const options = { ...base, steps: 3, sampler: 'ddim', image, mask, width, height }
  const { latents } = await runWithNoise(nine, options, new NoiseList([noise, maskedNoise]))

  const sampler = createSampler('ddim', nine.schedulerConfig)
  sampler.setTimesteps(3)
  const picture = await fromPixels(image.data, width, height)
  const hidden = { data: picture.data.map((value, i) => (i % 128 >= 64 ? 0 : value)), shape: picture.shape }
  const factor = nine.vae.config.scalingFactor
  const sampled = await samplePosterior(await nine.vae.encode(hidden), maskedNoise)
  const condition = [
    { data: Float32Array.from({ length: 256 }, (_, i) => (i % 16 >= 8 ? 1 : 0)), shape: [1, 1, 16, 16] },
    { data: sampled.data.map(value => value * factor), shape: small },
  ]
  const text = await nine.textEncoder.encode([nine.tokenizer.encode(''), nine.tokenizer.encode(base.prompt)])
  let x: Tensor = noise
  for (let i = 0; i < 3; i++) {
    const output = await nine.unet.forward({
      sample: tile(joinChannels([x, ...condition]), 2), timestep: sampler.timesteps[i], encoderHiddenStates: text,
    })
    x = sampler.step(guide(output.sample, base.guidanceScale), i, x, {})
    t.true(maxAbsDiff(x.data, latents[i].data) < 1e-4, `step ${i}`)
  }
  // With part of the picture left in, its own posterior is drawn first.
  await t.notThrowsAsync(runWithNoise(nine, { ...options, strength: 0.7 }, new NoiseList([noiseOf(1, small), noise, maskedNoise])))
})

test('latents are divided by the scaling factor before they are decoded', t => {
  t.deepEqual(unscale({ data: Float32Array.of(1, 2), shape: [1, 2] }, 0.5, 0), { data: Float32Array.of(2, 4), shape: [1, 2] })
})

/** sd15-tiny with five more input channels of random weights. */
async function makeInpaintingModel(folder: string): Promise<void> {
  fs.cpSync(fixture('sd15-tiny'), folder, { recursive: true, filter: source => !/expected\.|unet/.test(path.basename(source)) })
  fs.mkdirSync(path.join(folder, 'unet'))
  const config = JSON.parse(fs.readFileSync(fixture('sd15-tiny', 'unet', 'config.json'), 'utf8'))
  fs.writeFileSync(path.join(folder, 'unet', 'config.json'), JSON.stringify({ ...config, in_channels: 9 }))
  const file = fs.readdirSync(fixture('sd15-tiny', 'unet')).find(name => name.endsWith('.safetensors'))!
  const bytes = fs.readFileSync(fixture('sd15-tiny', 'unet', file))
  const { tensors } = await readSafetensorsHeader(fixture('sd15-tiny', 'unet', file))
  await writeSafetensors(path.join(
    folder, 'unet', 'diffusion_pytorch_model.safetensors',
  ), [...tensors].map(([name, { dtype, shape, begin, end }]) => {
    const data = bytes.subarray(begin, end)
    if (name !== 'conv_in.weight') return { name, dtype, shape, data }
    const [out, , ...kernel] = shape
    return { name, dtype: 'F32', shape: [out, 9, ...kernel], data: noiseOf(4, [out, 9, ...kernel]).data.map(value => value * 0.1) }
  }))
}
