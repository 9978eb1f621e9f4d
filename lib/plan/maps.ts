import { AsdmError, shown } from '../base/errors'
import { resolveInherit } from './names'
import type { Feature, MapEnd, PlanMap } from './plan'

/** One direction of a map with its features said. */
export interface MapEdge {
  /** Number of the map in its plan. */
  map: number
  /** Does it belong to a mutual map? */
  mutual: boolean
  from: { unet: string, prefix: string, feature: Feature }
  to: { unet: string, prefix: string, feature: Feature }
}

/** A mutual map is two edges. */
export function mapEdges(maps: readonly PlanMap[]): MapEdge[] {
  const end = ({ unet, prefix, feature }: MapEnd): MapEdge['from'] =>
    ({ unet, ...(feature === undefined ? resolveInherit(prefix) : { prefix, feature }) })
  return maps.flatMap((plan, map): MapEdge[] => {
    const [from, to, mutual] = [end(plan.from), end(plan.to), plan.mutual === true]
    return mutual ? [{ map, mutual, from, to }, { map, mutual, from: to, to: from }] : [{ map, mutual, from, to }]
  })
}

const key = ({ unet, prefix, feature }: MapEdge['from']): string => JSON.stringify([unet, prefix, feature])

/**
 * @throws AsdmError `INVALID_ARGUMENT` for a map within one UNet, for two that give one prefix features of the same UNet, and for those
 * that lead back to where they began
 */
export function checkMaps(maps: readonly PlanMap[], where: string): void {
  maps.forEach(({ from, to }: { from: MapEnd, to: MapEnd }, i) => {
    if (from.unet === to.unet)
      throw new AsdmError('INVALID_ARGUMENT', `Expected ${where}.maps[${i}] to join two UNets but received ${shown(from.unet)} twice`)
  })
  const edges = mapEdges(maps)
  const given = new Set<string>()
  for (const { map, from, to } of edges) {
    const pair = `${from.unet}\n${key(to)}`
    if (given.has(pair))
      throw new AsdmError('INVALID_ARGUMENT',
        `Expected ${where}.maps[${map}] to give ${shown(to.prefix)} of ${shown(to.unet)} what no other map gives it of ${shown(from.unet)}`)
    given.add(pair)
  }
  const next = new Map<string, { map: number, to: string }[]>()
  for (const { map, mutual, from, to } of edges)
    if (!mutual) next.set(key(from), [...(next.get(key(from)) ?? []), { map, to: key(to) }])
  const state = new Map<string, 'open' | 'done'>()
  const visit = (node: string): void => {
    state.set(node, 'open')
    for (const { map, to } of next.get(node) ?? []) {
      if (state.get(to) === 'open')
        throw new AsdmError('INVALID_ARGUMENT',
          `Expected maps that do not lead in a circle but ${where}.maps[${map}] leads back to where it began; one map with "mutual": true `
          + 'goes both ways')
      if (state.get(to) === undefined) visit(to)
    }
    state.set(node, 'done')
  }
  for (const node of next.keys()) if (state.get(node) === undefined) visit(node)
}
