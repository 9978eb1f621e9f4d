import type { Addon, CallRow } from '../native/binding'

/** What the machine does at most with a number of threads. */
export interface Peaks {
  /** Operations per second (a multiply-accumulate is two) by number format; formats without an instruction of their own are left out. */
  arithmetic: { fp32: number, bf16?: number, int8?: number }
  /** Bytes per second, read and written ones together, by the size of the memory that is copied within; sizes ascend. */
  copy: { bytes: number, perSecond: number }[]
}

/** From what a core's own cache holds to what no cache holds. */
const copySizes = [2 ** 16, 2 ** 19, 2 ** 21, 2 ** 23, 2 ** 25, 2 ** 26, 2 ** 28]

/**
 * Measures {@link Peaks}; takes about 12 times `ms`, during which this thread is busy.
 * @param cpu a kernel set's name, or 'auto'
 */
export function measurePeaks(addon: Addon, threads: number, cpu: string, ms = 100): Peaks {
  const rate = (kind: 'fp32' | 'bf16' | 'int8'): number => addon.measurePeak({ kind, cpu, threads, ms })
  const [fp32, bf16, int8] = [rate('fp32'), rate('bf16'), rate('int8')]
  return {
    arithmetic: { fp32, ...(bf16 > 0 && { bf16 }), ...(int8 > 0 && { int8 }) },
    copy: copySizes.map(size => {
      const bytes = Math.max(size, 64 * threads)
      return { bytes, perSecond: addon.measurePeak({ kind: 'copy', cpu, threads, ms, bytes }) }
    }),
  }
}

/** Bytes per second for memory of this size: between measured sizes by their logarithms, beyond them as at the nearest. */
export function bandwidth({ copy }: Peaks, bytes: number): number {
  const above = copy.findIndex(point => point.bytes >= bytes)
  if (above === -1) return copy[copy.length - 1].perSecond
  if (above === 0) return copy[0].perSecond
  const [low, high] = [copy[above - 1], copy[above]]
  const share = Math.log(bytes / low.bytes) / Math.log(high.bytes / low.bytes)
  return low.perSecond * (high.perSecond / low.perSecond) ** share
}

/** Operations per second of a number format; of one that has no instruction of its own, as of fp32, to which it is widened. */
export function arithmeticPeak({ arithmetic }: Peaks, dtype: string): number {
  return (arithmetic as Record<string, number | undefined>)[dtype] ?? arithmetic.fp32
}

/** The least time that a kernel call could take. */
export interface Bound {
  ms: number
  /** What keeps it from being shorter. */
  by: 'arithmetic' | 'memory'
}

/**
 * The roofline of a kernel call (Williams et al. 2009): its multiply-accumulates at the peak of their number format, or its bytes at the
 * rate of copying, whichever takes longer. Values count at the rate for memory of their size, since one call leaves them in the cache for
 * the next; weights at that for `weightBytes`, all weights of the pass, between two uses of which all others are read.
 * Convolutions count as direct ones, so one that saves multiplications may take less.
 */
export function callBound(call: Pick<CallRow, 'macs' | 'dtype' | 'weightBytes' | 'valueBytes'>, peaks: Peaks, weightBytes: number): Bound {
  const arithmetic = (2e3 * call.macs) / arithmeticPeak(peaks, call.dtype)
  const memory = (1e3 * call.valueBytes) / bandwidth(peaks, call.valueBytes) + (1e3 * call.weightBytes) / bandwidth(peaks, weightBytes)
  return arithmetic >= memory ? { ms: arithmetic, by: 'arithmetic' } : { ms: memory, by: 'memory' }
}
