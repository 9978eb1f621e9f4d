import test from 'ava'
import { adaptive, combine, gateGuidance } from '../../lib/plan/builders'
import { expandPlan } from '../../lib/plan/expand'
import { unetFacts } from '../../lib/plan/names'
import type { RulePlan } from '../../lib/plan/plan'
import { preset, presetNames, presetPlan } from '../../lib/plan/presets'
import type { PlanReport, RunStatistics } from '../../lib/plan/report'
import { resolvePlan, type PlanSource } from '../../lib/plan/source'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { repoPath } from '../support/fixtures'

const emoji = repoPath('models', 'emoji')
const settings = { prompt: 'a 3d emoji of red apple', guidanceScale: 3, steps: 8, seed: 7 }
let sd: StableDiffusion
test.before(async () => { sd = await StableDiffusion.load(emoji, { threads: 1, unets: { twin: emoji } }) })
test.after.always(async () => { await sd?.dispose() })

async function run(
  plan: PlanSource | undefined, model = sd, more: object = {},
): Promise<{ rgba: Uint8ClampedArray, report?: PlanReport, statistics?: RunStatistics }> {
  let report: PlanReport | undefined, statistics: RunStatistics | undefined
  const [image] = await model.generate({
    ...settings, ...more, ...(plan !== undefined && { plan }),
    onProgress: step => {
      if (step.phase === 'plan') report = step.report
      if (step.phase === 'done') statistics = step.statistics
    },
  })
  return { rgba: image.rgba, report, statistics }
}
const inherit = ['up_blocks.3.1']
const rows = ({ inheriting }: RunStatistics): string => inheriting!.map(rules => rules.join('') || '#').join(' ')

test('the threshold decides, up to the longest run; the cost is a range before and known after', async t => {
  const never = await run(adaptive({ threshold: 0, inherit }))
  t.is(rows(never.statistics!), '# # # # # # # #')
  t.deepEqual(never.rgba, (await run(undefined)).rgba)
  const always = await run(adaptive({ threshold: 1000, most: 2, inherit }))
  t.is(rows(always.statistics!), '# 0 0 # 0 0 # 0')
  t.deepEqual(always.rgba, (await run('uniform:3,up_blocks.3.1')).rgba)
  for (const { report, statistics } of [never, always]) {
    t.true(report!.share === 1 && report!.least!.share < 0.6)
    t.is(report!.macs, report!.fullMacs)
    t.is(statistics!.keptBytes, report!.keptBytes)
  }
  t.is(never.statistics!.macs, never.report!.macs)
  t.is(always.statistics!.macs, always.report!.least!.macs)
  t.deepEqual(always.statistics!.stepShares, always.report!.least!.stepShares)
})

