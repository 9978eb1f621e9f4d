import { Command } from 'commander'
import { formatBytes, formatCount } from '../base/format'
import { integer } from '../base/options'
import { parseRuntime } from '../components/options'
import { UNet } from '../components/unet'
import { shownPath } from '../files/files'
import { loadAddon } from '../native/load'
import { expandPlan } from '../plan/expand'
import { savePlan } from '../plan/file'
import { formatGrid } from '../plan/grid'
import { unetFacts } from '../plan/names'
import { mainUNet } from '../plan/plan'
import { PlannedRun } from '../plan/planned-run'
import { presetNames } from '../plan/presets'
import type { PlanReport } from '../plan/report'
import { planUsage, resolvePlan } from '../plan/source'
import { createSampler } from '../samplers'
import { checkUNetPaths, openFurtherUNet } from '../parts'
import { addModelFlags, modelHelp, openModel, type ModelFlags } from './model-flags'
import { parseNumber, readPlan } from './options'

interface Flags extends ModelFlags {
  model: string
  steps?: number
  sampler?: string
  eta?: number
  width?: number
  height?: number
  count?: number
  guidance: boolean
  out?: string
  json?: boolean
}

/** `asdm plan <plan>`: what a plan makes of a run of a model. Reads configs and headers, no weights. */
export function planCommand(signal: AbortSignal): Command {
  const command = new Command('plan')
    .description('show what a plan computes and inherits, step by step')
    .argument('<plan>', `a preset (${presetNames.join(', ')}), a JSON file, or builders joined by ";": ${planUsage.join(', ')}`)
    .requiredOption('-m, --model <path>', modelHelp)
    .option('-s, --steps <number>', "denoising steps (the model's own, else 20)", parseNumber)
    .option('--sampler <name>', "sampler (the checkpoint's own)")
    .option('--eta <number>', 'share of fresh noise in each step, for DDIM (0)', parseNumber)
    .option('-W, --width <pixels>', "width to count for (the model's own)", parseNumber)
    .option('-H, --height <pixels>', "height to count for (the model's own)", parseNumber)
    .option('-c, --count <number>', 'images at once (1)', parseNumber)
    .option('--no-guidance', 'count for a run without guidance')
  return addModelFlags(command, 'unet', 'variant')
    .option('-o, --out <file>', 'write the plan as JSON')
    .option('--json', 'print JSON')
    .action(async (source: string, flags: Flags) => show(source, flags, signal))
}

async function show(source: string, flags: Flags, signal: AbortSignal): Promise<void> {
  const checkpoint = await openModel(flags.model, flags, signal)
  const sampler = flags.sampler === undefined
    ? createSampler(checkpoint.schedulerConfig)
    : createSampler(flags.sampler, checkpoint.schedulerConfig)
  sampler.setTimesteps(flags.steps ?? checkpoint.defaults.steps)
  const steps = sampler.timesteps.length
  const addon = loadAddon()
  const native = parseRuntime({}, addon)
  const built: Record<string, UNet> = {}
  let run: PlannedRun | undefined
  try {
    const unet = built[mainUNet] = new UNet(addon, checkpoint.unet, native)
    for (const [name, folder] of Object.entries(checkUNetPaths(flags.unet ?? {})))
      built[name] = new UNet(addon, await openFurtherUNet(folder, name, unet.config, { variant: flags.variant, signal }), native)
    const unets = Object.fromEntries(Object.entries(built).map(([name, each]) => [name, unetFacts(each.config, each.tapNames())]))
    const stochastic = sampler.timesteps.some((_, i) => sampler.needsNoise(i, { eta: flags.eta ?? 0 }))
    const plan = resolvePlan(await readPlan(source), { unets, steps, order: sampler.order, stochastic })
    const guided = flags.guidance && unet.config.timeCondDim === undefined
    const expanded = expandPlan(plan, steps, guided)
    const factor = 2 ** (checkpoint.vae.config.blockOutChannels.length - 1)
    const sideOf = (flag: 'width' | 'height'): number =>
      Math.ceil(integer(flags[flag] ?? unet.config.sampleSize * factor, `--${flag}`, factor, 8192) / factor)
    const [width, height] = [sideOf('width'), sideOf('height')]
    run = await PlannedRun.compile(built, expanded, {
      images: integer(flags.count ?? 1, '--count', 1, 256), height, width, length: checkpoint.textEncoder.config.maxPositionEmbeddings, guided,
    }, plan, signal)
    const { report } = run
    if (flags.out !== undefined) await savePlan(plan, flags.out)
    if (flags.json === true) {
      process.stdout.write(
        `${JSON.stringify({ plan, ...report, speedUp: report.fullMacs / report.macs, steps: expanded, grid: run.grid() }, undefined, 2)}\n`,
      )
      return
    }
    const name = plan.name === undefined ? 'plan' : `plan ${JSON.stringify(plan.name)}`
    process.stdout.write(
      `${name} for ${steps} steps of ${shownPath(checkpoint.path)} with ${sampler.name}\n\n${formatGrid(run.grid(), expanded, report)}\n\n`
      + `${costOf(report)}\n`,
    )
  } finally {
    run?.dispose()
    for (const unet of Object.values(built)) await unet.dispose()
  }
}

function costOf({ macs, fullMacs, share, least, keptBytes }: PlanReport): string {
  const percent = (part: number): string => `${(100 * part).toFixed(1)} %`
  const times = (part: number): string => `${(fullMacs / part).toFixed(2)} times as fast`
  const kept = `${formatBytes(keptBytes)} of features kept between steps`
  if (least === undefined)
    return `${formatCount(macs)} of ${formatCount(fullMacs)} multiply-accumulates, ${percent(share)}: ${times(macs)}, by this `
      + `count; ${kept}`
  return `${formatCount(least.macs)} to ${formatCount(macs)} of ${formatCount(fullMacs)} multiply-accumulates, ${percent(least.share)} to `
    + `${percent(share)}, as adaptive rules decide: `
    + `up to ${times(least.macs)}, by this count; ${kept}`
}
