/** TAESD: diffusers' `AutoencoderTiny`, and the original's two files (https://github.com/madebyollin/taesd). */
import path from 'node:path'
import { AsdmError } from '../base/errors'
import { fileExists, shownPath } from '../files/files'
import type { JsonObject } from '../files/json'
import { readSafetensorsHeader } from '../files/safetensors'
import type { VAEConfig } from '../native/configs'
import { ConfigReader, type Range } from './config-reader'
import type { Shapes } from './shapes'
import type { FoundTensor } from './weights'

const widths: Range = { min: 1, max: 16_384 }
const channels: Range = { min: 1, max: 256 }
const blocks: Range = { min: 0, max: 16 }
const stageCount: Range = { min: 1, max: 8 }

/** What of an `AutoencoderKL` an `AutoencoderTiny` does not have. */
const without = { layersPerBlock: 1, normNumGroups: 1, useQuantConv: false, usePostQuantConv: false, midBlockAddAttention: false }

/**
 * Parses the config of a diffusers `AutoencoderTiny`.
 * @throws AsdmError as `parseVAEConfig`
 */
export function parseTinyVAEConfig(json: JsonObject, file: string): VAEConfig {
  const reader = new ConfigReader(json, file)
  reader.only('_class_name', 'AutoencoderTiny')
  reader.only('act_fn', 'relu')
  reader.only('upsample_fn', 'nearest')
  reader.only('upsampling_scaling_factor', 2)
  // What diffusers writes twice, what float32 does not need, and how latents are stored in 8 bits.
  reader.without('block_out_channels', 'force_upcast', 'latent_magnitude', 'latent_shift')
  const decoderBlocks = reader.integers('num_decoder_blocks', [3, 3, 3, 1], blocks, stageCount)
  const stages: Range = { min: decoderBlocks.length, max: decoderBlocks.length }
  const encoderBlocks = reader.integers('num_encoder_blocks', [1, 3, 3, 3], blocks, stageCount)
  if (encoderBlocks.length !== decoderBlocks.length)
    throw reader.unsupported('num_encoder_blocks', `as long as num_decoder_blocks, ${decoderBlocks.length}`)
  const oneWidth = (option: string): number[] => {
    const list = reader.integers(option, decoderBlocks.map(() => 64), widths, stages)
    if (list.some(width => width !== list[0])) throw reader.unsupported(option, 'one width for all stages', list)
    return list
  }
  const encoderWidth = oneWidth('encoder_block_out_channels')[0]!
  const config: VAEConfig = {
    ...without, inChannels: reader.integer('in_channels', 3, channels), outChannels: reader.integer('out_channels', 3, channels),
    latentChannels: reader.integer('latent_channels', 4, channels), blockOutChannels: oneWidth('decoder_block_out_channels'),
    scalingFactor: reader.number('scaling_factor', 1, { min: 1e-6, max: 1e6 }),
    shiftFactor: reader.number('shift_factor', 0, { min: -1e6, max: 1e6 }),
    tiny: { encoderWidth, encoderBlocks, decoderBlocks },
  }
  reader.finish()
  return config
}

/** The `config.json` of an `AutoencoderTiny`, but for its class and version. */
export function tinyVAEJson({ tiny, ...config }: VAEConfig & { tiny: NonNullable<VAEConfig['tiny']> }): JsonObject {
  return {
    act_fn: 'relu',
    decoder_block_out_channels: config.blockOutChannels,
    encoder_block_out_channels: config.blockOutChannels.map(() => tiny.encoderWidth),
    in_channels: config.inChannels,
    latent_channels: config.latentChannels,
    num_decoder_blocks: tiny.decoderBlocks,
    num_encoder_blocks: tiny.encoderBlocks,
    out_channels: config.outChannels,
    scaling_factor: config.scalingFactor,
    ...(config.shiftFactor === 0 ? {} : { shift_factor: config.shiftFactor }),
    upsample_fn: 'nearest',
    upsampling_scaling_factor: 2,
  }
}

