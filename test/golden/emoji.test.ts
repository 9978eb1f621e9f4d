import test from 'ava'
import type { Tensor } from '../../lib/base/tensor'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { loadExpected, maxAbsDiff, repoPath } from '../support/fixtures'
import { expectedRgba } from '../support/pipeline'

const expected = loadExpected('emoji')

let sd: StableDiffusion
test.before(async () => { sd = await StableDiffusion.load(repoPath('models', 'emoji'), { threads: 2 }) })
test.after.always(async () => { await sd?.dispose() })

for (const [i, wanted] of expected.json.cases.entries())
  test(`the shipped model draws "${wanted.prompt}" from seed ${wanted.seed} as diffusers does`, async t => {
    let latents: Tensor | undefined
    const [image] = await sd.generate({
      prompt: wanted.prompt, negativePrompt: wanted.negative_prompt, guidanceScale: wanted.guidance_scale,
      steps: wanted.num_inference_steps,
      sampler: wanted.scheduler, seed: wanted.seed,
      onProgress: step => { if (step.phase === 'denoise') latents = step.latents },
    })
    const difference = maxAbsDiff(latents!.data, expected.tensor(`case${i}/latents`).data)
    t.true(difference < 1e-3, `latents: ${difference}`)
    const picture = expected.tensor(`case${i}/image`)
    t.deepEqual([image.height, image.width], picture.shape.slice(2))
    const levels = maxAbsDiff(image.rgba, expectedRgba(picture))
    t.true(levels <= 1, `${levels} levels`)
  })

test("the checkpoint's own scheduler is the default", async t => {
  const { prompt, seed, num_inference_steps: steps, guidance_scale: guidanceScale } = expected.json.cases[0]
  const [image] = await sd.generate({ prompt, seed, steps, guidanceScale })
  t.true(maxAbsDiff(image.rgba, expectedRgba(expected.tensor('case0/image'))) <= 1)
})
