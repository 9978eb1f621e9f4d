import type { BenchCase, BenchOps } from './report'

/** Sentences on what a reader should not trust in these figures, by what they say of each other. */
export function doubts({ ops, cases }: { ops: readonly BenchOps[], cases: readonly BenchCase[] }): string[] {
  return [...peaksDoubt(ops), ...ops.flatMap(each => profileDoubt(each, cases))]
}

/** Matrix products do not save multiplications, so what ran beyond the peaks tells that these were measured on a slower machine. */
function peaksDoubt(ops: readonly BenchOps[]): string[] {
  const most = Math.max(
    0,
    ...ops.flatMap(({ kinds }) => kinds.filter(({ name, share }) => name === 'linear' && share > 0.05).map(({ ofRoofline }) => ofRoofline)),
  )
  if (most <= 1.05) return []
  return [`Matrix products reached ${(100 * most).toFixed(0)} % of the roofline, so the machine was busier while its peaks were measured, `
    + 'and all shares of the roofline are too high.']
}

/**
 * A profile costs next to nothing, so its passes take as long as those that were timed by themselves, unless something else ran beside
 * them.
 */
function profileDoubt({ part, dtype, whole }: BenchOps, cases: readonly BenchCase[]): string[] {
  const timed = cases.find(each => each.ours && each.name === part && each.dtype === dtype)
  if (timed === undefined) return []
  const times = whole.ms / timed.ms.median
  const who = `${part} in ${dtype}`
  if (times > 1.25)
    return [`The kernels of ${who} took ${times.toFixed(1)} times as long as its pass by itself, so something else ran beside them: their `
      + 'times and shares of the roofline say little.']
  if (times < 0.75)
    return [`The pass of ${who} by itself took ${(1 / times).toFixed(1)} times as long as its kernels in a profile, so something else ran `
      + 'beside it: its time and ratios say little.']
  return []
}
