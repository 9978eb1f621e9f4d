import type { NativeModelOptions, NativeModelSpec } from '../native/binding'
import type { UNetConfig } from './config'

/**
 * Units of a UNet that `int8` leaves in bf16, as whole parts of weights' names: those that the whole signal passes, with no sum around
 * them that would dilute their error (the first and last convolution, shortcuts, what makes the map smaller, the last that makes it
 * larger), the ways into and out of the transformers, and the first resnet, whose error everything inherits. `npm run bench:sensitivity`
 * measures what each costs; docs/number-formats.md has the figures.
 */
export function exactUnits(config: UNetConfig): readonly string[] {
  const lastUpsampler = `up_blocks.${config.blockOutChannels.length - 2}.upsamplers`
  return ['conv_in', 'conv_out', 'conv_shortcut', 'downsamplers', lastUpsampler, 'proj_in', 'proj_out', 'down_blocks.0.resnets.0']
}

/**
 * The options with what a number format means for one part of the model: `int8` is the UNet's; text encoder and VAE, which run once and
 * whose errors no later step makes good, stay in bf16.
 */
export function withPrecision(spec: NativeModelSpec, options: NativeModelOptions): NativeModelOptions {
  if (options.dtype !== 'int8') return options
  return spec.kind === 'unet' ? { exact: exactUnits(spec.config), ...options } : { ...options, dtype: 'bf16' }
}
