/** The rules of the house: each floor imports only what stands below it, and no files import each other in a circle. */
import path from 'node:path'
import type { Arrow, Sources } from './imports'

/** Where a file stands: the longest entry that is the file or its folder. Folders inside folders have floors of their own. */
export function floorOf(file: string, order: readonly string[]): number {
  const own = order.indexOf(file)
  return own >= 0 ? own : order.indexOf(path.posix.dirname(file))
}

/** An arrow as `exceptions` write it. */
export const written = ({ from, to }: Arrow): string => `${from} -> ${to}`

/** Circles of nodes, each from its first name on and back to it. */
export function circles(arrows: readonly { from: string, to: string }[]): string[] {
  const next = new Map<string, Set<string>>()
  for (const { from, to } of arrows) if (from !== to) next.set(from, (next.get(from) ?? new Set()).add(to))
  const found = new Set<string>()
  const done = new Set<string>()
  const trail: string[] = []
  const walk = (node: string): void => {
    const at = trail.indexOf(node)
    if (at >= 0) {
      const circle = trail.slice(at)
      const first = circle.indexOf([...circle].sort()[0])
      found.add([...circle.slice(first), ...circle.slice(0, first), circle[first]].join(' -> '))
      return
    }
    if (done.has(node)) return
    trail.push(node)
    for (const to of [...next.get(node) ?? []].sort()) walk(to)
    trail.pop()
    done.add(node)
  }
  for (const node of [...next.keys()].sort()) walk(node)
  return [...found].sort()
}

/**
 * What breaks the rules, a sentence each.
 * @param exceptions arrows that lead up all the same; one that is not there any more is a problem, so the list only shrinks
 */
export function problems({ files, arrows }: Sources, order: readonly string[], exceptions: readonly string[] = []): string[] {
  const found: string[] = []
  const homeless = new Set(files.filter(file => floorOf(file, order) < 0).map(file => path.posix.dirname(file)))
  for (const folder of homeless) found.push(`${folder} has no floor: put it into test/layers/order.json`)
  const known = new Set(files)
  for (const entry of order)
    if (!files.some(file => file === entry || path.posix.dirname(file) === entry)) found.push(`${entry} has a floor, and no files`)
  for (const arrow of arrows) {
    if (!known.has(arrow.to)) {
      found.push(`${written(arrow)} leads out of the house`)
      continue
    }
    const [from, to] = [floorOf(arrow.from, order), floorOf(arrow.to, order)]
    if (from >= 0 && to > from && !exceptions.includes(written(arrow)))
      found.push(`${written(arrow)} leads up: ${order[to]} stands above ${order[from]}`)
  }
  for (const circle of circles(arrows)) found.push(`files import each other in a circle: ${circle}`)
  const there = new Set(arrows.map(written))
  for (const exception of exceptions)
    if (!there.has(exception)) found.push(`the exception ${exception} is not needed any more: take it out of test/layers/order.json`)
  return [...new Set(found)]
}
