import { Command } from 'commander'
import { AsdmError } from '../base/errors'
import { VAE } from '../components/vae'
import { Drawings } from '../eval/drawings'
import { evaluate, type EvaluateOptions, type EvaluateProgress, type Evaluation } from '../eval/evaluate'
import { loadEvaluation, saveEvaluation } from '../eval/files'
import type { EvaluationReport, SetReport } from '../eval/report'
import { readText, shownPath } from '../files/files'
import { StableDiffusion } from '../stable-diffusion'
import { addModelFlags, loadOptions, modelHelp, type ModelFlags } from './model-flags'
import { formatBytes, formatMs, table } from '../base/format'
import { given, parseNumber, readPlan } from './options'
import { LineBar } from './progress-bar'

interface Flags extends ModelFlags {
  drawings?: string
  prompts?: string
  reference?: string
  judge?: string
  out?: string
  count?: number
  steps?: number
  guidance?: number
  sampler?: string
  eta?: number
  plan?: string
  seed?: number
  width?: number
  height?: number
  quiet?: boolean
  json?: boolean
}

/** `asdm eval <model>`: makes fixed images and says how good they are, against true drawings, a reference run, or both. */
export function evalCommand(signal: AbortSignal): Command {
  const command = new Command('eval')
    .description('measure how good and how fast a model is: against true drawings, a reference run, or both')
    .argument('<model>', modelHelp)
    .option(
      '-d, --drawings <folder>', 'true drawings, whose captions are the prompts: in a checkout npm run emoji:data makes build/emoji-data',
    )
    .option('--prompts <file>', 'prompts, one a line, where there are no drawings (a built-in list)')
    .option('-r, --reference <run>', 'run to compare with: a folder that --out wrote, or plain: the same without the plan, made first')
    .option('--judge <folder>', "VAE folder whose encoder compares images with drawings (the model's own)")
    .option('-o, --out <folder>', 'write report.json, sheet.png and the images')
    .option('-n, --count <number>', 'prompts of each set (96)', parseNumber)
    .option('-s, --steps <number>', "denoising steps (the model's own, else 20)", parseNumber)
    .option('-g, --guidance <number>', "how much the prompt counts (the model's own, else 7.5)", parseNumber)
    .option('--sampler <name>', "sampler (the checkpoint's own)")
    .option('--eta <number>', 'share of fresh noise in each step, for DDIM (0)', parseNumber)
    .option('--plan <plan>', 'what steps inherit: a preset as fast, a text as deepcache:3,0, or a JSON file; see asdm plan')
    .option('--seed <number>', 'seed of the first image; the next has the next one (1000)', parseNumber)
    .option('-W, --width <pixels>', "width (the model's own)", parseNumber)
    .option('-H, --height <pixels>', "height (the model's own)", parseNumber)
  return addModelFlags(command, 'unet', 'dtype', 'threads', 'cpu', 'variant')
    .option('-q, --quiet', 'show no progress')
    .option('--json', 'print the report as JSON')
    .action(async (model: string, flags: Flags) => run(model, flags, signal))
}

async function run(model: string, flags: Flags, signal: AbortSignal): Promise<void> {
  // What is wrong with the arguments is said before the model is read.
  const drawings = flags.drawings === undefined ? undefined : await Drawings.open(flags.drawings)
  const prompts = flags.prompts === undefined ? undefined : await readPrompts(flags.prompts)
  const plan = flags.plan === undefined ? undefined : await readPlan(flags.plan)
  if (flags.reference === 'plain' && plan === undefined)
    throw new AsdmError('INVALID_ARGUMENT', 'Expected --plan with --reference plain, which is the same run without it')
  const saved = flags.reference === undefined || flags.reference === 'plain' ? undefined : await loadEvaluation(flags.reference)
  const onWarning = ({ message }: { message: string }): void => void process.stderr.write(`Warning: ${message}\n`)
  const judge = flags.judge === undefined ? undefined : await VAE.load(flags.judge, { signal, onWarning })
  const bar = new LineBar(flags.quiet === true || flags.json === true, '{phase} {bar} {value} of {total}')
  let sd: StableDiffusion | undefined
  try {
    sd = await StableDiffusion.load(model, { ...loadOptions(flags), signal, onWarning })
    const options: EvaluateOptions = {
      ...given({
        drawings, prompts, judge, count: flags.count, steps: flags.steps, guidanceScale: flags.guidance, sampler: flags.sampler,
        eta: flags.eta, seed: flags.seed,
        width: flags.width, height: flags.height,
      }),
      about: { model, dtype: flags.dtype ?? 'fp32' }, signal,
    }
    const reference = saved
      ?? (flags.reference === 'plain'
        ? await evaluate(sd, { ...options, onProgress: progress => show(bar, progress, 'reference, ') })
        : undefined)
    const evaluation = await evaluate(sd, { ...options, ...given({ plan, reference }), onProgress: progress => show(bar, progress) })
    const folder = flags.out === undefined ? undefined : await saveEvaluation(evaluation, flags.out, reference)
    bar.stop()
    process.stdout.write(flags.json === true ? `${JSON.stringify(evaluation.report, undefined, 2)}\n` : asText(evaluation))
    if (folder !== undefined && flags.json !== true) process.stdout.write(`${shownPath(folder)}\n`)
  } finally {
    bar.stop()
    await Promise.all([sd?.dispose(), judge?.dispose()])
  }
}

