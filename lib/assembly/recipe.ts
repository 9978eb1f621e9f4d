import path from 'node:path'
import { AsdmError, shown } from '../base/errors'
import { checkWhere, nearestOf, path as checkPath } from '../base/options'
import { plain } from '../base/reading'
import { shownPath } from '../files/files'
import { isJsonObject, readJsonObject } from '../files/json'
import { expertCount } from '../model/unet-config'
import type { Routing } from '../native/configs'

/** Tensors taken from a checkpoint's UNet, whole or in part. */
export interface CopyLine {
  /** Name of a checkpoint of the recipe. */
  checkpoint: string
  /** Where the tensors lie in it: a block, layer (`up_blocks.1.1`), unit or weight; the line's own prefix if left out. */
  prefix?: string
  /** Pieces of every tensor under the prefix, cut out one axis after the other. */
  slice?: readonly Slice[]
  /**
   * `end`: where the target's tensors have other sizes, the ends of each axis are laid over each other: a longer source loses its first
   * numbers, a shorter one is repeated. Inputs of a decoder's ResNets end with the skip's channels, which so keep their place.
   */
  fit?: 'end'
}

/** Numbers [begin, end) of an axis. */
export interface Slice {
  /** Which axis of the tensor, from 0. */
  axis: number
  /** First number. */
  begin: number
  /** First number that is left out. */
  end: number
}

/** The mean of tensors, stored as F32. */
export interface AverageLine {
  /** What goes in, each with its share (1 if left out); shares are divided by their sum. */
  average: readonly (CopyLine & { share?: number })[]
}

/**
 * A convolution that holds several kernels and mixes them for each sample. The line's prefix is that of a convolution, and so are
 * those of its sources.
 */
export interface ExpertsLine {
  /** The kernels, in order. */
  experts: readonly ExpertSource[]
  /** How they are rated; by sigmoid, from their mean, if left out. */
  router?: RouterStart
}

/** Where one kernel of a conditional convolution comes from. */
export interface ExpertSource extends CopyLine {
  /** Standard deviation of normal noise added to the kernel, in those of the kernel itself; the expert is then stored as F32. */
  noise?: number
  /** Together with the weight's name it gives the noise; the expert's number, from 0, if left out. */
  seed?: number
}

/** A router before any training: its matrix is zero, so every sample is rated alike. */
export interface RouterStart {
  /** What its numbers go through: each expert rated by itself, or shares that sum to one; `sigmoid` if left out. */
  activation?: Routing
  /**
   * The rates: `mean` (if left out), all alike with the sum 1; `first`, the first expert alone, so that the convolution is exactly the
   * plain one; or a rate from 0 to 1 for each, under softmax with the sum 1.
   */
  start?: 'mean' | 'first' | readonly number[]
}

/** A unit that the target does without. */
export interface DropLine {
  /** Always true. */
  drop: true
}

/** What one target prefix is made of. */
export type RecipeLine = CopyLine | AverageLine | DropLine | ExpertsLine

/** How the target's config comes of that of a checkpoint. */
export interface RecipeTarget {
  /** The checkpoint whose config, text encoder, VAE, tokenizer and scheduler are taken. */
  from: string
  /** ResNets per down block; the config's if left out. Up blocks have one more. */
  layersPerBlock?: number
  /** Stages that stay, counted from the highest resolution; all if left out. */
  stages?: number
  /** `false`: there is no mid block. */
  midBlock?: boolean
}

/** What a UNet is assembled from. JSON; see `schema/recipe.schema.json`. */
export interface Recipe {
  /** Version of the format. */
  version: 1
  /** What it is called. */
  name?: string
  /** What it is for. */
  description?: string
  /** Diffusers folders or single files: paths below the recipe's own folder, or `null` where the caller gives the path. */
  checkpoints: Readonly<Record<string, string | null>>
  /** What the target looks like. */
  target: RecipeTarget
  /** The checkpoint that gives every weight which no line names, under its own name. */
  rest?: string
  /** By target prefix (block, layer, unit, weight). No two may name the same weight. */
  units: Readonly<Record<string, RecipeLine>>
}

