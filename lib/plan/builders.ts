/** Functions that give plans. What depends on the model gives a {@link PlanBuilder}, which `generate` and `resolvePlan` call. */
import { AsdmError, shown } from '../base/errors'
import { isThenable } from '../base/listener'
import { checkOptions, integer, type Unchecked } from '../base/options'
import { fieldsOf, listOf, reading } from '../base/reading'
import type { UNetConfig } from '../native/configs'
import type { UNets } from './names'
import { parsePlan } from './parse'
import { mainUNet, type Inherit, type MapEnd, type Plan, type RulePlan } from './plan'

/** What a builder may look at. */
export interface PlanContext {
  /** The model's UNets by their names in plans. */
  unets: UNets
  /** Steps of the run: a plan counts each run of the UNet as one, also the second of a sampler's step that takes two. */
  steps: number
  /** How often the UNet runs in one step of the sampler (`Sampler.order`); 1 if left out. */
  order?: number | undefined
  /** Does the sampler draw noise between steps? */
  stochastic: boolean
}

/** Makes a plan for a model and a run. */
export type PlanBuilder = (context: PlanContext) => Plan

/**
 * What a builder gives. It runs while a request is checked, so it cannot be async.
 * @throws AsdmError `INVALID_ARGUMENT` for a promise, and where the builder throws, with its error as the cause
 */
export function callBuilder<Built>(builder: (context: PlanContext) => Built, context: PlanContext): Built {
  const built = reading('the plan of a builder', () => builder(context))
  if (!reading('the plan of a builder', () => isThenable(built))) return built
  void Promise.resolve(built).catch(() => {})
  throw new AsdmError('INVALID_ARGUMENT', 'Expected a function as plan to give a plan but received a promise; build the plan first')
}

/** What any builder of a rule takes besides its mode. */
export interface RuleOptions {
  /** What is inherited at the steps that are not full. */
  inherit: Inherit[]
  /** The first steps that are full in any case. */
  warmup?: number | undefined
  /** The last steps that are full in any case. */
  final?: number | undefined
  /** Inherits only between these two fractions of the run. */
  window?: readonly [from: number, to: number] | undefined
  /** The UNet the rule is about; the main one if left out. */
  unet?: string | undefined
}

/** Full steps every `every`. */
export function uniform(options: RuleOptions & { every: number }): RulePlan {
  const { every, ...rule } = ruleOptions(options, ['every'], 'uniform')
  return rulePlan({ mode: 'uniform', every }, rule)
}

/** As many full steps as `uniform`, closer together around the fraction `center` (0) of the run, the more so the greater `power` (2). */
export function quadratic(options: RuleOptions & { every: number, center?: number, power?: number }): RulePlan {
  const { every, center = 0, power = 2, ...rule } = ruleOptions(options, ['every', 'center', 'power'], 'quadratic')
  return rulePlan({ mode: 'quadratic', every, center, power }, rule)
}

/** Full steps by number, counted from 0; the first step is one in any case. */
export function list(options: RuleOptions & { full: readonly number[] }): RulePlan {
  const { full, ...rule } = ruleOptions(options, ['full'], 'list')
  return rulePlan({ mode: 'list', full }, rule)
}

/** Full steps every `early` up to the fraction `split` (0.5) of the run, then every `late`. */
export function phases(options: RuleOptions & { early: number, late: number, split?: number }): RulePlan {
  const { early, late, split = 0.5, ...rule } = ruleOptions(options, ['early', 'late', 'split'], 'phases')
  return rulePlan({ mode: 'phases', split, early, late }, rule)
}

/**
 * Decides at each step whether to inherit: while the relative change of an early unit's output since the last full step is at most
 * `threshold`, and no more than `most` (3) steps in a row; see {@link AdaptiveMode}.
 * @param options its `probe` is the early unit, `down_blocks.0.attentions.0`, or without one `down_blocks.0.resnets.0`, if left out
 */
