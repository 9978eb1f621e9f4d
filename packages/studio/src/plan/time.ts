import type { ModelDetails, Profile } from '../api/types'
import { inside } from './edited'

/**
 * A full pass's milliseconds, unit by unit. A profile has a row for what plans and recipes name; its time is spread over the units in it by
 * their multiply-accumulates.
 */
function unitMs({ units: rows }: Profile, units: readonly string[], { units: known }: ModelDetails): number[] {
  const macs = new Map(known.map(unit => [unit.name, unit.macs]))
  const owner = units.map(unit => {
    let best = -1
    rows.forEach(({ name }, i) => { if (inside(unit, name) && name.length > (rows[best]?.name.length ?? -1)) best = i })
    return best
  })
  const weight = units.map(unit => 1 + (macs.get(unit) ?? 0))
  const sums = rows.map((_, i) => weight.reduce((sum, each, k) => sum + (owner[k] === i ? each : 0), 0))
  return units.map((_, k) => (owner[k]! < 0 ? 0 : rows[owner[k]!]!.ms * weight[k]! / sums[owner[k]!]!))
}

let last: { profile: Profile, key: string, ms: number[] } | undefined

/** {@link unitMs}, worked out again only for another profile or another list of units. */
export function cachedUnitMs(profile: Profile, units: readonly string[], model: ModelDetails): number[] {
  const key = units.join()
  if (last?.profile !== profile || last.key !== key) last = { profile, key, ms: unitMs(profile, units, model) }
  return last.ms
}
