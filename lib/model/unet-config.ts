import { AsdmError } from '../base/errors'
import { shownPath } from '../files/files'
import { isJsonObject, type JsonObject } from '../files/json'
import type { ConditionalConv, UNetConfig } from '../native/configs'
import { checkRange, ConfigReader, type Range } from './config-reader'

const widths: Range = { min: 1, max: 16_384 }
const channels: Range = { min: 1, max: 256 }
const stageCount: Range = { min: 1, max: 8 }
const layers: Range = { min: 1, max: 16 }
const transformerLayers: Range = { min: 1, max: 32 }
const heads: Range = { min: 1, max: 1_024 }
const featureWidths: Range = { min: 1, max: 65_536 }

/** Most units a config may leave out, and most convolutions that may hold experts. */
const maxRemoved = 1_024
const maxConditional = 1_024

/** How many experts a convolution may hold. */
export const expertCount: Range = { min: 1, max: 16 }

/** The latent size that is assumed where a config gives none. */
const defaultSampleSize = 64

/**
 * Parses the config of a diffusers `UNet2DConditionModel`. Absent options take diffusers' defaults. `attention_head_dim` is, in
 * spite of its name, the number of heads; `num_attention_heads` takes precedence where a config has both.
 * @param json the parsed `config.json` @param file its path, for messages
 * @throws AsdmError `BAD_CONFIG` for values that make no sense, `UNSUPPORTED_CONFIG` for options that asdm does not have
 */
