import type { NativeModelOptions, NativeModelSpec } from '../native/binding'
import type { UNetConfig } from '../native/configs'

/**
 * Units of a UNet that `int8` leaves in bf16, as whole parts of weights' names: those that the whole signal passes, with no sum around
 * them that would dilute their error (the first and last convolution, shortcuts, what makes the map smaller, the last that makes it
 * larger), the ways into and out of the transformers, the time embedding, which every resnet reads, and the first block's resnets, whose
 * error everything inherits. `npm run bench:sensitivity` measures what each costs; docs/number-formats.md has the figures.
 * Exported for tests and scripts.
 */
export function exactUnits(config: UNetConfig): readonly string[] {
  const lastUpsampler = `up_blocks.${config.blockOutChannels.length - 2}.upsamplers`
  return [
    'conv_in', 'conv_out', 'conv_shortcut', 'downsamplers', lastUpsampler, 'proj_in', 'proj_out', 'time_embedding', 'down_blocks.0.resnets',
  ]
}

/**
 * Units of a UNet whose weights and products are float32, however few bits the rest has: where few multiplications meet what the whole
 * signal feels. The first convolution is where all of it begins, shortcuts and the ways out of the transformers are part of the
 * residual connections. `int8`, which cares for time and memory more, has only the shortcuts on the way down, which are small, and which
 * all that follows inherits from. docs/number-formats.md has the figures. Exported for tests and scripts.
 */
export function wideUnits(config: UNetConfig, dtype: 'bf16' | 'int8'): readonly string[] {
  if (dtype === 'bf16') return ['conv_in', 'conv_shortcut', 'proj_out']
  return ['conv_in', ...config.blockOutChannels.map((_, i) => `down_blocks.${i}.resnets.0.conv_shortcut`)]
}

/**
 * The options with what a number format means for one part of the model: `int8` is the UNet's; text encoder and VAE, which run once and
 * whose errors no later step makes good, stay in bf16.
 */
export function withPrecision(spec: NativeModelSpec, options: NativeModelOptions): NativeModelOptions {
  if (options.dtype === 'fp32') return options
  if (spec.kind !== 'unet') return { ...options, dtype: 'bf16' }
  return { wide: wideUnits(spec.config, options.dtype), ...(options.dtype === 'int8' && { exact: exactUnits(spec.config) }), ...options }
}
