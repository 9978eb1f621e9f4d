import { Command } from 'commander'
import { AsdmError, printable } from '../base/errors'
import { integer } from '../base/options'
import { blockOf } from '../measure/profile'
import { parseRuntime } from '../components/options'
import { TextEncoder } from '../components/text-encoder'
import { UNet } from '../components/unet'
import { VAE } from '../components/vae'
import { shownPath } from '../files/files'
import type { Checkpoint } from '../model/checkpoint'
import type { ModelDefaults } from '../model/defaults'
import type { ProgramInfo } from '../native/binding'
import { loadAddon } from '../native/load'
import { samplersFor } from '../samplers'
import { addModelFlags, modelHelp, openModel, type ModelFlags } from './model-flags'
import { formatBytes, formatCount, table } from '../base/format'
import { parseNumber } from './options'

interface Flags extends ModelFlags {
  width?: number
  height?: number
  batch?: number
  json?: boolean
}

/** One block of a part: units whose names share a prefix. */
interface Block {
  name: string
  units: number
  parameters: number
  macs: number
}

interface PartReport {
  name: string
  /** What one pass of this part was counted for. */
  input: Record<string, number>
  parameters: number
  macs: number
  /** Bytes: weights on the disk, in memory as float32, activations and kernels' scratch. */
  storedBytes: number
  weightBytes: number
  arenaBytes: number
  scratchBytes: number
  blocks: Block[]
}

/** `asdm inspect <model>`: what a checkpoint consists of and what running it takes. Reads configs and headers, no weights. */
export function inspectCommand(signal: AbortSignal): Command {
  const command = new Command('inspect')
    .description("show a model's parts, parameters, multiply-accumulates and memory")
    .argument('<model>', modelHelp)
    .option('-W, --width <pixels>', "width to count for (the model's own)", parseNumber)
    .option('-H, --height <pixels>', "height to count for (the model's own)", parseNumber)
    .option('-b, --batch <number>', 'latents in a UNet pass (2: one image with guidance)', parseNumber)
  return addModelFlags(command, 'variant', 'config')
    .option('--json', 'print JSON')
    .action(async (model: string, flags: Flags) => inspect(model, flags, signal))
}

async function inspect(model: string, flags: Flags, signal: AbortSignal): Promise<void> {
  const checkpoint = await openModel(model, flags, signal)
  const parts = await measure(checkpoint, flags)
  const total = (key: 'parameters' | 'storedBytes' | 'weightBytes'): number => parts.reduce((sum, part) => sum + part[key], 0)
  const report = {
    path: checkpoint.path, kind: checkpoint.kind, scheduler: printable(String(checkpoint.schedulerConfig._class_name)),
    samplers: samplersFor(checkpoint.schedulerConfig), defaults: checkpoint.defaults, warnings: checkpoint.warnings,
    parameters: total('parameters'), storedBytes: total('storedBytes'), weightBytes: total('weightBytes'), parts,
  }
  process.stdout.write(flags.json === true ? `${JSON.stringify(report, undefined, 2)}\n` : `${asText(report)}\n`)
}

async function measure({ unet, vae, textEncoder }: Checkpoint, flags: Flags): Promise<PartReport[]> {
  const addon = loadAddon()
  const options = parseRuntime({}, addon)
  const built: { dispose(): Promise<void> }[] = []
  const keep = <T extends { dispose(): Promise<void> }>(part: T): T => { built.push(part); return part }
  try {
    const u = keep(new UNet(addon, unet, options))
    const v = keep(new VAE(addon, vae, options))
    const t = keep(new TextEncoder(addon, textEncoder, options))
    const batch = integer(flags.batch ?? 2, '--batch', 1, 256)
    const multiple = v.factor
    const sideOf = (flag: 'width' | 'height'): number => {
      const value = integer(flags[flag] ?? u.config.sampleSize * v.factor, `--${flag}`, multiple, 8192)
      if (value % multiple !== 0)
        throw new AsdmError('INVALID_ARGUMENT', `Expected --${flag} to be a multiple of ${multiple} but received ${value}`)
      return value
    }
    const [width, height] = [sideOf('width'), sideOf('height')]
    const latent = { height: height / v.factor, width: width / v.factor }
    const length = t.config.maxPositionEmbeddings
    return [
      part('text encoder', { batch, length }, t.part.storedBytes, t.describe({ batch, length })),
      part('UNet', { batch, ...latent }, u.part.storedBytes, u.describe({ batch, ...latent, length })),
      part('VAE decoder', { batch: 1, ...latent }, v.decoderPart.storedBytes, v.describe({ batch: 1, ...latent })),
      ...v.hasEncoder
        ? [part('VAE encoder', { batch: 1, height, width }, v.encoderPart.storedBytes, v.encoderPart.describe({ batch: 1, height, width }))]
        : [],
    ]
  } finally {
    await Promise.all(built.map(item => item.dispose()))
  }
}

function part(name: string, input: Record<string, number>, storedBytes: number, info: ProgramInfo): PartReport {
  const blocks = new Map<string, Block>()
  for (const unit of info.units) {
    const key = blockOf(unit.name)
    const block = blocks.get(key) ?? { name: key, units: 0, parameters: 0, macs: 0 }
    blocks.set(key, block)
    block.units++
    block.parameters += unit.parameters
    block.macs += unit.macs
  }
  const { parameters, macs, arenaBytes, scratchBytes } = info
  return { name, input, parameters, macs, storedBytes, weightBytes: parameters * 4, arenaBytes, scratchBytes, blocks: [...blocks.values()] }
}

function asText(
  report: {
    path: string
    kind: string
    scheduler: unknown
    samplers: readonly string[]
    defaults: ModelDefaults
    warnings: string[]
    parameters: number
    storedBytes: number
    weightBytes: number
    parts: PartReport[]
  },
): string {
  const lines = [
    shownPath(report.path),
    `${report.kind === 'folder' ? 'diffusers folder' : 'single file'}, scheduler ${String(report.scheduler)}, `
    + `${formatCount(report.parameters)} parameters, `
    + `weights ${formatBytes(report.storedBytes)} on the disk and ${formatBytes(report.weightBytes)} in memory`,
    `by default guidance ${report.defaults.guidanceScale}, ${report.defaults.steps} steps`
    + (report.defaults.clipSkip === 0 ? '' : `, ${report.defaults.clipSkip} text encoder layers skipped`),
    `samplers ${report.samplers.join(', ')}`,
    ...report.warnings.map(warning => `Warning: ${warning}`),
  ]
  for (const { name, input, macs, parameters, arenaBytes, scratchBytes, weightBytes, blocks } of report.parts) {
    const size = Object.entries(input).map(([key, value]) => `${key} ${value}`).join(', ')
    lines.push(
      '',
      `${name}: one pass with ${size} takes ${formatCount(macs)} multiply-accumulates; memory: weights ${formatBytes(weightBytes)}, `
      + `activations ${formatBytes(arenaBytes)}, scratch ${formatBytes(scratchBytes)}`,
    )
    const rows = blocks.map(block =>
      [
        block.name, String(block.units), formatCount(block.parameters), formatCount(block.macs),
        `${macs > 0 ? ((100 * block.macs) / macs).toFixed(1) : '0.0'} %`,
      ])
    lines.push(table(
      ['block', 'units', 'parameters', 'MACs', 'share'],
      [...rows, ['all', String(blocks.reduce((sum, block) => sum + block.units, 0)), formatCount(parameters), formatCount(macs), '']],
    ))
  }
  return lines.join('\n')
}