export function parseUNetConfig(json: JsonObject, file: string): UNetConfig {
  const reader = new ConfigReader(json, file)
  reader.only('_class_name', 'UNet2DConditionModel', 'FlaxUNet2DConditionModel')
  refuseUnsupported(reader)

  const blockOutChannels = reader.integers('block_out_channels', [320, 640, 1280, 1280], widths, stageCount)
  const stages = blockOutChannels.length
  const all: Range = { min: stages, max: stages }
  const down = reader.names('down_block_types', ['CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'DownBlock2D'],
    ['CrossAttnDownBlock2D', 'DownBlock2D'], all)
  const up = reader.names('up_block_types', ['UpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D'],
    ['CrossAttnUpBlock2D', 'UpBlock2D'], all)
  const midBlock = reader.raw('mid_block_type', 'UNetMidBlock2DCrossAttn')
  if (midBlock !== null && midBlock !== 'UNetMidBlock2DCrossAttn')
    throw reader.unsupported('mid_block_type', '"UNetMidBlock2DCrossAttn" or null', midBlock)

  const headDim = reader.raw('attention_head_dim', 8)
  const headCount = reader.raw('num_attention_heads') ?? null
  const attentionHeads = headCount === null
    ? reader.perStage('attention_head_dim', headDim, stages, heads)
    : reader.perStage('num_attention_heads', headCount, stages, heads)

  const transformerLayersPerBlock = reader.perStage(
    'transformer_layers_per_block', reader.raw('transformer_layers_per_block', 1), stages, transformerLayers,
  )
  const reverse = reader.raw('reverse_transformer_layers_per_block') ?? null
  if (reverse !== null) {
    const mirrored = [...transformerLayersPerBlock].reverse()
    const given = reader.perStage('reverse_transformer_layers_per_block', reverse, stages, transformerLayers)
    if (given.some((count, i) => count !== mirrored[i]))
      throw reader.unsupported('reverse_transformer_layers_per_block', `[${mirrored}], the mirror of transformer_layers_per_block,`)
  }

  const features = reader.perStage('cross_attention_dim', reader.raw('cross_attention_dim', 1280), stages, featureWidths)
  if (features.some(width => width !== features[0])) throw reader.unsupported('cross_attention_dim', 'the same for every stage')

  const config: UNetConfig = {
    inChannels: reader.integer('in_channels', 4, channels),
    outChannels: reader.integer('out_channels', 4, channels),
    sampleSize: parseSampleSize(reader),
    blockOutChannels,
    downCrossAttention: down.map(type => type === 'CrossAttnDownBlock2D'),
    upCrossAttention: up.map(type => type === 'CrossAttnUpBlock2D'),
    layersPerBlock: reader.perStage('layers_per_block', reader.raw('layers_per_block', 2), stages, layers),
    transformerLayersPerBlock,
    attentionHeads,
    crossAttentionDim: features[0]!,
    hasMidBlock: midBlock !== null,
    normNumGroups: reader.integer('norm_num_groups', 32, widths),
    normEps: reader.number('norm_eps', 1e-5, { min: 1e-12, max: 1 }),
    useLinearProjection: reader.boolean('use_linear_projection', false),
    onlyCrossAttention: parseOnlyCrossAttention(reader, stages),
    downsamplePadding: reader.integer('downsample_padding', 1, { min: 0, max: 1 }),
    flipSinToCos: reader.boolean('flip_sin_to_cos', true),
    freqShift: reader.number('freq_shift', 0, { min: 0, max: 1 }),
  }
  const timeWidth = reader.raw('time_embedding_dim') ?? null
  if (timeWidth !== null && timeWidth !== 4 * blockOutChannels[0]!)
    throw reader.unsupported('time_embedding_dim', `null or ${4 * blockOutChannels[0]!}, four times the first width,`, timeWidth)
  const timeCond = reader.raw('time_cond_proj_dim') ?? null
  if (timeCond !== null) config.timeCondDim = reader.integer('time_cond_proj_dim', 256, { min: 4, max: 65_536 })
  Object.assign(config, parseAddition(reader))
  const { removed, conditional } = parseSection(reader)
  if (removed.length > 0) config.removed = removed
  if (conditional.length > 0) config.conditional = conditional
  reader.finish()
  checkUNetConfig(config, shownPath(file))
  return config
}

/** Options with one supported value, and those that change nothing when a model only runs, in float32. */
function refuseUnsupported(reader: ConfigReader): void {
  reader.only('act_fn', 'silu', 'swish')
  reader.only('center_input_sample', false, null)
  reader.only('mid_block_scale_factor', 1)
  reader.only('encoder_hid_dim', null)
  reader.only('encoder_hid_dim_type', null)
  reader.only('dual_cross_attention', false, null)
  reader.only('class_embed_type', null)
  reader.only('num_class_embeds', null)
  reader.only('class_embeddings_concat', false, null)
  reader.only('addition_embed_type', null, 'text_time')
  reader.only('resnet_time_scale_shift', 'default')
  reader.only('resnet_skip_time_act', false, null)
  reader.only('resnet_out_scale_factor', 1)
  reader.only('time_embedding_type', 'positional')
  reader.only('time_embedding_act_fn', null)
  reader.only('timestep_post_act', null)
  reader.only('conv_in_kernel', 3)
  reader.only('conv_out_kernel', 3)
  reader.only('attention_type', 'default')
  reader.only('mid_block_only_cross_attention', null, false)
  reader.only('cross_attention_norm', null)
  // Dropout is off when a model runs; attention is computed in float32 anyway; these heads are read only by other kinds of
  // addition_embed_type.
  reader.without('dropout', 'upcast_attention', 'addition_embed_type_num_heads')
  // Notes that diffusers' exponential moving average leaves in the config of a fine-tuned UNet.
  reader.without('decay', 'inv_gamma', 'min_decay', 'optimization_step', 'power', 'update_after_step', 'use_ema_warmup')
}

/** Pooled text and sizes beside the time step. Without them their widths are not looked at, as in diffusers. */
function parseAddition(reader: ConfigReader): Pick<UNetConfig, 'additionDim' | 'additionTimeDim'> {
  if ((reader.raw('addition_embed_type') ?? null) === null) {
    reader.without('addition_time_embed_dim')
    reader.only('projection_class_embeddings_input_dim', null)
    return {}
  }
  const width = (option: string): number => reader.perStage(option, reader.raw(option) ?? null, 1, featureWidths)[0]!
  const additionDim = width('projection_class_embeddings_input_dim'), additionTimeDim = width('addition_time_embed_dim')
  if (additionTimeDim % 2 !== 0) throw reader.unsupported('addition_time_embed_dim', 'even', additionTimeDim)
  if (additionTimeDim >= additionDim)
    throw reader.bad('projection_class_embeddings_input_dim', `more than addition_time_embed_dim, ${additionTimeDim},`, additionDim)
  return { additionDim, additionTimeDim }
}

function parseSampleSize(reader: ConfigReader): number {
  const value = reader.raw('sample_size') ?? defaultSampleSize
  const range: Range = { min: 1, max: 65_536 }
  if (!Array.isArray(value)) return reader.perStage('sample_size', value, 1, range)[0]!
  if (value.length !== 2) throw reader.bad('sample_size', 'a number, or height and width,', value)
  const [height, width] = reader.perStage('sample_size', value, 2, range)
  if (height !== width) throw reader.unsupported('sample_size', 'square')
  return height!
}

/** The section that diffusers does not know: which units an assembled UNet has lost, and which of its convolutions hold experts. */
function parseSection(reader: ConfigReader): { removed: string[], conditional: ConditionalConv[] } {
  const section = reader.raw('asdm') ?? null
  if (section === null) return { removed: [], conditional: [] }
  if (!isJsonObject(section)) throw reader.bad('asdm', 'an object with version, and removed or conditional', section)
  if (section.version !== 1) throw reader.unsupported('asdm.version', '1', section.version)
  for (const key of Object.keys(section))
    if (!['version', 'removed', 'conditional'].includes(key))
      throw reader.unsupported('asdm', 'an object with version, removed and conditional only', key)
  if (section.removed === undefined && section.conditional === undefined)
    throw reader.bad('asdm', 'an object with removed or conditional', section)
  const { removed = [], conditional = [] } = section
  if (!Array.isArray(removed) || removed.length > maxRemoved || !removed.every(isPrefix))
    throw reader.bad('asdm.removed', `a list of at most ${maxRemoved} prefixes of units`, removed)
  if (!Array.isArray(conditional) || conditional.length > maxConditional)
    throw reader.bad('asdm.conditional', `a list of at most ${maxConditional} convolutions`, conditional)
  return { removed, conditional: conditional.map((item, i) => parseConditional(reader, item, `asdm.conditional[${i}]`)) }
}

function parseConditional(reader: ConfigReader, item: unknown, where: string): ConditionalConv {
  if (!isJsonObject(item)) throw reader.bad(where, 'an object with prefix, experts and router', item)
  for (const key of Object.keys(item))
    if (!['prefix', 'experts', 'router'].includes(key))
      throw reader.unsupported(where, 'an object with prefix, experts and router only', key)
  const { prefix, experts: count, router = 'sigmoid' } = item
  if (!isPrefix(prefix)) throw reader.bad(`${where}.prefix`, 'the prefix of a convolution', prefix)
  if (typeof count !== 'number' || !Number.isInteger(count) || count < expertCount.min || count > expertCount.max)
    throw reader.bad(`${where}.experts`, `a whole number from ${expertCount.min} to ${expertCount.max}`, count)
  if (router !== 'sigmoid' && router !== 'softmax') throw reader.unsupported(`${where}.router`, '"sigmoid" or "softmax"', router)
  return { prefix, experts: count, router }
}

function isPrefix(value: unknown): value is string {
  return typeof value === 'string' && /^[a-z0-9_.]{1,200}$/.test(value)
}

/** The section of a `config.json` that says what diffusers has no option for, or `undefined` where that is nothing. */
export function asdmSection({ removed = [], conditional = [] }: Pick<UNetConfig, 'removed' | 'conditional'>): JsonObject | undefined {
  if (removed.length === 0 && conditional.length === 0) return undefined
  return { version: 1, ...(removed.length > 0 && { removed }), ...(conditional.length > 0 && { conditional }) }
}

function parseOnlyCrossAttention(reader: ConfigReader, stages: number): boolean[] {
  const value = reader.raw('only_cross_attention', false)
  const list = Array.isArray(value) ? value : new Array<unknown>(stages).fill(value)
  if (list.length !== stages || !list.every(item => typeof item === 'boolean'))
    throw reader.bad('only_cross_attention', 'true or false, or a list of them, one for each stage,', value)
  return list
}

/**
 * Checks that the numbers of a config fit each other. Names in messages are those of the published options.
 * @param where what the config belongs to, for messages
 * @throws AsdmError `BAD_CONFIG`, `UNSUPPORTED_CONFIG`
 */
export function checkUNetConfig(config: UNetConfig, where: string): void {
  const { blockOutChannels, attentionHeads, normNumGroups } = config
  const bad = (problem: string): AsdmError =>
    new AsdmError('BAD_CONFIG', `Expected the UNet config of ${where} to fit together but ${problem}`)
  const last = blockOutChannels.length - 1
  checkRange('the number of stages', blockOutChannels.length, stageCount, where)
  checkRange('block_out_channels', blockOutChannels, widths, where)
  checkRange('in_channels', config.inChannels, channels, where)
  checkRange('out_channels', config.outChannels, channels, where)
  checkRange('layers_per_block', config.layersPerBlock, layers, where)
  checkRange('transformer_layers_per_block', config.transformerLayersPerBlock, transformerLayers, where)
  checkRange('cross_attention_dim', config.crossAttentionDim, featureWidths, where)
  if (blockOutChannels[0]! % 2 !== 0)
    throw new AsdmError('UNSUPPORTED_CONFIG',
      `Expected the first of block_out_channels of ${where} to be even but received ${blockOutChannels[0]}, which is not supported`)
  if (config.freqShift >= blockOutChannels[0]! / 2)
    throw bad(`freq_shift is ${config.freqShift} with only ${blockOutChannels[0]! / 2} frequencies`)
  blockOutChannels.forEach((width, stage) => {
    if (width % normNumGroups !== 0) throw bad(`block_out_channels has ${width}, which norm_num_groups ${normNumGroups} does not divide`)
    const attends = config.downCrossAttention[stage] === true || config.upCrossAttention[last - stage] === true
      || stage === last && config.hasMidBlock
    if (attends && (!Number.isInteger(attentionHeads[stage]) || width % attentionHeads[stage]! !== 0))
      throw bad(`block_out_channels has ${width}, which ${attentionHeads[stage]} attention heads (attention_head_dim) do not divide`)
  })
}
