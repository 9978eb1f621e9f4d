import { AsdmError, shown } from '../base/errors'
import { nearestOf } from '../base/options'
import {
  adaptive, callBuilder, combine, deepcache, extrapolate, gateGuidance, mapFeatures, phases, quadratic, switchUNet, uniform,
  type PlanBuilder,
  type PlanContext,
} from './builders'
import { checkPlanNames } from './names'
import { parsePlan } from './parse'
import type { Plan, RulePlan } from './plan'
import { preset, presetNames, type PresetName } from './presets'

/**
 * Where a plan comes from: the plan, a builder, or a text: a preset's name, or builders as on the command line: `deepcache:3,0`,
 * `deepcache:2,1;guidance:0.6`.
 */
export type PlanSource = Plan | PlanBuilder | PresetName | (string & {})

const maxTextLength = 100_000

/** Builders by the names they have in texts, with what they take. */
const builders: Readonly<Record<string, { usage: string, build(args: string[]): RulePlan | PlanBuilder }>> = {
  deepcache: { usage: 'deepcache:interval,branch', build: ([interval, branch = '0']) => deepcache(numberOf(interval), numberOf(branch)) },
  uniform: {
    usage: 'uniform:every,prefix+prefix', build: ([every, prefixes]) => uniform({ every: numberOf(every), inherit: prefixesOf(prefixes) }),
  },
  quadratic: {
    usage: 'quadratic:every,center,power,prefix+prefix',
    build: ([every, center, power, prefixes]) =>
      quadratic({ every: numberOf(every), center: numberOf(center), power: numberOf(power), inherit: prefixesOf(prefixes) }),
  },
  phases: {
    usage: 'phases:early,late,split,prefix+prefix',
    build: ([early, late, split, prefixes]) =>
      phases({ early: numberOf(early), late: numberOf(late), split: numberOf(split), inherit: prefixesOf(prefixes) }),
  },
  adaptive: {
    usage: 'adaptive:threshold,most,prefix+prefix',
    build: ([threshold, most, prefixes]) =>
      adaptive({ threshold: numberOf(threshold), most: numberOf(most), inherit: prefixesOf(prefixes) }),
  },
  guidance: {
    usage: 'guidance:after,conditional|inherit',
    build: ([after, otherwise]) => gateGuidance(numberOf(after), otherwise as 'conditional' | 'inherit' | undefined),
  },
  extrapolate: { usage: 'extrapolate:factor', build: ([factor]) => (factor === undefined ? extrapolate() : extrapolate(numberOf(factor))) },
  unet: { usage: 'unet:name,from,to', build: ([name = '', from = '0', to = '0.5']) => switchUNet(name, numberOf(from), numberOf(to)) },
  map: { usage: 'map:unet,unet,prefix+prefix', build: ([from = '', to = '', prefixes]) => mapFeatures(from, to, prefixesOf(prefixes)) },
}

/** How plans are spelled in texts, for help. */
export const planUsage: readonly string[] = Object.values(builders).map(({ usage }) => usage)

/**
 * The plan of a source, checked against a model.
 * @throws AsdmError `INVALID_ARGUMENT`
 */
export function resolvePlan(source: unknown, context: PlanContext): Plan {
  const given = typeof source === 'string' ? fromText(source) : source
  const plan = parsePlan(typeof given === 'function' ? callBuilder(given as PlanBuilder, context) : given)
  checkPlanNames(plan, context.unets)
  return plan
}

function fromText(source: string): PlanBuilder {
  if (source.length > maxTextLength)
    throw new AsdmError('INVALID_ARGUMENT',
      `Expected the text of a plan to have at most ${maxTextLength} characters but received ${source.length}`)
  const parts = source.split(';').map(part => part.trim())
  const plans = parts.map(part => {
    const colon = part.indexOf(':')
    const name = colon < 0 ? part : part.slice(0, colon)
    if (colon < 0 && (presetNames as readonly string[]).includes(name)) return preset(name as PresetName)
    const builder = Object.hasOwn(builders, name) ? builders[name] : undefined
    if (builder === undefined) {
      throw new AsdmError('INVALID_ARGUMENT',
        `Expected plan to be a plan, a builder or a text as "fast" or "deepcache:3,0" but received ${shown(source)}; `
        + nearestOf(name, [...presetNames, ...Object.keys(builders)]))
    }
    try {
      return builder.build(colon < 0 ? [] : part.slice(colon + 1).split(',').map(arg => arg.trim()))
    } catch (error) {
      if (!(error instanceof AsdmError)) throw error
      throw new AsdmError(
        'INVALID_ARGUMENT', `${error.message}; in the plan ${shown(part)}, which is spelled ${builder.usage}`, { cause: error },
      )
    }
  })
  // A single one has the name that it gives itself: a preset says what became of it.
  if (plans.length === 1 && typeof plans[0] === 'function')
    return context => ({ name: source.slice(0, 200), ...(plans[0] as PlanBuilder)(context) })
  return context => ({ ...combine(...plans)(context), name: source.slice(0, 200) })
}

function numberOf(text: string | undefined): number {
  return text === undefined || text === '' ? NaN : Number(text)
}

function prefixesOf(text: string | undefined): string[] {
  return (text ?? '').split('+')
}
