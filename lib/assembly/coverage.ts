import { AsdmError, shown } from '../errors'
import type { Part } from '../model/checkpoint'
import type { UNetConfig, WeightSource } from '../model/config'
import type { JsonObject } from '../model/json'
import { nearestName } from '../options'
import { firstFew } from '../model/weights'
import type { WeightRequest } from '../native/binding'
import { behind, spelledOut, unitPlace, type Recipe, type RecipeLine, type Slice } from './recipe'

/** How one weight of the target is made. */
export interface MadeWeight {
  /** Name in the target. */
  name: string
  /** Shape in the target. */
  shape: number[]
  /** One source is copied; several are averaged by their shares. */
  from: { source: WeightSource, share: number }[]
  /** Is it a mean, also of one? Then it is stored as F32. */
  mean: boolean
  /** Which numbers of the source's axes are taken, in order; `undefined`: all. */
  pick?: number[][]
}

/** The `config.json` of the target: the checkpoint's with another topology, and what diffusers has no option for in its `asdm` section. */
export function targetConfig(recipe: Recipe, json: JsonObject, config: UNetConfig): JsonObject {
  const { target } = recipe
  const out: JsonObject = { ...json }
  const all = config.blockOutChannels.length
  const stages = target.stages ?? all
  if (stages > all) throw new AsdmError('INVALID_ARGUMENT', `Expected recipe.target.stages to be at most the ${all} stages of the checkpoint but received ${stages}`)
  const dropped = Object.entries(recipe.units).filter(([, line]) => 'drop' in line).map(([prefix]) => prefix)
  if (stages < all) {
    out.block_out_channels = config.blockOutChannels.slice(0, stages)
    out.down_block_types = config.downCrossAttention.slice(0, stages).map(cross => (cross ? 'CrossAttnDownBlock2D' : 'DownBlock2D'))
    out.up_block_types = config.upCrossAttention.slice(all - stages).map(cross => (cross ? 'CrossAttnUpBlock2D' : 'UpBlock2D'))
    for (const option of ['attention_head_dim', 'num_attention_heads', 'layers_per_block', 'transformer_layers_per_block', 'only_cross_attention', 'cross_attention_dim']) {
      const value = out[option]
      if (Array.isArray(value)) out[option] = value.slice(0, stages)
    }
    const reverse = out.reverse_transformer_layers_per_block
    if (Array.isArray(reverse)) out.reverse_transformer_layers_per_block = reverse.slice(all - stages)
  }
  if (target.layersPerBlock !== undefined) out.layers_per_block = target.layersPerBlock
  if (target.midBlock === false || dropped.includes('mid_block')) out.mid_block_type = null
  const removed = [...config.removed ?? [], ...dropped.filter(prefix => prefix !== 'mid_block')]
  if (removed.length > 0) out.asdm = { version: 1, removed }
  return out
}

/**
 * Finds what every weight of the target is made of.
 * @param requested the target's weights @param parts the checkpoints' UNets by their names in the recipe
 * @throws AsdmError `INVALID_ARGUMENT` with the recipe line, `TENSOR_MISSING` for weights that no line gives, `TENSOR_SHAPE`
 */
export function coverTarget(recipe: Recipe, requested: readonly WeightRequest[], parts: ReadonlyMap<string, Part<UNetConfig>>): MadeWeight[] {
  const byName = new Map([...parts].map(([name, { weights }]) => [name, new Map(weights.map(weight => [weight.name, weight]))]))
  const lines = Object.entries(recipe.units)
  const lineOf = new Map<string, string[]>(requested.map(({ name }) => [name, []]))
  for (const [prefix, line] of lines) {
    const covered = requested.filter(({ name }) => behind(prefix, name) !== undefined)
    if ('drop' in line) {
      if (covered.length > 0) throw new AsdmError('INVALID_ARGUMENT', `Expected ${unitPlace(prefix)} to name a unit that can be dropped but the UNet still needs ${firstFew(covered.map(({ name }) => name))}`)
      continue
    }
    if (covered.length === 0) {
      const known = new Set(requested.flatMap(({ name }) => name.split('.').map((_, i, parts) => parts.slice(0, i + 1).join('.'))))
      const near = nearestName(prefix, [...known])
      throw new AsdmError('INVALID_ARGUMENT', `Expected ${unitPlace(prefix)} to name a block, layer, unit or weight of the target but it has none of that name${near === undefined ? '' : `; did you mean ${JSON.stringify(near)}?`}`)
    }
    for (const { name } of covered) lineOf.get(name)!.push(prefix)
  }
  const doubled = [...lineOf].filter(([, prefixes]) => prefixes.length > 1)
  if (doubled.length > 0)
    throw new AsdmError('INVALID_ARGUMENT', `Expected each weight of the target in one line but ${doubled.length} are in several: ${firstFew(doubled.map(([name, prefixes]) => `${name} (${prefixes.map(prefix => unitPlace(prefix)).join(', ')})`))}`)
  const without = [...lineOf].filter(([, prefixes]) => prefixes.length === 0).map(([name]) => name)
  const { rest } = recipe
  const restWeights = rest === undefined ? undefined : byName.get(rest)!
  const missing = without.filter(name => restWeights?.has(name) !== true)
  if (missing.length > 0) {
    const why = rest === undefined ? 'no line of recipe.units names them and there is no recipe.rest' : `no line of recipe.units names them and the checkpoint of recipe.rest, ${shown(rest)}, does not have them`
    throw new AsdmError('TENSOR_MISSING', `Expected every weight of the target to have a source but ${missing.length} have none: ${firstFew(missing)}; ${why}`)
  }
  return requested.map(request => {
    const prefix = lineOf.get(request.name)![0]
    if (prefix === undefined) return fitted(request, [{ source: restWeights!.get(request.name)!, share: 1 }], false, {}, 'recipe.rest')
    return make(request, prefix, recipe.units[prefix], byName)
  })
}

