import type { NativeModelOptions, NativeModelSpec } from '../native/binding'

/**
 * Units of the UNet that `int8` leaves in bf16, as whole parts of weights' names. The rule: a unit stays exact if it alone moves the
 * output by more than 5e-3 and takes less than half a percent of the arithmetic. `npm run bench:sensitivity -- --units` measures it,
 * docs/number-formats.md has the figures.
 */
export const exactUnits: readonly string[] = ['conv_in', 'conv_out']

/**
 * The options with what a number format means for one part of the model: `int8` is the UNet's; text encoder and VAE, which run once and
 * whose errors no later step makes good, stay in bf16.
 */
export function withPrecision(kind: NativeModelSpec['kind'], options: NativeModelOptions): NativeModelOptions {
  if (options.dtype !== 'int8') return options
  return kind === 'unet' ? { exact: exactUnits, ...options } : { ...options, dtype: 'bf16' }
}
