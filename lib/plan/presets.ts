import { combine, deepcache, type PlanBuilder } from './builders'
import { parsePlan } from './parse'
import type { RulePlan } from './plan'

/** Plans with plain names, from the nearest to the full run to the fastest. */
export const presetNames = ['quality', 'balanced', 'fast', 'fastest'] as const

/** The name of a preset. */
export type PresetName = typeof presetNames[number]

/** With fewer steps than these a preset loses to fewer steps at equal time, so that every step runs in full (docs/plans.md). */
const leastSteps: Readonly<Record<PresetName, number>> = { quality: 6, balanced: 6, fast: 6, fastest: 10 }

const plans: Readonly<Record<PresetName, RulePlan | PlanBuilder>> = {
  quality: deepcache(2, 2),
  balanced: combine(deepcache(2, 0)),
  fast: deepcache(3, 0),
  fastest: deepcache(5, 0),
}

/**
 * A plan by its name. All are measured: each is nearer to the full run than fewer steps of the same sampler that take as long, or it backs
 * off to a full run, and its plan's name says so: with samplers that draw no noise between steps, where no plan beats fewer steps,
 * and where there are few steps.
 */
export function preset(name: PresetName): PlanBuilder {
  return context => {
    if (!context.stochastic) return inFull(`${name}: in full, since this sampler draws no noise between steps`)
    if (context.steps < leastSteps[name]) return inFull(`${name}: in full, since there are few steps`)
    const plan = plans[name]
    return { ...(typeof plan === 'function' ? plan(context) : plan), name }
  }
}

function inFull(name: string): RulePlan {
  return parsePlan({ version: 1, name, rules: [] }) as RulePlan
}