const maxRecipeBytes = 4 * 1024 * 1024
const maxLines = 4096
const prefixForm = /^[a-z0-9_]+(?:\.[a-z0-9_]+)*$/
const nameForm = /^[A-Za-z][\w-]{0,63}$/

/**
 * Reads a recipe that came from outside and copies it.
 * @param where how the recipe is called in messages, which name the place: `recipe.units["up_blocks.1.1"].prefix`
 * @throws AsdmError `INVALID_ARGUMENT`
 */
export function parseRecipe(value: unknown, where = 'recipe'): Recipe {
  const recipe = object(plain(value, 'a recipe'), checkWhere(where), ['$schema', 'version', 'name', 'description', 'checkpoints', 'target', 'rest', 'units'])
  if (recipe.version !== 1) throw bad(`${where}.version`, '1', recipe.version)
  const checkpoints = parseCheckpoints(recipe.checkpoints, `${where}.checkpoints`)
  const names = Object.keys(checkpoints)
  const target = parseTarget(recipe.target, `${where}.target`, names)
  if (!isJsonObject(recipe.units)) throw bad(`${where}.units`, 'an object', recipe.units)
  const lines = Object.entries(recipe.units)
  if (lines.length > maxLines)
    throw new AsdmError('INVALID_ARGUMENT', `Expected ${where}.units to have at most ${maxLines} lines but received ${lines.length}`)
  const units: Record<string, RecipeLine> = {}
  for (const [prefix, line] of lines) {
    const at = unitPlace(prefix, where)
    prefixOf(prefix, at)
    units[prefix] = parseLine(line, at, names)
  }
  return {
    version: 1,
    ...(recipe.name !== undefined && { name: text(recipe.name, `${where}.name`, 200) }),
    ...(recipe.description !== undefined && { description: text(recipe.description, `${where}.description`, 2000) }),
    checkpoints, target,
    ...(recipe.rest !== undefined && { rest: checkpointOf(recipe.rest, `${where}.rest`, names) }),
    units,
  }
}

/**
 * Reads a recipe from a JSON file.
 * @throws AsdmError `FILE_NOT_FOUND`, `FILE_READ`, `BAD_JSON`; `INVALID_ARGUMENT` with the place in the file
 */
export async function loadRecipe(file: string): Promise<Recipe> {
  return parseRecipe(await readJsonObject(checkPath(file, 'the path of a recipe'), maxRecipeBytes), `recipe in ${shownPath(file)}: recipe`)
}

/** A line of a recipe, for messages. */
export function unitPlace(prefix: string, where = 'recipe'): string {
  return `${where}.units[${shown(prefix)}]`
}

/** Prefixes that a layer stands for: `up_blocks.1.1` is `resnets.1` and `attentions.1`; anything else stands for itself. */
export function spelledOut(prefix: string): string[] {
  const layer = /^((?:down_blocks|up_blocks)\.\d+|mid_block)\.(\d+)$/.exec(prefix)
  return layer === null ? [prefix] : [`${layer[1]}.resnets.${layer[2]}`, `${layer[1]}.attentions.${layer[2]}`]
}

/** The rest of a name behind a prefix that covers it (empty, or with its dot), and which of the spelled out prefixes did. */
export function behind(prefix: string, name: string): { index: number, rest: string } | undefined {
  for (const [index, part] of spelledOut(prefix).entries())
    if (name === part || name.startsWith(`${part}.`)) return { index, rest: name.slice(part.length) }
  return undefined
}

function parseCheckpoints(value: unknown, where: string): Record<string, string | null> {
  if (!isJsonObject(value)) throw bad(where, 'an object of paths, or null where the caller gives the path,', value)
  const entries = Object.entries(value)
  if (entries.length === 0 || entries.length > 64)
    throw new AsdmError('INVALID_ARGUMENT', `Expected ${where} to name 1 to 64 checkpoints but received ${entries.length}`)
  const out: Record<string, string | null> = {}
  for (const [name, folder] of entries) {
    const at = `${where}[${shown(name)}]`
    if (!nameForm.test(name))
      throw new AsdmError('INVALID_ARGUMENT', `Expected ${where} to have names of letters, digits, _ and - but received ${shown(name)}`)
    if (folder !== null) checkRelative(text(folder, at, 1000), at)
    out[name] = folder as string | null
  }
  return out
}

