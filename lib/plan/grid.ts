import type { RunInfo } from '../native/binding'
import type { ExpandedStep } from './expand'
import { mainUNet } from './plan'
import type { PlanReport } from './report'

/**
 * What a block does at a step: all of it runs, a part of it runs, its output is inherited, nobody reads it, or what it does depends on what
 * adaptive rules decide.
 */
type Cell = 'full' | 'part' | 'inherited' | 'idle' | 'adaptive'

/** One row of a grid. */
export interface GridRow {
  /** The block's prefix. */
  block: string
  /** One for each step. */
  cells: Cell[]
}

/** What is inside no block belongs to no row: the time embedding and the last norm, which run when others do. */
function blockOf(unit: string): string | undefined {
  return /^(?:conv_in|conv_out|mid_block|(?:down|up)_blocks\.\d+)(?=\.|$)/.exec(unit)?.[0]
}

/** As data passes through them. */
function order(block: string): number {
  const [kind = '', number = '0'] = block.split('.')
  return ['conv_in', 'down_blocks', 'mid_block', 'up_blocks', 'conv_out'].indexOf(kind) * 1000 + Number(number)
}

function countBlocks(units: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const unit of units) {
    const block = blockOf(unit)
    if (block !== undefined) counts.set(block, (counts.get(block) ?? 0) + 1)
  }
  return counts
}

/** Rows of blocks, columns of steps. */
export function gridOf({ steps, programs, units }: RunInfo): GridRow[] {
  const whole = units.map(countBlocks)
  const running = programs.map(countBlocks)
  const blocks = [...new Set(whole.flatMap(counts => [...counts.keys()]))].sort((a, b) => order(a) - order(b))
  return blocks.map(block => ({
    block,
    cells: steps.map(({ unet, variants, probe }): Cell => {
      const total = whole[unet]!.get(block) ?? 0
      const early = probe === undefined ? 0 : running[probe]!.get(block) ?? 0
      const cells = new Set(variants.map(({ program, inherited }): Cell => {
        const runs = early + (running[program]!.get(block) ?? 0)
        if (runs > 0) return runs === total ? 'full' : 'part'
        return inherited.some(({ name }) => blockOf(name) === block) ? 'inherited' : 'idle'
      }))
      return cells.size > 1 ? 'adaptive' : [...cells][0]!
    }),
  }))
}

const marks: Readonly<Record<Cell, string>> = { full: '█', part: '▒', inherited: '=', idle: '·', adaptive: '?' }
const notes: Readonly<Record<Cell, string>> = {
  full: 'runs', part: 'runs in part', inherited: 'inherited', idle: 'not run', adaptive: 'decided when the step comes',
}

/** A plan as text: steps across, blocks down, and what each step computes. */
export function formatGrid(grid: readonly GridRow[], steps: readonly ExpandedStep[], report: PlanReport): string {
  const rows = grid.map(({ block, cells }) => ({ name: block, text: cells.map(cell => marks[cell]).join('') }))
  const guidance = { full: '█', conditional: '·', inherit: '=' }
  rows.push({ name: 'unconditional pass', text: steps.map(step => guidance[step.guidance]).join('') })
  const names = [...new Set(steps.map(({ unet }) => unet))]
  const several = names.length > 1 || names[0] !== mainUNet
  const letters = lettersOf(names)
  if (several) rows.push({ name: 'UNet', text: steps.map(({ unet }) => letters.get(unet)).join('') })
  const tenths = (shares: readonly number[]): string =>
    shares.map(share => (share >= 0.995 ? '█' : String(Math.floor(share * 10)))).join('')
  if (report.least === undefined) {
    rows.push({ name: 'tenths computed', text: tenths(report.stepShares) })
  } else {
    rows.push({
      name: 'tenths at most', text: tenths(report.stepShares),
    }, { name: 'tenths at least', text: tenths(report.least.stepShares) })
  }
  const width = Math.max(...rows.map(({ name }) => name.length))
  const ruler = steps.map((_, i) =>
    (i % 5 === 0 ? String(Math.floor(i / 5) * 5 % 100).padEnd(5) : '')).join('').slice(0, Math.max(steps.length, 1)).trimEnd()
  const used = (Object.keys(marks) as Cell[]).filter(cell => cell !== 'adaptive' || grid.some(({ cells }) => cells.includes(cell)))
  return [
    `${'step'.padEnd(width)}  ${ruler}`, ...rows.map(({ name, text }) => `${name.padEnd(width)}  ${text}`), '',
    used.map(cell => `${marks[cell]} ${notes[cell]}`).join('   '),
    ...(several ? [`UNets: ${names.map(name => `${letters.get(name)} ${name}`).join('   ')}`] : []),
  ].join('\n')
}

/** A letter for each name: its first where nobody else has it, or else one that is free. */
function lettersOf(names: readonly string[]): Map<string, string> {
  const letters = new Map<string, string>()
  for (const name of names) {
    const taken = new Set(letters.values())
    letters.set(name, Array.from(name.toLowerCase() + 'abcdefghijklmnopqrstuvwxyz').find(letter => !taken.has(letter)) ?? '*')
  }
  return letters
}
