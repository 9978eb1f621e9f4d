import type { NativeModelOptions, NativeModelSpec } from '../native/binding'

/**
 * Units of the UNet that `int8` leaves in bf16, as whole parts of weights' names. The rule: what costs next to nothing to compute and
 * reaches everything, or is the last word, stays exact.
 */
export const exactUnits: readonly string[] = ['conv_in', 'conv_out', 'time_embedding', 'time_emb_proj']

/**
 * The options with what a number format means for one part of the model: `int8` is the UNet's; text encoder and VAE, which run once and
 * whose errors no later step makes good, stay in bf16.
 */
export function withPrecision(kind: NativeModelSpec['kind'], options: NativeModelOptions): NativeModelOptions {
  if (options.dtype !== 'int8') return options
  return kind === 'unet' ? { exact: exactUnits, ...options } : { ...options, dtype: 'bf16' }
}
