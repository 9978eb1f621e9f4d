import { execFile } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import type { BenchReport } from '../../lib/measure/report'
import { measured } from '../../lib/measure/statistics'
import { repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

const program = repoPath('build', 'ts', 'bench', 'compare.js')

function compare(folder: string, ...args: string[]): Promise<{ code: number, stdout: string, stderr: string }> {
  return new Promise(resolve => {
    execFile(
      process.execPath, [program, 'report.json', '--baseline', 'baseline.json', ...args], { cwd: folder },
      (error, stdout, stderr) => resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr }),
    )
  })
}

/** A report with one ratio of three rounds, and one pass of ours over its roofline. */
function report(
  folder: string, ratio: number[], ms: number[], more: Partial<Omit<BenchReport, 'version'>> & { version?: number } = {},
): void {
  fs.writeFileSync(path.join(folder, 'report.json'), JSON.stringify({
    format: 'asdm-bench', version: 1, shape: 'sd15', threads: 2, date: '2030-01-01', machine: { cpu: 'X', set: 'avx2' }, ratios: [{
      name: 'unet fp32 / PyTorch fp32', value: measured(ratio),
    }],
    cases: [{
      ours: true, name: 'unet', dtype: 'fp32', ms: measured(ms),
    }], ops: [{ part: 'unet', dtype: 'fp32', whole: { boundMs: 50 } }], ...more,
  }))
}

test('bench:compare: a stored baseline, a report like it, and worse ones', async t => {
  const folder = temporaryFolder(t)
  const [ratio, ms] = [[0.49, 0.5, 0.51], [99, 100, 101]]
  report(folder, ratio, ms)
  t.like(await compare(folder), { code: 2 }) // nothing stored
  const stored = await compare(folder, '--write')
  t.is(stored.code, 0, stored.stderr)
  t.like(await compare(folder), { code: 0 })

  // Within the spread of 2 %, then beyond it, by either ratio.
  report(folder, [0.505, 0.509, 0.511], ms)
  t.like(await compare(folder), { code: 0 })
  report(folder, [0.515, 0.515, 0.515], ms)
  const worse = await compare(folder)
  t.is(worse.code, 1)
  t.regex(worse.stdout, /unet fp32 \/ PyTorch fp32 +0\.500 +0\.515 +±0\.010 +worse/)
  t.regex(worse.stdout, /unet fp32 \/ roofline +2\.000 +2\.000 +±0\.020 +even/)
  report(folder, ratio, [110, 110, 110])
  t.regex((await compare(folder)).stdout, /unet fp32 \/ roofline +2\.000 +2\.200 +±0\.022 +worse/)
  // A wide spread of its own excuses; better is fine; what is missing is told.
  report(folder, [0.4, 0.55, 0.6], ms)
  t.like(await compare(folder), { code: 0 })
  report(folder, [0.3, 0.3, 0.3], ms)
  t.regex((await compare(folder)).stdout, /better/)
  report(folder, ratio, ms, { ratios: [] })
  t.regex((await compare(folder)).stdout, /PyTorch fp32 +0\.500 +not measured/)
})

test('bench:compare: another machine is told; what is no report, or of another shape, is refused', async t => {
  const folder = temporaryFolder(t)
  report(folder, [1], [1])
  await compare(folder, '--write')
  report(folder, [1], [1], { threads: 4 })
  const other = await compare(folder)
  t.is(other.code, 0)
  t.regex(other.stdout, /baseline is of another machine \(X, avx2, 2 threads\), this report of X, avx2, 4 threads/)
  report(folder, [1], [1], { shape: 'emoji' })
  t.regex((await compare(folder)).stderr, /Expected a baseline of emoji/)
  report(folder, [1], [1], { version: 2 })
  t.regex((await compare(folder)).stderr, /Expected a report of asdm bench, version 1/)
})
