import { signal } from '@preact/signals'
import type { ModelDetails } from '../api/types'
import { inside } from '../plan/edited'

/** A line of a recipe, as far as the studio makes them; those of files may say more. */
export type Line
  = | { drop: true }
    | { checkpoint: string, prefix?: string }
    | { experts: { checkpoint: string, noise?: number }[] }
    | Record<string, unknown>

/** A recipe, see docs/recipes.md. */
export interface RecipeJson {
  version: 1
  name?: string
  description?: string
  checkpoints: Record<string, string | null>
  target: { from: string, layersPerBlock?: number, stages?: number, midBlock?: boolean }
  rest?: string
  units: Record<string, Line>
}

/** A recipe that changes nothing. */
export const plainRecipe = (): RecipeJson => ({ version: 1, checkpoints: { base: null }, target: { from: 'base' }, rest: 'base', units: {} })

/** The recipe of the page, and the models that its names for checkpoints stand for. */
export const recipe = signal<RecipeJson>(plainRecipe())
export const sources = signal<Record<string, string>>({})

/** What is done with a unit: its own line, else that of what it lies in. */
export function lineOf({ units }: RecipeJson, prefix: string): { line: Line, own: boolean } | undefined {
  if (units[prefix] !== undefined) return { line: units[prefix], own: true }
  const outer = Object.keys(units).find(other => inside(prefix, other))
  return outer === undefined ? undefined : { line: units[outer]!, own: false }
}

/** The recipe with another line for a prefix, or none; no two lines may name the same weight. */
export function withLine(given: RecipeJson, prefix: string, line: Line | undefined): RecipeJson {
  const rest = Object.entries(given.units).filter(([other]) => !inside(other, prefix) && !inside(prefix, other))
  return { ...given, units: Object.fromEntries([...rest, ...(line === undefined ? [] : [[prefix, line] as const])]) }
}

/** The name of a model in a recipe; made where it has none. */
export function checkpointFor(given: RecipeJson, model: string, own?: string): { recipe: RecipeJson, name: string } {
  // The checkpoint that the target is made from is the chosen model unless it was said otherwise.
  if (model === (sources.value[given.target.from] ?? own)) return { recipe: given, name: given.target.from }
  const known = Object.keys(given.checkpoints).find(name => sources.value[name] === model)
  if (known !== undefined) return { recipe: given, name: known }
  const plain = model.toLowerCase().replace(/[^a-z0-9]+/g, '_').replace(/^_+|_+$/g, '') || 'other'
  const name = given.checkpoints[plain] === undefined ? plain : `${plain}_${Object.keys(given.checkpoints).length}`
  sources.value = { ...sources.value, [name]: model }
  return { recipe: { ...given, checkpoints: { ...given.checkpoints, [name]: null } }, name }
}

/** Parameters and multiply-accumulates of what is not dropped. */
export function remaining({ units: lines, target }: RecipeJson, { units }: ModelDetails): { parameters: number, macs: number } {
  const dropped = Object.entries(lines).flatMap(([prefix, line]) => ('drop' in line ? [prefix] : []))
  if (target.midBlock === false) dropped.push('mid_block')
  const left = units.filter(({ name }) => !dropped.some(prefix => inside(name, prefix)))
  return { parameters: left.reduce((sum, unit) => sum + unit.parameters, 0), macs: left.reduce((sum, unit) => sum + unit.macs, 0) }
}
