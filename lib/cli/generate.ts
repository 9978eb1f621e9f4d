import { SingleBar } from 'cli-progress'
import { Command, Option } from 'commander'
import type { Warning } from '../components/warnings'
import { shownPath } from '../files/files'
import type { Fit } from '../image/fit'
import type { GeneratedImage } from '../image/generated-image'
import type { Step } from '../progress'
import { seedOrRandom } from '../random/seeds'
import { samplerNames, samplerUsage } from '../samplers/names'
import { StableDiffusion, type LoadOptions } from '../stable-diffusion'
import { addModelFlags, loadOptions, modelHelp, type ModelFlags } from './model-flags'
import { formatMs } from '../base/format'
import { given, parseNumber, parseSeed, readPlan } from './options'
import { prepareOutput, type OutputFlags } from './output'

interface Flags extends ModelFlags, OutputFlags {
  model: string
  json?: boolean
  quiet?: boolean
  negativePrompt?: string
  guidance?: number
  steps?: number
  sampler?: string
  eta?: number
  seed?: number | bigint | (number | bigint)[]
  seeds?: 'same-generator' | 'per-image'
  width?: number
  height?: number
  count?: number
  image?: string
  mask?: string
  fit?: Fit
  keepOutside?: true
  strength?: number
  clipSkip?: number
  promptWeighting?: true
  longPrompts?: true
  tiling?: 'auto' | 'on' | 'off'
  plan?: string
}

/** `asdm generate <prompt...>`: loads a model, generates images, says where they are. */
export function generateCommand(signal: AbortSignal): Command {
  const command = new Command('generate')
    .description('generate images from a text')
    .argument('<prompt...>', 'what the image shows')
    .requiredOption('-m, --model <path>', modelHelp)
    .option('-o, --out <path>', 'file to write, or a folder; several images get numbers (default: named after prompt and seed)')
    .option('--format <name>', 'png, jpeg, webp or avif, where --out does not say it (png)')
    .option('--quality <number>', 'of JPEG, WebP (90) and AVIF (65), 1 to 100', parseNumber)
    .option('-n, --negative-prompt <text>', 'what it must not show')
    .option('-g, --guidance <number>', "how much the prompt counts (the model's own, else 7.5, with lcm and tcd 1); 1 turns guidance off", parseNumber)
    .option('-s, --steps <number>', "denoising steps (the model's own, else 20, with lcm and tcd 4)", parseNumber)
    .option('--sampler <name>', `sampler (the checkpoint's own): ${samplerUsage(samplerNames)}`)
    .option('--eta <number>', 'share of fresh noise in each step, for ddim and tcd (0)', parseNumber)
    .option('--seed <number>', 'same seed, same image; -1 is random, as none is; with commas one for each image', parseSeed)
    .addOption(new Option('--seeds <how>', 'random numbers of several images: one after the other from one seed, or seed + 1, … for the next')
      .choices(['same-generator', 'per-image']))
    .option('-W, --width <pixels>', "width (the model's own)", parseNumber)
    .option('-H, --height <pixels>', "height (the model's own)", parseNumber)
    .option('-c, --count <number>', 'images to generate (1)', parseNumber)
    .option('--image <file>', 'image to start from')
    .option('--mask <file>', 'what to repaint of --image: white areas are repainted')
    .option('--fit <how>', 'how --image and --mask of another size are fitted: cover, contain or stretch (cover)')
    .option('--keep-outside', 'keep what lies outside of --mask pixel for pixel')
    .option('--strength <number>', 'how much of --image is repainted, above 0 to 1 (0.8, with a mask 1)', parseNumber)
    .option('--clip-skip <number>', "text encoder's last layers to leave out (0)", parseNumber)
    .option('--prompt-weighting', 'read (word:1.2) in prompts as a weight')
    .option('--long-prompts', 'let prompts beyond the window of the text encoder fill further ones')
    .addOption(new Option('--tiling <when>', 'decode and encode tile by tile: on, off, or auto, beyond 1024x1024 pixels (auto)')
      .choices(['auto', 'on', 'off']))
    .option('--plan <plan>', 'what steps inherit: a preset as fast, a text as deepcache:3,0, or a JSON file; see asdm plan')
  addModelFlags(command, 'unet', 'threads', 'cpu', 'dtype', 'device', 'variant', 'revision', 'tokenizer', 'vae', 'textEncoder', 'config',
    'packedCache', 'packedCacheIn', 'lora', 'loraFolder', 'embedding')
  return command
    .option('-q, --quiet', 'print nothing but where the images are')
    .option('--json', 'print files and settings as JSON')
    .action(async (words: string[], flags: Flags) => generate(words.join(' '), flags, signal))
}

