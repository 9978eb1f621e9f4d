import { computed, effect, signal } from '@preact/signals'
import { api, ApiError, isAbort, sentenceOf } from '../api/client'
import type { Cost, Profile } from '../api/types'
import { details, modelName } from '../state/models'
import { request } from '../state/request'
import { speeds } from '../state/speed'
import { stored } from '../state/stored'
import { page } from '../state/view'
import { fitSteps, planOf, type EditedPlan } from './edited'
import { cachedUnitMs } from './time'

/** The plan of the plan page. */
export const edited = stored<EditedPlan>('plan', { kind: 'preset', name: 'balanced' })

/** What it costs; the one before while a new one is counted. */
export const cost = signal<Cost | undefined>(undefined)

/** The plan that this is the cost of: not the edited one for a moment after a change. */
export const counted = signal<EditedPlan | undefined>(undefined)

/** Why it does not fit. */
export const problem = signal<string | undefined>(undefined)

/** Profiles that were measured, by model and size. */
export const profiles = signal<Record<string, Profile>>({})

/** Whether there is a plan to run by. */
export const planned = computed(() => edited.value.kind !== 'none')

/** What the plan is called. */
export const planName = computed(() => {
  const plan = edited.value
  switch (plan.kind) {
    case 'none': return 'no plan'
    case 'preset': return plan.name
    case 'rule': return `a full step in ${plan.every}`
    case 'steps': return 'the painted plan'
    case 'file': return plan.plan.name ?? 'the plan of a file'
  }
})

/** The plan as jobs take it. */
export const planForRequest = computed(() => planOf(edited.value))

/** By what a profile is found again. */
export function profileKey(model: string | undefined, width: number | undefined, height: number | undefined): string {
  return `${model ?? ''} ${width ?? ''}x${height ?? ''}`
}

const profile = computed(() => profiles.value[profileKey(modelName.value, request.value.width, request.value.height)])

/** Predicted milliseconds of each step, of the plan and in full; by the profile, or by the speed of the last run. */
export const prediction = computed(() => {
  const found = cost.value, model = details.value
  if (found === undefined || model === undefined) return undefined
  const full = found.fullMacs / found.passes
  const speed = speeds.value[model.name]
  if (profile.value !== undefined) {
    const ms = cachedUnitMs(profile.value, found.units, model)
    const images = request.value.count
    const steps = found.steps.map(({ program, guidance }) =>
      found.programs[program]!.reduce((sum, unit) => sum + (ms[unit] ?? 0), 0) * (guidance === 'full' ? 1 : 0.5) * images)
    return { steps, fullStep: ms.reduce((sum, each) => sum + each, 0) * images, by: 'profile' as const }
  }
  if (speed === undefined) return undefined
  return { steps: found.steps.map(({ macs }) => macs * speed), fullStep: full * speed, by: 'run' as const }
})

let asking: AbortController | undefined
let timer: ReturnType<typeof setTimeout> | undefined

// Counts the plan anew whenever something of it has changed, a moment later.
effect(() => {
  const now = edited.value, plan = planOf(now)
  const { steps, sampler, guidanceScale, width, height, count } = request.value
  const model = details.value?.name
  if (page.value !== 'plan' || model === undefined) return
  clearTimeout(timer)
  timer = setTimeout(() => void recount({
    model, count, ...(plan !== undefined && { plan }), ...(steps !== undefined && { steps }), ...(sampler !== '' && { sampler }),
    ...(guidanceScale !== undefined && { guidanceScale }), ...(width !== undefined && { width }), ...(height !== undefined && { height }),
  } as Parameters<typeof api.cost>[0], now), cost.value === undefined ? 0 : 60)
})

async function recount(body: Parameters<typeof api.cost>[0], of: EditedPlan): Promise<void> {
  asking?.abort()
  const { signal: abort } = asking = new AbortController()
  try {
    cost.value = await api.cost(body, abort)
    counted.value = of
    problem.value = undefined
  } catch (error) {
    if (isAbort(error)) return
    if (error instanceof ApiError && await refit(body, abort)) return
    problem.value = sentenceOf(error)
  }
}

/** Painted steps are for one number of them: another one stretches or cuts them. */
async function refit({ plan: _plan, ...rest }: Parameters<typeof api.cost>[0], abort: AbortSignal): Promise<boolean> {
  const plan = edited.value
  if (plan.kind !== 'steps') return false
  const { passes } = await api.cost(rest, abort)
  if (passes === plan.steps.length) return false
  edited.value = { ...plan, steps: fitSteps(plan.steps, passes) }
  return true
}
