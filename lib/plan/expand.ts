import { AsdmError, shown } from '../errors'
import { anyFull } from './mode'
import { resolveInherit } from './names'
import { mainUNet, type Feature, type GuidanceKind, type Inherit, type Plan, type RulePlan, type StepPlan } from './plan'

/** One step of a run with everything said. */
export interface ExpandedStep {
  /** The UNet that runs. */
  unet: string
  /** No prefix twice with the same feature; empty at a full step. */
  inherit: { prefix: string, feature: Feature }[]
  /** Whether the unconditional pass runs. */
  guidance: GuidanceKind
}

/**
 * A plan written out for a run.
 * @param count the run's steps @param guided whether the request is guided at all; if not, what the plan says about guidance does not count
 * @throws AsdmError `INVALID_ARGUMENT` where the plan does not fit the run: a number of steps that is not the run's, a step that it does not
 * have, or something inherited that no earlier step computed
 */
export function expandPlan(plan: Plan, count: number, guided: boolean, where = 'plan'): ExpandedStep[] {
  const steps = 'steps' in plan ? expandSteps(plan, count, where) : expandRules(plan, count, guided, where)
  if (!guided) for (const step of steps) step.guidance = 'full'
  if ('steps' in plan) checkSources(steps, where)
  return steps
}

function expandSteps({ steps }: StepPlan, count: number, where: string): ExpandedStep[] {
  if (steps.length !== count)
    throw new AsdmError('INVALID_ARGUMENT', `Expected ${where}.steps to hold ${count}, one for each step of this run, but received ${shown(steps.length)}`)
  return steps.map(({ unet, inherit, guidance }) => ({ unet: unet ?? mainUNet, inherit: distinct(inherit ?? []), guidance: guidance ?? 'full' }))
}

function expandRules({ rules, guidance, unets = [] }: RulePlan, count: number, guided: boolean, where: string): ExpandedStep[] {
  const guidedSteps = guidance === undefined ? undefined : anyFull(guidance.when, count, `${where}.guidance.when`)
  const steps = Array.from({ length: count }, (_, i): ExpandedStep => {
    const rule = unets.findLast(({ from = 0, to = 0.5 }) => i / count >= from && i / count < to)
    // A direction is inherited from an earlier step, which the first one does not have.
    const full = guidedSteps === undefined || guidedSteps[i] || (i === 0 && guidance!.otherwise === 'inherit')
    return { unet: rule?.unet ?? mainUNet, inherit: [], guidance: full ? 'full' : guidance!.otherwise }
  })
  const inherits: Inherit[][] = steps.map(() => [])
  const first = firstSteps(guided ? steps : steps.map(step => ({ ...step, guidance: 'full' as const })))
  rules.forEach(({ inherit, when, unet = mainUNet }, r) => {
    const full = anyFull(when, count, `${where}.rules[${r}].when`)
    steps.forEach((step, i) => { if (step.unet === unet && !full[i] && !first.has(i)) inherits[i].push(...inherit) })
  })
  return steps.map((step, i) => ({ ...step, inherit: distinct(inherits[i]) }))
}

/** For each UNet its first step, and its first one that runs both halves of the batch: these have nothing to inherit from. */
function firstSteps(steps: readonly ExpandedStep[]): Set<number> {
  const first = new Set<number>()
  for (const unet of new Set(steps.map(step => step.unet))) {
    first.add(steps.findIndex(step => step.unet === unet))
    const both = steps.findIndex(step => step.unet === unet && step.guidance === 'full')
    if (both >= 0) first.add(both)
  }
  return first
}

/** What the addon would refuse too, but with the place in the plan. */
function checkSources(steps: readonly ExpandedStep[], where: string): void {
  for (const i of firstSteps(steps))
    if (steps[i].inherit.length > 0)
      throw new AsdmError('INVALID_ARGUMENT', `Expected an earlier step of the UNet ${shown(steps[i].unet)} to have computed what ${where}.steps[${i}].inherit[0] inherits, ${shown(steps[i].inherit[0].prefix)}, but ${
        steps.slice(0, i).some(step => step.unet === steps[i].unet) ? 'those before it run without the unconditional half' : 'it is the first one'}`)
  const direction = steps.findIndex(({ guidance }) => guidance === 'inherit')
  if (direction >= 0 && !steps.slice(0, direction).some(({ guidance }) => guidance === 'full'))
    throw new AsdmError('INVALID_ARGUMENT', `Expected an earlier guided step whose direction ${where}.steps[${direction}].guidance inherits but there is none`)
}

function distinct(inherits: readonly Inherit[]): { prefix: string, feature: Feature }[] {
  const seen = new Map<string, { prefix: string, feature: Feature }>()
  for (const inherit of inherits) {
    const resolved = resolveInherit(inherit)
    seen.set(`${resolved.feature} ${resolved.prefix}`, { ...resolved })
  }
  return [...seen.values()]
}
