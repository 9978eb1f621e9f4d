import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { tile, type Tensor } from '../../lib/base/tensor'
import { readSettings } from '../../lib/image/settings'
import { combine, deepcache, gateGuidance, switchUNet, uniform } from '../../lib/plan/builders'
import { loadPlan, savePlan } from '../../lib/plan/file'
import type { Plan } from '../../lib/plan/plan'
import { PlannedRun } from '../../lib/plan/planned-run'
import type { RunStatistics } from '../../lib/plan/report'
import type { DoneStep, Step } from '../../lib/progress'
import { TorchGenerator } from '../../lib/random/torch-generator'
import { guide } from '../../lib/samplers/guidance'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { aborts } from '../support/aborts'
import { maxAbsDiff, repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

const emoji = repoPath('models', 'emoji')
const request = { prompt: 'a 3d emoji of octopus', negativePrompt: 'flat', guidanceScale: 3, steps: 6, seed: 21 }

let sd: StableDiffusion
test.before(async () => { sd = await StableDiffusion.load(emoji, { threads: 2, unets: { twin: emoji } }) })
test.after.always(async () => { await sd?.dispose() })

const rgba = async (more: object = {}): Promise<Uint8ClampedArray> => (await sd.generate({ ...request, ...more }))[0].rgba
async function done(more: object): Promise<DoneStep> {
  let last: Step | undefined
  for await (const step of sd.steps({ ...request, ...more })) last = step
  return last as DoneStep
}

test('an empty plan gives the bits of no plan', async t => {
  for (const more of [{}, { guidanceScale: 1 }, { count: 2, sampler: 'euler-ancestral' }, { sampler: 'dpmpp-2m' }]) {
    const wanted = await rgba(more)
    t.deepEqual(await rgba({ ...more, plan: { version: 1, rules: [] } }), wanted)
    t.deepEqual(await rgba({ ...more, plan: { version: 1, steps: new Array(6).fill({}) } }), wanted)
    t.deepEqual(await rgba({ ...more, plan: deepcache(1) }), wanted)
  }
})

test('a request after another, or beside one of another model, gives what it gives alone', async t => {
  const plans: Plan[] = [
    uniform({ every: 2, inherit: ['up_blocks.2'] }), uniform({ every: 3, inherit: ['mid_block', 'down_blocks.0.resnets.1'], warmup: 1 }),
  ]
  const alone = [await rgba({ plan: plans[0] }), await rgba({ plan: plans[1], seed: 3 })]
  t.notDeepEqual(alone[0], await rgba())
  const both = await Promise.all([rgba({ plan: plans[0] }), rgba({ plan: plans[1], seed: 3 }), rgba({ plan: plans[0] })])
  t.deepEqual(both, [alone[0], alone[1], alone[0]])
  const first = sd.steps({ ...request, plan: plans[0] })
  for (let i = 0; i < 4; i++) await first.next()
  await first.return([])
  t.deepEqual(await rgba({ plan: plans[1], seed: 3 }), alone[1])
})

test('an aborted request leaves the model as it was', async t => {
  const plan = deepcache(2, 1)
  const wanted = await rgba({ plan })
  const stop = new AbortController()
  await aborts(
    t,
    sd.generate({ ...request, steps: 40, plan, signal: stop.signal, onProgress: step => {
      if (step.phase === 'denoise' && step.index === 3)
        stop.abort()
    } }),
  )
  t.deepEqual(await rgba({ plan }), wanted)
})

test('disposing of the model in the middle of a planned request ends it', async t => {
  const other = await StableDiffusion.load(emoji, { threads: 1 })
  await aborts(
    t,
    other.generate({ ...request, steps: 40, plan: deepcache(3), onProgress: step => {
      if (step.phase === 'denoise' && step.index === 2)
        void other.dispose()
    } }),
  )
  await other.dispose()
  await t.throwsAsync(other.generate({ ...request, plan: deepcache(3) }), { code: 'DISPOSED' })
})

test('the report comes before the first step, the statistics with the last', async t => {
  const steps: Step[] = []
  for await (const step of sd.steps({ ...request, plan: combine(deepcache(3), gateGuidance(0.5)) })) steps.push(step)
  t.deepEqual(
    steps.map(({ phase }) => phase), ['text', 'plan', 'denoise', 'denoise', 'denoise', 'denoise', 'denoise', 'denoise', 'decode', 'done'],
  )
  const plan = steps[1]
  const statistics = (steps[9] as DoneStep).statistics as RunStatistics
  t.is(plan.phase, 'plan')
  if (plan.phase !== 'plan') return
  const { stepMs, speedUp, ...report } = statistics
  t.deepEqual(report, plan.report)
  t.is(stepMs.length, 6)
  t.true(stepMs.every(ms => ms > 0))
  // The text's keys and values are computed once, with a plan as without.
  t.true(report.textMacs > 0 && report.textBytes > 0)
  const passes = report.stepShares.reduce((sum, share) => sum + share, 0) / 6
  t.true(Math.abs(passes * (report.fullMacs - report.textMacs) + report.textMacs - report.macs) < 1e-12 * report.macs)
  t.is(report.stepShares[0], 1)
  t.is(report.stepShares[3], 0.5)
  t.is(report.stepShares[4], report.stepShares[1] / 2)
  // The one kept value: the output of up_blocks.3.1, 48 channels of 16x16 for two samples.
  t.is(report.keptBytes, 2 * 48 * 16 * 16 * 4)
  t.is(speedUp.counted, 1 / report.share)
  t.true(speedUp.measured! > 0)
  t.is((await done({})).statistics, undefined)
})

test('guidance: conditional steps are steps without guidance; without a direction inheriting it is nothing', async t => {
  // From the first step on without guidance: what guidanceScale 1 gives.
  const none = { version: 1, rules: [], guidance: { otherwise: 'conditional', when: { mode: 'window', from: 0, to: 1 } } }
  t.deepEqual(await rgba({ plan: none }), await rgba({ guidanceScale: 1, negativePrompt: undefined }))
  t.is((await done({ plan: none })).statistics!.share, 0.5)
  const same = { version: 1, rules: [], guidance: { otherwise: 'inherit', when: { mode: 'uniform', every: 2 } } }
  // Equal prompts have no direction, so inheriting it is leaving it out.
  const equal = { negativePrompt: request.prompt }
  t.true(maxAbsDiff(await rgba({ ...equal, plan: same }), await rgba(equal)) <= 1)
})

test('an inherited direction is that of the last guided step, along which the new conditional output is guided', async t => {
  const random = new TorchGenerator(4)
  const [first, second] = [random.randn([2, 4, 16, 16]), random.randn([2, 4, 16, 16])]
  const text = random.randn([4, 77, sd.unet.config.crossAttentionDim])
  const steps = (['full', 'inherit', 'inherit', 'conditional'] as const).map(guidance => ({ unet: 'full', inherit: [], guidance }))
  const run = await PlannedRun.compile({ full: sd.unet }, steps, { images: 2, height: 16, width: 16, length: 77, guided: true })
  const { signal } = new AbortController()
  await run.condition({ encoderHiddenStates: text }, signal)
  const outputs = []
  for (const [i, sample] of [first, first, second, second].entries())
    outputs.push(await run.step(i, sample, 500, 3, signal))
  run.dispose()
  const both = async (sample: Tensor): Promise<Tensor> =>
    (await sd.unet.forward({ sample: tile(sample, 2), timestep: 500, encoderHiddenStates: text })).sample
  const [a, b] = [await both(first), await both(second)]
  const half = a.data.length / 2
  t.deepEqual(outputs[0], guide(a, 3))
  t.true(maxAbsDiff(outputs[1].data, outputs[0].data) < 1e-5)
  const wanted = Float32Array.from({ length: half }, (_, i) => b.data[half + i] + 2 * (a.data[half + i] - a.data[i]))
  t.true(maxAbsDiff(outputs[2].data, wanted) < 1e-5)
  t.true(maxAbsDiff(outputs[2].data, guide(b, 3).data) > 1e-3)
  t.deepEqual(outputs[3].data, b.data.slice(half))
})

test('a plan names UNets; a twin of the main one gives its bits', async t => {
  t.deepEqual(Object.keys(sd.unets), ['twin'])
  t.deepEqual(await rgba({ plan: switchUNet('twin', 0, 0.5) }), await rgba())
  // A direction of guidance crosses UNets.
  t.deepEqual(
    await rgba({ plan: combine(switchUNet('twin', 0, 0.5), gateGuidance(0.5, 'inherit')) }), await rgba({ plan: gateGuidance(0.5, 'inherit') }),
  )
  // Features stay with their UNet: the first step of each is full.
  const { statistics } = await done({
    plan: combine(
      switchUNet('twin', 0, 0.5), uniform({ every: 3, inherit: ['up_blocks.2'] }),
      uniform({ every: 3, inherit: ['up_blocks.2'], unet: 'twin' }),
    ),
  })
  t.deepEqual(statistics!.stepShares.map(share => share === 1), [true, false, false, true, false, false])
  await t.throwsAsync(rgba({ plan: switchUNet('twim') }), {
    code: 'INVALID_ARGUMENT', message: /plan\.unets\[0\]\.unet.*did you mean "twin"/,
  })
  await t.throwsAsync(
    rgba({ plan: { version: 1, steps: [{}, { unet: 'twin', inherit: ['mid_block'] }, {}, {}, {}, {}] } }),
    { code: 'INVALID_ARGUMENT', message: /plan\.steps\[1\]\.inherit\[0\]/ },
  )
  for (const unets of [{ full: emoji }, { 'a b': emoji }, { light: 3 }, [emoji], 'x'])
    await t.throwsAsync(StableDiffusion.load(emoji, { unets: unets as never }), { code: 'INVALID_ARGUMENT' })
  await t.throwsAsync(
    StableDiffusion.load(emoji, { unets: { light: repoPath('build', 'fixtures', 'sd15-tiny') } }),
    { code: 'SHAPE_MISMATCH', message: /crossAttentionDim/ },
  )
})

test('the plan is in the picture, whose settings make it again', async t => {
  const folder = temporaryFolder(t)
  const [image] = await sd.generate({ ...request, plan: 'deepcache:2,1;guidance:0.7,inherit' })
  const file = await image.save(path.join(folder, 'a.png'))
  const settings = await readSettings(file)
  t.deepEqual(settings, JSON.parse(JSON.stringify(image.settings)))
  t.is(settings!.plan!.name, 'deepcache:2,1;guidance:0.7,inherit')
  t.deepEqual(await rgba({ plan: settings!.plan }), image.rgba)
  await savePlan(settings!.plan!, path.join(folder, 'plans', 'p.json'))
  t.deepEqual(await loadPlan(path.join(folder, 'plans', 'p.json')), settings!.plan)
  t.deepEqual(fs.readdirSync(path.join(folder, 'plans')), ['p.json'])
  t.is((await sd.generate({ ...request, steps: 1 }))[0].settings.plan, undefined)
})
