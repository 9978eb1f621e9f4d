import type { UNetConfig } from '../model/config'
import type { ExpandedStep } from './expand'
import { mainUNet } from './plan'
import type { UNets } from './names'
import type { PlanReport } from './run'

/** What a block or layer does at a step: all of it runs, a part of it runs, its output is inherited, or nobody reads it. */
export type Cell = 'full' | 'part' | 'inherited' | 'idle'

/** A layer, sampler or outer part of a UNet, and those whose output it reads. */
interface Node {
  /** Prefixes of what belongs to it. */
  prefixes: string[]
  block: string
  inputs: Node[]
}

/** The layers of a UNet in running order, as they are wired. A layer's output is also what the up path reads of it. */
function layersOf({ layersPerBlock, hasMidBlock }: UNetConfig, known: ReadonlySet<string>): Node[] {
  const nodes: Node[] = []
  const add = (block: string, prefixes: string[], inputs: Node[]): Node => {
    const present = prefixes.filter(prefix => known.has(prefix))
    // What a model lacks passes its input on.
    if (present.length === 0) return inputs[0]
    const node = { block, prefixes: present, inputs }
    nodes.push(node)
    return node
  }
  const layer = (block: string, i: number): string[] => [`${block}.${i}`, `${block}.resnets.${i}`, `${block}.attentions.${i}`]
  const last = layersPerBlock.length - 1
  let stream = add('conv_in', ['conv_in'], [])
  const skips = [stream]
  layersPerBlock.forEach((layers, b) => {
    const block = `down_blocks.${b}`
    for (let i = 0; i < layers; i++) skips.push(stream = add(block, layer(block, i), [stream]))
    if (b < last) skips.push(stream = add(block, [`${block}.downsamplers.0`], [stream]))
  })
  if (hasMidBlock) for (let i = 0; i < 2; i++) stream = add('mid_block', layer('mid_block', i), [stream])
  for (let b = 0; b <= last; b++) {
    const block = `up_blocks.${b}`
    for (let i = 0; i <= layersPerBlock[last - b]; i++) stream = add(block, layer(block, i), [stream, skips.pop()!])
    if (b < last) stream = add(block, [`${block}.upsamplers.0`], [stream])
  }
  nodes.push({ block: 'conv_out', prefixes: ['conv_out'], inputs: [stream] })
  return nodes
}

const under = (name: string, prefix: string): boolean => name === prefix || name.startsWith(`${prefix}.`)

/** Does the step take a layer's output, or that of the block it is in, from an earlier one? */
function isCut({ prefixes, block }: Node, { inherit }: ExpandedStep): boolean {
  // The unit that ends a layer gives its output.
  const end = prefixes[prefixes.length - 1]
  return inherit.some(({ prefix, feature }) => feature === 'output' && (prefix === block || prefix === prefixes[0] || prefix === end))
}

/** One row of a grid. */
export interface GridRow {
  block: string
  cells: Cell[]
}

/** What each layer does at one step. */
export function layerCells(config: UNetConfig, known: ReadonlySet<string>, step: ExpandedStep): { prefixes: string[], block: string, cell: Cell }[] {
  const nodes = layersOf(config, known)
  const read = new Set<Node>([nodes[nodes.length - 1]])
  return [...nodes].reverse().map(node => {
    const cut = isCut(node, step)
    if (read.has(node) && !cut) for (const input of node.inputs) read.add(input)
    const partly = step.inherit.some(({ prefix }) => node.prefixes.some(own => under(prefix, own)))
    const cell: Cell = !read.has(node) ? 'idle' : cut ? 'inherited' : partly ? 'part' : 'full'
    return { prefixes: node.prefixes, block: node.block, cell }
  }).reverse()
}

/** Rows of blocks, columns of steps. A block is `part` where some of its layers run and others do not. */
export function planGrid(unets: UNets, steps: readonly ExpandedStep[]): GridRow[] {
  const rows = new Map<string, Cell[]>()
  steps.forEach((step, i) => {
    const { config, prefixes } = unets[step.unet]
    const cells = new Map<string, Cell[]>()
    for (const { block, cell } of layerCells(config, prefixes, step)) cells.set(block, [...(cells.get(block) ?? []), cell])
    for (const [block, list] of cells) {
      const row = rows.get(block) ?? new Array<Cell>(steps.length).fill('idle')
      rows.set(block, row)
      row[i] = list.every(cell => cell === 'full') ? 'full' : list.some(cell => cell === 'full' || cell === 'part') ? 'part' : list.includes('inherited') ? 'inherited' : 'idle'
    }
  })
  return [...rows].map(([block, cells]) => ({ block, cells }))
}

const marks: Readonly<Record<Cell, string>> = { full: '█', part: '▒', inherited: '=', idle: '·' }

/** A plan as text: steps across, blocks down, and what each step computes. */
export function formatGrid(unets: UNets, steps: readonly ExpandedStep[], report: PlanReport): string {
  const rows = planGrid(unets, steps).map(({ block, cells }) => ({ name: block, text: cells.map(cell => marks[cell]).join('') }))
  const guidance = { full: '█', conditional: '·', inherit: '=' }
  rows.push({ name: 'unconditional pass', text: steps.map(step => guidance[step.guidance]).join('') })
  const names = [...new Set(steps.map(({ unet }) => unet))]
  if (names.length > 1 || names[0] !== mainUNet) rows.push({ name: 'UNet', text: steps.map(({ unet }) => unet[0]).join('') })
  rows.push({ name: 'tenths computed', text: report.stepShares.map(share => (share >= 0.995 ? '█' : String(Math.min(9, Math.floor(share * 10))))).join('') })
  const width = Math.max(...rows.map(({ name }) => name.length))
  const ruler = steps.map((_, i) => (i % 5 === 0 ? String(Math.floor(i / 5) * 5 % 100).padEnd(5) : '')).join('').slice(0, Math.max(steps.length, 1)).trimEnd()
  return [
    `${'step'.padEnd(width)}  ${ruler}`, ...rows.map(({ name, text }) => `${name.padEnd(width)}  ${text}`), '',
    `${marks.full} runs   ${marks.part} runs in part   ${marks.inherited} inherited   ${marks.idle} not run`,
  ].join('\n')
}
