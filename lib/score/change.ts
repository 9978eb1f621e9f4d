/** How far latents without a unit are from those with it. Lengths are over all elements, in units of the spread's own length. */
export interface LatentChange {
  /** `mean + spread`: what units are ranked by. */
  score: number
  /** Length of the difference of the means, element by element, over that of the standard deviations with the unit. */
  mean: number
  /** Length of the difference of the standard deviations over that of those with the unit. */
  spread: number
  /**
   * Root mean square distance between latents of the same prompt and seed, over that of the standard deviations: 0 where nothing changed.
   */
  distance: number
}

/**
 * Compares two lists of latents, pair by pair of the same prompt and seed. Mean and standard deviation are those of each element over the
 * list.
 * @param full with the unit; at least 2, all of one length @param without without it, as many
 */
export function changeOf(full: readonly Float32Array[], without: readonly Float32Array[]): LatentChange {
  const size = full[0]!.length
  let means = 0, spreads = 0, apart = 0, unit = 0
  for (let i = 0; i < size; i++) {
    const [a, b] = [momentsAt(full, i), momentsAt(without, i)]
    means += (a.mean - b.mean) ** 2
    spreads += (a.deviation - b.deviation) ** 2
    unit += a.deviation ** 2
    for (const [k, latents] of full.entries()) apart += (latents[i]! - without[k]![i]!) ** 2 / full.length
  }
  // What has no spread at all is compared with nothing.
  const relative = (squares: number): number => (squares === 0 ? 0 : Math.sqrt(squares / unit))
  const [mean, spread] = [relative(means), relative(spreads)]
  return { score: mean + spread, mean, spread, distance: relative(apart) }
}

function momentsAt(list: readonly Float32Array[], i: number): { mean: number, deviation: number } {
  let sum = 0, squares = 0
  for (const latents of list) sum += latents[i]!
  const mean = sum / list.length
  for (const latents of list) squares += (latents[i]! - mean) ** 2
  return { mean, deviation: Math.sqrt(squares / list.length) }
}
