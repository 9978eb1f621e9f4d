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

/** A system may take half a second to give threads that just started a core each, in which nothing is at its peak. */
const rounds = 3

/**
 * Measures {@link Peaks}, the best of some rounds; takes about 30 times `ms`, during which this thread is busy.
 * @param cpu a kernel set's name, or 'auto'
 */
export function measurePeaks(addon: Addon, threads: number, cpu: string, ms = 70): Peaks {
  const best = { fp32: 0, bf16: 0, int8: 0 }
  const copy = copySizes.map(size => ({ bytes: Math.max(size, 64 * threads), perSecond: 0 }))
  for (let round = 0; round < rounds; round++) {
    for (const kind of ['fp32', 'bf16', 'int8'] as const) best[kind] = Math.max(best[kind], addon.measurePeak({ kind, cpu, threads, ms }))
    for (const point of copy)
      point.perSecond = Math.max(point.perSecond, addon.measurePeak({ kind: 'copy', cpu, threads, ms, bytes: point.bytes }))
  }
  const { fp32, bf16, int8 } = best
  return { arithmetic: { fp32, ...(bf16 > 0 && { bf16 }), ...(int8 > 0 && { int8 }) }, copy }
}

/** Bytes per second for memory of this size: between measured sizes by their logarithms, beyond them as at the nearest. */
export function bandwidth({ copy }: Peaks, bytes: number): number {
  const high = copy.find(point => point.bytes >= bytes) ?? copy.at(-1)!
  const low = copy.findLast(point => point.bytes < bytes) ?? high
  if (low === high) return high.perSecond
  const share = Math.log(bytes / low.bytes) / Math.log(high.bytes / low.bytes)
  return low.perSecond * (high.perSecond / low.perSecond) ** share
}

/**
 * Operations per second of a number format; of one that has no instruction of its own, as of fp32, to which it is widened.
 * Exported for tests and scripts.
 */
export function arithmeticPeak({ arithmetic }: Peaks, dtype: string): number {
  return (arithmetic as Record<string, number | undefined>)[dtype] ?? arithmetic.fp32
}

/** The least time that a kernel call could take. */
interface Bound {
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
