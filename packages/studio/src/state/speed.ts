import type { Statistics } from '../api/types'
import { stored } from './stored'

/** Milliseconds of the UNet for each multiply-accumulate, by model, as its last run with a plan took. */
export const speeds = stored<Record<string, number>>('speeds', {})

/** Takes the speed of a run. Its first pass also lays out memory, so it does not count where there are others. */
export function learn(model: string, { stepMs, stepShares, fullMacs, macs, share }: Statistics): void {
  if (stepMs.length < 2 || macs === 0 || share === 0) return
  const perStep = fullMacs / stepMs.length
  const counted = stepMs.slice(1).reduce((sum, ms) => sum + ms, 0)
  const work = stepShares.slice(1).reduce((sum, each) => sum + each * perStep, 0)
  if (work > 0) speeds.value = { ...speeds.value, [model]: counted / work }
}
