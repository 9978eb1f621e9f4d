import { AsdmError } from '../base/errors'
import { shownPath } from '../files/files'
import type { JsonObject } from '../files/json'
import type { VAEConfig } from '../native/configs'
import { checkRange, ConfigReader, type Range } from './config-reader'
import { parseTinyVAEConfig } from './tiny-vae'

const widths: Range = { min: 1, max: 16_384 }
const sampleSizes: Range = { min: 1, max: 65_536 }
const channels: Range = { min: 1, max: 256 }
const layers: Range = { min: 1, max: 16 }
const stageCount: Range = { min: 1, max: 8 }

/** The scaling factor of Stable Diffusion 1 and 2, and diffusers' default. */
export const defaultScalingFactor = 0.18215

/**
 * Parses the config of a diffusers `AutoencoderKL` or `AutoencoderTiny`. Absent options take diffusers' defaults.
 * @param json the parsed `config.json` @param file its path, for messages
 * @throws AsdmError `BAD_CONFIG` for values that make no sense, `UNSUPPORTED_CONFIG` for options that asdm does not have
 */
export function parseVAEConfig(json: JsonObject, file: string): VAEConfig {
  if (json._class_name === 'AutoencoderTiny') return parseTinyVAEConfig(json, file)
  const reader = new ConfigReader(json, file)
  reader.only('_class_name', 'AutoencoderKL', 'FlaxAutoencoderKL')
  reader.only('act_fn', 'silu', 'swish')
  reader.only('latents_mean', null)
  reader.only('latents_std', null)
  // float32 needs no upcast.
  reader.without('force_upcast')

  const blockOutChannels = reader.integers('block_out_channels', [64], widths, stageCount)
  const all: Range = { min: blockOutChannels.length, max: blockOutChannels.length }
  reader.names('down_block_types', ['DownEncoderBlock2D'], ['DownEncoderBlock2D'], all)
  reader.names('up_block_types', ['UpDecoderBlock2D'], ['UpDecoderBlock2D'], all)
  const shift = reader.raw('shift_factor') ?? null
  const config: VAEConfig = {
    inChannels: reader.integer('in_channels', 3, channels),
    outChannels: reader.integer('out_channels', 3, channels),
    latentChannels: reader.integer('latent_channels', 4, channels),
    blockOutChannels,
    layersPerBlock: reader.integer('layers_per_block', 1, layers),
    normNumGroups: reader.integer('norm_num_groups', 32, widths),
    useQuantConv: reader.boolean('use_quant_conv', true),
    usePostQuantConv: reader.boolean('use_post_quant_conv', true),
    midBlockAddAttention: reader.boolean('mid_block_add_attention', true),
    scalingFactor: reader.number('scaling_factor', defaultScalingFactor, { min: 1e-6, max: 1e6 }),
    ...sampleSize(reader),
    shiftFactor: shift === null ? 0 : reader.number('shift_factor', 0, { min: -1e6, max: 1e6 }),
  }
  reader.finish()
  checkVAEConfig(config, shownPath(file))
  return config
}

/** A number, or height and width, of which diffusers takes the first. */
function sampleSize(reader: ConfigReader): Pick<VAEConfig, 'sampleSize'> {
  const value = reader.raw('sample_size') ?? null
  if (value === null) return {}
  if (!Array.isArray(value)) return { sampleSize: reader.integer('sample_size', 0, sampleSizes) }
  return { sampleSize: reader.integers('sample_size', [], sampleSizes, { min: 1, max: 2 })[0]! }
}

/**
 * Checks that the numbers of a config fit each other.
 * @param where what the config belongs to, for messages
 * @throws AsdmError `BAD_CONFIG`
 */
export function checkVAEConfig(config: VAEConfig, where: string): void {
  checkRange('the number of stages', config.blockOutChannels.length, stageCount, where)
  checkRange('block_out_channels', config.blockOutChannels, widths, where)
  checkRange('layers_per_block', config.layersPerBlock, layers, where)
  checkRange(
    'in_channels, out_channels or latent_channels', [config.inChannels, config.outChannels, config.latentChannels], channels, where,
  )
  for (const width of config.blockOutChannels) {
    if (width % config.normNumGroups !== 0)
      throw new AsdmError('BAD_CONFIG',
        `Expected the VAE config of ${where} to fit together but block_out_channels has ${width}, which norm_num_groups `
        + `${config.normNumGroups} does not divide`)
  }
}
