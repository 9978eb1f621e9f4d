/** Models in bfloat16: how far their results are from float32's, and what stays exact. */
import test from 'ava'
import { TextEncoder } from '../../lib/components/text-encoder'
import { UNet } from '../../lib/components/unet'
import { VAE } from '../../lib/components/vae'
import { openUNet } from '../../lib/model/folder'
import { matchWeights } from '../../lib/model/weights'
import type { NativeModel } from '../../lib/native/binding'
import { loadAddon } from '../../lib/native/load'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { Tokenizer } from '../../lib/text/tokenizer'
import { fixture, loadExpected, repoPath } from '../support/fixtures'
import { graphs } from '../support/graph-runner'
import { randomFloats, runner } from '../support/op-runner'
import { forwardStep, passInputs } from '../support/passes'

/** Root of the mean square difference, relative to the reference's. */
function relativeRms(values: ArrayLike<number>, wanted: ArrayLike<number>): number {
  let square = 0, reference = 0
  for (let i = 0; i < wanted.length; i++) {
    square += (values[i] - wanted[i]) ** 2
    reference += wanted[i] ** 2
  }
  return Math.sqrt(square / reference)
}

const bound = 1e-2

// The first two are stored as float16, of whose weights bfloat16 loses some more.
for (const set of ['sd15-tiny', 'bk-sdm-base-tiny', 'sd21-tiny'])
  test(`${set}: a UNet pass on every kernel set is within ${bound} of float32`, async t => {
    const expected = loadExpected(set)
    for (const cpu of runner.sets('bf16')) {
      const unet = await UNet.load(fixture(set, 'unet'), { dtype: 'bf16', threads: 2, cpu })
      for (const { name, timesteps } of expected.json.unet.cases) {
        const given = {
          sample: expected.tensor(`unet/${name}/sample`), timestep: timesteps,
          encoderHiddenStates: expected.tensor(`unet/${name}/encoder_hidden_states`),
        }
        const difference = relativeRms((await unet.forward(given)).sample.data, expected.tensor(`unet/${name}/out`).data)
        t.true(difference <= bound, `${cpu} ${name}: ${difference}`)
        t.true(difference > 1e-4, `${cpu} ${name}: bfloat16 was not used`)
      }
      await unet.dispose()
    }
  })

for (const set of ['sd15-tiny', 'sd21-tiny'])
  test(`${set}: the text encoder is within 1e-2 of float32, the VAE within 2e-2`, async t => {
    const tokenizer = await Tokenizer.load(fixture(set, 'tokenizer'))
    const expected = loadExpected(set)
    const encode = async (dtype: 'fp32' | 'bf16') => {
      const encoder = await TextEncoder.load(fixture(set, 'text_encoder'), { dtype, threads: 2 })
      const { data } = await encoder.encode(expected.json.text_encoder.texts.map((text: string) => tokenizer.encode(text)))
      await encoder.dispose()
      return data
    }
    const text = relativeRms(await encode('bf16'), await encode('fp32'))
    t.true(text <= 1e-2 && text > 1e-4, `text ${text}`)
    const latents = {
        shape: [1, 4, 8, 8], data: randomFloats(256, 5),
      }, picture = { shape: [1, 3, 32, 32], data: randomFloats(3072, 6, 0.5) }
    const both = async (dtype: 'fp32' | 'bf16') => {
      const vae = await VAE.load(fixture(set, 'vae'), { dtype, threads: 2 })
      const decoded = await vae.decode(latents), { mean } = await vae.encode(picture)
      await vae.dispose()
      return [decoded.data, mean.data]
    }
    const [bf16, fp32] = [await both('bf16'), await both('fp32')]
    bf16.forEach((data, i) => {
      const difference = relativeRms(data, fp32[i])
      t.true(difference <= 2e-2 && difference > 1e-4, `${['decoder', 'encoder'][i]} ${difference}`)
    })
  })

const same = (a: Float32Array, b: Float32Array): boolean =>
  Buffer.compare(Buffer.from(a.buffer, a.byteOffset, a.byteLength), Buffer.from(b.buffer, b.byteOffset, b.byteLength)) === 0

async function model(threads: number): Promise<NativeModel> {
  const { config, weights } = await openUNet(fixture('sd15-tiny', 'unet'))
  const unet = loadAddon().createModel({ kind: 'unet', config }, { dtype: 'bf16', threads, cpu: 'auto' })
  await unet.load(matchWeights(unet.weights(), weights, 'sd15-tiny')).promise
  return unet
}

