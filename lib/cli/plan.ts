import { Command } from 'commander'
import { shownPath } from '../assembly/files'
import { parseRuntime } from '../components/part'
import { UNet } from '../components/unet'
import { openCheckpoint } from '../model/checkpoint'
import { locateModel } from '../model/locate'
import { loadAddon } from '../native/load'
import { integer } from '../options'
import { expandPlan } from '../plan/expand'
import { savePlan } from '../plan/file'
import { formatGrid } from '../plan/grid'
import { unetFacts } from '../plan/names'
import { mainUNet } from '../plan/plan'
import { PlannedRun } from '../plan/run'
import { planUsage, resolvePlan } from '../plan/source'
import { createSampler } from '../samplers'
import { formatBytes, formatCount, parseNumber, readPlan } from './options'

interface Flags {
  model: string
  steps?: number
  sampler?: string
  eta?: number
  width?: number
  height?: number
  count?: number
  guidance: boolean
  variant?: string
  out?: string
  json?: boolean
}

/** `asdm plan <plan>`: what a plan makes of a run of a model. Reads configs and headers, no weights. */
export function planCommand(signal: AbortSignal): Command {
  return new Command('plan')
    .description('show what a plan computes and inherits, step by step')
    .argument('<plan>', `a JSON file, or builders joined by ";": ${planUsage.join(', ')}`)
    .requiredOption('-m, --model <path>', 'diffusers folder, .safetensors file, owner/name on the Hugging Face hub, or emoji')
    .option('-s, --steps <number>', 'denoising steps (20)', parseNumber)
    .option('--sampler <name>', "sampler (the checkpoint's own)")
    .option('--eta <number>', 'share of fresh noise in each step, for DDIM (0)', parseNumber)
    .option('-W, --width <pixels>', "width to count for (the model's own)", parseNumber)
    .option('-H, --height <pixels>', "height to count for (the model's own)", parseNumber)
    .option('-c, --count <number>', 'pictures at once (1)', parseNumber)
    .option('--no-guidance', 'count for a run without guidance')
    .option('--variant <name>', 'variant of the weight files, as fp16')
    .option('-o, --out <file>', 'write the plan as JSON')
    .option('--json', 'print JSON')
    .action(async (source: string, flags: Flags) => show(source, flags, signal))
}

async function show(source: string, flags: Flags, signal: AbortSignal): Promise<void> {
  const found = await locateModel(flags.model, { variant: flags.variant, signal })
  const checkpoint = await openCheckpoint(found.path, { ...(found.variant !== undefined && { variant: found.variant }), signal })
  const sampler = flags.sampler === undefined ? createSampler(checkpoint.schedulerConfig) : createSampler(flags.sampler, checkpoint.schedulerConfig)
  sampler.setTimesteps(flags.steps ?? 20)
  const steps = sampler.timesteps.length
  const addon = loadAddon()
  const unet = new UNet(addon, checkpoint.unet, parseRuntime({}, addon))
  let run: PlannedRun | undefined
  try {
    const unets = { [mainUNet]: unetFacts(unet.config, unet.tapNames()) }
    const stochastic = sampler.timesteps.some((_, i) => sampler.needsNoise(i, { eta: flags.eta ?? 0 }))
    const plan = resolvePlan(await readPlan(source), { unets, steps, stochastic })
    const expanded = expandPlan(plan, steps, flags.guidance)
    const factor = 2 ** (checkpoint.vae.config.blockOutChannels.length - 1)
    const [width, height] = [flags.width, flags.height].map((side, i) => Math.ceil(integer(side ?? unet.config.sampleSize * factor, i === 0 ? '--width' : '--height', factor, 8192) / factor))
    run = new PlannedRun({ [mainUNet]: unet }, expanded, {
      images: integer(flags.count ?? 1, '--count', 1, 256), height, width, length: checkpoint.textEncoder.config.maxPositionEmbeddings, guided: flags.guidance,
    })
    const { report } = run
    if (flags.out !== undefined) await savePlan(plan, flags.out)
    if (flags.json === true) {
      process.stdout.write(`${JSON.stringify({ plan, ...report, speedUp: report.fullMacs / report.macs, steps: expanded, grid: run.grid() }, undefined, 2)}\n`)
      return
    }
    process.stdout.write(`${plan.name === undefined ? 'plan' : `plan ${JSON.stringify(plan.name)}`} for ${steps} steps of ${shownPath(checkpoint.path)} with ${sampler.name}\n\n${formatGrid(run.grid(), expanded, report)}\n\n`
      + `${formatCount(report.macs)} of ${formatCount(report.fullMacs)} multiply-accumulates, ${(100 * report.share).toFixed(1)} %: ${(report.fullMacs / report.macs).toFixed(2)} times as fast, by this count; `
      + `${formatBytes(report.keptBytes)} of features kept between steps\n`)
  } finally {
    run?.dispose()
    await unet.dispose()
  }
}