/** A recipe is data: it must not make the caller read whatever it likes. */
function checkRelative(folder: string, where: string): void {
  if (folder.includes('\0') || path.posix.isAbsolute(folder) || path.win32.isAbsolute(folder) || /^[A-Za-z]:/.test(folder)
    || folder.split(/[\\/]/).includes('..'))
    throw new AsdmError('INVALID_ARGUMENT', `Expected ${where} to be a path below the recipe's own folder but received ${shown(folder)}`)
}

function parseTarget(value: unknown, where: string, names: string[]): RecipeTarget {
  const { from, layersPerBlock, stages, midBlock } = object(value, where, ['from', 'layersPerBlock', 'stages', 'midBlock'])
  if (midBlock !== undefined && typeof midBlock !== 'boolean') throw bad(`${where}.midBlock`, 'true or false', midBlock)
  return {
    from: checkpointOf(from, `${where}.from`, names),
    ...(layersPerBlock !== undefined && { layersPerBlock: whole(layersPerBlock, `${where}.layersPerBlock`, 1, 16) }),
    ...(stages !== undefined && { stages: whole(stages, `${where}.stages`, 1, 8) }),
    ...(midBlock !== undefined && { midBlock }),
  }
}

function parseLine(value: unknown, where: string, names: string[]): RecipeLine {
  if (!isJsonObject(value)) throw bad(where, 'a line with checkpoint, average, experts or drop', value)
  if (Object.hasOwn(value, 'drop')) {
    const { drop } = object(value, where, ['drop'])
    if (drop !== true) throw bad(`${where}.drop`, 'true', drop)
    return { drop: true }
  }
  if (Object.hasOwn(value, 'average')) {
    const { average } = object(value, where, ['average'])
    return { average: list(average, `${where}.average`, 1, 16, (item, at) => {
      const { share, ...source } = object(item, at, [...sourceKeys, 'share'])
      if (share !== undefined && !(typeof share === 'number' && share > 0 && share <= 1e6))
        throw bad(`${at}.share`, 'a number above 0, up to 1000000,', share)
      return { ...parseSource(source, at, names), ...(share !== undefined && { share: share }) }
    }) }
  }
  if (Object.hasOwn(value, 'experts')) return parseExperts(value, where, names)
  return parseSource(object(value, where, sourceKeys), where, names)
}

const sourceKeys = ['checkpoint', 'prefix', 'slice', 'fit'] as const

function parseSource({ checkpoint, prefix, slice, fit }: Record<string, unknown>, where: string, names: string[]): CopyLine {
  if (fit !== undefined && fit !== 'end') throw bad(`${where}.fit`, '"end"', fit)
  return {
    checkpoint: checkpointOf(checkpoint, `${where}.checkpoint`, names),
    ...(prefix !== undefined && { prefix: prefixOf(prefix, `${where}.prefix`) }),
    ...(slice !== undefined && { slice: list(slice, `${where}.slice`, 1, 4, parseSlice) }),
    ...(fit !== undefined && { fit: 'end' as const }),
  }
}

function parseExperts(value: unknown, where: string, names: string[]): ExpertsLine {
  const { experts, router } = object(value, where, ['experts', 'router'])
  const sources = list(experts, `${where}.experts`, expertCount.min, expertCount.max, (item, at): ExpertSource => {
    const { noise, seed, ...source } = object(item, at, [...sourceKeys, 'noise', 'seed'])
    if (noise !== undefined && !(typeof noise === 'number' && noise >= 0 && noise <= 100))
      throw bad(`${at}.noise`, 'a number from 0 to 100', noise)
    return {
      ...parseSource(source, at, names),
      ...(noise !== undefined && { noise: noise }),
      ...(seed !== undefined && { seed: whole(seed, `${at}.seed`, 0, 2 ** 53) }),
    }
  })
  return { experts: sources, ...(router !== undefined && { router: parseRouter(router, `${where}.router`, sources.length) }) }
}

