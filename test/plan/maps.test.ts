import test from 'ava'
import { combine, list, mapFeatures, switchUNet, uniform } from '../../lib/plan/builders'
import type { PlanSource } from '../../lib/plan/source'
import type { DoneStep, Step } from '../../lib/progress'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { repoPath } from '../support/fixtures'

const emoji = repoPath('models', 'emoji')

let sd: StableDiffusion
test.before(async () => { sd = await StableDiffusion.load(emoji, { threads: 2, unets: { twin: emoji } }) })
test.after.always(async () => { await sd?.dispose() })

async function done(plan: PlanSource): Promise<DoneStep> {
  let last: Step | undefined
  for await (const step of sd.steps({ prompt: 'a 3d emoji of octopus', guidanceScale: 3, steps: 6, seed: 21, plan })) last = step
  return last as DoneStep
}

test('what a map hides at the first step of a UNet is computed where a later rule asks for it', async t => {
  // Step 2, the twin's first, takes up_blocks.1 over from the main UNet, so nobody reads its mid_block; step 3 is to inherit that.
  const rules = combine(
    switchUNet('twin', 2 / 6, 1), mapFeatures('full', 'twin', ['up_blocks.1']),
    list({ unet: 'twin', full: [3], inherit: ['up_blocks.1'] }), uniform({ unet: 'twin', every: 2, inherit: ['mid_block'] }),
  )
  const maps = [{ from: { unet: 'full', prefix: 'up_blocks.1' }, to: { unet: 'twin', prefix: 'up_blocks.1' } }]
  const twin = (...inherit: string[]) => ({ unet: 'twin', inherit })
  const steps = [{}, {}, twin('up_blocks.1'), twin(), twin('up_blocks.1'), twin('up_blocks.1', 'mid_block')]
  const [byRules, bySteps] = [await done(rules), await done({ version: 1, steps, maps })]
  t.deepEqual(byRules.images[0].rgba, bySteps.images[0].rgba)
  t.deepEqual(byRules.statistics!.stepShares, bySteps.statistics!.stepShares)
  t.deepEqual(byRules.statistics!.stepShares.map(share => share === 1), [true, true, false, true, false, false])
  // Said step by step it is an error, since nobody asked for a full step.
  steps[3] = twin('mid_block')
  await t.throwsAsync(done({ version: 1, steps, maps }), { code: 'INVALID_ARGUMENT', message: /step 3 inherits by "mid_block"/ })
})

test('a map has to fit whether or not its UNets run; messages have its number in the plan', async t => {
  const maps = combine(
    mapFeatures('full', 'twin', ['mid_block'], { mutual: true }), mapFeatures('twin', 'full', [{ from: 'up_blocks.1', to: 'up_blocks.3' }]),
  )
  for (const plan of [maps, combine(maps, switchUNet('twin', 0, 1)), combine(maps, switchUNet('twin', 0, 0.5))])
    await t.throwsAsync(done(plan), { code: 'SHAPE_MISMATCH', message: /Expected maps\[1\] to join values of the same shape but up_blocks/ })
})
