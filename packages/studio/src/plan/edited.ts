/** A plan while it is edited: a preset, a rule, steps one by one, or what a file says. */
import type { Cost, Guidance, Inherit, Mode, PlanJson } from '../api/types'

/** What a step of a painted plan inherits. */
export interface PaintedStep {
  inherit: { prefix: string, feature: 'output' | 'branch' }[]
  guidance: Guidance
}

/** Full steps at an interval; between them something is inherited. */
export interface RuleEdit {
  kind: 'rule'
  every: number
  inherit: string[]
  warmup: number
  final: number
  /** Factor of extrapolation; 0 repeats values. */
  extrapolate: number
  /** What becomes of guidance after the share `guidedTo` of the run. */
  otherwise: 'conditional' | 'inherit'
  guidedTo: number
}

export type EditedPlan
  = | { kind: 'none' }
    | { kind: 'preset', name: string }
    | RuleEdit
    | { kind: 'steps', steps: PaintedStep[], extrapolate: number }
    | { kind: 'file', plan: PlanJson }

/** As the API takes it: a preset by its name. */
export function planOf(edited: EditedPlan): PlanJson | string | undefined {
  switch (edited.kind) {
    case 'none': return undefined
    case 'preset': return edited.name
    case 'file': return edited.plan
    case 'rule': return planOfRule(edited)
    case 'steps': return {
      version: 1, name: 'painted', ...(edited.extrapolate > 0 && { extrapolate: edited.extrapolate }),
      steps: edited.steps.map(({ inherit, guidance }) =>
        ({ ...(inherit.length > 0 && { inherit: inherit.map(shortest) }), ...(guidance !== 'full' && { guidance }) })),
    }
  }
}

function planOfRule({ every, inherit, warmup, final, extrapolate, otherwise, guidedTo }: RuleEdit): PlanJson {
  const when: Mode[] = [
    { mode: 'uniform', every }, ...(warmup > 0 ? [{ mode: 'warmup', steps: warmup }] : []), ...(final > 0 ? [{ mode: 'final', steps: final }] : []),
  ]
  return {
    version: 1, name: `every ${every}`, rules: inherit.length > 0 && every > 1 ? [{ inherit, when: when.length === 1 ? when[0]! : when }] : [],
    ...(guidedTo < 1 && { guidance: { otherwise, when: { mode: 'window', from: guidedTo, to: 1 } as Mode } }),
    ...(extrapolate > 0 && { extrapolate }),
  }
}

/** The feature that a prefix has where none is named. */
function ownFeature(prefix: string): 'output' | 'branch' {
  return /(?:^|\.)(?:(?:resnets|attentions)\.\d+|attn1|attn2|ff)$/.test(prefix) ? 'branch' : 'output'
}

function shortest({ prefix, feature }: PaintedStep['inherit'][number]): Inherit {
  return feature === ownFeature(prefix) ? prefix : { prefix, feature }
}

/** Any plan as steps that can be painted: what it says for a run. */
export function toSteps(edited: EditedPlan, cost: Cost): { kind: 'steps', steps: PaintedStep[], extrapolate: number } {
  if (edited.kind === 'steps') return edited
  const { extrapolate } = cost.plan as unknown as PlanJson
  return { kind: 'steps', steps: cost.steps.map(({ inherit, guidance }) => ({ inherit: [...inherit], guidance })), extrapolate: extrapolate ?? 0 }
}

/** Whether a prefix stands for a part of another, or for the same. A layer is its ResNet and its transformer. */
export function inside(prefix: string, other: string): boolean {
  const spelled = (name: string): string[] => {
    const layer = /^((?:down|up)_blocks\.\d+|mid_block)\.(\d+)$/.exec(name)
    return layer === null ? [name] : [`${layer[1]}.resnets.${layer[2]}`, `${layer[1]}.attentions.${layer[2]}`]
  }
  const outer = spelled(other)
  return spelled(prefix).every(each => outer.some(name => each === name || each.startsWith(`${name}.`)))
}

/** A plan with a step that inherits a prefix, or computes it. What lies inside it goes with it. */
export function paint(steps: readonly PaintedStep[], at: number, prefix: string, on: boolean): PaintedStep[] {
  return steps.map((step, i) => {
    if (i !== at || i === 0) return step
    const rest = step.inherit.filter(each => !inside(each.prefix, prefix) && !inside(prefix, each.prefix))
    return { ...step, inherit: on ? [...rest, { prefix, feature: ownFeature(prefix) }] : rest }
  })
}

/** The next of what a step may do about guidance. The first step is guided. */
export function turnGuidance(steps: readonly PaintedStep[], at: number): PaintedStep[] {
  const next: Record<Guidance, Guidance> = { full: 'conditional', conditional: 'inherit', inherit: 'full' }
  return steps.map((step, i) => (i === at && i > 0 ? { ...step, guidance: next[step.guidance] } : step))
}

/** Painted steps stretched or cut to another number of them. */
export function fitSteps(steps: readonly PaintedStep[], count: number): PaintedStep[] {
  return Array.from({ length: count }, (_, i) =>
    (i === 0 ? { inherit: [], guidance: 'full' } : steps[Math.min(steps.length - 1, Math.floor(i * steps.length / count))] ?? { inherit: [], guidance: 'full' }))
}