test('between them it depends on the pictures, is the same again and with other threads, and is a list of steps then', async t => {
  const plan = combine(
    adaptive({ threshold: 0.3, most: 3, inherit: ['up_blocks.2'] }),
    adaptive({ threshold: 0.15, most: 3, probe: 'conv_in', inherit: ['mid_block'], warmup: 3 }), gateGuidance(0.7, 'inherit'),
  )
  const first = await run(plan)
  const row = rows(first.statistics!)
  t.regex(row, /#.*[01]/)
  t.true(first.statistics!.share > first.report!.least!.share && first.statistics!.share < first.report!.share, row)
  const again = await run(plan)
  t.is(rows(again.statistics!), row)
  t.deepEqual(again.rgba, first.rgba)
  const other = await StableDiffusion.load(emoji, { threads: 3 })
  const threaded = await run(plan, other)
  t.is(rows(threaded.statistics!), row)
  t.deepEqual(threaded.rgba, first.rgba)
  await other.dispose()
  const steps = first.statistics!.inheriting!.map((rules, i) =>
    ({ inherit: rules.map(rule => ['up_blocks.2', 'mid_block'][rule]), guidance: i / 8 >= 0.7 ? 'inherit' as const : 'full' as const }))
  t.deepEqual((await run({ version: 1, steps })).rgba, first.rgba)
})

test('a UNet measures at its own steps; features cross with a map, which makes twins one', async t => {
  const uniform = {
    version: 1 as const,
    rules: [
      { inherit, when: { mode: 'uniform' as const, every: 4 } }, { inherit, when: { mode: 'uniform' as const, every: 4 }, unet: 'twin' },
    ],
  }
  const unets = [{ unet: 'twin', from: 0.25, to: 0.7 }]
  const end = (unet: string) => ({ unet, prefix: inherit[0] })
  const joined = await run({ ...uniform, unets, maps: [{ from: end('full'), to: end('twin'), mutual: true }] })
  const single = await run(uniform)
  t.deepEqual(joined.rgba, single.rgba)
  // The twin computes what depends on the text alone for itself, once.
  const more = (joined.statistics!.macs - single.statistics!.macs) / single.statistics!.fullMacs
  t.true(more >= 0 && more < 0.01)
  // Apart, the twin's first step has nothing to inherit.
  const apart = await run({ ...uniform, unets })
  t.true(apart.statistics!.macs > joined.statistics!.macs)
  const oneWay = await run({ ...uniform, unets, maps: [{ from: end('full'), to: end('twin') }] })
  t.is(oneWay.statistics!.macs, joined.statistics!.macs)
  const adaptiveTwin = await run(combine(adaptive({ threshold: 1000, most: 9, inherit, unet: 'twin' }), { version: 1, rules: [], unets }))
  t.is(rows(adaptiveTwin.statistics!), '# # # 0 0 0 # #')
  await t.throwsAsync(
    run({ ...uniform, unets, maps: [{ from: end('full'), to: { unet: 'twin', prefix: 'mid_block' } }] }),
    { code: 'SHAPE_MISMATCH', message: /maps\[0\]/ },
  )
})

test('an abort in the middle of adaptive steps leaves the model as it was', async t => {
  const before = (await run(adaptive({ threshold: 0.3, inherit }))).rgba
  const stop = new AbortController()
  const ended = sd.generate({
    ...settings, plan: adaptive({ threshold: 0.3, inherit }), signal: stop.signal,
    onProgress: step => { if (step.phase === 'denoise' && step.index === 3) stop.abort() },
  })
  t.is(await ended.then(() => '', (error: Error) => error.name), 'AbortError')
  t.deepEqual((await run(adaptive({ threshold: 0.3, inherit }))).rgba, before)
})

test('presets inherit, with samplers that draw no noise along lines, and back off at few steps, saying so', async t => {
  const facts = unetFacts(sd.unet.config, sd.unet.tapNames())
  for (const name of presetNames) {
    const resolve = (steps: number, stochastic: boolean) => resolvePlan(name, { unets: { full: facts }, steps, stochastic }) as RulePlan
    const inherits = (plan: RulePlan, steps: number): boolean => expandPlan(plan, steps, true).some(step => step.inherit.length > 0)
    for (const stochastic of [true, false]) {
      const { leastSteps, text } = presetPlan(name, { stochastic })
      t.is(resolve(leastSteps, stochastic).name, name)
      t.true(inherits(resolve(leastSteps, stochastic), leastSteps))
      t.deepEqual(resolve(leastSteps, stochastic), {
        ...resolvePlan(text, { unets: { full: facts }, steps: leastSteps, stochastic }) as RulePlan, name,
      })
      const plan = resolve(leastSteps - 1, stochastic)
      t.is(plan.name, `${name}: in full, since there are fewer than ${leastSteps} steps`)
      t.false(inherits(plan, leastSteps - 1))
      t.deepEqual(resolvePlan(preset(name), { unets: { full: facts }, steps: 50, stochastic }), resolve(50, stochastic))
    }
  }
  t.deepEqual((await run('fast')).rgba, (await run(undefined)).rgba)
  const calm = { sampler: 'ddim', steps: 15 }
  t.deepEqual((await run('balanced', sd, calm)).rgba, (await run('deepcache:2,0;extrapolate:0.75', sd, calm)).rgba)
  const noisy = { sampler: 'euler-ancestral' }
  t.deepEqual((await run('fast', sd, noisy)).rgba, (await run('deepcache:3,0', sd, noisy)).rgba)
  const both = await run('balanced;guidance:0.5', sd, noisy)
  t.true(both.report!.share < (await run('balanced', sd, noisy)).report!.share)
  t.throws(() => resolvePlan('fastt', { unets: { full: facts }, steps: 20, stochastic: true }), { message: /did you mean "fast"/ })
  t.throws(() => resolvePlan('fast:3', { unets: { full: facts }, steps: 20, stochastic: true }), { code: 'INVALID_ARGUMENT' })
})
