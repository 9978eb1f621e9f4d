import test from 'ava'
import type { Tensor } from '../../lib/base/tensor'
import { unscale } from '../../lib/pipeline'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { encodeText } from '../../lib/text/encode'
import { FeatureCache } from '../../lib/text/feature-cache'
import { fixture, loadExpected, maxAbsDiff } from '../support/fixtures'
import { expectedRgba, NoiseList, runWithNoise, slice } from '../support/pipeline'

for (const set of ['sd15-tiny', 'sd21-tiny']) {
  const expected = loadExpected(set)
  const { prompt, negative_prompt: negativePrompt, guidance_scale: guidanceScale, runs } = expected.json.pipeline
  const tensors = (prefix: string, name: string): Tensor[] => {
    if (!expected.has(`${prefix}/${name}`)) return []
    const stacked = expected.tensor(`${prefix}/${name}`)
    return Array.from({ length: stacked.shape[0] }, (_, i) => slice(stacked, i))
  }
  let sd: StableDiffusion
  test.before(async () => { sd = await StableDiffusion.load(fixture(set), { threads: 2, onWarning: () => {} }) })
  test.after.always(async () => { await sd?.dispose() })

  test(`${set}: text features of both prompts`, async t => {
    const features = await encodeText(sd.tokenizer, sd.textEncoder, new FeatureCache(),
      { prompts: [prompt], negativePrompts: [negativePrompt], clipSkip: 0, promptWeighting: false }, () => {}, undefined)
    t.true(maxAbsDiff(slice(features, 0).data, expected.tensor('pipeline/negative_prompt_embeds').data) < 2e-5)
    t.true(maxAbsDiff(slice(features, 1).data, expected.tensor('pipeline/prompt_embeds').data) < 2e-5)
  })

  for (const [name, run] of Object.entries<any>(runs))
    test(`${set}: ${name}, every step and the picture`, async t => {
      const wanted = expected.tensor(`${run.tensors}/latents`)
      const image = expected.tensor(`${run.tensors}/image`)
      const [, , height, width] = image.shape
      const drawn = run.strength === undefined
        ? [expected.tensor('pipeline/initial_noise'), ...tensors(run.tensors, 'noises')]
        : [expected.tensor(`${run.tensors}/posterior_noise`), expected.tensor(`${run.tensors}/noise`)]
      const noise = new NoiseList(drawn)
      const input = run.strength === undefined
        ? {}
        : { image: toSigned(expected.tensor(`${run.tensors}/input_image`)), strength: run.strength }
      const { steps, latents, rgba } = await runWithNoise(sd, {
        prompt, negativePrompt, guidanceScale, steps: run.num_inference_steps, sampler: run.scheduler, width, height, ...input,
      }, noise)

      t.deepEqual(steps.flatMap(step => (step.phase === 'denoise' ? [step.timestep] : [])), run.timesteps)
      t.is(latents.length, wanted.shape[0])
      for (const [i, tensor] of latents.entries()) {
        const difference = maxAbsDiff(tensor.data, slice(wanted, i).data)
        t.true(difference < 1e-3, `step ${i}: ${difference}`)
      }
      t.is(noise.left, 0)

      const { scalingFactor, shiftFactor } = sd.vae.config
      const decoded = await sd.vae.decode(unscale(latents[latents.length - 1], scalingFactor, shiftFactor))
      const difference = maxAbsDiff(decoded.data.map(value => Math.min(1, Math.max(0, value / 2 + 0.5))), image.data)
      t.true(difference < 1e-4, `picture: ${difference}`)
      t.true(maxAbsDiff(rgba[0], expectedRgba(image)) <= 1)
    })
}

/** [0, 1] to [-1, 1]. */
function toSigned({ data, shape }: Tensor): Tensor {
  return { data: data.map(value => 2 * value - 1), shape }
}
