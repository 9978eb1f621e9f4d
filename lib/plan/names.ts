import { editDistance } from '../base/edit-distance'
import { AsdmError, shown } from '../base/errors'
import { nearestOf } from '../base/options'
import type { UNetConfig } from '../native/configs'
import { adaptiveOf } from './mode'
import { mainUNet, type Feature, type Inherit, type MapEnd, type Plan } from './plan'

/** What plans need to know of a UNet. */
export interface UNetFacts {
  /** The UNet's config. */
  config: UNetConfig
  /** Everything that can be inherited: blocks, layers, units. */
  prefixes: ReadonlySet<string>
}

/** The UNets of a model by their names in plans; the main one is called `full`. */
export type UNets = Readonly<Record<string, UNetFacts>>

const layerUnit = /^((?:down_blocks|up_blocks)\.\d+|mid_block)\.(?:resnets|attentions)\.(\d+)$/
const residualUnit = /(?:^|\.)(?:(?:resnets|attentions)\.\d+|attn1|attn2|ff)$/

/** Facts of a UNet from its config and the names of its units, as `tapNames` gives them. */
export function unetFacts(config: UNetConfig, units: readonly string[]): UNetFacts {
  const prefixes = new Set(units)
  for (const name of units) {
    const found = layerUnit.exec(name)
    if (found !== null) prefixes.add(`${found[1]}.${found[2]}`)
  }
  return { config, prefixes }
}

/** The feature of a prefix where a plan names none. Exported for tests and scripts. */
export function defaultFeature(prefix: string): Feature {
  return residualUnit.test(prefix) ? 'branch' : 'output'
}

/** An inherited prefix with its feature. */
export function resolveInherit(inherit: Inherit): { prefix: string, feature: Feature } {
  return typeof inherit === 'string' ? { prefix: inherit, feature: defaultFeature(inherit) } : inherit
}

/**
 * Checks that a plan names only what the model has.
 * @throws AsdmError `INVALID_ARGUMENT`, with the place in the plan and the nearest names
 */
export function checkPlanNames(plan: Plan, unets: UNets, where = 'plan'): void {
  plan.maps?.forEach((map, i) => {
    for (const end of ['from', 'to'] as const) checkMapEnd(map[end], unets, `${where}.maps[${i}].${end}`)
  })
  if ('steps' in plan) {
    plan.steps.forEach((step, i) => {
      const facts = unetOf(step.unet, unets, `${where}.steps[${i}].unet`)
      step.inherit?.forEach((inherit, j) => checkInherit(inherit, facts, `${where}.steps[${i}].inherit[${j}]`))
    })
    return
  }
  plan.unets?.forEach(({ unet }, i) => unetOf(unet, unets, `${where}.unets[${i}].unet`))
  plan.rules.forEach((rule, i) => {
    const facts = unetOf(rule.unet, unets, `${where}.rules[${i}].unet`)
    rule.inherit.forEach((inherit, j) => checkInherit(inherit, facts, `${where}.rules[${i}].inherit[${j}]`))
    const adaptive = adaptiveOf(rule.when)
    const place = Array.isArray(rule.when) ? `when[${rule.when.findIndex(mode => mode === adaptive)}]` : 'when'
    if (adaptive !== undefined) checkInherit({ prefix: adaptive.probe, feature: 'output' }, facts, `${where}.rules[${i}].${place}.probe`)
  })
}

function unetOf(name: string | undefined, unets: UNets, where: string): UNetFacts {
  const key = name ?? mainUNet
  const facts = Object.hasOwn(unets, key) ? unets[key] : undefined
  if (facts !== undefined) return facts
  throw new AsdmError('INVALID_ARGUMENT',
    `Expected ${where} to name a UNet that was loaded but received ${shown(name)}; ${nearestOf(key, Object.keys(unets))}`)
}

function checkMapEnd({ unet, prefix, feature }: MapEnd, unets: UNets, where: string): void {
  checkInherit(feature === undefined ? prefix : { prefix, feature }, unetOf(unet, unets, `${where}.unet`), `${where}.prefix`)
}

function checkInherit(inherit: Inherit, { prefixes }: UNetFacts, where: string): void {
  const { prefix, feature } = resolveInherit(inherit)
  if (!prefixes.has(prefix))
    throw new AsdmError('INVALID_ARGUMENT',
      `Expected ${where} to name a block, layer or unit of the UNet but received ${shown(prefix)}; the nearest are `
      + nearestPrefixes(prefix, prefixes).join(', '))
  if (feature === 'branch' && !residualUnit.test(prefix))
    throw new AsdmError('INVALID_ARGUMENT',
      `Expected ${where} to name a residual unit (resnets, attentions, attn1, attn2, ff), which alone have a branch, but received `
      + shown(prefix))
}

function nearestPrefixes(word: string, known: ReadonlySet<string>): string[] {
  const away = [...known].map(name => ({ name, distance: editDistance(word.toLowerCase(), name) }))
  return away.sort((a, b) => a.distance - b.distance).slice(0, 3).map(({ name }) => name)
}