/** Is this how the original's files, or diffusers' single ones, name a tiny autoencoder's weights? */
export function isTinyVAE(names: Iterable<string>): boolean {
  for (const name of names) if (/^(?:(?:en|de)coder\.layers\.)?\d{1,3}\.(?:conv\.\d\.)?weight$/.test(name)) return true
  return false
}

/**
 * The tensors of a tiny autoencoder by diffusers' names. The original keeps encoder and decoder in a file each, without a prefix, and
 * counts its decoder's clamp as a layer: the other half is read where it lies beside, as `taesd_encoder` beside `taesd_decoder`.
 */
export async function tinyVAETensors(tensors: readonly FoundTensor[], file: string): Promise<FoundTensor[]> {
  const first = named(tensors)
  if (first.half === undefined) return first.tensors
  const [own, other] = first.half === 'decoder' ? ['decoder', 'encoder'] : ['encoder', 'decoder']
  const base = path.basename(file)
  const beside = path.join(path.dirname(file), base.replace(own, other))
  if (base.includes(own) && await fileExists(beside)) {
    const { tensors: rest } = await readSafetensorsHeader(beside)
    const second = named([...rest].map(([name, stored]) => ({ name, file: beside, ...stored })))
    if (second.half === other) return [...first.tensors, ...second.tensors]
  }
  if (first.half === 'encoder')
    throw new AsdmError('TENSOR_MISSING',
      `Expected the decoder of ${shownPath(file)} beside it (taesd_decoder.safetensors beside taesd_encoder.safetensors) but there is none`)
  return first.tensors
}

function named(tensors: readonly FoundTensor[]): { half?: 'encoder' | 'decoder', tensors: FoundTensor[] } {
  if (tensors.some(({ name }) => name.startsWith('decoder.') || name.startsWith('encoder.'))) return { tensors: [...tensors] }
  const half = tensors.some(({ name }) => name === '0.weight') ? 'encoder' : 'decoder'
  const rename = (name: string): string => {
    const [, number, rest] = /^(\d{1,3})\.(.+)$/.exec(name) ?? []
    return number === undefined ? name : `${half}.layers.${Number(number) - (half === 'decoder' ? 1 : 0)}.${rest}`
  }
  return { half, tensors: tensors.map(tensor => ({ ...tensor, name: rename(tensor.name) })) }
}

/**
 * A tiny autoencoder's config from the shapes of its weights under diffusers' names.
 * @throws AsdmError `TENSOR_MISSING`, `TENSOR_SHAPE`
 */
export function inferTinyVAEConfig(shapes: Shapes): VAEConfig {
  const isBlock = (place: string): boolean => shapes.has(`${place}.conv.0.weight`)
  const decoderBlocks = [0]
  let last = 2
  for (;;) {
    if (isBlock(`decoder.layers.${last}`)) {
      decoderBlocks[decoderBlocks.length - 1]!++
      last++
    } else if (shapes.has(`decoder.layers.${last + 1}.weight`)) {
      decoderBlocks.push(0)
      last += 2
    } else {
      break
    }
  }
  const hasEncoder = shapes.has('encoder.layers.0.weight')
  const encoderBlocks = [0]
  for (let i = 1; hasEncoder; i++) {
    if (isBlock(`encoder.layers.${i}`)) encoderBlocks[encoderBlocks.length - 1]!++
    else if (shapes.has(`encoder.layers.${i}.weight`) && !shapes.has(`encoder.layers.${i}.bias`)) encoderBlocks.push(0)
    else break
  }
  const width = shapes.size('decoder.layers.0.weight', 0)
  const outChannels = shapes.size(`decoder.layers.${last}.weight`, 0)
  return {
    ...without, inChannels: hasEncoder ? shapes.size('encoder.layers.0.weight', 1) : outChannels, outChannels,
    latentChannels: shapes.size('decoder.layers.0.weight', 1), blockOutChannels: decoderBlocks.map(() => width), scalingFactor: 1, shiftFactor: 0,
    tiny: {
      encoderWidth: hasEncoder ? shapes.size('encoder.layers.0.weight', 0) : width,
      encoderBlocks: hasEncoder ? encoderBlocks : [...decoderBlocks].reverse(), decoderBlocks,
    },
  }
}
