import { Command } from 'commander'
import { shownPath } from '../files/files'
import { readJsonObject } from '../files/json'
import { distill, type DistillOptions, type DistillProgress } from '../train/distill'
import { parseDistillation } from '../train/distill-options'
import { formatMs } from '../base/format'
import { addModelFlags, modelHelp, type ModelFlags } from './model-flags'
import { given, parseNumber } from './options'
import { LineBar } from './progress-bar'

interface Flags extends ModelFlags {
  teacher?: string
  student?: string
  recipe?: string
  data?: string
  prompts?: string
  style?: string[]
  out?: string
  train?: string[]
  steps?: number
  batch?: number
  accumulate?: number
  rate?: number
  seed?: number
  size?: number
  guidance?: number
  samples?: number
  checkpointEvery?: number
  validateEvery?: number
  sheetEvery?: number
  stopAt?: number
  print?: true
  quiet?: boolean
  json?: boolean
}

const collect = (text: string, before: string[] = []): string[] => [...before, text]

const examples = `
Examples:
  asdm distill --teacher emoji --recipe light --data build/emoji-data --style flat --style render --steps 2000 --batch 16 -o emoji-light
  asdm distill --teacher ./sd15 --recipe bk-small --prompts prompts.txt --batch 1 --accumulate 8 -o ./sd15-small
  asdm distill distill.json -o ./model        (losses, stages and all else: schema/distill.schema.json)
The same command goes on where it was stopped, from the last checkpoint in the folder <out>.training.`

/** `asdm distill`: trains a lighter UNet to do what a model's does. */
export function distillCommand(signal: AbortSignal): Command {
  const command = new Command('distill')
    .description('train a lighter UNet, assembled by a recipe or given, to do what a model\'s does')
    .argument('[settings]', 'JSON file with any of the settings below and more; flags take precedence')
    .option('--teacher <path>', `the model to learn from: ${modelHelp}`)
    .option('--recipe <recipe>', 'recipe that assembles the student from the teacher: a JSON file or a shipped one, as light')
    .option('--student <folder>', 'the student, where it exists already')
    .option('-d, --data <folder>', 'images with captions: metadata.jsonl, .txt files beside them, or npm run emoji:data\'s drawings')
    .option('--prompts <file>', 'instead of images: prompts, one a line, of which the teacher draws latents')
    .option('--style <name>', 'of drawings: a style to train on; may be repeated (all)', collect)
    .option('-o, --out <folder>', 'model folder to make')
    .option('--train <prefix>', 'weights to train, by prefix; may be repeated (all)', collect)
    .option('-s, --steps <number>', 'training steps (1000)', parseNumber)
    .option('-b, --batch <number>', 'examples of a pass (8)', parseNumber)
    .option('--accumulate <number>', 'passes of a step (1)', parseNumber)
    .option('--rate <number>', 'learning rate after the warm-up; it falls to 0 along a cosine (1e-4)', parseNumber)
    .option('--seed <number>', 'seed of noise, time steps and order (0)', parseNumber)
    .option('--size <pixels>', "pixels of a side (the model's own)", parseNumber)
    .option('-g, --guidance <number>', 'guidance of sheets, and of latents that the teacher draws (7.5)', parseNumber)
    .option('--samples <number>', 'latents that the teacher draws of prompts (512)', parseNumber)
    .option('--checkpoint-every <steps>', 'steps between checkpoints, of which two are kept (100)', parseNumber)
    .option('--validate-every <steps>', 'steps between validations on held-out examples; 0: at the end alone (100)', parseNumber)
    .option('--sheet-every <steps>', 'steps between contact sheets; 0: at the end alone (500)', parseNumber)
    .option('--stop-at <step>', 'stop after this step, with a checkpoint', parseNumber)
  return addModelFlags(command, 'threads', 'cpu')
    .option('--print', 'print all settings as JSON, and do nothing')
    .option('-q, --quiet', 'show no progress')
    .option('--json', 'print JSON: the folder, steps and losses')
    .addHelpText('after', examples)
    .action(async (file: string | undefined, flags: Flags) => run(file, flags, signal))
}

async function run(file: string | undefined, flags: Flags, signal: AbortSignal): Promise<void> {
  const { teacher, student, recipe, data, prompts, style, train, steps, batch, accumulate, rate, seed, size, guidance, samples } = flags
  const settings = {
    ...file === undefined ? {} : await readJsonObject(file),
    ...given({
      teacher, student, recipe, data, prompts, styles: style, train, steps, batch, accumulate, rate, seed, size, guidanceScale: guidance,
      samples,
      checkpointEvery: flags.checkpointEvery, validateEvery: flags.validateEvery, sheetEvery: flags.sheetEvery,
    }),
  }
  if (flags.print === true) {
    process.stdout.write(`${JSON.stringify(parseDistillation(settings), undefined, 2)}\n`)
    return
  }
  const bar = new LineBar(flags.quiet === true || flags.json === true, '{phase} {bar} {value} of {total} {note}', 24)
  try {
    const { folder, steps: done, settings: all, curves } = await distill({
      ...settings, ...given({ out: flags.out, stopAt: flags.stopAt, threads: flags.threads, cpu: flags.cpu }), signal,
      onProgress: progress => show(bar, progress),
      onWarning: ({ message }) => void process.stderr.write(`Warning: ${message}\n`),
    } as DistillOptions)
    bar.stop()
    const last = curves.validation.at(-1) ?? curves.train.at(-1)
    if (flags.json === true) process.stdout.write(`${JSON.stringify({ folder, steps: done, settings: all, curves }, undefined, 2)}\n`)
    else
      process.stdout.write(`${folder === undefined ? `stopped after step ${done}; the same command goes on` : shownPath(folder)}\n`
        + (last === undefined ? '' : `${curves.validation.length > 0 ? 'held-out ' : ''}loss ${last.loss.toPrecision(4)} after step ${last.step}\n`))
  } finally {
    bar.stop()
  }
}

/** Shows where a distillation is. */
function show(bar: LineBar, { phase, done, of, step, imagesPerSecond, etaMs }: DistillProgress): void {
  const note = step === undefined
    ? ''
    : `loss ${step.loss.toPrecision(4)}, ${imagesPerSecond!.toFixed(1)} images/s, ${formatMs(etaMs!)} left`
  bar.set(done, of, { phase: phase.padEnd(8), note })
}
