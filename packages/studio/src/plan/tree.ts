/** The UNet as rows: blocks, their layers, and the units in these. */
import type { Cost, ModelDetails } from '../api/types'
import { inside } from './edited'

/** A row of the picture. */
export interface Row {
  prefix: string
  /** What it is called below its parent. */
  label: string
  /** 0 for blocks. */
  depth: number
  children: Row[]
  /** Of a full guided pass. */
  macs: number
  parameters: number
}

/** How a cell looks: how much of it runs, and whether the plan itself names it. */
export interface Cell {
  /** Share of the row's multiply-accumulates that runs. */
  runs: number
  state: 'full' | 'part' | 'inherited' | 'idle'
  /** The plan names this very row. */
  named: boolean
  /** The plan names something inside this row. */
  holds: boolean
  /** The row that the plan names and that this one lies in. */
  within: string | undefined
}

const order = ['conv_in', 'down_blocks', 'mid_block', 'up_blocks', 'conv_out']

/**
 * The rows of a model, as data passes through them.
 * @param convolutions whether ResNets show theirs, which recipes give several kernels and plans do not name
 */
export function rowsOf({ prefixes, units }: ModelDetails, convolutions = false): Row[] {
  const known = new Set(prefixes)
  const make = (prefix: string, label: string, depth: number, children: Row[]): Row => {
    const own = units.filter(unit => inside(unit.name, prefix))
    const sum = (of: 'macs' | 'parameters'): number => own.reduce((total, unit) => total + unit[of], 0)
    return { prefix, label, depth, children, macs: sum('macs'), parameters: sum('parameters') }
  }
  const kernels = (parent: string): Row[] => units
    .filter(({ name, op }) => convolutions && name.startsWith(`${parent}.conv`) && (op === 'Conv2d' || op === 'CondConv'))
    .map(({ name }) => make(name, name.slice(parent.length + 1), 3, []))
  const inner = (parent: string): Row[] => [...known]
    .filter(name => name.startsWith(`${parent}.`) && /^transformer_blocks\.\d+\.(?:attn1|attn2|ff)$/.test(name.slice(parent.length + 1)))
    .map(name => make(name, name.slice(parent.length + 1).replace('transformer_blocks.', 'transformer '), 3, []))
  const layers = (block: string): Row[] => {
    const numbers = [...known].map(name => (name.startsWith(`${block}.`) && /^\d+$/.test(name.slice(block.length + 1)) ? Number(name.slice(block.length + 1)) : -1))
      .filter(number => number >= 0).sort((a, b) => a - b)
    const rows = numbers.map(number => {
      const parts = [`${block}.resnets.${number}`, `${block}.attentions.${number}`].filter(name => known.has(name))
      return make(`${block}.${number}`, `layer ${number}`, 1, parts.map(name => make(name, name.slice(block.length + 1), 2, [...inner(name), ...kernels(name)])))
    })
    const samplers = [`${block}.downsamplers.0`, `${block}.upsamplers.0`].filter(name => known.has(name))
    return [...rows, ...samplers.map(name => make(name, name.slice(block.length + 1), 1, []))]
  }
  const blocks = [...known].filter(name => /^(?:conv_in|conv_out|mid_block|(?:down|up)_blocks\.\d+)$/.test(name))
  const place = (name: string): number => order.indexOf(name.replace(/\.\d+$/, '')) * 1000 + Number(/\d+$/.exec(name)?.[0] ?? 0)
  return blocks.sort((a, b) => place(a) - place(b)).map(name => make(name, name.replace('_blocks.', ' ').replace('_', ' '), 0, layers(name)))
}

/** The rows that are shown: what is inside closed ones is not. */
export function shownRows(rows: readonly Row[], open: ReadonlySet<string>): Row[] {
  return rows.flatMap(row => [row, ...(open.has(row.prefix) ? shownRows(row.children, open) : [])])
}

/** What DeepCache's depths inherit, from the shallowest: the value that enters the last one, two, … layers of the decoder. */
export function depthsOf({ prefixes }: ModelDetails): string[] {
  const layers = prefixes.filter(name => /^up_blocks\.\d+\.\d+$/.test(name))
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
  const last = (name: string): boolean => {
    const [, block, number] = /^(up_blocks\.\d+)\.(\d+)$/.exec(name) ?? []
    return !layers.includes(`${block}.${Number(number) + 1}`)
  }
  const inherited = layers.slice(0, -1).reverse().map(name => (last(name) ? name.replace(/\.\d+$/, '') : name))
  return [...inherited, ...(prefixes.includes('mid_block') ? ['mid_block'] : [])]
}

/** What there is to know of a plan's run to draw it: rows by steps. */
export class Picture {
  readonly #costs: Map<string, number>
  readonly #running: Set<string>[]
  readonly #units = new Map<string, string[]>()

  constructor(readonly cost: Cost, details: ModelDetails) {
    this.#costs = new Map(details.units.map(({ name, macs }) => [name, macs]))
    this.#running = cost.programs.map(program => new Set(program.map(number => cost.units[number]!)))
  }

  /** What a row does at a step. */
  cell({ prefix }: Row, at: number): Cell {
    const { program, values, inherit } = this.cost.steps[at]!
    const units = this.#unitsOf(prefix)
    const running = units.filter(unit => this.#running[program]!.has(unit))
    const weight = (names: readonly string[]): number => names.reduce((sum, name) => sum + 1 + (this.#costs.get(name) ?? 0), 0)
    const runs = units.length === 0 ? 0 : weight(running) / weight(units)
    const within = inherit.find(each => inside(prefix, each.prefix))?.prefix
    const state = running.length === units.length && units.length > 0
      ? 'full'
      : running.length > 0 && within === undefined
        ? 'part'
        : within !== undefined || values.some(({ name }) => inside(name, prefix)) ? 'inherited' : 'idle'
    const holds = inherit.some(each => each.prefix !== prefix && inside(each.prefix, prefix))
    return { runs, state, named: within === prefix, holds, within }
  }

  /** The step that a row's inherited value is from. */
  sourceOf({ prefix }: Row, at: number): number | undefined {
    return this.cost.steps[at]!.values.find(({ name }) => inside(name, prefix))?.source
  }

  /** Which steps run everything. */
  get fullSteps(): number[] {
    const most = Math.max(...this.cost.steps.map(({ macs }) => macs))
    return this.cost.steps.flatMap(({ macs }, i) => (macs >= most ? [i] : []))
  }

  #unitsOf(prefix: string): string[] {
    const known = this.#units.get(prefix) ?? this.cost.units.filter(unit => inside(unit, prefix))
    this.#units.set(prefix, known)
    return known
  }
}