async function generate(prompt: string, flags: Flags, signal: AbortSignal): Promise<void> {
  const show = process.stderr.isTTY && flags.quiet !== true && flags.json !== true
  const bar = show ? new Bar() : undefined
  const onWarning = (warning: Warning): void => {
    bar?.stop()
    process.stderr.write(`Warning: ${warning.message}\n`)
  }
  const started = performance.now()
  // Chosen here, since files may be named after it.
  const seed = Array.isArray(flags.seed) ? flags.seed.map(seedOrRandom) : seedOrRandom(flags.seed)
  const count = flags.count ?? (Array.isArray(seed) ? seed.length : undefined)
  const output = await prepareOutput(prompt, Array.isArray(seed) ? seed[0]! : seed, count, flags)
  let sd: StableDiffusion | undefined
  try {
    const load: LoadOptions = {
      ...loadOptions(flags),
      signal, onWarning, onProgress: ({ bytesDone, bytesTotal }) => bar?.set('loading', bytesDone, bytesTotal, ''),
      onDownload: ({ file, bytesDone, bytesTotal }) => { if (bytesTotal > 0) bar?.set('fetching', bytesDone, bytesTotal, file) },
    }
    sd = await StableDiffusion.load(flags.model, load)
    const images = await sd.generate({
      prompt, seed,
      ...given({
        negativePrompt: flags.negativePrompt, guidanceScale: flags.guidance, steps: flags.steps, sampler: flags.sampler, eta: flags.eta,
        width: flags.width, height: flags.height, count, seeds: flags.seeds, image: flags.image, mask: flags.mask, fit: flags.fit,
        keepOutside: flags.keepOutside, strength: flags.strength, clipSkip: flags.clipSkip, promptWeighting: flags.promptWeighting,
        longPrompts: flags.longPrompts, tiling: flags.tiling === undefined || flags.tiling === 'auto' ? flags.tiling : flags.tiling === 'on',
        plan: flags.plan === undefined ? undefined : await readPlan(flags.plan),
      }),
      signal, onProgress: step => bar?.step(step),
    })
    const files: string[] = []
    for (const [i, image] of images.entries()) files.push(await image.save(output.files[i]!, output.options))
    bar?.stop()
    report(images, files, flags, show ? performance.now() - started : undefined)
  } finally {
    bar?.stop()
    await sd?.dispose()
  }
}

function report(images: GeneratedImage[], files: string[], flags: Flags, ms: number | undefined): void {
  if (flags.json === true) {
    const rows = images.map(({ settings }, i) =>
      ({ file: files[i], ...settings, seed: typeof settings.seed === 'bigint' ? String(settings.seed) : settings.seed }))
    process.stdout.write(`${JSON.stringify(rows, undefined, 2)}\n`)
    return
  }
  for (const file of files) process.stdout.write(`${shownPath(file)}\n`)
  if (ms !== undefined) process.stderr.write(`${seedsOf(images)}, ${formatMs(ms)}\n`)
}

function seedsOf(images: readonly GeneratedImage[]): string {
  const seeds = [...new Set(images.map(({ seed }) => seed))]
  return `${seeds.length === 1 ? 'seed' : 'seeds'} ${seeds.join(', ')}`
}

/** One line on a terminal that shows how far loading and generating are. */
class Bar {
  #bar: SingleBar | undefined
  #phase = ''

  set(phase: string, done: number, total: number, note: string): void {
    if (this.#bar === undefined) {
      this.#bar = new SingleBar({
        format: '{phase} {bar} {percentage} % {note}', barsize: 30, hideCursor: true, clearOnComplete: true, stopOnComplete: false,
        stream: process.stderr,
      })
      this.#bar.start(total, done, { phase, note })
    } else if (this.#phase !== phase) {
      this.#bar.setTotal(total)
    }
    this.#phase = phase
    this.#bar.update(done, { phase: phase.padEnd(9), note })
  }

  step(step: Step): void {
    if (step.phase === 'done') return
    const eta = step.etaMs === undefined ? '' : `${formatMs(step.etaMs)} left`
    const note = step.phase === 'denoise' ? `step ${step.index} of ${step.of}, ${eta}` : eta
    this.set(
      step.phase === 'denoise' ? 'denoising' : step.phase === 'decode' ? 'decoding' : step.phase === 'plan' ? 'planning' : 'encoding',
      step.index, step.of, note,
    )
  }

  stop(): void {
    this.#bar?.stop()
    this.#bar = undefined
  }
}