export function adaptive(options: RuleOptions & { threshold: number, most?: number, probe?: string }): PlanBuilder {
  const { threshold, most = 3, probe, ...rule } = ruleOptions(options, ['threshold', 'most', 'probe'], 'adaptive')
  const build = (early: string): RulePlan => rulePlan({ mode: 'adaptive', threshold, most, probe: early }, rule)
  const checked = build((probe ?? 'conv_in') as string)
  return context => (probe !== undefined ? checked : build(earlyUnit(factsOf(checkContext(context).unets, rule.unet as string | undefined, 'adaptive').prefixes)))
}

/** The first layer's output: cheap, and of the early ones that which tells most about how far deeper features moved (docs/plans.md). */
function earlyUnit(prefixes: ReadonlySet<string>): string {
  return ['down_blocks.0.attentions.0', 'down_blocks.0.resnets.0'].find(name => prefixes.has(name)) ?? 'conv_in'
}

function factsOf(unets: UNets, name: string | undefined, who: string): UNets[string] {
  const unet = name ?? mainUNet
  const facts = Object.hasOwn(unets, unet) ? unets[unet] : undefined
  if (facts !== undefined) return facts
  throw new AsdmError('INVALID_ARGUMENT', `Expected ${who} to name a UNet that was loaded but received ${shown(unet)}`)
}

/**
 * Lets features cross UNets: where `to` inherits one of the prefixes, it takes what either UNet computed last; `mutual` for both ways. See
 * {@link PlanMap}.
 */
export function mapFeatures(
  from: string, to: string, prefixes: readonly (string | { from: MapEnd['prefix'], to: MapEnd['prefix'] })[],
  options?: { mutual?: boolean | undefined },
): RulePlan {
  const { mutual } = checkOptions(options, ['mutual'], 'mapFeatures')
  const maps = listOf(prefixes, 'prefixes', 4096).map(each => {
    const { from: a, to: b } = typeof each === 'string' ? { from: each, to: each } : fieldsOf(each, 'a prefix to map', ['from', 'to'])
    return { from: { unet: from, prefix: a }, to: { unet: to, prefix: b }, ...(mutual !== undefined && { mutual }) }
  })
  return parsePlan({ version: 1, rules: [], maps }) as RulePlan
}

const ruleKeys = ['inherit', 'warmup', 'final', 'window', 'unet'] as const satisfies readonly (keyof RuleOptions)[]

/** A builder's options; what they are is checked with the plan that comes of them. */
function ruleOptions(options: unknown, own: readonly string[], where: string): Unchecked {
  return checkOptions(options, [...own, ...ruleKeys], where)
}

/** What a builder is called with, by asdm or by others. */
export function checkContext(context: unknown): PlanContext {
  const { unets, steps, stochastic, order } = fieldsOf(context, 'the context of a plan', ['unets', 'steps', 'stochastic', 'order'])
  const fits = reading('the context of a plan', () => typeof unets === 'object' && unets !== null
    && Object.values(unets as Record<string, Partial<UNets[string]> | undefined>).every(each =>
      each?.prefixes instanceof Set && Array.isArray(each.config?.layersPerBlock)))
  if (!fits || typeof steps !== 'number' || typeof stochastic !== 'boolean' || (order !== undefined && typeof order !== 'number'))
    throw new AsdmError('INVALID_ARGUMENT', `Expected the context of a plan to be { unets, steps, stochastic } but received ${shown(context)}`)
  return { unets: unets as UNets, steps, stochastic, order }
}

function rulePlan(mode: Unchecked, { inherit, warmup, final, window, unet }: Unchecked): RulePlan {
  const rule = { inherit, when: [mode, ...modesOf({ warmup, final, window })], ...(unet !== undefined && { unet }) }
  return parsePlan({ version: 1, rules: [rule] }) as RulePlan
}

function modesOf({ warmup, final, window }: Unchecked): Unchecked[] {
  const [from, to] = window === undefined ? [] : listOf(window, 'window', 2)
  return [
    ...(warmup === undefined ? [] : [{ mode: 'warmup' as const, steps: warmup }]),
    ...(final === undefined ? [] : [{ mode: 'final' as const, steps: final }]),
    ...(window === undefined ? [] : [{ mode: 'window' as const, from, to }]),
  ]
}