const inputs = passInputs({
  sample: { shape: [2, 4, 8, 8], data: randomFloats(512, 1) },
  timesteps: Float32Array.of(501, 501),
  encoderHiddenStates: { shape: [2, 5, 48], data: randomFloats(480, 2) },
})

test('threads change nothing', async t => {
  const results = await Promise.all([1, 2, 5].map(async threads => {
    const unet = await model(threads)
    const { sample } = await unet.forward(inputs).promise
    unet.dispose()
    return sample.data
  }))
  t.true(same(results[1], results[0]) && same(results[2], results[0]))
})

test('a step that inherits from one with the same inputs differs by roundings only; from itself, in nothing', async t => {
  const unet = await model(2)
  const plain = (await unet.forward(inputs).promise).sample.data
  const names = unet.tapNames().filter(name => /^(up_blocks|down_blocks|mid_block)/.test(name))
  for (const prefix of names.filter((_, i) => i % 4 === 0)) {
    const inherit = [{ prefix, feature: 'output' as const }]
    const run = await unet.createRun(
      { batch: 2, height: 8, width: 8, length: 5 },
      [{ inherit: [], conditionalOnly: false }, { inherit, conditionalOnly: false }, { inherit, conditionalOnly: false }],
    ).promise
    const passes: Float32Array[] = []
    for (let step = 0; step < 3; step++) passes.push((await forwardStep(run, step, inputs)).sample.data)
    // What is kept is rounded where it might have been fused or have had a low part.
    t.true(relativeRms(passes[0], plain) < 1.5e-2, prefix)
    t.true(relativeRms(passes[1], passes[0]) < 1.5e-2, prefix)
    t.true(same(passes[2], passes[1]), prefix)
    run.dispose()
  }
  unet.dispose()
})

test('random graphs: poisoned memory and threads change no bit; fusing and taps change roundings only', t => {
  for (const set of runner.sets('bf16'))
    for (let seed = 1000; seed < 1020; seed++) {
      const base = { seed, set, threads: 1, fuse: true, poison: false, taps: false, dtype: 'bf16' as const }
      const result = graphs.randomGraph(base).outputs.conv_out
      t.true(result.every(Number.isFinite))
      for (const other of [{ poison: true }, { threads: 2, poison: true }, { threads: 5 }])
        t.true(same(graphs.randomGraph({ ...base, ...other }).outputs.conv_out, result), `${set} ${seed} ${JSON.stringify(other)}`)
      const exact = graphs.randomGraph({ ...base, dtype: 'fp32', set: 'portable' }).outputs.conv_out
      for (const other of [{}, { fuse: false, poison: true }, { taps: true, poison: true }]) {
        const difference = relativeRms(graphs.randomGraph({ ...base, ...other }).outputs.conv_out, exact)
        t.true(difference < 4e-2, `${set} ${seed} ${JSON.stringify(other)}: ${difference}`)
      }
    }
})

test('the shipped model draws 16 pictures as in float32, to 35 dB in the mean', async t => {
  const prompts = [
    'red apple', 'cat face', 'green tree', 'house', 'blue car', 'star', 'rocket', 'pizza', 'dog', 'sun', 'full moon', 'heart', 'fire',
    'flag', 'fish', 'bird',
  ]
  const draw = async (dtype: 'fp32' | 'bf16') => {
    const sd = await StableDiffusion.load(repoPath('models', 'emoji'), { dtype, threads: 2 })
    const pictures: Uint8ClampedArray[] = []
    for (const [seed, prompt] of prompts.entries()) pictures.push((await sd.generate({ prompt, seed, steps: 6 }))[0].rgba)
    await sd.dispose()
    return pictures
  }
  const [bf16, fp32] = [await draw('bf16'), await draw('fp32')]
  const decibels = bf16.map((picture, n) => {
    let square = 0, count = 0
    picture.forEach((value, i) => { if (i % 4 < 3) { square += (value - fp32[n][i]) ** 2; count++ } })
    return 10 * Math.log10(255 ** 2 / (square / count))
  })
  const mean = decibels.reduce((sum, value) => sum + value) / decibels.length
  t.true(mean >= 35, `mean ${mean}: ${decibels.map(value => value.toFixed(1)).join(' ')}`)
  t.true(mean < 90, 'bfloat16 was used')
})
