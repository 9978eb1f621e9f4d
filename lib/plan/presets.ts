import { deepcache, type PlanBuilder } from './builders'
import { parsePlan } from './parse'
import type { RulePlan } from './plan'

/** Plans with plain names, from the nearest to the full run to the fastest. */
export const presetNames = ['quality', 'balanced', 'fast', 'fastest'] as const

/** The name of a preset. */
export type PresetName = typeof presetNames[number]

/** What each preset does, and the steps that it needs: with fewer it was measured to lose to fewer steps at equal time (docs/plans.md). */
export const presets: Readonly<Record<PresetName, { plan: PlanBuilder, leastSteps: number }>> = {
  quality: { plan: deepcache(2, 2), leastSteps: 8 },
  balanced: { plan: deepcache(2, 0), leastSteps: 8 },
  fast: { plan: deepcache(3, 0), leastSteps: 8 },
  fastest: { plan: deepcache(5, 0), leastSteps: 15 },
}

/**
 * A plan by its name. All are measured: each is nearer to the full run than fewer steps of the same sampler that take as long, or it backs
 * off to a full run, and its plan's name says so: with samplers that draw no noise between steps, where no plan beats fewer steps,
 * and where there are few steps.
 */
export function preset(name: PresetName): PlanBuilder {
  return context => {
    if (!context.stochastic) return inFull(`${name}: in full, since this sampler draws no noise between steps`)
    const { plan, leastSteps } = presets[name]
    if (context.steps < leastSteps) return inFull(`${name}: in full, since there are fewer than ${leastSteps} steps`)
    return { ...plan(context), name }
  }
}

function inFull(name: string): RulePlan {
  return parsePlan({ version: 1, name, rules: [] }) as RulePlan
}
