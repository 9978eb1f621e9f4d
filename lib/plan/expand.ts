import { AsdmError, shown } from '../base/errors'
import { boolean, integer } from '../base/options'
import { mapEdges, type MapEdge } from './maps'
import { adaptiveOf, anyFull, maxSteps, type AdaptiveMode } from './mode'
import { resolveInherit } from './names'
import { parsePlan } from './parse'
import { mainUNet, type Feature, type GuidanceKind, type Inherit, type Plan, type RulePlan, type StepPlan } from './plan'

/** A prefix and what is inherited of it. */
export interface ExpandedInherit {
  /** As in `Inherit`. */
  prefix: string
  /** As in `Inherit`. */
  feature: Feature
}

/** What an adaptive rule inherits at a step if its estimate allows it. */
export interface ExpandedChoice extends Omit<AdaptiveMode, 'mode'> {
  /** Number of the rule in the plan. */
  rule: number
  /** No prefix twice with the same feature. */
  inherit: ExpandedInherit[]
}

/** One step of a run with everything said. */
export interface ExpandedStep {
  /** The UNet that runs. */
  unet: string
  /** No prefix twice with the same feature; empty at a full step. */
  inherit: ExpandedInherit[]
  /** Whether the unconditional pass runs. */
  guidance: GuidanceKind
  /** What adaptive rules decide when the step comes; left out where there are none. */
  choices?: ExpandedChoice[]
}

/**
 * A plan written out for a run.
 * @param count the run's steps @param guided whether the request is guided at all; if not, what the plan says about guidance does not count
 * @throws AsdmError `INVALID_ARGUMENT` where a plan of steps does not fit the run: a number of steps that is not the run's, or something
 * inherited that no earlier step computed
 */
export function expandPlan(plan: Plan, count: number, guided: boolean, where = 'plan'): ExpandedStep[] {
  return expandParsed(parsePlan(plan, where), integer(count, 'count', 1, maxSteps), boolean(guided, 'guided'), where)
}

/** {@link expandPlan} of a plan that is checked. */
export function expandParsed(plan: Plan, count: number, guided: boolean, where = 'plan'): ExpandedStep[] {
  const steps = 'steps' in plan ? expandSteps(plan, count, where) : expandRules(plan, count, guided)
  if (!guided) for (const step of steps) step.guidance = 'full'
  if ('steps' in plan) checkSources(steps, mapEdges(plan.maps ?? []), where)
  return steps
}

function expandSteps({ steps }: StepPlan, count: number, where: string): ExpandedStep[] {
  if (steps.length !== count)
    throw new AsdmError('INVALID_ARGUMENT',
      `Expected ${where}.steps to hold ${count}, one for each step of this run, but received ${shown(steps.length)}`)
  return steps.map(({ unet, inherit, guidance }) =>
    ({ unet: unet ?? mainUNet, inherit: distinct(inherit ?? []), guidance: guidance ?? 'full' }))
}

function expandRules({ rules, guidance, unets = [], maps = [] }: RulePlan, count: number, guided: boolean): ExpandedStep[] {
  const guidedSteps = guidance === undefined ? undefined : anyFull(guidance.when, count)
  const steps = Array.from({ length: count }, (_, i): ExpandedStep => {
    const rule = unets.findLast(({ from = 0, to = 0.5 }) => i / count >= from && i / count < to)
    // A direction is inherited from an earlier step, which the first one does not have.
    const full = guidedSteps === undefined || guidedSteps[i] === true || (i === 0 && guidance!.otherwise === 'inherit')
    return { unet: rule?.unet ?? mainUNet, inherit: [], guidance: full ? 'full' : guidance!.otherwise }
  })
  const inherits: Inherit[][] = steps.map(() => [])
  const known = guided ? steps : steps.map(step => ({ ...step, guidance: 'full' as const }))
  const first = firstSteps(known)
  const edges = mapEdges(maps)
  rules.forEach(({ inherit, when, unet = mainUNet }, r) => {
    const full = anyFull(when, count)
    const adaptive = adaptiveOf(when)
    steps.forEach((step, i) => {
      if (step.unet !== unet || full[i]) return
      // A UNet's first step has only what maps give it, and nothing to measure a change by.
      if (first.has(i)) inherits[i]!.push(...(adaptive === undefined ? inherit.filter(each => isGiven(each, i, known, edges)) : []))
      else if (adaptive === undefined) inherits[i]!.push(...inherit)
      else if (inherit.length > 0)
        (step.choices ??= []).push({
          rule: r, threshold: adaptive.threshold, most: adaptive.most, probe: adaptive.probe, inherit: distinct(inherit),
        })
    })
  })
  return steps.map((step, i) => ({ ...step, inherit: distinct(inherits[i]!) }))
}

/** Does a map give this to step `i` of another UNet's earlier step, with both halves where it runs both? */
function isGiven(inherit: Inherit, i: number, steps: readonly ExpandedStep[], edges: readonly MapEdge[]): boolean {
  const { prefix, feature } = resolveInherit(inherit)
  const { unet, guidance } = steps[i]!
  return edges.some(({ from, to }) => to.unet === unet && to.prefix === prefix && to.feature === feature
    && steps.slice(0, i).some(step => step.unet === from.unet && (step.guidance === 'full' || guidance !== 'full')))
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
function checkSources(steps: readonly ExpandedStep[], edges: readonly MapEdge[], where: string): void {
  for (const i of firstSteps(steps)) {
    const { unet, inherit } = steps[i]!
    for (const [k, feature] of inherit.entries()) {
      if (isGiven(feature, i, steps, edges)) continue
      const reason = steps.slice(0, i).some(step => step.unet === unet)
        ? 'those before it run without the unconditional half'
        : 'it is the first one'
      throw new AsdmError('INVALID_ARGUMENT', `Expected an earlier step of the UNet ${shown(unet)} to have computed what `
        + `${where}.steps[${i}].inherit[${k}] inherits, ${shown(feature.prefix)}, but ${reason}`)
    }
  }
  const direction = steps.findIndex(({ guidance }) => guidance === 'inherit')
  if (direction >= 0 && !steps.slice(0, direction).some(({ guidance }) => guidance === 'full'))
    throw new AsdmError('INVALID_ARGUMENT',
      `Expected an earlier guided step whose direction ${where}.steps[${direction}].guidance inherits but there is none`)
}

function distinct(inherits: readonly Inherit[]): ExpandedInherit[] {
  const seen = new Map<string, ExpandedInherit>()
  for (const inherit of inherits) {
    const resolved = resolveInherit(inherit)
    seen.set(`${resolved.feature} ${resolved.prefix}`, { ...resolved })
  }
  return [...seen.values()]
}
