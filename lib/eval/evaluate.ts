import { AsdmError, shown, throwIfAborted } from '../base/errors'
import { abortSignal, callback, checkOptions, integer, optional, type Unchecked } from '../base/options'
import { isInstance, listOf, plain } from '../base/reading'
import { VAE } from '../components/vae'
import { isJsonObject } from '../files/json'
import type { GeneratedImage } from '../image/generated-image'
import { withAlpha } from '../image/pixels'
import type { PlanReport } from '../plan/report'
import type { Step } from '../progress'
import type { GenerateOptions } from '../request'
import { StableDiffusion } from '../stable-diffusion'
import { checkEvaluation } from './check'
import { Drawings } from './drawings'
import { imageFeatures, rankOf, type ImageFeatures } from './features'
import { frechetDistance } from './frechet'
import { decibels, meanSquaredError, psnr, ssim, type ImagePixels } from './likeness'
import { defaultPrompts } from './prompts'
import type { EvaluationReport, Likeness, ImageReport, SetName, SetReport } from './report'

/** How a model is evaluated. */
export interface EvaluateOptions extends Pick<GenerateOptions,
  | 'steps'
  | 'guidanceScale'
  | 'sampler'
  | 'eta'
  | 'plan'
  | 'width'
  | 'height'> {
  /** True drawings, whose captions are the prompts: a folder, or drawings that are open. Without them {@link prompts} are drawn. */
  drawings?: string | Drawings | undefined
  /** Prompts where there are no true drawings; a built-in list if left out. */
  prompts?: readonly string[] | undefined
  /** Prompts of each set, from its beginning; 96 if left out, or as many as there are. */
  count?: number | undefined
  /** Image number k is made with this seed plus k; 1000 if left out. */
  seed?: number | undefined
  /** An evaluation with the same prompts, seeds and size to compare with, image by image; see `loadEvaluation`. */
  reference?: Evaluation | undefined
  /** Whose encoder compares images with drawings; the model's own if left out. Models with different VAEs want one judge. */
  judge?: VAE | undefined
  /** What to note in the report: the model's path, its number format. */
  about?: Readonly<Record<string, string | number>> | undefined
  /** Stops the evaluation, which then rejects with an `AbortError`. */
  signal?: AbortSignal | undefined
  /** Called after each image made, and while drawings are looked at. */
  onProgress?: ((progress: EvaluateProgress) => void) | undefined
}

/** How far an evaluation is. */
export interface EvaluateProgress {
  /** Images are made; the drawings, then the images, go through the encoder. */
  phase: 'generate' | 'drawings' | 'judge'
  /** Done in this phase. */
  done: number
  /** Of this many. */
  of: number
}

/** What an evaluation found, and the images it made, in the order of `report.images`. */
export interface Evaluation {
  /** All numbers; JSON. */
  report: EvaluationReport
  /** The images. */
  images: readonly ImagePixels[]
  /** The true drawings of the images, where there were some. */
  drawings?: readonly ImagePixels[]
}

const generateKeys = ['steps', 'guidanceScale', 'sampler', 'eta', 'plan', 'width', 'height'] as const
const keys = [
  ...generateKeys, 'drawings', 'prompts', 'count', 'seed', 'reference', 'judge', 'about', 'signal', 'onProgress',
] as const satisfies readonly (keyof EvaluateOptions)[]

const defaultCount = 96
const maxCount = 10_000

/** One thing to draw. */
interface Task {
  set: SetName
  prompt: string
  seed: number
  /** Its number among the drawings. */
  drawing?: number
}

/**
 * Makes fixed images with a model and says how good they are: against true drawings, against a reference run, or both. Images are
 * made one at a time, each from its own seed, so that each can be made again by itself and none depends on the others.
 * @throws AsdmError as `sd.generate`; `INVALID_ARGUMENT` where the reference has other prompts, seeds or sizes; what `Drawings.open` gives;
 * an `AbortError` when the signal fires
 */
