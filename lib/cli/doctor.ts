import os from 'node:os'
import { Command } from 'commander'
import { AsdmError } from '../base/errors'
import { shownPath } from '../files/files'
import type { CpuInfo, DeviceInfo } from '../native/binding'
import { locateAddon, type LoadedAddon } from '../native/load'
import { platformPackage } from '../native/platform'
import { formatBytes } from '../base/format'

interface Report {
  system: { platform: string, arch: string, node: string, package: string }
  binary: { found: true, file: string, source: LoadedAddon['source'] } | { found: false, reason: string }
  cpu: CpuInfo | undefined
  /** `chosen`: the kernel set that `cpu: 'auto'` runs. */
  chosen: string | undefined
  /** Every device, and those of plugins that do not load; `reason` says why one cannot be used. */
  devices: DeviceInfo[]
  threads: { default: number | undefined, logicalCores: number }
  memory: { totalBytes: number, freeBytes: number, limitBytes: number | undefined }
  /** What keeps asdm from running as it is told to, and what to do about it. */
  problems: string[]
  /** What keeps it from running as well as it could. */
  hints: string[]
}

/** A 512x512 image by a Stable Diffusion 1.5 model: float32 weights and about 1 GiB of activations. */
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
    devices: [],
    threads: { default: undefined, logicalCores: os.cpus().length },
    memory: { totalBytes: os.totalmem(), freeBytes: os.freemem(), limitBytes: memoryLimit() },
    problems: [],
    hints: [],
  }
  try {
    const { addon, file, source, plugins } = locateAddon()
    report.binary = { found: true, file, source }
    report.cpu = addon.cpuInfo()
    report.devices = devices(addon.devices(), plugins)
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

/** The addon's devices, and what was looked for in vain. */
function devices(known: DeviceInfo[], plugins: LoadedAddon['plugins']): DeviceInfo[] {
  const broken = plugins.filter(({ reason }) => reason !== undefined)
  const failed = broken.map(({ file, reason = '' }) => ({ name: 'plugin', description: shownPath(file), reason }))
  const missing = { name: 'cuda', description: '', reason: 'no plugin for it is installed' }
  return [...known, ...failed, ...plugins.length === 0 ? [missing] : []]
}

function problems({ binary, cpu, chosen, devices: known }: Report): string[] {
  const list: string[] = []
  // The loader's message already ends with the remedy.
  if (!binary.found) list.push(binary.reason)
  if (cpu !== undefined && chosen !== undefined && !cpu.usable.includes(chosen))
    list.push(
      `ASDM_CPU asks for the kernel set ${JSON.stringify(chosen)}, which cannot run here; unset it, or choose one of `
      + `${cpu.usable.join(', ')}.`,
    )
  const device = process.env.ASDM_DEVICE ?? '', usable = known.filter(({ reason }) => reason === null).map(({ name }) => name)
  if (cpu !== undefined && device !== '' && device !== 'auto' && !usable.some(name => name === device || name.startsWith(`${device}:`)))
    list.push(`ASDM_DEVICE asks for the device ${JSON.stringify(device)}, which cannot be used here; unset it, or choose one of ${usable.join(', ')}.`)
  return list
}

function hints({ cpu, chosen, threads, memory }: Report): string[] {
  const list: string[] = []
  if (cpu !== undefined && chosen !== undefined && cpu.usable.includes(chosen) && chosen !== cpu.usable[0])
    list.push(`ASDM_CPU=${chosen} keeps the faster kernel set ${cpu.usable[0]} from being used; unset it.`)
  if (chosen === 'portable' && cpu?.usable[0] === 'portable')
    list.push(
      'Only the portable kernels run here, which are several times slower; a CPU with AVX2, AVX-512 or NEON has faster ones. In a '
      + 'virtual machine, pass the host\'s CPU through.',
    )
  if (threads.default !== undefined && threads.default < threads.logicalCores)
    list.push(
      `This process may use ${threads.default} of ${threads.logicalCores} cores; widen its CPU set (taskset, container limits) for `
      + 'more speed.',
    )
  const available = Math.min(memory.totalBytes, memory.limitBytes ?? Infinity)
  if (available < wantedBytes)
    list.push(
      `There are ${formatBytes(available)} of memory; a Stable Diffusion 1.5 model takes about ${formatBytes(wantedBytes)} for images of `
      + '512x512. Choose a smaller model or image.',
    )
  return list
}

/** The limit that a container sets, if there is one below the machine's memory. */
function memoryLimit(): number | undefined {
  const limit = process.constrainedMemory?.()
  return limit !== undefined && limit > 0 && limit < os.totalmem() ? limit : undefined
}

function asText({ system, binary, cpu, chosen, devices: known, threads, memory, problems: wrong, hints: better }: Report): string {
  const why = { environment: 'named by ASDM_BINARY', package: `from the package ${system.package}`, build: 'compiled on this machine' }
  const lines = [
    `System:           ${system.platform} ${system.arch}, Node ${system.node}`,
    `Binary:           ${binary.found ? `${shownPath(binary.file)}, ${why[binary.source]}` : 'none loads'}`,
  ]
  if (cpu !== undefined) {
    const missing = cpu.compiled.filter(set => !cpu.usable.includes(set))
    lines.push(
      `CPU:              ${cpu.brand === '' ? 'unknown' : cpu.brand}`,
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
  for (const { name, description, reason } of known)
    lines.push(`Device:           ${name}${description === '' ? '' : `, ${description}`}${reason === null ? '' : `: cannot be used, ${reason}`}`)
  lines.push(
    `Memory:           ${formatBytes(memory.totalBytes)}, of which ${formatBytes(memory.freeBytes)} `
    + `free${memory.limitBytes === undefined ? '' : `, limited to ${formatBytes(memory.limitBytes)}`}`,
  )
  lines.push('', ...wrong.map(problem => `Problem: ${problem}`), ...better.map(hint => `Hint: ${hint}`))
  if (wrong.length === 0) lines.push('No problems found.')
  return lines.join('\n')
}
