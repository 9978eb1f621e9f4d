import test from 'ava'
import { combine, deepcache, extrapolate, gateGuidance } from '../../lib/plan/builders'
import { unetFacts } from '../../lib/plan/names'
import { resolvePlan, type PlanSource } from '../../lib/plan/source'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { repoPath } from '../support/fixtures'

let sd: StableDiffusion
test.before(async () => { sd = await StableDiffusion.load(repoPath('models', 'emoji'), { threads: 2 }) })
test.after.always(async () => { await sd?.dispose() })

async function rgba(plan?: PlanSource, more: object = {}): Promise<Uint8ClampedArray> {
  const [image] = await sd.generate({
    prompt: 'a 3d emoji of red apple', guidanceScale: 3, steps: 12, seed: 7, sampler: 'ddim', ...more, ...(plan !== undefined && { plan }),
  })
  return image.rgba
}

/** Mean of the squared differences of two pictures. */
const far = (a: Uint8ClampedArray, b: Uint8ClampedArray): number => a.reduce((sum, value, i) => sum + (value - b[i]) ** 2, 0) / a.length

test('a plan, a text and a combination that extrapolate are one; the last factor counts', t => {
  const context = { unets: { full: unetFacts(sd.unet.config, sd.unet.tapNames()) }, steps: 12, stochastic: false }
  const plan = resolvePlan('deepcache:2,0;extrapolate:0.5', context)
  t.is(plan.extrapolate, 0.5)
  t.deepEqual({ ...resolvePlan(combine(deepcache(2, 0), extrapolate(0.5)), context), name: plan.name }, plan)
  t.is(resolvePlan('deepcache:2,0;extrapolate', context).extrapolate, extrapolate().extrapolate)
  t.is(resolvePlan(combine(extrapolate(1), deepcache(2, 0), extrapolate(0)), context).extrapolate, 0)
  t.is(resolvePlan('deepcache:2,0', context).extrapolate, undefined)
})

test('extrapolated pictures are nearer to the full run; a factor of 0 changes nothing', async t => {
  const prompt = ['rocket', 'octopus', 'pizza', 'crown', 'heart', 'tree', 'cat', 'dog'].map(thing => `a 3d emoji of ${thing}`)
  const batch = async (plan?: PlanSource): Promise<Uint8ClampedArray[]> =>
    (await sd.generate({
      prompt, guidanceScale: 3, steps: 20, seed: 1000, sampler: 'ddim', ...(plan !== undefined && { plan }),
    })).map(image => image.rgba)
  const [full, still, continued] = [await batch(), await batch('deepcache:2,0'), await batch('deepcache:2,0;extrapolate')]
  const mean = (pictures: Uint8ClampedArray[]): number => pictures.reduce((sum, picture, i) => sum + far(picture, full[i]) / full.length, 0)
  t.true(mean(continued) > 0 && mean(continued) < mean(still) / 2, `${mean(continued)} and ${mean(still)}`)
  t.deepEqual(await batch('deepcache:2,0;extrapolate:0'), still)
  t.deepEqual(await batch(extrapolate(1)), full)
})

test('a plan of steps extrapolates as the rules it stands for, also where guidance stops', async t => {
  const rules = combine(deepcache(3, 0), gateGuidance(0.5), extrapolate(1))
  const steps = Array.from(
    { length: 12 },
    (_, i) => ({ ...(i % 3 !== 0 && { inherit: ['up_blocks.3.1'] }), guidance: i < 6 ? 'full' as const : 'conditional' as const }),
  )
  t.deepEqual(await rgba({ version: 1, steps, extrapolate: 1 }), await rgba(rules))
  t.notDeepEqual(await rgba({ version: 1, steps }), await rgba(rules))
})

test('with samplers of every kind the picture stays near', async t => {
  for (const sampler of ['ddim', 'euler', 'euler-ancestral', 'dpmpp-2m', 'unipc', 'lcm']) {
    const [full, continued] = [await rgba(undefined, { sampler }), await rgba('deepcache:2,2;extrapolate', { sampler })]
    t.true(far(continued, full) < 2000, `${sampler}: ${far(continued, full)}`)
  }
})