/** Longest file of prompts that is read. */
const maxPromptBytes = 2 ** 26

/** One prompt a line. */
async function readPrompts(file: string): Promise<string[]> {
  const text = await readText(file, maxPromptBytes)
  return text.split(/\r?\n/).filter(line => line.trim() !== '')
}

const setNames = { seen: 'seen', heldOut: 'held-out', prompts: 'prompts', all: 'all' }

function asText({ report }: Evaluation): string {
  const { about, cpu, settings, sets, reference, memory, measured } = report
  const { sampler, plan } = settings
  const lines = [
    `${about.model}: ${report.images.length} images of ${settings.width}x${settings.height}, `
    + `${typeof sampler === 'string' ? sampler : String(sampler._class_name)}, ${settings.steps} steps, guidance `
    + `${settings.guidanceScale}, `
    + `${plan === undefined ? '' : `plan ${JSON.stringify(plan.name ?? 'unnamed')}, `}${about.dtype} on ${cpu}, seeds from `
    + `${settings.seed}`,
    '',
    table(
      ['set', 'images', ...columns(report).map(({ title }) => title)],
      Object.entries(sets).map(([name, set]) =>
        [setNames[name as keyof typeof setNames], String(set.images), ...columns(report).map(({ cell }) => cell(set))]),
    ),
    '',
  ]
  if (reference !== undefined) lines.push(`PSNR and SSIM: to ${describe(reference)}; images without any difference count as 100 dB`)
  const { all, text, denoise, decode } = measured.msPerImage
  lines.push(
    `${formatMs(all)} an image: text ${text.toFixed(0)} ms, denoising ${denoise.toFixed(0)} ms, decoding ${decode.toFixed(0)} ms`,
    `memory: ${formatBytes(measured.peakBytes)} at most; activations of the UNet ${formatBytes(memory.unet)}, of the decoder `
    + `${formatBytes(memory.vaeDecoder)}, kept between steps ${formatBytes(memory.kept)}`,
  )
  return `${lines.join('\n')}\n`
}

/** The columns that there are numbers for. */
function columns(report: EvaluationReport): { title: string, cell(set: SetReport): string }[] {
  const cell = (value: number | undefined, digits: number): string => value?.toFixed(digits) ?? ''
  return [
    ...(report.drawings === undefined ? [] : [
      { title: 'top-1', cell: (set: SetReport) => cell(set.top1, 3) }, { title: 'top-5', cell: (set: SetReport) => cell(set.top5, 3) },
      {
        title: 'Fréchet', cell: (set: SetReport) => cell(set.frechet, 3),
      }, { title: 'dB to drawing', cell: (set: SetReport) => cell(set.psnrToDrawing, 2) },
    ]),
    ...(report.reference === undefined ? [] : [
      {
        title: 'PSNR', cell: ({ likeness }: SetReport) => cell(likeness?.psnr.mean, 2),
      }, { title: 'least', cell: ({ likeness }: SetReport) => cell(likeness?.psnr.least, 2) },
      {
        title: 'SSIM', cell: ({ likeness }: SetReport) => cell(likeness?.ssim.mean, 4),
      }, { title: 'least', cell: ({ likeness }: SetReport) => cell(likeness?.ssim.least, 4) },
      { title: 'equal', cell: ({ likeness }: SetReport) => String(likeness?.equal ?? '') },
    ]),
  ]
}

function describe({ about, cpu, settings }: NonNullable<EvaluationReport['reference']>): string {
  return [
    about.model, about.dtype, `on ${cpu}`, `${settings.steps} steps`,
    settings.plan === undefined ? 'without a plan' : `plan ${JSON.stringify(settings.plan.name ?? 'unnamed')}`,
  ].filter(Boolean).join(', ')
}

/** Shows where an evaluation is. */
function show(bar: LineBar, { phase, done, of }: EvaluateProgress, note = ''): void {
  const name = phase === 'generate' ? 'images' : phase === 'drawings' ? 'drawings' : 'comparing'
  bar.set(done, of, { phase: `${note}${name}`.padEnd(20) })
}
