import { Command, Option } from 'commander'
import { AsdmError } from '../base/errors'
import type { ProfileRow } from '../measure/profile'
import { shapeOf, rollUp } from '../measure/profile'
import { profilePart, profileParts, type PartProfile, type ProfiledStep, type ProfilePart } from '../measure/profile-model'
import { parseRuntime } from '../components/options'
import { shownPath } from '../files/files'
import { loadAddon } from '../native/load'
import { addModelFlags, modelHelp, openModel, type ModelFlags } from './model-flags'
import { formatBytes, formatCount, table } from '../base/format'
import { parseNumber, readPlan } from './options'

const levels = ['block', 'layer', 'unit', 'op', 'shape', 'call'] as const
type Level = typeof levels[number]

interface Flags extends ModelFlags {
  model: string
  part: ProfilePart
  plan?: string
  steps?: number
  width?: number
  height?: number
  batch?: number
  runs?: number
  by?: Level
  json?: boolean
}

/** Units that the short form shows. */
const slowest = 15

/** `asdm profile`: where the time of one pass goes. */
export function profileCommand(signal: AbortSignal): Command {
  const command = new Command('profile')
    .description('time each unit of one denoising step, or of another part of a model, beside what the machine can do at most')
    .requiredOption('-m, --model <path>', modelHelp)
    .addOption(new Option('--part <part>', 'what to profile').choices(profileParts).default('unet'))
    .option('--plan <plan>', 'profile each kind of step of a plan: a text as deepcache:3,0, or a JSON file')
    .option('-s, --steps <number>', 'denoising steps of the plan (20)', parseNumber)
    .option('-W, --width <pixels>', "width (the model's own)", parseNumber)
    .option('-H, --height <pixels>', "height (the model's own)", parseNumber)
    .option('-b, --batch <number>', 'latents in a pass (2: one image with guidance)', parseNumber)
    .option('-r, --runs <number>', 'passes to take the median of (3)', parseNumber)
    .addOption(new Option('--by <level>', 'one table, with a row for each').choices(levels))
  return addModelFlags(command, 'threads', 'cpu', 'dtype', 'variant')
    .option('--json', 'print JSON')
    .action(async (flags: Flags) => profile(flags, signal))
}

async function profile(flags: Flags, signal: AbortSignal): Promise<void> {
  if (flags.plan !== undefined && flags.part !== 'unet')
    throw new AsdmError('INVALID_ARGUMENT', `Expected --plan with the UNet, which alone runs by one, but received --part ${flags.part}`)
  const addon = loadAddon()
  const native = parseRuntime({ threads: flags.threads, cpu: flags.cpu, dtype: flags.dtype }, addon)
  const checkpoint = await openModel(flags.model, flags, signal)
  const { part, width, height, batch, runs, steps } = flags
  const report = await profilePart(addon, checkpoint, native, {
    part, width, height, batch, runs, steps, signal, ...(flags.plan !== undefined && { plan: await readPlan(flags.plan) }),
  })
  process.stdout.write(
    flags.json === true
      ? `${JSON.stringify({ model: checkpoint.path, ...report }, undefined, 1)}\n`
      : `${asText(shownPath(checkpoint.path), report, flags.by)}\n`,
  )
}

const partNames: Record<ProfilePart, string> = {
  'unet': 'UNet', 'vae-decoder': 'VAE decoder', 'vae-encoder': 'VAE encoder', 'text-encoder': 'text encoder',
}

function asText(model: string, report: PartProfile, by: Level | undefined): string {
  const { part, dtype, cpu, threads, input, runs, peaks, steps } = report
  const size = Object.entries(input).map(([key, value]) => `${key} ${value}`).join(', ')
  const best = Object.entries(peaks.arithmetic).map(([format, perSecond]) =>
    `${(perSecond / 1e9).toFixed(0)} GFLOP/s in ${format}`).join(', ')
  const memory = peaks.copy.at(-1)!
  const lines = [
    `${model}: ${partNames[part]}, ${size}, ${dtype} on ${cpu}, ${threads} ${threads === 1 ? 'thread' : 'threads'}, median of ${runs}`,
    `The machine does at most ${best}, and copies ${(memory.perSecond / 1e9).toFixed(1)} GB/s in memory (read and written).`,
  ]
  for (const step of steps) {
    if (steps.length > 1 || step.steps.length > 1) lines.push('', `${stepsOf(step)}:`)
    lines.push('', `${step.passMs.toFixed(1)} ms, ${step.whole.ms.toFixed(1)} ms of them in ${step.whole.calls} kernel calls`)
    if (by !== undefined) {
      lines.push('', rowTable(by, rowsBy(step, by), step.whole))
      continue
    }
    const units = [...step.units].sort((a, b) => b.ms - a.ms)
    lines.push('', rowTable('op', [...step.kinds].sort((a, b) => b.ms - a.ms), step.whole), '', rowTable('block', step.blocks, step.whole))
    if (units.length > slowest) lines.push('', `The ${slowest} slowest of ${units.length} units; --by unit shows all:`)
    lines.push('', rowTable('unit', units.slice(0, slowest)))
  }
  return lines.join('\n')
}

/** `Step 0; steps 1, 2 where no adaptive rule inherits`. */
function stepsOf({ steps, adaptive = { full: [], inheriting: [] } }: ProfiledStep): string {
  const named = (list: readonly number[], where: string): string[] =>
    (list.length === 0 ? [] : [`${list.length === 1 ? 'step' : 'steps'} ${list.join(', ')}${where}`])
  const text = [
    ...named(steps, ''), ...named(adaptive.full, ' where no adaptive rule inherits'),
    ...named(adaptive.inheriting, ' where adaptive rules inherit'),
  ].join('; ')
  return text.charAt(0).toUpperCase() + text.slice(1)
}

function rowsBy({ blocks, layers, units, kinds, calls }: ProfiledStep, by: Level): ProfileRow[] {
  switch (by) {
    case 'block': return blocks
    case 'layer': return layers
    case 'unit': return units
    case 'op': return kinds
    case 'shape': return rollUp(calls, shapeOf)
    // Two calls can have one name: the way out of a model is named after what goes out.
    case 'call': return calls.flatMap(call => rollUp([call], () => `${call.name} (${shapeOf(call)})`)).map(row =>
      ({ ...row, share: row.ms / calls.reduce((sum, { ms }) => sum + ms, 0) }))
  }
}

function rowTable(title: string, rows: readonly ProfileRow[], whole?: ProfileRow): string {
  const cells = ({ name, calls, ms, share, macs, gflops, bytes, ofRoofline }: ProfileRow): string[] => [
    name, String(calls), ms < 10 ? ms.toFixed(3) : ms.toFixed(1), `${(100 * share).toFixed(1)} %`, formatCount(macs), macs > 0 ? gflops.toFixed(1) : '', formatBytes(bytes), `${(100 * ofRoofline).toFixed(0)} %`,
  ]
  return table(
    [title, 'calls', 'ms', 'share', 'MACs', 'GFLOP/s', 'memory', 'of roofline'],
    [...rows, ...(whole === undefined ? [] : [{ ...whole, name: 'all' }])].map(cells),
  )
}