function parseRouter(value: unknown, where: string, count: number): RouterStart {
  const { activation, start } = object(value, where, ['activation', 'start'])
  if (activation !== undefined && activation !== 'sigmoid' && activation !== 'softmax')
    throw bad(`${where}.activation`, '"sigmoid" or "softmax"', activation)
  if (start === undefined || start === 'mean' || start === 'first')
    return { ...(activation !== undefined && { activation }), ...(start !== undefined && { start }) }
  if (!Array.isArray(start)) throw bad(`${where}.start`, '"mean", "first" or a list of rates', start)
  const rates = list(start, `${where}.start`, count, count, (item, at): number => {
    // Below a millionth the numbers that give the rate would have to be finer than F16 is.
    if (typeof item !== 'number' || !(item === 0 || item >= 1e-6 && item <= 1)) throw bad(at, 'a rate of 0, or from 0.000001 to 1,', item)
    return item
  })
  if (rates.every(rate => rate === 0)) throw bad(`${where}.start`, 'rates of which one at least is above 0', start)
  const sum = rates.reduce((total, rate) => total + rate, 0)
  if (activation === 'softmax' && Math.abs(sum - 1) > 1e-6) throw bad(`${where}.start`, `rates that sum to 1, as softmax gives them (these to ${sum}),`, start)
  return { ...(activation !== undefined && { activation }), start: rates }
}

function parseSlice(value: unknown, where: string): Slice {
  const { axis, begin, end } = object(value, where, ['axis', 'begin', 'end'])
  const first = whole(begin, `${where}.begin`, 0, 1e9)
  return { axis: whole(axis, `${where}.axis`, 0, 3), begin: first, end: whole(end, `${where}.end`, first + 1, 1e9 + 1) }
}

function checkpointOf(value: unknown, where: string, names: string[]): string {
  if (typeof value === 'string' && names.includes(value)) return value
  throw new AsdmError('INVALID_ARGUMENT',
    `Expected ${where} to name a checkpoint of the recipe but received ${shown(value)}; `
    + nearestOf(typeof value === 'string' ? value : '', names))
}

function prefixOf(value: unknown, where: string): string {
  if (typeof value === 'string' && value.length <= 200 && prefixForm.test(value)) return value
  throw bad(where, 'a prefix of weights, as up_blocks.1.resnets.1,', value)
}

function object(value: unknown, where: string, known: readonly string[]): Record<string, unknown> {
  if (!isJsonObject(value)) throw bad(where, 'an object', value)
  for (const key of Object.keys(value))
    if (!known.includes(key))
      throw new AsdmError('INVALID_ARGUMENT',
        `Expected ${where} to have only known keys but received ${shown(key)}; ${nearestOf(key, known)}`)
  // Only what the value itself holds: nothing of its prototype.
  return Object.fromEntries(known.filter(key => Object.hasOwn(value, key)).map(key => [key, value[key]]))
}

function list<T>(value: unknown, where: string, least: number, most: number, each: (item: unknown, where: string) => T): T[] {
  if (!Array.isArray(value) || value.length < least || value.length > most) throw bad(where, `an array of ${least} to ${most}`, value)
  return Array.from(value as unknown[], (item, i) => each(item, `${where}[${i}]`))
}

function text(value: unknown, where: string, most: number): string {
  if (typeof value !== 'string' || value === '' || value.length > most) throw bad(where, `a text of 1 to ${most} characters`, value)
  return value
}

function whole(value: unknown, where: string, least: number, most: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most)
    throw bad(where, `a whole number from ${least} to ${most}`, value)
  return value
}

function bad(where: string, expected: string, received: unknown): AsdmError {
  return new AsdmError('INVALID_ARGUMENT', `Expected ${where} to be ${expected} but received ${shown(received)}`)
}
