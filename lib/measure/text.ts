import { formatBytes, formatCount, table } from '../base/format'
import type { BenchCase, BenchGoal, BenchReport } from './report'
import { pairedRatio, type Measured } from './statistics'

const seconds = (ms: number): string => (ms < 1000 ? `${ms.toFixed(ms < 100 ? 2 : 0)} ms` : `${(ms / 1000).toFixed(2)} s`)
const spread = ({ values, spread: share }: Measured): string => (values.length > 1 ? `±${percent(share)}` : '')
const percent = (share: number): string => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`

/** The machine and what it does at most, in a few lines. */
function machineLines({ machine, peaks, threads, asdm, commit, date }: BenchReport): string[] {
  const arithmetic = Object.entries(peaks.arithmetic).map(([dtype, perSecond]) => `${dtype} ${(perSecond / 1e9).toFixed(0)}`).join(', ')
  const { copy } = peaks
  return [
    `asdm ${asdm}${commit === undefined ? '' : ` (${commit})`} on ${machine.cpu || 'an unknown processor'}, kernel set ${machine.set}, `
    + `${threads} of ${machine.cores} cores, ${machine.platform}, Node ${machine.node}, ${date.slice(0, 16).replace('T', ' ')}`,
    `Peaks: GFLOP/s ${arithmetic}; copying (read and written) ${(copy[0]!.perSecond / 1e9).toFixed(0)} GB/s in cache, `
    + `${(copy.at(-1)!.perSecond / 1e9).toFixed(0)} GB/s in memory`,
  ]
}

/** Rows of the slowest kernels. */
const shownShapes = 20

/** The whole report for a terminal. */
export function reportText(report: BenchReport): string {
  const lines = [`${report.shape}, images of ${report.size}x${report.size}`, ...machineLines(report)]
  for (const { name, absent } of report.peers) if (absent !== undefined) lines.push(`Not compared with ${name}: ${absent}`)
  lines.push(...report.notes.map(note => `Note: ${note}`))
  if (report.checks.length > 0)
    lines.push(
      '',
      table(
        ['checked', 'against', 'difference', 'allowed', ''],
        report.checks.map(({ name, against, difference, psnr, limit, ok }) =>
          [
            name, against, `${difference.toExponential(1)}${psnr === undefined ? '' : ` (${psnr.toFixed(1)} dB)`}`,
            limit === 0 ? '0' : limit.toExponential(1), ok ? 'ok' : 'WRONG',
          ]),
      ),
    )
  for (const name of [...new Set(report.cases.map(each => each.name))])
    lines.push('', caseTable(name, report.cases.filter(each => each.name === name)))
  if (report.loading.length > 0) {
    const times = (value: Measured): string => `${value.median.toFixed(2)}x`
    lines.push('', table([
      'loading', 'time', 'spread', 'reading into new memory', 'spread', 'loading takes', 'reading into a small buffer', 'loading takes',
    ], report.loading.map(({ dtype, load, fresh, small }) => [
      dtype, seconds(load.median), spread(load), seconds(fresh.median), spread(fresh), times(
        pairedRatio(load.values, fresh.values),
      ), seconds(small.median), times(pairedRatio(load.values, small.values)),
    ])))
  }
  if (report.ratios.length > 0)
    lines.push(
      '',
      table(
        ['ours / theirs (less is faster)', 'ratio', 'spread'],
        report.ratios.map(({ name, value }) => [name, value.median.toFixed(3), spread(value)]),
      ),
    )
  for (const ops of report.ops) {
    lines.push('', `${ops.part} in ${ops.dtype}: ${seconds(ops.passMs)}, ${percent(ops.whole.ofRoofline)} of the roofline`)
    const shapes = [...ops.shapes].sort((a, b) => b.ms - a.ms).slice(0, shownShapes)
    lines.push(table(
      ['op', 'calls', 'ms', 'share', 'GFLOP/s', 'of roofline'],
      [...[...ops.kinds].sort((a, b) => b.ms - a.ms), ops.whole].map(row =>
        [
          row.name, String(row.calls), row.ms.toFixed(2), percent(row.share), row.macs > 0 ? row.gflops.toFixed(0) : '',
          percent(row.ofRoofline),
        ]),
    ))
    lines.push('', table([
      'shape (N x H x W x C)', 'calls', 'ms', 'share', 'MACs', 'GFLOP/s', 'of roofline', 'could save',
    ], shapes.map(row => [
      row.dtype === ops.dtype
        ? row.name
        : `${row.name} (${row.dtype})`, String(row.calls), row.ms.toFixed(2), percent(row.share), formatCount(row.macs),
      row.macs > 0 ? row.gflops.toFixed(0) : '', percent(row.ofRoofline),
      percent(Math.max(0, row.ms - row.boundMs) / ops.whole.ms),
    ])))
    if (ops.shapes.length > shownShapes) lines.push(`and ${ops.shapes.length - shownShapes} more, in the report that --out writes`)
  }
  if (report.plans.length > 0)
    lines.push(
      '',
      table(
        ['plan', 'times as fast', 'by count', 'kept', 'PSNR (emoji)', 'SSIM'],
        report.plans.map(({ plan, speedUp, counted, keptBytes, psnr, ssim }) =>
          [plan, speedUp.toFixed(2), counted.toFixed(2), formatBytes(keptBytes), psnr?.toFixed(1) ?? '', ssim?.toFixed(3) ?? '']),
      ),
    )
  if (report.goals.length > 0)
    lines.push(
      '',
      table(
        ['goal', 'found', 'at most', ''],
        report.goals.map(({ name, value, limit, unit, met }) =>
          [name, goalValue(value, unit), goalValue(limit, unit), met ? 'met' : 'missed']),
      ),
    )
  for (const { name, missedBy } of report.goals) if (missedBy !== undefined) {
    const { part, dtype, allowedMs, excessMs, ops } = missedBy
    lines.push(
      '',
      `Missed: ${name}. ${part} in ${dtype} may take ${seconds(allowedMs)} and takes ${seconds(excessMs)} more. Most of it here, each `
      + 'kernel held against the same share of its roofline:',
    )
    lines.push(table(
      ['shape (N x H x W x C)', 'ms', 'may take', 'over by'],
      ops.map(op => [
        op.dtype === dtype ? op.name : `${op.name} (${op.dtype})`, op.ms.toFixed(2), op.allowedMs.toFixed(2),
        (op.ms - op.allowedMs).toFixed(2),
      ]),
    ))
  }
  lines.push('', `Took ${report.seconds.toFixed(0)} s.`)
  return lines.join('\n')
}

const goalValue = (value: number, unit: BenchGoal['unit']): string =>
  (unit === 'bytes' ? `${(value / 1e9).toFixed(2)} GB` : unit === 'difference' ? value.toExponential(1) : value.toFixed(3))

function caseTable(name: string, cases: readonly BenchCase[]): string {
  const phases = cases.some(each => each.phases !== undefined)
  return table([
    name, 'time', ...phases ? ['text', 'a step', 'decoding'] : [], 'spread', 'GFLOP/s', 'peak memory', 'load',
  ], cases.map(({ contender, version, dtype, ms, macs, peakBytes, loadMs, phases: parts }) => [
    `${contender}${version === undefined ? '' : ` ${version}`} ${dtype}`, seconds(ms.median), ...phases
      ? [parts?.text, parts?.step, parts?.decode].map(part => (part === undefined ? '' : seconds(part)))
      : [], spread(ms), ((2 * macs) / ms.median / 1e6).toFixed(0), peakBytes > 0 ? formatBytes(peakBytes) : '',
    loadMs > 0 ? seconds(loadMs) : '',
  ]))
}
