import { AsdmError, printable, shown } from '../base/errors'
import { shownPath } from '../files/files'
import type { StoredTensor } from '../files/safetensors'
import type { WeightRequest } from '../native/binding'
import type { StoredDType, WeightSource } from '../native/configs'

/** The parts of a checkpoint that have weights; also the names of their folders. */
export type PartName = 'unet' | 'vae' | 'text_encoder'

/** A tensor as a file has it: any name, any dtype. */
export interface FoundTensor extends StoredTensor {
  name: string
  file: string
}

const storedDTypes: readonly string[] = ['F32', 'F16', 'BF16', 'F64', 'F8_E4M3', 'F8_E5M2'] satisfies StoredDType[]

/** Tensors that published files hold beside a part's weights, and that running it does not use. */
const unused: Record<PartName, RegExp> = {
  unet: /^(?!)/,
  vae: /^(?:loss|model_ema)\./,
  text_encoder: /^(?:embeddings\.position_ids|text_projection(?:\.weight)?|logit_scale|vision_model\..*|visual_projection\.weight)$/,
}

/** Scales of quantized weights: ComfyUI's and others' FP8, bitsandbytes', quanto's. */
const scales = /(?:^|\.)(?:scaled_fp8|scale_weight|weight_scale|(?:weight\.)?(?:absmax|quant_map|quant_state\..*|SCB)|weight\._scale)$/

const vaeAttention = { query: 'to_q', key: 'to_k', value: 'to_v', proj_attn: 'to_out.0' }

/** The current diffusers (transformers) name of a weight that may have been saved under an older one. Exported for tests and scripts. */
export function currentName(part: PartName, name: string): string {
  if (part === 'text_encoder') return name.startsWith('text_model.') ? name.slice('text_model.'.length) : name
  if (part === 'vae') {
    const old = /^((?:en|de)coder\.mid_block\.attentions\.\d+\.)(query|key|value|proj_attn)(\.(?:weight|bias))$/.exec(name)
    if (old !== null) return old[1]! + vaeAttention[old[2] as keyof typeof vaeAttention] + old[3]!
  }
  return name
}

/**
 * The weights of a part among the tensors found for it: under their current names, without those that are never used
 * (position ids, projections, loss networks).
 * @param where file or folder, for messages
 * @throws AsdmError `UNSUPPORTED_FORMAT` for weights that are quantized with scales, `BAD_SAFETENSORS` when two tensors are the same weight
 */
export function toWeightSources(part: PartName, found: Iterable<FoundTensor>, where: string): WeightSource[] {
  const sources = new Map<string, WeightSource>()
  for (const tensor of found) {
    const name = currentName(part, tensor.name)
    if (unused[part].test(name)) continue
    // Numbers that a graph does not ask for may be of any kind; scales of 8-bit weights would be missed by those that it does.
    if (scales.test(tensor.name))
      throw new AsdmError('UNSUPPORTED_FORMAT',
        `Expected plain weights in ${shownPath(where)} but ${shown(tensor.name)} says that they are quantized with scales, which is not `
        + 'supported')
    if (sources.has(name))
      throw new AsdmError('BAD_SAFETENSORS',
        `Expected each weight once in ${shownPath(where)} but ${shown(name)} is there twice, once under an older name`)
    sources.set(name, {
      name, file: tensor.file, dtype: tensor.dtype as StoredDType, shape: tensor.shape, begin: tensor.begin, end: tensor.end,
    })
  }
  return [...sources.values()]
}

/** @throws AsdmError `TENSOR_DTYPE` for a number format that is not read */
export function checkDType(name: string, dtype: string, where: string): void {
  if (!storedDTypes.includes(dtype))
    throw new AsdmError('TENSOR_DTYPE',
      `Expected tensor ${shown(name)} in ${shownPath(where)} to be stored as F32, F16, BF16, F64, F8_E4M3 or F8_E5M2 but received ${shown(dtype)}`)
}

/**
 * Finds a source for every weight that a graph asks for. Shapes that differ only in trailing ones are the same bytes: a 1x1
 * convolution's [C, C, 1, 1] stands for the matrix [C, C] and the other way round.
 * @param requested what the graph asks for @param sources what was found @param where file or folder, for messages
 * @param onUnused called with the names of tensors that the graph does not have, where there are any; diffusers passes over them, too
 * @returns the sources in the order of the requests, with the shapes of the requests
 * @throws AsdmError `TENSOR_MISSING`, `TENSOR_SHAPE`, `TENSOR_DTYPE`
 */
export function matchWeights(
  requested: readonly WeightRequest[], sources: readonly WeightSource[], where: string, onUnused: (names: string[]) => void = () => {},
): WeightSource[] {
  const byName = new Map(sources.map(source => [source.name, source]))
  const missing = requested.filter(({ name }) => !byName.has(name)).map(({ name }) => name)
  const wanted = new Set(requested.map(({ name }) => name))
  const extra = sources.filter(({ name }) => !wanted.has(name)).map(({ name }) => name)
  if (missing.length > 0) {
    const hint = extra.length > 0 ? `; it holds others instead: ${firstFew(extra)}` : ''
    throw new AsdmError('TENSOR_MISSING',
      `Expected ${requested.length} weights in ${shownPath(where)} but ${count(missing, 'is', 'are')} missing: ${firstFew(missing)}${hint}`)
  }
  const wrong = requested.filter(({ name, shape }) => !sameView(shape, byName.get(name)!.shape))
  if (wrong.length > 0) {
    const list = wrong.map(({ name, shape }) => `${name} (expected [${shape}], received [${byName.get(name)!.shape}])`)
    throw new AsdmError('TENSOR_SHAPE',
      `Expected the shapes that the config gives in ${shownPath(where)} but ${count(wrong, 'differs', 'differ')}: ${firstFew(list)}`)
  }
  if (extra.length > 0) onUnused(extra)
  return requested.map(({ name, shape }) => {
    const source = byName.get(name)!
    checkDType(name, source.dtype, where)
    return { ...source, shape: [...shape] }
  })
}

/**
 * A VAE's weights by the half that uses them. What belongs to neither goes with the decoder, which is always loaded.
 */
export function splitVAEWeights(sources: readonly WeightSource[]): { decoder: WeightSource[], encoder: WeightSource[] } {
  const ofEncoder = ({ name }: WeightSource): boolean => /^(?:encoder|quant_conv)\./.test(name)
  return { decoder: sources.filter(source => !ofEncoder(source)), encoder: sources.filter(ofEncoder) }
}

function sameView(a: readonly number[], b: readonly number[]): boolean {
  const long = Math.max(a.length, b.length)
  for (let i = 0; i < long; i++) if ((a[i] ?? 1) !== (b[i] ?? 1)) return false
  return true
}

function count(list: readonly unknown[], one: string, several: string): string {
  return `${list.length} ${list.length === 1 ? one : several}`
}

/** A name from a file, which may hold anything, for a message. */
export function oneLine(name: string): string {
  return printable(name).replaceAll('\n', '\\n')
}

/** The first names of a list, and how many more there are. */
export function firstFew(names: readonly string[]): string {
  const few = names.slice(0, 4).map(name => oneLine(name.length > 160 ? `${name.slice(0, 157)}...` : name)).join(', ')
  return names.length > 4 ? `${few} and ${names.length - 4} more` : few
}