export async function evaluate(sd: StableDiffusion, options?: EvaluateOptions): Promise<Evaluation> {
  if (!isInstance(sd, StableDiffusion))
    throw new AsdmError('INVALID_ARGUMENT', `Expected a loaded model to evaluate but received ${shown(sd)}`)
  const given = checkOptions(options, keys, 'evaluate')
  const signal = optional(given.signal, value => abortSignal(value, 'signal'))
  const onProgress = optional(given.onProgress, value => callback<NonNullable<EvaluateOptions['onProgress']>>(value, 'onProgress'))
  const drawings = given.drawings === undefined || isInstance(given.drawings, Drawings)
    ? given.drawings
    : await Drawings.open(given.drawings as string)
  const judge = optional(given.judge, value => checkJudge(value)) ?? sd.vae
  const about = optional(given.about, checkAbout) ?? {}
  const tasks = makeTasks(drawings, given)
  const reference = optional(given.reference, value => checkReference(value, tasks))

  checkSizes(sd, given, drawings, reference)
  const made = await makeImages(sd, tasks, { ...generateOptions(given), ...(signal && { signal }) }, onProgress)
  const { images, times, plan } = made
  const { guidanceScale, steps, sampler, eta, width, height, plan: madeWith } = images[0]!.settings
  const settings = {
    guidanceScale, steps, sampler, eta, width, height, ...(madeWith && { plan: madeWith }), seed: tasks[0]!.seed,
  }
  const peakBytes = process.resourceUsage().maxRSS * 1024
  const rows: ImageReport[] = tasks.map(({ set, prompt, seed, drawing }) => {
    const { style, name } = drawing === undefined ? {} : drawings?.drawings[drawing] ?? {}
    return { set, prompt, seed, ...(style !== undefined && { style }), ...(name !== undefined && { name }) }
  })
  const judged = drawings && await judgeImages(judge, drawings, tasks, images, { signal, onProgress })
  judged?.ranks.forEach((rank, i) => { rows[i]!.rank = rank })
  const errors = reference && compare(images, reference.images, rows)

  const report = (chosen: number[]): SetReport => ({
    images: chosen.length,
    ...(judged && {
      top1: share(chosen, i => judged.ranks[i]! <= 1), top5: share(chosen, i => judged.ranks[i]! <= 5),
      frechet: frechetDistance(chosen.map(i => judged.features[i]!.coarse), chosen.map(i => judged.truth[i]!.coarse)),
      psnrToDrawing: decibels(mean(chosen.map(i => meanSquaredError(images[i]!, judged.drawings[i]!)))),
    }),
    ...(errors && { likeness: likeness(chosen.map(i => errors[i]!)) }),
  })
  const names = [...new Set(tasks.map(({ set }) => set))]
  const sets: Partial<Record<SetName | 'all', SetReport>> = {}
  for (const name of names) sets[name] = report(tasks.flatMap(({ set }, i) => (set === name ? [i] : [])))
  if (names.length > 1) sets.all = report(tasks.map((_, i) => i))
  return {
    report: {
      format: 'asdm-evaluation', version: 1, about, cpu: sd.unet.part.cpu, settings,
      ...(drawings && judged && { drawings: { sha256: drawings.sha256, candidates: judged.candidates } }),
      sets,
      ...(reference && { reference: { about: reference.report.about, cpu: reference.report.cpu, settings: reference.report.settings } }),
      memory: { ...activations(sd, settings), kept: plan?.keptBytes ?? 0 },
      measured: { msPerImage: medianTimes(times), peakBytes },
      images: rows,
    },
    images: images,
    ...(judged && { drawings: judged.drawings }),
  }
}

function checkJudge(value: unknown): VAE {
  if (!isInstance(value, VAE)) throw new AsdmError('INVALID_ARGUMENT', `Expected judge to be a VAE but received ${shown(value)}`)
  return value
}

function checkAbout(value: unknown): Record<string, string | number> {
  const about = plain(value, 'about')
  if (!isJsonObject(about) || !Object.values(about).every(item => typeof item === 'string' || Number.isFinite(item)))
    throw new AsdmError('INVALID_ARGUMENT', `Expected about to be an object of texts and numbers but received ${shown(value)}`)
  return about as Record<string, string | number>
}

function generateOptions(given: Unchecked): Omit<GenerateOptions, 'prompt'> {
  return Object.fromEntries(generateKeys.filter(key => given[key] !== undefined).map(key => [key, given[key]]))
}

