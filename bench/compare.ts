/**
 * Fails where a ratio of a benchmark's report is worse than a stored one by more than both spread.
 *
 *   npm run bench:compare -- [build/bench/report/report.json] [--baseline bench/baseline.json] [--write]
 *
 * Ratios to peers hold across machines better than times do, but not wholly: a baseline of another CPU is said aloud. `--write`
 * stores the report's ratios as the baseline of its shape instead.
 */
import fs from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import type { BenchReport } from '../lib/measure/report'
import { table } from '../lib/base/format'
import { packageRoot } from '../lib/files/package-root'

/** Stored ratios of one shape. */
export interface Baseline {
  /** Where they were measured: CPU, kernel set, threads. */
  machine: string
  commit?: string
  date: string
  /** Median and spread (half the range, relative to it) by name. */
  ratios: Record<string, { value: number, spread: number }>
}

/** Baselines by shape. */
export type Baselines = Record<string, Baseline>

export interface Comparison {
  name: string
  stored?: number
  found?: number
  /** How much more may be found before it counts as worse. */
  allowance: number
  verdict: 'worse' | 'better' | 'even' | 'new' | 'not measured'
}

/** Timer and scheduling noise that even three equal values do not rule out. */
const leastSpread = 0.01

export const machineOf = ({ machine, threads }: Pick<BenchReport, 'machine' | 'threads'>): string =>
  `${machine.cpu}, ${machine.set}, ${threads} threads`

/**
 * What a baseline keeps of a report: the ratios to peers, and, for our own passes, their time over what the machine's peaks allow, which
 * needs no peer.
 */
export function baselineOf(report: Pick<BenchReport, 'ratios' | 'ops' | 'cases' | 'machine' | 'threads' | 'commit' | 'date'>): Baseline {
  const ratios: Baseline['ratios'] = Object.fromEntries(report.ratios.map(({ name, value }) =>
    [name, { value: value.median, spread: value.spread }]))
  for (const { part, dtype, whole } of report.ops) {
    const timed = report.cases.find(each => each.ours && each.name === part && each.dtype === dtype)
    if (timed !== undefined && whole.boundMs > 0)
      ratios[`${part} ${dtype} / roofline`] = { value: timed.ms.median / whole.boundMs, spread: timed.ms.spread }
  }
  return { machine: machineOf(report), ...(report.commit !== undefined && { commit: report.commit }), date: report.date, ratios }
}

/** Ratio by ratio; worse or better is what is more than the larger of the two spreads away. */
export function compareRatios(stored: Baseline['ratios'], found: Baseline['ratios']): Comparison[] {
  return [...new Set([...Object.keys(stored), ...Object.keys(found)])].map(name => {
    const before = Object.hasOwn(stored, name) ? stored[name] : undefined
    const now = Object.hasOwn(found, name) ? found[name] : undefined
    if (before === undefined || now === undefined)
      return {
        name, ...(before && { stored: before.value }), ...(now && { found: now.value }), allowance: 0,
        verdict: before === undefined ? 'new' : 'not measured',
      }
    const allowance = Math.max(...[before, now].map(({ value, spread }) => value * Math.max(spread, leastSpread)))
    const difference = now.value - before.value
    return {
      name, stored: before.value, found: now.value, allowance,
      verdict: difference > allowance ? 'worse' : difference < -allowance ? 'better' : 'even',
    }
  })
}

function main(): void {
  const root = packageRoot()!
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      baseline: { type: 'string', default: path.join(root, 'bench', 'baseline.json') }, write: { type: 'boolean', default: false },
    },
  })
  const file = positionals[0] ?? path.join(root, 'build', 'bench', 'report', 'report.json')
  const report = JSON.parse(fs.readFileSync(file, 'utf8')) as BenchReport
  if (report.format !== 'asdm-bench' || report.version !== 1) throw new Error(`Expected a report of asdm bench, version 1, in ${file}`)
  const baselines = fs.existsSync(values.baseline) ? JSON.parse(fs.readFileSync(values.baseline, 'utf8')) as Baselines : {}
  const found = baselineOf(report)
  if (values.write) {
    baselines[report.shape] = found
    fs.writeFileSync(values.baseline, `${JSON.stringify(baselines, undefined, 1)}\n`)
    console.log(`${Object.keys(found.ratios).length} ratios of ${report.shape} stored in ${values.baseline}`)
    return
  }
  const stored = baselines[report.shape]
  if (stored === undefined) throw new Error(`Expected a baseline of ${report.shape} in ${values.baseline}; --write stores one`)
  if (stored.machine !== found.machine)
    console.log(
      `The baseline is of another machine (${stored.machine}), this report of ${found.machine}: ratios may differ for that alone.`,
    )
  const rows = compareRatios(stored.ratios, found.ratios)
  const cell = (value: number | undefined): string => value?.toFixed(3) ?? ''
  console.log(table(
    ['ratio', 'stored', 'found', 'allowed to differ', ''],
    rows.map(({ name, stored: before, found: now, allowance, verdict }) =>
      [name, cell(before), cell(now), allowance > 0 ? `±${allowance.toFixed(3)}` : '', verdict]),
  ))
  if (rows.some(({ verdict }) => verdict === 'worse')) process.exitCode = 1
}

if (require.main === module) {
  try {
    main()
  } catch (error) {
    console.error((error as Error).message)
    process.exitCode = 2
  }
}
