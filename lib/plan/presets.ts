import { oneOf } from '../base/options'
import { checkContext, combine, deepcache, extrapolate, type PlanBuilder, type PlanContext } from './builders'
import { parsePlan } from './parse'

/** Plans with plain names, from the nearest to the full run to the fastest. */
export const presetNames = ['quality', 'balanced', 'fast', 'fastest'] as const

/** The name of a preset. */
export type PresetName = typeof presetNames[number]

/**
 * What a preset does with one kind of sampler, and the steps that it needs: with fewer it was measured not to beat fewer steps at equal
 * time (docs/plans.md).
 */
interface PresetPlan {
  /** The plan as texts spell it. */
  text: string
  /** The plan. */
  plan: PlanBuilder
  /** With fewer steps it backs off. */
  leastSteps: number
}

/** @param factor of extrapolation */
function deepcacheFrom(leastSteps: number, interval: number, branch: number, factor: number): PresetPlan {
  const text = `deepcache:${interval},${branch}`
  return factor === 0
    ? { leastSteps, text, plan: deepcache(interval, branch) }
    : { leastSteps, text: `${text};extrapolate:${factor}`, plan: combine(deepcache(interval, branch), extrapolate(factor)) }
}

/** The presets' plans, for samplers that draw noise between steps and for those that do not. */
const presets: Readonly<Record<PresetName, { stochastic: PresetPlan, deterministic: PresetPlan }>> = {
  quality: { stochastic: deepcacheFrom(8, 2, 2, 0.5), deterministic: deepcacheFrom(40, 2, 2, 0.75) },
  balanced: { stochastic: deepcacheFrom(8, 2, 0, 0.5), deterministic: deepcacheFrom(15, 2, 0, 0.75) },
  fast: { stochastic: deepcacheFrom(8, 3, 0, 0), deterministic: deepcacheFrom(25, 3, 0, 0.75) },
  fastest: { stochastic: deepcacheFrom(20, 5, 0, 0), deterministic: deepcacheFrom(50, 4, 0, 0.75) },
}

/** What a preset does with this kind of sampler where there are steps enough. Exported for tests and scripts. */
export function presetPlan(name: PresetName, { stochastic }: Pick<PlanContext, 'stochastic'>): PresetPlan {
  return presets[name][stochastic ? 'stochastic' : 'deterministic']
}

/**
 * A plan by its name. All are measured: each is nearer to the full run than fewer steps of the same sampler that take as long, or, where
 * there are few steps, it backs off to a full run, and its plan's name says so.
 */
export function preset(name: PresetName): PlanBuilder {
  oneOf(name, 'the name of a preset', presetNames)
  return given => {
    const context = checkContext(given)
    const { plan, leastSteps } = presetPlan(name, context)
    // Measured with one run of the UNet a step; steps that take two leave twice the distance between them.
    if (Math.ceil(context.steps / (context.order ?? 1)) < leastSteps)
      return parsePlan({ version: 1, name: `${name}: in full, since there are fewer than ${leastSteps} steps`, rules: [] })
    return { ...plan(context), name }
  }
}
