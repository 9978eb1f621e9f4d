import test from 'ava'
import { StableDiffusion } from '../../lib'
import { unetFacts } from '../../lib/plan/names'
import { presetPlan } from '../../lib/plan/presets'
import { resolvePlan } from '../../lib/plan/source'
import { fixture } from '../support/fixtures'

test('plans count the runs of the UNet, and inherit in the second run of a step', async t => {
  const sd = await StableDiffusion.load(fixture('sd15-tiny'), { threads: 2 })
  t.teardown(() => sd.dispose())
  const request = { prompt: 'x', steps: 4, width: 64, height: 64, seed: 3 }
  for (const sampler of ['heun', 'dpmpp-2s-ancestral', 'dpmpp-sde']) {
    const shares: number[] = []
    for await (const step of sd.steps({ ...request, sampler, plan: 'deepcache:2,0' }))
      if (step.phase === 'plan') shares.push(...step.report.stepShares)
    t.is(shares.length, 7, sampler)
    t.true(shares.every((share, i) => (i % 2 === 0 ? share === 1 : share < 1)), `${shares}`)
  }
  const [plain] = await sd.generate({ ...request, sampler: 'heun' })
  const [listed] = await sd.generate({ ...request, sampler: 'heun', plan: { version: 1, steps: Array.from({ length: 7 }, () => ({})) } })
  t.deepEqual(listed.rgba, plain.rgba)
  await t.throwsAsync(sd.generate({ ...request, sampler: 'heun', plan: { version: 1, steps: [{}, {}, {}, {}] } }),
    { code: 'INVALID_ARGUMENT', message: /to hold 7, one for each step/ })

  // Presets know how many steps of the sampler that is.
  const unets = { full: unetFacts(sd.unet.config, sd.unet.tapNames()) }
  const { leastSteps } = presetPlan('balanced', { stochastic: false })
  const named = (steps: number, order?: number) => resolvePlan('balanced', { unets, steps, order, stochastic: false }).name
  t.is(named(2 * leastSteps - 1, 2), 'balanced')
  t.regex(named(2 * leastSteps - 3, 2)!, /fewer than/)
  t.is(named(2 * leastSteps - 3), 'balanced')
})
