import fs from 'node:fs/promises'
import path from 'node:path'
import { Command } from 'commander'
import { AsdmError } from '../base/errors'
import { integer, oneOf } from '../base/options'
import { defaultWork, runBench, shapeNames } from '../measure/bench'
import type { BenchOptions } from '../measure/context'
import { reportPage } from '../measure/html/page'
import { suites, type BenchReport } from '../measure/report'
import { reportText } from '../measure/text'
import { dtypes, parseRuntime, type DType } from '../components/options'
import { shownPath } from '../files/files'
import { makeFolders } from '../files/folders'
import { loadAddon } from '../native/load'
import { parseNumber } from './options'

/** The flags as commander gives them. Exported for tests and scripts. */
export interface BenchFlags {
  shape: string
  suite?: string
  dtype?: string
  plan?: string[]
  threads?: number
  cpu?: string
  runs: number
  images: number
  work?: string
  out?: string
  json?: boolean
}

const defaultPlans = ['deepcache:2,0', 'deepcache:3,0', 'deepcache:5,0', 'guidance:0.6']

/** The options of a benchmark, for `asdm bench` and, in a clone, `npm run bench`. Exported for tests and scripts. */
export function benchOptions(command: Command): Command {
  return command
    .option(
      '--shape <name>',
      `what to measure: ${shapeNames.join(', ')} (all but emoji with random weights, 2 GB on the disk), or a model's folder`, 'emoji',
    )
    .option('--suite <names>', `some of ${suites.join(',')} (all)`)
    .option('--dtype <names>', `some of ${dtypes.join(',')} (all)`)
    .option('--plan <plan...>', `plans of the suite plans (${defaultPlans.join(' ')})`)
    .option('--images <number>', "images to judge a plan's fidelity by; asdm eval generates more", parseNumber, 12)
    .option('-t, --threads <number>', 'threads that compute (all cores)', parseNumber)
    .option('--cpu <set>', 'kernel set: auto, or one that asdm doctor lists')
    .option('-r, --runs <number>', 'rounds to take the median of', parseNumber, 3)
    .option('--work <folder>', 'where models with random weights and other files go (the cache)')
    .option('-o, --out <folder>', 'folder for report.html and report.json')
    .option('--json', 'print JSON')
}

/** `asdm bench`: how fast this machine runs models. */
export function benchCommand(signal: AbortSignal): Command {
  return benchOptions(new Command('bench'))
    .description('measure kernels, UNet, images and plans on this machine')
    .allowExcessArguments(false)
    .action(async (flags: BenchFlags) => { await bench(flags, { signal }) })
}

/**
 * Runs what the flags ask for, prints and writes the report; the exit code is 1 where a result was wrong.
 * Exported for tests and scripts.
 */
export async function bench(
  flags: BenchFlags, more: Pick<BenchOptions, 'signal' | 'findPeers' | 'imagePeers' | 'commit'>,
): Promise<BenchReport> {
  const native = parseRuntime({ threads: flags.threads, cpu: flags.cpu }, loadAddon())
  const report = await runBench({
    shape: flags.shape, suites: listOf(flags.suite, suites, '--suite'), ...(flags.dtype !== undefined
      && { dtypes: listOf<DType>(flags.dtype, dtypes, '--dtype') }),
    threads: native.threads, cpu: native.cpu, runs: integer(flags.runs, '--runs', 1, 1000), plans: flags.plan ?? defaultPlans, images: integer(flags.images, '--images', 1, 1000), work: path.resolve(flags.work ?? defaultWork()), onProgress: tell, ...more,
  })
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
  if (flags.out !== undefined) {
    try {
      await makeFolders(flags.out)
      await fs.writeFile(path.join(flags.out, 'report.json'), `${JSON.stringify(report, undefined, 1)}\n`)
      await fs.writeFile(path.join(flags.out, 'report.html'), reportPage(report))
    } catch (error) {
      throw new AsdmError(
        'FILE_WRITE', `Expected to write a report to ${shownPath(flags.out)} but: ${(error as Error).message}`, { cause: error },
      )
    }
  }
  process.stdout.write(flags.json === true ? `${JSON.stringify(report, undefined, 1)}\n` : `${reportText(report)}\n`)
  if (flags.out !== undefined && flags.json !== true) process.stdout.write(`${path.resolve(flags.out, 'report.html')}\n`)
  if (report.checks.some(({ ok }) => !ok)) process.exitCode = 1
  return report
}

/** One line that changes, on a terminal only. */
function tell(what: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${what}`)
}

function listOf<T extends string>(text: string | undefined, known: readonly T[], name: string): T[] {
  if (text === undefined) return [...known]
  const asked = text.split(',').map(item => oneOf<T>(item.trim(), name, [...known]))
  return known.filter(item => asked.includes(item))
}