function makeTasks(drawings: Drawings | undefined, given: Unchecked): Task[] {
  const count = optional(given.count, value => integer(value, 'count', 1, maxCount)) ?? defaultCount
  const seed = optional(given.seed, value => integer(value, 'seed', 0, 2 ** 52)) ?? 1000
  const { prompts } = given
  if (drawings !== undefined) {
    if (prompts !== undefined)
      throw new AsdmError('INVALID_ARGUMENT', 'Expected either drawings, whose captions are the prompts, or prompts but received both')
    const tasks: Task[] = []
    for (const set of ['seen', 'heldOut'] as const)
      for (const drawing of drawings.evaluation[set].slice(0, count))
        tasks.push({ set, prompt: drawings.drawings[drawing]!.caption, seed: seed + tasks.length, drawing })
    if (tasks.length === 0)
      throw new AsdmError('INVALID_ARGUMENT', `Expected drawings to evaluate with in ${drawings.folder} but it names none`)
    return tasks
  }
  const list = prompts === undefined ? defaultPrompts : listOf(prompts, 'prompts', 1_000_000)
  if (list.length === 0 || !list.every(prompt => typeof prompt === 'string'))
    throw new AsdmError('INVALID_ARGUMENT', `Expected prompts to be an array of texts but received ${shown(prompts)}`)
  return list.slice(0, count).map((prompt, i) => ({ set: 'prompts', prompt, seed: seed + i }))
}

function checkReference(value: unknown, tasks: Task[]): Evaluation {
  const reference = checkEvaluation(value, 'reference')
  const { report, images } = reference
  if (report.format !== 'asdm-evaluation')
    throw new AsdmError('INVALID_ARGUMENT', `Expected reference to be an evaluation but received ${shown(value)}`)
  if (images.length !== tasks.length)
    throw new AsdmError('INVALID_ARGUMENT', `Expected a reference of ${tasks.length} images but it has ${images.length}`)
  tasks.forEach(({ prompt, seed }, i) => {
    const other = report.images[i]!
    if (other.prompt !== prompt || other.seed !== seed)
      throw new AsdmError('INVALID_ARGUMENT',
        `Expected image ${i} of the reference to be made of ${shown(prompt)} with seed ${seed} but it was made of ${shown(other.prompt)} `
        + `with seed ${shown(other.seed)}`)
  })
  return reference
}

/** Says before hours of work whether images will have the size of what they are compared with. */
function checkSizes(sd: StableDiffusion, given: Unchecked, drawings: Drawings | undefined, reference: Evaluation | undefined): void {
  const [width, height] = [given.width ?? sd.sizes.default, given.height ?? sd.sizes.default]
  for (const [what, other] of [['the drawings', drawings], ["the reference run's", reference?.images[0]]] as const)
    if (other !== undefined && typeof width === 'number' && typeof height === 'number'
      && (width !== other.width || height !== other.height))
      throw new AsdmError('SHAPE_MISMATCH',
        `Expected images of ${other.width}x${other.height} pixels like ${what} but the model is to make ${width}x${height}; set width `
        + 'and height')
}

interface Times { all: number, text: number, denoise: number, decode: number }

async function makeImages(
  sd: StableDiffusion, tasks: Task[], options: Omit<GenerateOptions, 'prompt'>, onProgress: EvaluateOptions['onProgress'],
): Promise<{ images: GeneratedImage[], times: Times[], plan: PlanReport | undefined }> {
  const images: GeneratedImage[] = []
  const times: Times[] = []
  let plan: PlanReport | undefined
  for (const { prompt, seed } of tasks) {
    const time = { all: 0, text: 0, denoise: 0, decode: 0 }
    const onStep = (step: Step): void => {
      if (step.phase === 'plan') plan = step.report
      if (step.phase === 'done') time.all += step.ms
      else if (step.phase === 'text' || step.phase === 'denoise' || step.phase === 'decode') time[step.phase] += step.ms
    }
    images.push(...await sd.generate({ ...options, prompt, seed, onProgress: onStep }))
    times.push(time)
    onProgress?.({ phase: 'generate', done: images.length, of: tasks.length })
  }
  return { images, times, plan }
}

interface Judged {
  /** Of each image and of the drawing asked for. */
  features: ImageFeatures[]
  truth: ImageFeatures[]
  drawings: ImagePixels[]
  ranks: number[]
  candidates: Record<string, number>
}