/**
 * DeepCache (Ma, Fang, Wang; arXiv 2312.00858): every `interval`-th step is full; between them only the outermost layers run, on top of
 * what the deeper ones gave at the last full step.
 * @param branch how deep the layers reach that run at every step: 0 the last layer of the last up block, 1 one layer more, and so on,
 * 3 into the next block where blocks have two ResNets: the branch ids of the reference package
 */
export function deepcache(interval: number, branch = 0, options?: Omit<RuleOptions, 'inherit'>): PlanBuilder {
  integer(interval, 'the interval of deepcache', 1, 1000)
  integer(branch, 'the branch of deepcache', 0, 1000)
  const { inherit: _, ...rule } = ruleOptions(options, [], 'deepcache')
  return context => {
    const inherit = deepcacheInherits(factsOf(checkContext(context).unets, rule.unet as string | undefined, 'deepcache').config, branch)
    return { ...rulePlan({ mode: 'uniform', every: interval }, { ...rule, inherit }), name: `deepcache:${interval},${branch}` }
  }
}

/** The value that enters the first up layer that runs: the output of the layer before it, of the block before it, or of the mid block. */
function deepcacheInherits({ layersPerBlock, hasMidBlock }: UNetConfig, branch: number): Inherit[] {
  let layer = branch
  for (const [block, layers] of layersPerBlock.entries()) {
    if (layer > layers) {
      layer -= layers + 1
      continue
    }
    const up = layersPerBlock.length - 1 - block
    const first = layers - layer
    if (first > 0) return [`up_blocks.${up}.${first - 1}`]
    if (up > 0) return [`up_blocks.${up - 1}`]
    // All but the mid block runs; without one there is nothing left to inherit.
    return hasMidBlock ? ['mid_block'] : []
  }
  const branches = layersPerBlock.reduce((sum, layers) => sum + layers + 1, 0)
  throw new AsdmError('INVALID_ARGUMENT', `Expected a branch of deepcache from 0 to ${branches - 1} for this UNet but received ${branch}`)
}

/**
 * Guidance in the first part of the run only: after the fraction `after` no unconditional pass runs, which halves these steps. What the
 * prompt and the negative prompt differ in is then left out (`conditional`), or taken from the last guided step (`inherit`).
 */
export function gateGuidance(after: number, otherwise: 'conditional' | 'inherit' = 'conditional'): RulePlan {
  return parsePlan({ version: 1, rules: [], guidance: { otherwise, when: { mode: 'window', from: after, to: 1 } } }) as RulePlan
}

/** Runs the UNet `unet`, loaded with `StableDiffusion.load(path, { unets })`, from the fraction `from` of the run up to `to`. */
export function switchUNet(unet: string, from = 0, to = 0.5): RulePlan {
  return parsePlan({ version: 1, rules: [], unets: [{ unet, from, to }] }) as RulePlan
}

/**
 * Inherited features go on along the line through their last two computed values instead of standing still; see {@link
 * RulePlan.extrapolate}. To be combined with what inherits: `combine(deepcache(2, 0), extrapolate())`, or `deepcache:2,0;extrapolate` as a
 * text.
 * @param factor of the line's slope; its default is the one that gave the nearest images (docs/plans.md)
 */
export function extrapolate(factor = 0.75): RulePlan {
  return parsePlan({ version: 1, rules: [], extrapolate: factor }) as RulePlan
}

/** Several plans of rules in one: all their rules, UNets and maps; the last guidance and the last factor of extrapolation count. */
export function combine(...plans: readonly (RulePlan | PlanBuilder)[]): PlanBuilder {
  return given => {
    const context = checkContext(given)
    const out: RulePlan = { version: 1, rules: [] }
    for (const each of plans) {
      const plan = parsePlan(typeof each === 'function' ? callBuilder(each, context) : each)
      if ('steps' in plan) throw new AsdmError('INVALID_ARGUMENT', 'Expected plans made of rules to combine but one lists its steps')
      out.rules.push(...plan.rules)
      if (plan.guidance !== undefined) out.guidance = plan.guidance
      if (plan.extrapolate !== undefined) out.extrapolate = plan.extrapolate
      if (plan.unets !== undefined) out.unets = [...(out.unets ?? []), ...plan.unets]
      if (plan.maps !== undefined) out.maps = [...(out.maps ?? []), ...plan.maps]
    }
    return out
  }
}