function make(request: WeightRequest, prefix: string, line: RecipeLine, byName: ReadonlyMap<string, ReadonlyMap<string, WeightSource>>): MadeWeight {
  if ('drop' in line) throw new AsdmError('INTERNAL', 'Expected a line with sources but received a dropped unit')
  const place = unitPlace(prefix)
  const find = (checkpoint: string, from: string | undefined, at: string): WeightSource => {
    const { index, rest } = behind(prefix, request.name)!
    const spelled = spelledOut(from ?? prefix)
    if (spelled.length !== spelledOut(prefix).length)
      throw new AsdmError('INVALID_ARGUMENT', `Expected ${at}.prefix to be ${spelled.length > 1 ? 'no layer, since the line is none' : 'a layer, as up_blocks.1.2, since the line is one'}, but received ${shown(from)}`)
    const name = spelled[index] + rest
    const source = byName.get(checkpoint)!.get(name)
    if (source === undefined)
      throw new AsdmError('TENSOR_MISSING', `Expected ${name} in the checkpoint ${shown(checkpoint)}, as ${at} says for ${request.name}, but it has no such weight`)
    return source
  }
  if ('average' in line) {
    const total = line.average.reduce((sum, { share }) => sum + (share ?? 1), 0)
    const from = line.average.map(({ checkpoint, prefix: other, share }, i) => ({ source: find(checkpoint, other, `${place}.average[${i}]`), share: (share ?? 1) / total }))
    return fitted(request, from, true, {}, place)
  }
  return fitted(request, [{ source: find(line.checkpoint, line.prefix, place), share: 1 }], false, line, place)
}

function fitted({ name, shape }: WeightRequest, from: MadeWeight['from'], mean: boolean, { slice, fit }: { slice?: readonly Slice[], fit?: 'end' }, place: string): MadeWeight {
  for (const { source } of from) {
    const given = source.shape
    // A tensor without numbers may have any sizes.
    if (given.includes(0)) throw new AsdmError('TENSOR_SHAPE', `Expected ${place} to give ${name} [${shape}] but received ${source.name} [${given}]`)
    let axes: number[][] | undefined
    let now = given
    if (slice !== undefined) {
      axes = given.map(size => Array.from({ length: size }, (_, i) => i))
      slice.forEach(({ axis, begin, end }, i) => {
        if (axis >= given.length || end > axes![axis].length)
          throw new AsdmError('TENSOR_SHAPE', `Expected ${place}.slice[${i}] to lie inside ${source.name} [${given}] but received axis ${axis} from ${begin} to ${end}`)
        axes![axis] = axes![axis].slice(begin, end)
      })
      now = axes.map(axis => axis.length)
    }
    if (sameView(now, shape)) return { name, shape: [...shape], from: checked(from, given, place), mean, pick: axes }
    if (fit === undefined || now.length !== shape.length)
      throw new AsdmError('TENSOR_SHAPE', `Expected ${place} to give ${name} [${shape}] but received ${source.name} [${now}]`)
    axes ??= given.map(size => Array.from({ length: size }, (_, i) => i))
    const pick = axes.map((axis, d) => Array.from({ length: shape[d] }, (_, i) => {
      const at = (i - (shape[d] - axis.length)) % axis.length
      return axis[at < 0 ? at + axis.length : at]
    }))
    return { name, shape: [...shape], from, mean, pick }
  }
  throw new AsdmError('INTERNAL', 'Expected a weight to have a source but there is none')
}

function checked(from: MadeWeight['from'], shape: readonly number[], place: string): MadeWeight['from'] {
  from.forEach(({ source }, i) => {
    if (!sameView(source.shape, shape)) throw new AsdmError('TENSOR_SHAPE', `Expected ${place}.average[${i}] to give [${shape}] but received ${source.name} [${source.shape}]`)
  })
  return from
}

function sameView(a: readonly number[], b: readonly number[]): boolean {
  const long = Math.max(a.length, b.length)
  for (let i = 0; i < long; i++) if ((a[i] ?? 1) !== (b[i] ?? 1)) return false
  return true
}
