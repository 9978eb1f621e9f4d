import path from 'node:path'
import test from 'ava'
import { TextEncoder } from '../../lib/components/text-encoder'
import { UNet } from '../../lib/components/unet'
import { VAE } from '../../lib/components/vae'
import { Tokenizer } from '../../lib/text/tokenizer'
import { fixture, loadExpected, maxAbsDiff } from '../support/fixtures'
import { slice } from '../support/pipeline'

const within = (t: { true(
  actual: boolean, message?: string,
): void }, actual: ArrayLike<number>, wanted: ArrayLike<number>, bound: number, what: string): void => {
  const difference = maxAbsDiff(actual, wanted)
  t.true(difference <= bound, `${what}: ${difference} is above ${bound}`)
}

for (const set of ['sd15-tiny', 'sd21-tiny', 'bk-sdm-base-tiny', 'bk-sdm-small-tiny', 'bk-sdm-tiny-tiny']) {
  const expected = loadExpected(set)

  test(`${set}: unet.forward gives the output and every hook`, async t => {
    const unet = await UNet.load(fixture(set, 'unet'), { dtype: 'fp32', threads: 2 })
    t.teardown(() => unet.dispose())
    for (const { name, timesteps, hooks } of expected.json.unet.cases) {
      const result = await unet.forward({
        sample: expected.tensor(`unet/${name}/sample`), timestep: timesteps, encoderHiddenStates: expected.tensor(`unet/${name}/encoder_hidden_states`), taps: hooks,
      })
      const wanted = expected.tensor(`unet/${name}/out`)
      t.deepEqual(result.sample.shape, wanted.shape)
      within(t, result.sample.data, wanted.data, 2e-5, name)
      t.deepEqual(Object.keys(result.taps).sort(), [...hooks].sort())
      // What happens inside a transformer is kept for the whole models only.
      for (const hook of set.startsWith('bk') ? hooks.filter((name: string) => !name.includes('.transformer_blocks.')) : hooks) {
        const tensor = expected.tensor(`unet/${name}/hooks/${hook}`)
        t.deepEqual(result.taps[hook].shape, tensor.shape, hook)
        within(t, result.taps[hook].data, tensor.data, 5e-5, hook)
      }
      const plain = await unet.forward({
        sample: expected.tensor(`unet/${name}/sample`), timestep: Float32Array.from(timesteps), encoderHiddenStates: expected.tensor(`unet/${name}/encoder_hidden_states`),
      })
      t.deepEqual(plain.sample, result.sample, 'taps change nothing')
      t.deepEqual(plain.taps, {})
    }
  })
}

for (const set of ['sd15-tiny', 'sd21-tiny']) {
  const expected = loadExpected(set)

  test(`${set}: tokens and text features`, async t => {
    const tokenizer = await Tokenizer.load(fixture(set, 'tokenizer'))
    const encoder = await TextEncoder.load(fixture(set, 'text_encoder'), { threads: 2 })
    t.teardown(() => encoder.dispose())
    const { texts, ids } = expected.json.text_encoder
    const tokens = texts.map((text: string) => tokenizer.encode(text))
    tokens.forEach((row: Int32Array, i: number) => t.deepEqual([...row], ids[i]))
    for (const [name, clipSkip] of [['last_hidden_state', 0], ['clip_skip_1', 1]] as const) {
      const wanted = expected.tensor(`text_encoder/${name}`)
      const batch = await encoder.encode(tokens, { clipSkip })
      t.deepEqual(batch.shape, wanted.shape)
      within(t, batch.data, wanted.data, 2e-5, name)
      t.deepEqual((await encoder.encode(tokens[0], { clipSkip })).data, slice(batch, 0).data, 'one alone is the same')
    }
  })

  test(`${set}: the VAE decodes and encodes`, async t => {
    const vae = await VAE.load(path.join(fixture(set), 'vae'), { threads: 2 })
    t.teardown(() => vae.dispose())
    t.is(vae.factor, 8)
    for (const { name } of expected.json.vae.decode) {
      const wanted = expected.tensor(`vae/${name}/image`)
      const image = await vae.decode(expected.tensor(`vae/${name}/latents`))
      t.deepEqual(image.shape, wanted.shape)
      within(t, image.data, wanted.data, 2e-5, name)
    }
    for (const { name } of expected.json.vae.encode) {
      const { mean, logvar } = await vae.encode(expected.tensor(`vae/${name}/image`))
      t.deepEqual(mean.shape, expected.tensor(`vae/${name}/mean`).shape)
      within(t, mean.data, expected.tensor(`vae/${name}/mean`).data, 2e-5, `${name} mean`)
      within(t, logvar.data, expected.tensor(`vae/${name}/logvar`).data, 2e-5, `${name} logvar`)
    }
  })
}