async function judgeImages(
  vae: VAE, drawings: Drawings, tasks: Task[], images: GeneratedImage[], { signal, onProgress }: Pick<EvaluateOptions, 'signal' | 'onProgress'>,
): Promise<Judged> {
  const { width, height } = images[0]!
  const wanted = tasks.map(({ drawing }) => drawing!)
  const styleOf = (drawing: number): string => drawings.drawings[drawing]!.style
  const styles = new Map([...new Set(wanted.map(styleOf))].map(style => [style, {
    drawings: drawings.ofStyle(style), features: [] as ImageFeatures[], near: [] as Float32Array[],
  }]))
  const all = [...styles.values()].reduce((sum, style) => sum + style.drawings.length, 0)
  let before = 0
  for (const [name, style] of styles) {
    style.features = await drawings.features(vae, name, {
      ...(signal && { signal }), onImage: done => onProgress?.({ phase: 'drawings', done: before + done, of: all }),
    })
    style.near = style.features.map(feature => feature.near)
    before += style.drawings.length
  }
  const own = await imageFeatures(vae, images.map(({ rgba }) => rgba), { width, height }, {
    ...(signal && { signal }), onImage: done => onProgress?.({ phase: 'judge', done, of: images.length }),
  })
  vae.trim()
  const pixels = await drawings.pixels(wanted)
  throwIfAborted(signal)
  const places = wanted.map(drawing => {
    const style = styles.get(styleOf(drawing))!
    return { ...style, place: style.drawings.indexOf(drawing) }
  })
  return {
    features: own,
    truth: places.map(({ features, place }) => features[place]!),
    drawings: pixels.map(data => withAlpha({ data, width, height })),
    ranks: places.map(({ near, place }, k) => rankOf(place, own[k]!.near, near)),
    candidates: Object.fromEntries([...styles].map(([name, style]) => [name, style.drawings.length])),
  }
}

interface Difference { error: number, psnr: number, ssim: number }

/** Each image beside its reference; the rows get their numbers. */
function compare(images: readonly ImagePixels[], references: readonly ImagePixels[], rows: ImageReport[]): Difference[] {
  return images.map((image, i) => {
    const [reference, row] = [references[i]!, rows[i]!]
    const difference = { error: meanSquaredError(image, reference), psnr: psnr(image, reference), ssim: ssim(image, reference) }
    row.psnr = Number.isFinite(difference.psnr) ? difference.psnr : null
    row.ssim = difference.ssim
    return difference
  })
}

/** Equal images count as this many decibels in means. */
const mostDecibels = 100

function likeness(differences: Difference[]): Likeness {
  const capped = differences.map(difference => Math.min(mostDecibels, difference.psnr))
  const similar = differences.map(difference => difference.ssim)
  const error = mean(differences.map(difference => difference.error))
  return {
    psnr: { mean: mean(capped), least: Math.min(...capped), pooled: error === 0 ? null : decibels(error) },
    ssim: { mean: mean(similar), least: Math.min(...similar) },
    equal: differences.filter(difference => difference.error === 0).length,
  }
}

/** Activations of the passes that one image takes, in full. */
function activations(
  sd: StableDiffusion, { width, height, guidanceScale }: { width: number, height: number, guidanceScale: number },
): { textEncoder: number, unet: number, vaeDecoder: number } {
  const batch = guidanceScale > 1 ? 2 : 1
  const latent = { height: height / sd.vae.factor, width: width / sd.vae.factor }
  const length = sd.textEncoder.config.maxPositionEmbeddings
  return {
    textEncoder: sd.textEncoder.describe({ batch, length }).arenaBytes,
    unet: sd.unet.describe({ batch, ...latent, length }).arenaBytes,
    vaeDecoder: sd.vae.describe({ batch: 1, ...latent }).arenaBytes,
  }
}

function medianTimes(times: Times[]): Times {
  const counted = times.length > 1 ? times.slice(1) : times
  const median = (key: keyof Times): number => counted.map(time => time[key]).sort((a, b) => a - b)[counted.length >> 1]!
  return { all: median('all'), text: median('text'), denoise: median('denoise'), decode: median('decode') }
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length
const share = (chosen: readonly number[], holds: (i: number) => boolean): number => chosen.filter(holds).length / chosen.length
