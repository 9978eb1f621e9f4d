import { abortSignal, boolean, callback, checkOptions, integer, oneOf, optional, path, type Unchecked } from '../base/options'
import type { Addon, NativeModelOptions } from '../native/binding'
import { loadAddon } from '../native/load'
import type { Warning } from './warnings'

/** Number formats that models compute in. */
export type DType = 'fp32' | 'bf16' | 'int8'

/** All of them. */
export const dtypes: readonly DType[] = ['fp32', 'bf16', 'int8']

/** How a model runs. */
export interface RuntimeOptions {
  /**
   * Number format of the computation: `fp32` (if left out), or `bf16`, which takes half the memory and, on processors with
   * instructions for it, half the time, for pictures that differ a little; or `int8`, which is `bf16` with most of the UNet's products
   * in 8-bit integers, for half of that memory and time again, and pictures that differ more.
   */
  dtype?: DType | undefined
  /** Threads that compute, 1 to 256; as many as the machine has cores if left out. The result does not depend on it. */
  threads?: number | undefined
  /** Where it runs: `auto` picks the best there is, today always the processor. */
  device?: 'auto' | 'cpu' | undefined
  /** A kernel set (`portable`, `avx2`, `avx512`, `avx512bf16`, `neon`, ...), or `auto` for the best that the processor has. */
  cpu?: string | undefined
}

/** How one part is loaded from its folder. */
export interface PartLoadOptions extends RuntimeOptions {
  /** Which variant of the weight files: `fp16` for `diffusion_pytorch_model.fp16.safetensors`. */
  variant?: string | undefined
  /**
   * Keeps the weights, packed for this kernel set and number format, in a file beside those they come from, and maps that file where there
   * is one. Off if left out. See {@link PackedCache}.
   */
  packedCache?: boolean | undefined
  /** Stops the loading, which then rejects with an `AbortError`. */
  signal?: AbortSignal | undefined
  /** Called as weights are read and packed; bytes of this part. */
  onProgress?: ((progress: { bytesDone: number, bytesTotal: number }) => void) | undefined
  /** Called with what the user should know, as weights that are not finite. Without it such things become process warnings. */
  onWarning?: ((warning: Warning) => void) | undefined
}

/** Options that every call which runs a model takes. */
export interface CallOptions {
  /** Stops the call, which then rejects with an `AbortError`; the model works on. */
  signal?: AbortSignal | undefined
}

export const runtimeKeys = ['dtype', 'threads', 'device', 'cpu'] as const
export const partLoadKeys = [...runtimeKeys, 'variant', 'packedCache', 'signal', 'onProgress', 'onWarning'] as const

/** The runtime options, checked and completed. */
export function parseRuntime(options: Unchecked, addon: Addon): NativeModelOptions {
  const dtype = optional(options.dtype, value => oneOf<DType>(value, 'dtype', [...dtypes])) ?? 'fp32'
  optional(options.device, value => oneOf(value, 'device', ['auto', 'cpu']))
  const threads = optional(options.threads, value => integer(value, 'threads', 1, 256)) ?? Math.min(256, Math.max(1, addon.cpuInfo().cores))
  const cpu = optional(options.cpu, value => oneOf(value, 'cpu', ['auto', ...addon.cpuInfo().compiled])) ?? 'auto'
  return { dtype, threads, cpu }
}

/** The options of a part's `load`, checked. */
export function parsePartLoad(value: unknown, where: string): PartLoadOptions & { native: NativeModelOptions, addon: Addon } {
  const options = checkOptions(value, partLoadKeys, where)
  const signal = optional(options.signal, item => abortSignal(item, 'signal'))
  const onProgress = optional(options.onProgress, item => callback<NonNullable<PartLoadOptions['onProgress']>>(item, 'onProgress'))
  const onWarning = optional(options.onWarning, item => callback<NonNullable<PartLoadOptions['onWarning']>>(item, 'onWarning'))
  const variant = optional(options.variant, item => path(item, 'variant'))
  const packedCache = optional(options.packedCache, item => boolean(item, 'packedCache'))
  const addon = loadAddon()
  return { signal, onProgress, onWarning, variant, packedCache, addon, native: parseRuntime(options, addon) }
}

/** How a part's weights are read. */
export interface WeightsLoadOptions {
  packedCache?: boolean | undefined
  signal?: AbortSignal | undefined
  onProgress?: ((progress: { bytesDone: number, bytesTotal: number }) => void) | undefined
  onWarning?: ((warning: Warning) => void) | undefined
}
