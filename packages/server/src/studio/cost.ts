import { AsdmError, createSampler, expandPlan, parsePlan, preset, presetNames, type Plan, type PresetName, type RunInfo, type StableDiffusion } from 'asdm'
import { bad } from '../images'
import { latentShape, prefixesOf, type SizedModel } from './model'

/** A run whose plan is to be looked at. */
export interface CostBody extends SizedModel {
  /** A plan, or the name of a preset; every step in full if left out. */
  plan?: Plan | PresetName
  steps?: number
  sampler?: string
  eta?: number
  guidanceScale?: number
}

const mainUNet = 'full'

/**
 * What a plan makes of a run, unit by unit and step by step, without running anything.
 * @throws AsdmError `INVALID_ARGUMENT` where the plan does not fit the model or the run
 */
export async function costOf(sd: StableDiffusion, body: CostBody, signal: AbortSignal) {
  const sampler = body.sampler === undefined ? createSampler(sd.schedulerConfig) : createSampler(body.sampler, sd.schedulerConfig)
  sampler.setTimesteps(body.steps ?? sd.defaults.steps)
  const passes = sampler.timesteps.length
  const guided = sd.unet.config.timeCondDim === undefined && (body.guidanceScale ?? sd.defaults.guidanceScale) > 1
  const plan = resolve(sd, body.plan, {
    steps: passes, order: sampler.order, stochastic: sampler.timesteps.some((_, i) => sampler.needsNoise(i, { eta: body.eta ?? 0 })),
  })
  const steps = expandPlan(plan, passes, guided)
  const other = steps.find(({ unet }) => unet !== mainUNet)
  if (other !== undefined) throw bad(`plan to run the model's own UNet, "${mainUNet}",`, JSON.stringify(other.unet))
  const shape = latentShape(sd, body, guided)
  const run = await sd.unet.createRun(
    shape, steps.map(({ inherit, guidance, choices = [] }) =>
      ({ inherit, conditionalOnly: guidance !== 'full', choices: choices.map(choice => choice.inherit) })),
    { extrapolate: plan.extrapolate, computeMissing: 'rules' in plan }, [], { signal },
  )
  const { info } = run
  run.dispose()
  const [constants] = info.constants
  const fullMacs = info.fullMacs[0]! * passes + constants!.fullMacs
  return {
    plan, passes, order: sampler.order, guided, fullMacs, textMacs: constants!.macs, textBytes: constants!.bytes, keptBytes: info.keptBytes,
    macs: sumOf(info, 0, constants!.macs), leastMacs: sumOf(info, -1, constants!.macs), arenaBytes: sd.unet.describe(shape).arenaBytes,
    ...unitsOf(info), steps: steps.map(({ inherit, guidance, choices = [] }, i) => {
      const { variants } = info.steps[i]!
      const [first, last] = [variants[0]!, variants.at(-1)!]
      return {
        guidance, program: first.program, macs: first.macs,
        inherit: inherit.map(({ prefix, feature }) => ({ prefix, feature })),
        values: [...first.inherited, ...last.inherited].map(({ name, source }) => ({ name, source })),
        ...(choices.length > 0 && { adaptive: { program: last.program, macs: last.macs } }),
      }
    }),
  }
}

function resolve(
  sd: StableDiffusion, plan: Plan | PresetName | undefined, run: { steps: number, order: number, stochastic: boolean },
): Plan {
  const prefixes = prefixesOf(sd)
  const given = plan ?? { version: 1, rules: [] }
  const resolved = parsePlan(typeof given !== 'string'
    ? given
    : preset(presetOf(given))({ ...run, unets: { [mainUNet]: { config: sd.unet.config, prefixes } } }))
  const inherits = 'rules' in resolved ? resolved.rules : resolved.steps
  for (const inherit of inherits.flatMap(each => each.inherit ?? [])) {
    const prefix = typeof inherit === 'string' ? inherit : inherit.prefix
    if (!prefixes.has(prefix)) throw bad('plan to name blocks, layers and units of the model\'s UNet', JSON.stringify(prefix))
  }
  return resolved
}

function presetOf(name: string): PresetName {
  if ((presetNames as readonly string[]).includes(name)) return name as PresetName
  throw new AsdmError('INVALID_ARGUMENT', `Expected plan to be a plan or one of ${presetNames.join(', ')} but received ${JSON.stringify(name)}`)
}

/** Units by name once, and what runs by number. */
function unitsOf({ units, programs }: RunInfo): { units: string[], programs: number[][] } {
  const names = [...new Set([...units[0]!, ...programs.flat()])]
  const numbers = new Map(names.map((name, i) => [name, i]))
  return { units: names, programs: programs.map(program => program.map(name => numbers.get(name)!)) }
}

function sumOf({ steps }: RunInfo, variant: number, text: number): number {
  return steps.reduce((sum, { variants }) => sum + variants.at(variant)!.macs, text)
}
