import test from 'ava'
import { deepcache } from '../../lib/plan/builders'
import { unetFacts } from '../../lib/plan/names'
import { unscale } from '../../lib/pipeline'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { fixture, loadExpected, maxAbsDiff } from '../support/fixtures'
import { NoiseList, runWithNoise } from '../support/pipeline'

const expected = loadExpected('deepcache')
const noise = loadExpected('sd15-tiny').tensor('pipeline/initial_noise')
const { prompt, negative_prompt: negativePrompt, guidance_scale: guidanceScale, num_inference_steps: steps, scheduler } = expected.json

let sd: StableDiffusion
test.before(async () => { sd = await StableDiffusion.load(fixture('sd15-tiny'), { threads: 2, onWarning: () => {} }) })
test.after.always(async () => { await sd?.dispose() })

for (const [name, run] of Object.entries<{
  cache_interval: number
  cache_branch_id: number
  max_abs_change_of_final_latents?: number
}>(expected.json.runs))
  test(`${name} gives the latents and the picture of the reference package`, async t => {
    const plan = deepcache(run.cache_interval, run.cache_branch_id)
    const { latents } = await runWithNoise(
      sd, { prompt, negativePrompt, guidanceScale, steps, sampler: scheduler, width: 128, height: 128, plan }, new NoiseList([noise]),
    )
    const last = latents[latents.length - 1]
    const difference = maxAbsDiff(last.data, expected.tensor(`${name}/latents`).data)
    t.true(difference < 1e-3, `latents: ${difference}`)
    // So large is what inheriting changes: the comparison would see a plan that does nothing.
    if (run.max_abs_change_of_final_latents !== undefined)
      t.true(Math.abs(maxAbsDiff(last.data, expected.tensor('no_cache/latents').data) - run.max_abs_change_of_final_latents) < 1e-3)
    const { scalingFactor, shiftFactor } = sd.vae.config
    const { data } = await sd.vae.decode(unscale(last, scalingFactor, shiftFactor))
    const picture = Float32Array.from({ length: 3 * 32 * 32 }, (_, i) => {
      const [c, y, x] = [Math.floor(i / 1024), Math.floor(i / 32) % 32, i % 32]
      return Math.min(1, Math.max(0, data[c * 128 * 128 + 4 * y * 128 + 4 * x] / 2 + 0.5))
    })
    t.true(maxAbsDiff(picture, expected.tensor(`${name}/image`).data) < 1e-4)
  })

test('a branch names the value that enters the first layer that runs', t => {
  const facts = unetFacts(sd.unet.config, sd.unet.tapNames())
  const context = (layersPerBlock: number[], hasMidBlock = true) =>
    ({ unets: { full: { ...facts, config: { ...facts.config, layersPerBlock, hasMidBlock } } }, steps: 10, stochastic: false })
  const inherits = (branch: number, layers: number[], mid?: boolean) => {
    const plan = deepcache(3, branch)(context(layers, mid))
    return 'rules' in plan ? plan.rules[0].inherit : undefined
  }
  t.deepEqual(Array.from({ length: 12 }, (_, branch) => inherits(branch, [2, 2, 2, 2])), [
    ['up_blocks.3.1'], ['up_blocks.3.0'], ['up_blocks.2'], ['up_blocks.2.1'], ['up_blocks.2.0'], ['up_blocks.1'],
    ['up_blocks.1.1'], ['up_blocks.1.0'], ['up_blocks.0'], ['up_blocks.0.1'], ['up_blocks.0.0'], ['mid_block'],
  ])
  t.deepEqual(
    [0, 1, 2, 3, 4].map(branch => inherits(branch, [1, 2], false)),
    [['up_blocks.1.0'], ['up_blocks.0'], ['up_blocks.0.1'], ['up_blocks.0.0'], []],
  )
  t.throws(() => inherits(5, [1, 2]), { code: 'INVALID_ARGUMENT', message: /from 0 to 4/ })
  t.throws(() => deepcache(0), { code: 'INVALID_ARGUMENT' })
})
