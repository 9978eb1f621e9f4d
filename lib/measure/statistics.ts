/** Repeated measurements of one thing. */
export interface Measured {
  /** As measured, in order. */
  values: number[]
  median: number
  least: number
  most: number
  /** Half of the range, relative to the median: 0.02 says that the values lie about 2 % around it. */
  spread: number
}

/** The middle value; of an even number of values the mean of the middle two. NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length / 2
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** Median and spread of at least one value. */
export function measured(values: readonly number[]): Measured {
  const middle = median(values)
  const least = Math.min(...values), most = Math.max(...values)
  return { values: [...values], median: middle, least, most, spread: middle === 0 ? 0 : (most - least) / 2 / middle }
}

/**
 * How long one thing takes, as a share of another: the quotients of measurements made in turn, round by round, so that what slows the
 * machine for a while meets both.
 */
export function pairedRatio(ours: readonly number[], theirs: readonly number[]): Measured {
  return measured(ours.map((value, i) => value / theirs[i]!))
}

/** Root of the mean squared difference, relative to that of the reference; NaN where a value is NaN or the lengths differ. */
export function relativeRms(values: ArrayLike<number>, reference: ArrayLike<number>): number {
  if (values.length !== reference.length) return NaN
  let difference = 0, size = 0
  for (let i = 0; i < values.length; i++) {
    difference += (values[i]! - reference[i]!) ** 2
    size += reference[i]! ** 2
  }
  return size === 0 ? Math.sqrt(difference) : Math.sqrt(difference / size)
}

/**
 * How far a result may be from ours in fp32 (relative root mean square) before it counts as another result. How near it ought to be is
 * a goal (goals.ts), and closer.
 */
export function resultLimit(dtype: string): number {
  return dtype === 'fp32' ? 1e-4 : dtype === 'int8' ? 1e-1 : 3e-2
}
