import os from 'node:os'
import { Command } from 'commander'
import { AsdmError } from '../base/errors'
import { shownPath } from '../files/files'
import type { CpuInfo } from '../native/binding'
import { locateAddon, type LoadedAddon } from '../native/load'
import { platformPackage } from '../native/platform'
import { formatBytes } from '../base/format'

interface Report {
  system: { platform: string, arch: string, node: string, package: string }
  binary: { found: true, file: string, source: LoadedAddon['source'] } | { found: false, reason: string }
  cpu: CpuInfo | undefined
  /** `chosen`: the kernel set that `cpu: 'auto'` runs. */
  chosen: string | undefined
  threads: { default: number | undefined, logicalCores: number }
  memory: { totalBytes: number, freeBytes: number, limitBytes: number | undefined }
  /** What keeps asdm from running as it is told to, and what to do about it. */
  problems: string[]
  /** What keeps it from running as well as it could. */
  hints: string[]
}

/** A 512x512 picture by a Stable Diffusion 1.5 model: float32 weights and about 1 GiB of activations. */
const wantedBytes = 5 * 2 ** 30

/** `asdm doctor`: what this machine gives asdm to run on. Exit code 1 where there is a problem. */
export function doctorCommand(): Command {
  return new Command('doctor')
    .description('say which binary, instruction set, threads and memory were found, and what to do about problems')
    .option('--json', 'print JSON')
    .allowExcessArguments(false)
    .action((flags: { json?: boolean | undefined }) => {
      const report = examine()
      process.stdout.write(flags.json === true ? `${JSON.stringify(report, undefined, 2)}\n` : `${asText(report)}\n`)
      if (report.problems.length > 0) process.exitCode = 1
    })
}

function examine(): Report {
  const report: Report = {
    system: { platform: process.platform, arch: process.arch, node: process.version, package: platformPackage() },
    binary: { found: false, reason: 'not looked for' },
    cpu: undefined,
    chosen: undefined,
    threads: { default: undefined, logicalCores: os.cpus().length },
    memory: { totalBytes: os.totalmem(), freeBytes: os.freemem(), limitBytes: memoryLimit() },
    problems: [],
    hints: [],
  }
  try {
    const { addon, file, source } = locateAddon()
    report.binary = { found: true, file, source }
    report.cpu = addon.cpuInfo()
    report.chosen = process.env.ASDM_CPU ?? report.cpu.usable[0]
    report.threads.default = Math.max(1, report.cpu.cores)
  } catch (error) {
    if (!(error instanceof AsdmError)) throw error
    report.binary = { found: false, reason: error.message }
  }
  report.problems = problems(report)
  report.hints = hints(report)
  return report
}

function problems({ binary, cpu, chosen }: Report): string[] {
  const list: string[] = []
  // The loader's message already ends with the remedy.
  if (!binary.found) list.push(binary.reason)
  if (cpu !== undefined && chosen !== undefined && !cpu.usable.includes(chosen))
    list.push(
      `ASDM_CPU asks for the kernel set ${JSON.stringify(chosen)}, which cannot run here; unset it, or choose one of `
      + `${cpu.usable.join(', ')}.`,
    )
  return list
}

function hints({ cpu, chosen, threads, memory }: Report): string[] {
  const list: string[] = []
  if (cpu !== undefined && chosen !== undefined && cpu.usable.includes(chosen) && chosen !== cpu.usable[0])
    list.push(`ASDM_CPU=${chosen} keeps the faster kernel set ${cpu.usable[0]} from being used; unset it.`)
  if (chosen === 'portable' && cpu?.usable[0] === 'portable')
    list.push(
      'Only the portable kernels run here, which are several times slower; a processor with AVX2, AVX-512 or NEON has faster ones. In a '
      + 'virtual machine, pass the host\'s processor through.',
    )
  if (threads.default !== undefined && threads.default < threads.logicalCores)
    list.push(
      `This process may use ${threads.default} of ${threads.logicalCores} cores; widen its CPU set (taskset, container limits) for `
      + 'more speed.',
    )
  const available = Math.min(memory.totalBytes, memory.limitBytes ?? Infinity)
  if (available < wantedBytes)
    list.push(
      `There are ${formatBytes(available)} of memory; a Stable Diffusion 1.5 model takes about ${formatBytes(wantedBytes)} for pictures of `
      + '512x512. Choose a smaller model or picture.',
    )
  return list
}

/** The limit that a container sets, if there is one below the machine's memory. */
function memoryLimit(): number | undefined {
  const limit = process.constrainedMemory?.()
  return limit !== undefined && limit > 0 && limit < os.totalmem() ? limit : undefined
}

function asText({ system, binary, cpu, chosen, threads, memory, problems: wrong, hints: better }: Report): string {
  const why = { environment: 'named by ASDM_BINARY', package: `from the package ${system.package}`, build: 'compiled on this machine' }
  const lines = [
    `System:           ${system.platform} ${system.arch}, Node ${system.node}`,
    `Binary:           ${binary.found ? `${shownPath(binary.file)}, ${why[binary.source]}` : 'none loads'}`,
  ]
  if (cpu !== undefined) {
    const missing = cpu.compiled.filter(set => !cpu.usable.includes(set))
    lines.push(
      `Processor:        ${cpu.brand === '' ? 'unknown' : cpu.brand}`,
      `Features:         ${cpu.features.join(', ') || 'none that matter'}`,
      `Instruction set:  ${chosen}, ${process.env.ASDM_CPU === undefined ? 'the best that runs here' : 'chosen by ASDM_CPU'}; usable are `
      + cpu.usable.join(', ')
      + (missing.length > 0 ? `; compiled but not usable here: ${missing.join(', ')}` : ''),
      `Number formats:   ${(chosen === cpu.usable[0] ? cpu.fast : ['fp32']).join(', ')} at full speed; every other dtype works, by `
      + 'way of fp32',
      `Threads:          ${threads.default} by default, one for each of the cores that this process may use (${threads.logicalCores} in `
      + 'the machine)',
    )
  }
  lines.push(
    `Memory:           ${formatBytes(memory.totalBytes)}, of which ${formatBytes(memory.freeBytes)} `
    + `free${memory.limitBytes === undefined ? '' : `, limited to ${formatBytes(memory.limitBytes)}`}`,
  )
  lines.push('', ...wrong.map(problem => `Problem: ${problem}`), ...better.map(hint => `Hint: ${hint}`))
  if (wrong.length === 0) lines.push('No problems found.')
  return lines.join('\n')
}
