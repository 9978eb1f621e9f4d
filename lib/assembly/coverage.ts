import { AsdmError, shown } from '../base/errors'
import { nearestName } from '../base/options'
import type { JsonObject } from '../files/json'
import type { Part } from '../model/checkpoint'
import { asdmSection } from '../model/unet-config'
import { firstFew } from '../model/weights'
import type { WeightRequest } from '../native/binding'
import type { UNetConfig, WeightSource } from '../native/configs'
import { routerBias } from './experts'
import { behind, spelledOut, unitPlace, type CopyLine, type ExpertsLine, type Recipe, type RecipeLine } from './recipe'

/** A tensor that goes into a weight. */
export interface MadeFrom {
  source: WeightSource
  /** Which numbers of the source's axes are taken, in order; `undefined`: all. */
  pick?: number[][]
  /** Of a mean: its part of the whole. */
  share: number
  /** Of an expert: normal noise, its standard deviation in those of the tensor. */
  noise?: { deviation: number, seed: number }
}

/** How one weight of the target is made. */
export interface MadeWeight {
  /** Name in the target. */
  name: string
  /** Shape in the target. */
  shape: number[]
  /**
   * `copy`: of one tensor. `mean`: of several, or one, by their shares, stored as F32. `stack`: one after the other along a new first
   * axis, stored as F32 where they differ in dtype or get noise. `numbers`: of none.
   */
  kind: 'copy' | 'mean' | 'stack' | 'numbers'
  from: MadeFrom[]
  /** Of `numbers`: the values, stored as F32. */
  numbers?: Float32Array
}

/**
 * The `config.json` of the target: the checkpoint's with another topology, and what diffusers has no option for in its `asdm` section.
 * Its convolutions are all plain ones; which are to hold experts depends on where its weights come from ({@link conditionalConvs}).
 */
export function targetConfig(recipe: Recipe, json: JsonObject, config: UNetConfig): JsonObject {
  const { target } = recipe
  const out: JsonObject = { ...json }
  const all = config.blockOutChannels.length
  const stages = target.stages ?? all
  if (stages > all)
    throw new AsdmError('INVALID_ARGUMENT',
      `Expected recipe.target.stages to be at most the ${all} stages of the checkpoint but received ${stages}`)
  const dropped = Object.entries(recipe.units).filter(([, line]) => 'drop' in line).map(([prefix]) => prefix)
  if (stages < all) {
    out.block_out_channels = config.blockOutChannels.slice(0, stages)
    out.down_block_types = config.downCrossAttention.slice(0, stages).map(cross => (cross ? 'CrossAttnDownBlock2D' : 'DownBlock2D'))
    out.up_block_types = config.upCrossAttention.slice(all - stages).map(cross => (cross ? 'CrossAttnUpBlock2D' : 'UpBlock2D'))
    for (const option of [
      'attention_head_dim', 'num_attention_heads', 'layers_per_block', 'transformer_layers_per_block', 'only_cross_attention',
      'cross_attention_dim',
    ]) {
      const value = out[option]
      if (Array.isArray(value)) out[option] = value.slice(0, stages)
    }
    const reverse = out.reverse_transformer_layers_per_block
    if (Array.isArray(reverse)) out.reverse_transformer_layers_per_block = reverse.slice(all - stages)
  }
  if (target.layersPerBlock !== undefined) out.layers_per_block = target.layersPerBlock
  if (target.midBlock === false || dropped.includes('mid_block')) out.mid_block_type = null
  return withSection(out, { removed: [...config.removed ?? [], ...dropped.filter(prefix => prefix !== 'mid_block')] })
}

/** A `config.json` with another `asdm` section. */
export function withSection(json: JsonObject, content: Parameters<typeof asdmSection>[0]): JsonObject {
  const out: JsonObject = { ...json }
  const section = asdmSection(content)
  if (section === undefined) delete out.asdm
  else out.asdm = section
  return out
}

