import { AsdmError, shown } from '../base/errors'
import { abortSignal, callback, checkOptions, integer, oneOf, optional, path, type Unchecked } from '../base/options'
import type { Addon, NativeModelOptions } from '../native/binding'
import { loadAddon, locateAddon } from '../native/load'
import type { Warning } from './warnings'

/** Number formats that models compute in. */
export type DType = 'fp32' | 'bf16' | 'int8'

/** All of them. */
export const dtypes: readonly DType[] = ['fp32', 'bf16', 'int8']

/** How a model runs. */
export interface RuntimeOptions {
  /**
   * Number format of the computation: `fp32` (if left out), or `bf16`, which takes half the memory and, on CPUs with
   * instructions for it, half the time, for images that differ a little; or `int8`, which is `bf16` with most of the UNet's products
   * in 8-bit integers, for half of that memory and time again, and images that differ more.
   */
  dtype?: DType | undefined
  /** Threads that compute, 1 to 256; as many as the machine has cores if left out. The result does not depend on it. */
  threads?: number | undefined
  /**
   * Where it runs: `cpu`; `cuda`, the first GPU that can be used, or `cuda:1`, a certain one, which take a plugin that runs no models
   * yet; `auto`, what the environment variable `ASDM_DEVICE` names, else the CPU. `asdm doctor` lists what there is.
   */
  device?: 'auto' | 'cpu' | 'cuda' | `cuda:${number}` | undefined
  /** A kernel set (`portable`, `avx2`, `avx512`, `avx512bf16`, `neon`, ...), or `auto` for the best that the CPU has. */
  cpu?: string | undefined
}

/** How one part is loaded from its folder. */
export interface PartLoadOptions extends RuntimeOptions {
  /** Which variant of the weight files: `fp16` for `diffusion_pytorch_model.fp16.safetensors`. */
  variant?: string | undefined
  /**
   * Keeps the weights, packed for this kernel set and number format, in a file beside those they come from (`true`) or in the folder of
   * this path, and reads that file where there is one. Off if left out. See {@link PackedCache}.
   */
  packedCache?: boolean | string | undefined
  /** Stops the loading, which then rejects with an `AbortError`. */
  signal?: AbortSignal | undefined
  /** Called as weights are read and packed; bytes of this part. */
  onProgress?: ((progress: { bytesDone: number, bytesTotal: number }) => void) | undefined
  /** Called with what the user should know, as weights that are not finite. Without it such things become process warnings. */
  onWarning?: ((warning: Warning) => void) | undefined
}

/** Options that every call which runs a model takes. */
export interface CallOptions {
  /** Cancels the call, which then rejects with an `AbortError`; the model stays usable. */
  signal?: AbortSignal | undefined
}

export const runtimeKeys = ['dtype', 'threads', 'device', 'cpu'] as const
const partLoadKeys = [...runtimeKeys, 'variant', 'packedCache', 'signal', 'onProgress', 'onWarning'] as const

/** The runtime options, checked and completed. */
export function parseRuntime(options: Unchecked, addon: Addon): NativeModelOptions {
  const dtype = optional(options.dtype, value => oneOf<DType>(value, 'dtype', [...dtypes])) ?? 'fp32'
  const device = optional(options.device, value => deviceName(value, addon)) ?? 'auto'
  const threads = optional(options.threads, value => integer(value, 'threads', 1, 256)) ?? Math.min(256, Math.max(1, addon.cpuInfo().cores))
  const cpu = optional(options.cpu, value => oneOf(value, 'cpu', ['auto', ...addon.cpuInfo().compiled])) ?? 'auto'
  return { dtype, threads, cpu, device }
}

/**
 * The name of a device that the addon knows, usable or not; or of a GPU, whose plugin may be missing or not load: then that is the reason.
 */
function deviceName(value: unknown, addon: Addon): string {
  const known = addon.devices().flatMap(({ name }) => [name, name.split(':', 1)[0]])
  if (typeof value !== 'string' || !(value === 'auto' || known.includes(value) || /^cuda(:\d+)?$/.test(value)))
    throw new AsdmError('INVALID_ARGUMENT', `Expected device to be auto, cpu, cuda or cuda:<number> but received ${shown(value)}`)
  const broken = locateAddon().plugins.find(({ reason }) => reason !== undefined)
  if (broken !== undefined && !known.includes(value) && value.startsWith('cuda'))
    throw new AsdmError('UNKNOWN_DEVICE', `Expected device ${value} to have a plugin that loads but "${broken.file}" does not: ${String(broken.reason)}`)
  return value
}

/** The options of a part's `load`, checked. */
export function parsePartLoad(value: unknown, where: string): PartLoadOptions & { native: NativeModelOptions, addon: Addon } {
  const options = checkOptions(value, partLoadKeys, where)
  const signal = optional(options.signal, item => abortSignal(item, 'signal'))
  const onProgress = optional(options.onProgress, item => callback<NonNullable<PartLoadOptions['onProgress']>>(item, 'onProgress'))
  const onWarning = optional(options.onWarning, item => callback<NonNullable<PartLoadOptions['onWarning']>>(item, 'onWarning'))
  const variant = optional(options.variant, item => path(item, 'variant'))
  const packedCache = optional(options.packedCache, checkPackedCache)
  const addon = loadAddon()
  return { signal, onProgress, onWarning, variant, packedCache, addon, native: parseRuntime(options, addon) }
}

/** The option `packedCache`: whether, or a folder's path. */
export function checkPackedCache(value: unknown): boolean | string {
  if (typeof value === 'boolean' || (typeof value === 'string' && value !== '' && !value.includes('\0'))) return value
  throw new AsdmError('INVALID_ARGUMENT', `Expected packedCache to be true, false or the path of a folder but received ${shown(value)}`)
}

/** How a part's weights are read. */
export interface WeightsLoadOptions {
  packedCache?: boolean | string | undefined
  signal?: AbortSignal | undefined
  onProgress?: ((progress: { bytesDone: number, bytesTotal: number }) => void) | undefined
  onWarning?: ((warning: Warning) => void) | undefined
}
