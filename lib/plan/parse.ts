import { AsdmError, shown } from '../base/errors'
import { checkWhere, nearestOf } from '../base/options'
import { plain } from '../base/reading'
import { isJsonObject } from '../files/json'
import { checkMaps } from './maps'
import { adaptiveOf, maxSteps, modeFields, type Mode } from './mode'
import {
  mainUNet, mostExtrapolation, type Feature, type GuidanceKind, type GuidanceRule, type Inherit, type MapEnd, type Plan, type PlanMap,
  type PlanRule, type PlanStep, type UNetRule,
} from './plan'

const maxRules = 256
const maxInherits = 4096
/** In all steps of a plan together. */
const maxInheritsInAll = 200_000
const maxText = 200
/** Rules of one UNet that decide when a step comes: each doubles the programs of a step. */
const maxAdaptive = 4

/**
 * Reads a plan that came from outside and copies it.
 * @param where how the plan is called in messages, which name the place: `plan.rules[2].inherit[0]`
 * @throws AsdmError `INVALID_ARGUMENT`
 */
export function parsePlan(value: unknown, where = 'plan'): Plan {
  const plan = object(plain(value, 'a plan'), checkWhere(where), ['$schema', 'version', 'name', 'rules', 'guidance', 'unets', 'steps', 'maps', 'extrapolate'])
  if (plan.version !== 1) throw bad(`${where}.version`, '1', plan.version)
  const named = plan.name === undefined ? {} : { name: text(plan.name, `${where}.name`) }
  if ((plan.rules === undefined) === (plan.steps === undefined))
    throw new AsdmError('INVALID_ARGUMENT',
      `Expected ${where} to have either rules or steps but received ${plan.rules === undefined ? 'neither' : 'both'}`)
  const maps = plan.maps === undefined ? {} : { maps: list(plan.maps, `${where}.maps`, maxRules, map) }
  checkMaps(maps.maps ?? [], where)
  const extrapolate = plan.extrapolate === undefined
    ? {}
    : { extrapolate: number(plan.extrapolate, `${where}.extrapolate`, 0, mostExtrapolation, false) }
  if (plan.steps !== undefined) {
    for (const key of ['guidance', 'unets'])
      if (plan[key] !== undefined)
        throw new AsdmError('INVALID_ARGUMENT', `Expected ${where}.${key} only beside rules, since each of ${where}.steps has its own`)
    const steps = list(plan.steps, `${where}.steps`, maxSteps, step)
    checkCount(steps, `${where}.steps`, maxInheritsInAll)
    return { version: 1, ...named, steps, ...maps, ...extrapolate }
  }
  const rules = list(plan.rules, `${where}.rules`, maxRules, rule)
  checkCount(rules, `${where}.rules`, maxInherits)
  checkAdaptive(rules, `${where}.rules`)
  return {
    version: 1, ...named, rules,
    ...(plan.guidance !== undefined && { guidance: guidance(plan.guidance, `${where}.guidance`) }),
    ...(plan.unets !== undefined && { unets: list(plan.unets, `${where}.unets`, maxRules, unetRule) }), ...maps, ...extrapolate,
  }
}

function checkCount(items: readonly { inherit?: readonly Inherit[] }[], where: string, most: number): void {
  const count = items.reduce((sum, { inherit }) => sum + (inherit?.length ?? 0), 0)
  if (count > most)
    throw new AsdmError('INVALID_ARGUMENT', `Expected ${where} to inherit at most ${most} prefixes in all but received ${count}`)
}

function checkAdaptive(rules: readonly PlanRule[], where: string): void {
  const counts = new Map<string, number>()
  rules.forEach(({ when, unet = mainUNet }, i) => {
    if (adaptiveOf(when) === undefined) return
    const count = (counts.get(unet) ?? 0) + 1
    counts.set(unet, count)
    if (count > maxAdaptive)
      throw new AsdmError('INVALID_ARGUMENT',
        `Expected at most ${maxAdaptive} adaptive rules for the UNet ${shown(unet)} but ${where}[${i}].when is one more`)
  })
}

function rule(value: unknown, where: string): PlanRule {
  const { inherit, when, unet } = object(value, where, ['inherit', 'when', 'unet'])
  return {
    inherit: list(inherit, `${where}.inherit`, maxInherits, inheritOf), when: modes(when, `${where}.when`),
    ...(unet !== undefined && { unet: text(unet, `${where}.unet`) }),
  }
}

function step(value: unknown, where: string): PlanStep {
  const { unet, inherit, guidance: kind } = object(value, where, ['unet', 'inherit', 'guidance'])
  return {
    ...(unet !== undefined && { unet: text(unet, `${where}.unet`) }),
    ...(inherit !== undefined && { inherit: list(inherit, `${where}.inherit`, maxInherits, inheritOf) }),
    ...(kind !== undefined && { guidance: word<GuidanceKind>(kind, `${where}.guidance`, ['full', 'conditional', 'inherit']) }),
  }
}

function inheritOf(value: unknown, where: string): Inherit {
  if (typeof value === 'string') return text(value, where)
  const { prefix, feature } = object(value, where, ['prefix', 'feature'], 'a prefix, or an object with prefix and feature')
  return { prefix: text(prefix, `${where}.prefix`), feature: word<Feature>(feature, `${where}.feature`, ['output', 'branch']) }
}