/**
 * Finds what every weight of the target is made of.
 * @param requested the target's weights @param parts the checkpoints' UNets by their names in the recipe
 * @throws AsdmError `INVALID_ARGUMENT` with the recipe line, `TENSOR_MISSING` for weights that no line gives, `TENSOR_SHAPE`
 */
export function coverTarget(
  recipe: Recipe, requested: readonly WeightRequest[], parts: ReadonlyMap<string, Part<UNetConfig>>,
): MadeWeight[] {
  const byName = new Map([...parts].map(([name, { weights }]) => [name, new Map(weights.map(weight => [weight.name, weight]))]))
  const lines = Object.entries(recipe.units)
  const lineOf = new Map<string, string[]>(requested.map(({ name }) => [name, []]))
  for (const [prefix, line] of lines) {
    const covered = requested.filter(({ name }) => behind(prefix, name) !== undefined)
    if ('drop' in line) {
      if (covered.length > 0)
        throw new AsdmError('INVALID_ARGUMENT',
          `Expected ${unitPlace(prefix)} to name a unit that can be dropped but the UNet still needs `
          + firstFew(covered.map(({ name }) => name)))
      continue
    }
    if (covered.length === 0) {
      const known = new Set(requested.flatMap(({ name }) => name.split('.').map((_, i, parts) => parts.slice(0, i + 1).join('.'))))
      const near = nearestName(prefix, [...known])
      throw new AsdmError('INVALID_ARGUMENT',
        `Expected ${unitPlace(prefix)} to name a block, layer, unit or weight of the target but it has none of that `
        + `name${near === undefined ? '' : `; did you mean ${JSON.stringify(near)}?`}`)
    }
    for (const { name } of covered) lineOf.get(name)!.push(prefix)
  }
  const doubled = [...lineOf].filter(([, prefixes]) => prefixes.length > 1)
  if (doubled.length > 0)
    throw new AsdmError('INVALID_ARGUMENT',
      `Expected each weight of the target in one line but ${doubled.length} are in several: `
      + firstFew(doubled.map(([name, prefixes]) => `${name} (${prefixes.map(prefix => unitPlace(prefix)).join(', ')})`)))
  const without = [...lineOf].filter(([, prefixes]) => prefixes.length === 0).map(([name]) => name)
  const { rest } = recipe
  const restWeights = rest === undefined ? undefined : byName.get(rest)!
  const missing = without.filter(name => restWeights?.has(name) !== true)
  if (missing.length > 0) {
    const why = rest === undefined
      ? 'no line of recipe.units names them and there is no recipe.rest'
      : `no line of recipe.units names them and the checkpoint of recipe.rest, ${shown(rest)}, does not have them`
    throw new AsdmError('TENSOR_MISSING',
      `Expected every weight of the target to have a source but ${missing.length} have none: ${firstFew(missing)}; ${why}`)
  }
  return requested.map(request => {
    const prefix = lineOf.get(request.name)![0]
    if (prefix === undefined)
      return {
        name: request.name, shape: [...request.shape], kind: 'copy',
        from: [taken(request, request.shape, restWeights!.get(request.name)!, {}, 'recipe.rest')],
      }
    return make(request, prefix, recipe.units[prefix]!, byName)
  })
}

type Weights = ReadonlyMap<string, ReadonlyMap<string, WeightSource>>

function make(request: WeightRequest, prefix: string, line: RecipeLine, byName: Weights): MadeWeight {
  const { name } = request
  const shape = [...request.shape]
  const place = unitPlace(prefix)
  if ('drop' in line) throw new AsdmError('INTERNAL', 'Expected a line with sources but received a dropped unit')
  if ('experts' in line) return makeExperts(request, prefix, line, byName)
  if ('average' in line) {
    const total = line.average.reduce((sum, { share }) => sum + (share ?? 1), 0)
    const from = line.average.map((item, i) => {
      const at = `${place}.average[${i}]`
      return { ...taken(request, shape, find(name, prefix, item, byName, at), item, at), share: (item.share ?? 1) / total }
    })
    return { name, shape, kind: 'mean', from }
  }
  return { name, shape, kind: 'copy', from: [taken(request, shape, find(name, prefix, line, byName, place), line, place)] }
}

/** The weights of a conditional convolution: kernels and biases are stacked, a router's start is calculated. */
function makeExperts(request: WeightRequest, prefix: string, line: ExpertsLine, byName: Weights): MadeWeight {
  const { name } = request
  const shape = [...request.shape]
  const part = name.slice(prefix.length)
  if (part === '.router.weight')
    return { name, shape, kind: 'numbers', from: [], numbers: new Float32Array(shape.reduce((a, b) => a * b, 1)) }
  if (part === '.router.bias') return { name, shape, kind: 'numbers', from: [], numbers: routerBias(line) }
  const plain = name.replace('.experts.', '.')
  const from = line.experts.map((item, i) => {
    const at = `${unitPlace(prefix)}.experts[${i}]`
    const piece = taken(request, shape.slice(1), find(plain, prefix, item, byName, at), item, at)
    // Only kernels get noise: a bias is one number for a whole map.
    const noisy = (item.noise ?? 0) > 0 && part === '.experts.weight'
    return noisy ? { ...piece, noise: { deviation: item.noise!, seed: item.seed ?? i } } : piece
  })
  return { name, shape, kind: 'stack', from }
}

/** The tensor that a line means for a weight of the target. */
function find(wanted: string, prefix: string, { checkpoint, prefix: from }: CopyLine, byName: Weights, at: string): WeightSource {
  const { index, rest } = behind(prefix, wanted)!
  const spelled = spelledOut(from ?? prefix)
  if (spelled.length !== spelledOut(prefix).length)
    throw new AsdmError('INVALID_ARGUMENT',
      `Expected ${at}.prefix to be `
      + `${spelled.length > 1 ? 'no layer, since the line is none' : 'a layer, as up_blocks.1.2, since the line is one'}, but received `
      + shown(from))
  const name = spelled[index]! + rest
  const source = byName.get(checkpoint)!.get(name)
  if (source === undefined)
    throw new AsdmError('TENSOR_MISSING',
      `Expected ${name} in the checkpoint ${shown(checkpoint)}, as ${at} says for ${wanted}, but it has no such weight`)
  return source
}

/** What is taken of a tensor so that it has this shape. */
function taken(
  { name }: WeightRequest, shape: readonly number[], source: WeightSource, { slice, fit }: Pick<CopyLine, 'slice' | 'fit'>, place: string,
): MadeFrom {
  const given = source.shape
  const wrong = (now: readonly number[]): AsdmError =>
    new AsdmError('TENSOR_SHAPE', `Expected ${place} to give ${name} [${shape}] but received ${source.name} [${now}]`)
  // A tensor without numbers may have any sizes.
  if (given.includes(0)) throw wrong(given)
  let axes: number[][] | undefined
  let now = given
  if (slice !== undefined) {
    const cut = axes = given.map(size => Array.from({ length: size }, (_, i) => i))
    slice.forEach(({ axis, begin, end }, i) => {
      const all = cut[axis]
      if (all === undefined || end > all.length)
        throw new AsdmError('TENSOR_SHAPE',
          `Expected ${place}.slice[${i}] to lie inside ${source.name} [${given}] but received axis ${axis} from ${begin} to ${end}`)
      cut[axis] = all.slice(begin, end)
    })
    now = axes.map(axis => axis.length)
  }
  if (sameView(now, shape)) return { source, share: 1, ...(axes !== undefined && { pick: axes }) }
  if (fit === undefined || now.length !== shape.length) throw wrong(now)
  axes ??= given.map(size => Array.from({ length: size }, (_, i) => i))
  const pick = axes.map((axis, d) => Array.from({ length: shape[d]! }, (_, i) => {
    const at = (i - (shape[d]! - axis.length)) % axis.length
    return axis[at < 0 ? at + axis.length : at]!
  }))
  return { source, share: 1, pick }
}

function sameView(a: readonly number[], b: readonly number[]): boolean {
  const long = Math.max(a.length, b.length)
  for (let i = 0; i < long; i++) if ((a[i] ?? 1) !== (b[i] ?? 1)) return false
  return true
}