function guidance(value: unknown, where: string): GuidanceRule {
  const { otherwise, when } = object(value, where, ['otherwise', 'when'])
  const checked = modes(when, `${where}.when`)
  if (adaptiveOf(checked) !== undefined)
    throw new AsdmError('INVALID_ARGUMENT', `Expected ${where}.when to have modes that are known before the run, but adaptive is not`)
  return { otherwise: word(otherwise, `${where}.otherwise`, ['conditional', 'inherit']), when: checked }
}

function unetRule(value: unknown, where: string): UNetRule {
  const { unet, from, to } = object(value, where, ['unet', 'from', 'to'])
  return {
    unet: text(unet, `${where}.unet`),
    ...(from !== undefined && { from: number(from, `${where}.from`, 0, 1, false) }),
    ...(to !== undefined && { to: number(to, `${where}.to`, 0, 1, false) }),
  }
}

function map(value: unknown, where: string): PlanMap {
  const { from, to, mutual } = object(value, where, ['from', 'to', 'mutual'])
  if (mutual !== undefined && typeof mutual !== 'boolean') throw bad(`${where}.mutual`, 'true or false', mutual)
  return { from: mapEnd(from, `${where}.from`), to: mapEnd(to, `${where}.to`), ...(mutual !== undefined && { mutual }) }
}

function mapEnd(value: unknown, where: string): MapEnd {
  const { unet, prefix, feature } = object(value, where, ['unet', 'prefix', 'feature'], 'an object with unet and prefix')
  return {
    unet: text(unet, `${where}.unet`), prefix: text(prefix, `${where}.prefix`),
    ...(feature !== undefined && { feature: word<Feature>(feature, `${where}.feature`, ['output', 'branch']) }),
  }
}

function modes(value: unknown, where: string): Mode | Mode[] {
  if (!Array.isArray(value)) return mode(value, where)
  if (value.length === 0) throw new AsdmError('INVALID_ARGUMENT', `Expected ${where} to have at least one mode but received none`)
  const all = list(value, where, 16, mode)
  if (all.filter(each => each.mode === 'adaptive').length > 1)
    throw new AsdmError('INVALID_ARGUMENT', `Expected ${where} to have at most one adaptive mode but received several`)
  return all
}

function mode(value: unknown, where: string): Mode {
  if (!isJsonObject(value)) throw bad(where, 'a mode, as { "mode": "uniform", "every": 3 },', value)
  const name = word(value.mode, `${where}.mode`, Object.keys(modeFields) as Mode['mode'][])
  const fields = modeFields[name]
  const given = object(value, where, ['mode', ...Object.keys(fields)])
  const out: Record<string, unknown> = { mode: name }
  for (const [key, range] of Object.entries(fields))
    out[key] = range === 'prefix'
      ? text(given[key], `${where}.${key}`)
      : range === 'steps'
        ? list(given[key], `${where}.${key}`, maxSteps, (item, at) => number(item, at, 0, maxSteps - 1, true))
        : number(given[key], `${where}.${key}`, ...range)
  if (name === 'window' && (out.from as number) > (out.to as number))
    throw bad(`${where}.to`, `at least ${where}.from, ${String(out.from)},`, out.to)
  return out as unknown as Mode
}

function object(value: unknown, where: string, known: readonly string[], expected = 'an object'): Record<string, unknown> {
  if (!isJsonObject(value)) throw bad(where, expected, value)
  for (const key of Object.keys(value))
    if (!known.includes(key))
      throw new AsdmError('INVALID_ARGUMENT',
        `Expected ${where} to have only known keys but received ${shown(key)}; ${nearestOf(key, known)}`)
  // Only what the value itself holds: nothing of its prototype.
  return Object.fromEntries(known.filter(key => Object.hasOwn(value, key)).map(key => [key, value[key]]))
}

function list<T>(value: unknown, where: string, most: number, each: (item: unknown, where: string) => T): T[] {
  if (!Array.isArray(value) || value.length > most) throw bad(where, `an array of at most ${most}`, value)
  return Array.from(value as unknown[], (item, i) => each(item, `${where}[${i}]`))
}

function text(value: unknown, where: string): string {
  if (typeof value !== 'string' || value === '' || value.length > maxText) throw bad(where, `a text of 1 to ${maxText} characters`, value)
  return value
}

function word<T extends string>(value: unknown, where: string, allowed: readonly T[]): T {
  if (typeof value === 'string' && (allowed as readonly string[]).includes(value)) return value as T
  throw bad(where, allowed.map(item => JSON.stringify(item)).join(' or '), value)
}

function number(value: unknown, where: string, least: number, most: number, whole: boolean): number {
  if (typeof value !== 'number' || !(value >= least && value <= most) || (whole && !Number.isInteger(value)))
    throw bad(where, `a ${whole ? 'whole ' : ''}number from ${least} to ${most}`, value)
  return value
}

function bad(where: string, expected: string, received: unknown): AsdmError {
  return new AsdmError('INVALID_ARGUMENT', `Expected ${where} to be ${expected} but received ${shown(received)}`)
}
