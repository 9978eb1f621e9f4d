import { AsdmError, shown } from './base/errors'
import { abortSignal, boolean, callback, checkOptions, integer, number, optional } from './base/options'
import { listOf, reading } from './base/reading'
import { item, type Tensor } from './base/tensor'
import { checkTiling, type Tiling } from './components/tiling'
import type { TextEncoder } from './components/text-encoder'
import type { UNet } from './components/unet'
import type { VAE } from './components/vae'
import type { Fit } from './image/fit'
import type { PreviewKind } from './image/preview'
import { parseImages } from './image/request-images'
import type { GenerationSettings } from './image/generation-settings'
import type { ImageInput } from './image/source'
import type { Opened } from './image/start'
import type { LoraToMerge } from './lora/open'
import { parseLoras, type LoraOptions } from './lora/options'
import { lorasInPrompts } from './lora/prompt'
import { commonDefaults, requestDefaults, type ModelDefaults } from './model/defaults'
import { expandParsed, type ExpandedStep } from './plan/expand'
import { unetFacts, type UNets } from './plan/names'
import { mainUNet, type Plan } from './plan/plan'
import { resolvePlan, type PlanSource } from './plan/source'
import type { Step } from './progress'
import { parseSeeds } from './random/seeds'
import { createSampler, samplersFor, type Sampler, type SamplerName, type SchedulerConfig } from './samplers'
import { samplerNamed, samplerUsage } from './samplers/names'

/** What to generate. Only `prompt` must be there. */
export interface GenerateOptions {
  /** What the image shows; an empty text is fine. Several prompts make one batch. */
  prompt: string | readonly string[]
  /**
   * What it must not show; one for all prompts, or one for each. Not used when `guidanceScale` is 1 or less, nor by UNets that take the
   * guidance scale as an input (latent consistency models with `time_cond_proj_dim`).
   */
  negativePrompt?: string | readonly string[] | undefined
  /**
   * How much more the prompt counts than the negative prompt; if left out the model's own default, else 1 with the samplers `lcm` and
   * `tcd`, else 7.5. At 1 or less no unconditional pass is run.
   */
  guidanceScale?: number | undefined
  /**
   * Denoising steps, 1 to the scheduler's training steps; if left out the model's own default, else 4 with the samplers `lcm` and `tcd`,
   * else 20. Samplers of second order in one step (`heun`, `dpm2`, …) run the UNet twice in each but the last.
   */
  steps?: number | undefined
  /**
   * A sampler's name, asdm's or another program's (`Euler a`, `DPMSolverMultistepScheduler`), run with the checkpoint's noise schedule, or
   * a whole scheduler config as in `scheduler_config.json`. The checkpoint's own if left out.
   */
  sampler?: SamplerName | (string & {}) | SchedulerConfig | undefined
  /** Share of fresh noise in each step, for samplers that have it (DDIM, TCD): 0 to 1; 0 if left out. */
  eta?: number | undefined
  /**
   * Whole number to 2^53, or BigInt to 2^64-1. The initial noise is what PyTorch's CPU generator gives for it; random if left out or -1.
   * A list has one for each image.
   */
  seed?: number | bigint | readonly (number | bigint)[] | undefined
  /**
   * Whose random numbers the images of a batch get: `same-generator`, all from one that starts from `seed` and moves on from image to
   * image, as diffusers with one generator; or `per-image`, each from one of its own: of `seed`, `seed` + 1, … or of the seeds listed.
   * Then each image is the one that is made alone (a plan with adaptive rules looks at the batch as a whole). `per-image` for a list,
   * else `same-generator`.
   */
  seeds?: 'same-generator' | 'per-image' | undefined
  /** Size in pixels: multiples of the VAE's factor (8 for Stable Diffusion). The model's own size, or the image's, if left out. */
  width?: number | undefined
  /** As `width`. */
  height?: number | undefined
  /** Images for each prompt, made as one batch; 1 if left out. */
  count?: number | undefined
  /**
   * Makes only this one of the images that the request is for, counted from 0, all of the first prompt before those of the second: so
   * `generate(image.settings)` makes an image of a batch again by itself. All if left out. (A plan with adaptive rules looks at the batch
   * as a whole.)
   */
  index?: number | undefined
  /**
   * Initial noise [images,C,h,w] instead of the seed's, before scaling by the sampler's `initNoiseSigma`, as in diffusers. `true`, which
   * settings hold where it was handed in, is refused: it has to be handed in again.
   */
  latents?: Tensor | true | undefined
  /**
   * An image to start from: a path, a `file:` or `data:` URL, a file's bytes (`Buffer`, typed array, `ArrayBuffer`, `Blob`), 8-bit pixels,
   * or a tensor [1,3,H,W] in [-1, 1]. PNG; JPEG, WebP and AVIF where the package `sharp` is installed. An image of another size than the
   * one to generate is fitted, see `fit`; a tensor must have the size.
   */
  image?: ImageInput | Tensor | undefined
  /** Where to repaint `image`: white (grey from a half) is repainted, black is kept. As `image`, or pixels with one grey byte each. */
  mask?: ImageInput | undefined
  /**
   * How `image` and `mask` are brought to the size of the image to generate: `cover` (if left out) fills it and crops, `contain` shows all
   * and continues the edges, `stretch` changes the proportions. The size is `width` and `height`; with one of them the other keeps the
   * image's proportions, without both it is the image's own, down to multiples of the VAE's factor.
   */
  fit?: Fit | undefined
  /**
   * Puts what `mask` keeps back into the generated image, pixel for pixel, with grey as transparency; the VAE changes it slightly
   * otherwise. False if left out.
   */
  keepOutside?: boolean | undefined
  /** How much of `image` is repainted, above 0 to 1: that share of the steps is run. 0.8 if left out, with a mask 1. */
  strength?: number | undefined
  /** As settings hold it: what was handed in, and has to be again, `image` or with `inpaint` also `mask`. */
  from?: 'image' | 'inpaint' | undefined
  /** How many of the text encoder's last layers to leave out; 0 if left out. */
  clipSkip?: number | undefined
  /** Reads `(word:1.2)`, `((word))` and `[word]` in prompts as weights, `\\(` as a bracket; false if left out. */
  promptWeighting?: boolean | undefined
  /**
   * Prompts longer than the text encoder's window are cut into several windows of 75 tokens, whose features the UNet sees one behind the
   * other; `BREAK` begins the next. Without it, what goes beyond the window is left out, with a warning. False if left out.
   */
  longPrompts?: boolean | undefined
  /**
   * What each step inherits from earlier ones, which UNet it runs and whether guidance runs: a plan, what a builder as `deepcache` gives,
   * or a text as `deepcache:3,0`. Every step in full if left out.
   */
  plan?: PlanSource | undefined
  /**
   * LoRAs of this request alone, instead of those that the model was loaded with, which it has if left out; `[]` for none. Only layers
   * where they differ from those of the request before are read and packed again.
   */
  loras?: readonly LoraOptions[] | undefined
  /**
   * Has the VAE decode and encode tile by tile, as diffusers' `enable_tiling` does: its memory does not grow with the image, which changes
   * a little. `auto` (if left out): for images of more than 1024x1024 pixels.
   */
  tiling?: Tiling | undefined
  /** Cancels the request, which then rejects with an `AbortError`; the model stays usable. */
  signal?: AbortSignal | undefined
  /** Called with each step's progress, see {@link Step}; the last one has the images. */
  onProgress?: ((step: Step) => void) | undefined
  /**
   * Adds previews of the latents to the denoising steps: small and rough ones, or with `taesd` as large as the image, decoded by the tiny
   * autoencoder that the model was loaded with (`taesd`), which takes longer.
   */
  preview?: boolean | 'taesd' | undefined
  /** Requests of higher priority get the model before others that wait for it; 0 if left out. -1000 to 1000. */
  priority?: number | undefined
  /**
   * Of `steps`: the request never waits for whoever takes its steps, which are kept until they are taken. Without it the model waits
   * between two steps, as long as no other request wants it. False if left out.
   */
  buffer?: boolean | undefined
  /**
   * Of `steps`: as `buffer`, but from when on no step is taken for so many milliseconds. Never if left out.
   */
  pauseTimeout?: number | undefined
}

const keys = [
  'prompt', 'negativePrompt', 'guidanceScale', 'steps', 'sampler', 'eta', 'seed', 'seeds', 'width', 'height', 'count', 'latents', 'image', 'mask',
  'fit', 'keepOutside', 'strength', 'clipSkip', 'promptWeighting', 'longPrompts', 'tiling', 'plan', 'loras', 'signal', 'onProgress', 'preview',
  'index', 'from', 'priority', 'buffer', 'pauseTimeout',
] as const satisfies readonly (keyof GenerateOptions)[]

/** Most images of one request. */
export const maxImages = 256

/** What a request must fit: facts of the model. */
export interface ModelFacts {
  /** Side of an image over the side of its latents; width and height are multiples of it. The UNet takes latents of any size. */
  vaeFactor: number
  /** Width and height where none are asked for. */
  defaultSize: number
  latentChannels: number
  /** The UNet also takes a mask and a masked image. */
  inpainting: boolean
  /** Width of the guidance scale's embedding, of UNets that take it as an input and need no unconditional pass. */
  guidanceDim: number | undefined
  textLayers: number
  schedulerConfig: SchedulerConfig
  defaults: ModelDefaults
  /** There is a tiny autoencoder for previews. */
  taesd: boolean
  /** LoRAs that requests have if they do not say. */
  loras: readonly LoraToMerge[]
  /** Where LoRAs lie that requests and prompts name. */
  loraFolder: string | undefined
  /** What plans may name; made when the first one is checked. */
  unets(): UNets
}

/** What requests to a model must fit. */
export function modelFacts(
  { unet, unets = {}, vae, textEncoder, taesd }: {
    unet: UNet
    unets?: Readonly<Record<string, UNet>> | undefined
    vae: VAE
    textEncoder: TextEncoder
    taesd?: VAE | undefined
  }, schedulerConfig: SchedulerConfig, defaults: ModelDefaults = commonDefaults,
  { loras = [], loraFolder }: { loras?: readonly LoraToMerge[], loraFolder?: string | undefined } = {},
): ModelFacts {
  let facts: UNets | undefined
  return {
    unets: () => facts ??= Object.fromEntries(Object.entries({ ...unets, [mainUNet]: unet }).map(([name, each]) =>
      [name, unetFacts(each.config, each.tapNames())])),
    vaeFactor: vae.factor,
    defaultSize: unet.config.sampleSize * vae.factor,
    latentChannels: vae.config.latentChannels,
    inpainting: unet.config.inChannels !== vae.config.latentChannels,
    guidanceDim: unet.config.timeCondDim,
    textLayers: textEncoder.config.numHiddenLayers,
    taesd: taesd !== undefined || vae.config.tiny !== undefined,
    schedulerConfig,
    defaults,
    loras,
    loraFolder,
  }
}

/** A checked request: nothing in it can change from outside any more. */
export interface Request {
  prompts: string[]
  negativePrompts: string[] | undefined
  guidanceScale: number
  /** Width of the guidance scale's embedding, where the UNet takes one. */
  guidanceDim: number | undefined
  count: number
  /** Images in all. */
  images: number
  clipSkip: number
  promptWeighting: boolean
  longPrompts: boolean
  tiling: Tiling
  /** What the weights are to hold. */
  loras: readonly LoraToMerge[]
  /** Set to the steps asked for, strength included. */
  sampler: Sampler
  eta: number
  /** Of the batch's one generator, or one for each image. */
  seed: number | bigint | readonly (number | bigint)[]
  /** Where only one image of a batch is made: which, and of how many. */
  one: { index: number, of: number } | undefined
  priority: number
  /** After how many milliseconds without a taker the steps go on by themselves. */
  runAheadMs: number | undefined
  latents: Tensor | undefined
  strength: number
  /** The plan and what it says for each of the sampler's steps. */
  plan: { plan: Plan, steps: ExpandedStep[] } | undefined
  preview: PreviewKind | undefined
  signal: AbortSignal | undefined
  onProgress: ((step: Step) => void) | undefined
  /** Aborted, with the reason, when an async `onProgress` rejects. */
  failure: AbortSignal
  /** Reads image and mask. */
  open(signal: AbortSignal): Promise<Opened>
  settings(index: number, opened: Opened): GenerationSettings
}

/**
 * Checks the options of `generate` and fills in the defaults. Copies what a caller might go on writing to.
 * @throws AsdmError `INVALID_ARGUMENT`, `SHAPE_MISMATCH`, and what `createSampler` gives
 */
export function parseRequest(given: unknown, facts: ModelFacts, where: string): Request {
  const options = checkOptions(given, keys, where)
  const prompts = texts(options.prompt, 'prompt')
  const { plainPrompts, loras, ownLoras } = parseRequestLoras(options.loras, prompts, facts)
  const negatives = matchNegatives(optional(options.negativePrompt, value => texts(value, 'negativePrompt')) ?? [''], prompts.length)
  const askedGuidance = optional(options.guidanceScale, value => number(value, 'guidanceScale', 0, 1000))
  const count = optional(options.count, value => integer(value, 'count', 1, maxImages)) ?? 1
  const images = prompts.length * count
  if (images > maxImages) throw bad(`at most ${maxImages} images in one request`, `${prompts.length} prompts times a count of ${count}`)
  const index = optional(options.index, value => integer(value, 'index', 0, images - 1))
  const eta = optional(options.eta, value => number(value, 'eta', 0, 1)) ?? 0
  const seeds = parseSeeds(options.seed, options.seeds, images)
  const clipSkip = optional(options.clipSkip, value => integer(value, 'clipSkip', 0, facts.textLayers - 1))
    ?? Math.min(facts.defaults.clipSkip, facts.textLayers - 1)
  const promptWeighting = optional(options.promptWeighting, value => boolean(value, 'promptWeighting')) ?? false
  const longPrompts = optional(options.longPrompts, value => boolean(value, 'longPrompts')) ?? false
  const tiling = optional(options.tiling, checkTiling) ?? 'auto'

  const failure = new AbortController()
  const handed = parseImages(options, facts, images)
  const { sampler, steps, samplerSetting, defaults } = parseSampler(options, facts, handed.from === undefined ? undefined : handed.strength)
  const guidanceScale = askedGuidance ?? defaults.guidanceScale
  const guided = guidanceScale > 1 && facts.guidanceDim === undefined
  const plan = optional(options.plan, value => parsePlanOption(value, facts, sampler, eta, guided))

  const perImage = typeof seeds === 'object'
  const one = index === undefined || perImage || images === 1 ? undefined : { index, of: images }
  const only = <T>(list: readonly T[], at: number): T[] => index === undefined ? [...list] : [list[at]!]
  const promptOf = (image: number): number => Math.floor(image / count)

  return {
    plan, guidanceScale, guidanceDim: facts.guidanceDim, clipSkip, promptWeighting, longPrompts, tiling, loras, sampler, eta, one,
    prompts: only(plainPrompts, promptOf(index ?? 0)),
    negativePrompts: guided ? only(negatives, promptOf(index ?? 0)) : undefined,
    count: index === undefined ? count : 1,
    images: index === undefined ? images : 1,
    seed: perImage ? only(seeds, index ?? 0) : seeds,
    latents: one === undefined ? handed.latents : handed.latents && item(handed.latents, one.index),
    strength: handed.strength, open: handed.open,
    preview: optional(options.preview, value => parsePreview(value, facts)),
    priority: optional(options.priority, value => number(value, 'priority', -1000, 1000)) ?? 0,
    runAheadMs: optional(options.buffer, value => boolean(value, 'buffer')) === true
      ? 0 : optional(options.pauseTimeout, value => number(value, 'pauseTimeout', 0, 2 ** 31 - 1)),
    signal: optional(options.signal, value => abortSignal(value, 'signal')),
    onProgress: optional(options.onProgress, value => callback<(step: Step) => void>(value, 'onProgress', reason => failure.abort(reason))),
    failure: failure.signal,
    settings: (made, opened) => ({
      prompt: prompts[promptOf(index ?? made)]!, negativePrompt: negatives[promptOf(index ?? made)]!, guidanceScale, steps,
      sampler: samplerSetting, eta, width: opened.width, height: opened.height, clipSkip, promptWeighting,
      // With a seed of its own an image is one that can be made alone.
      ...(perImage ? { seed: seeds[index ?? made]!, count: 1, index: 0 } : { seed: seeds, count: images, index: index ?? made }),
      ...(longPrompts && { longPrompts: true as const }),
      ...(tiling !== 'auto' && { tiling }),
      ...(ownLoras !== undefined && { loras: ownLoras }),
      ...(handed.from !== undefined && { from: handed.from, strength: handed.strength }),
      ...(opened.fit !== undefined && { fit: opened.fit }),
      ...(opened.outside !== undefined && { keepOutside: true as const }),
      ...(handed.latents !== undefined && { latents: true }),
      ...(plan !== undefined && { plan: plan.plan }),
    }),
  }
}

/** LoRAs of the option, or else of the model, then those in prompts; these are taken out where there is a folder for them. */
function parseRequestLoras(given: unknown, prompts: string[], { loras: loaded, loraFolder }: ModelFacts) {
  const own = given === undefined ? undefined : parseLoras(given, loraFolder)
  const found = loraFolder === undefined ? { prompts, loras: [] } : lorasInPrompts(prompts)
  const loras = [...own ?? loaded, ...parseLoras(found.loras, loraFolder)]
  return { plainPrompts: found.prompts, loras, ownLoras: own }
}

function parseSampler({ sampler: asked, ...options }: Record<string, unknown>, facts: ModelFacts, strength: number | undefined) {
  const isList = reading('sampler', () => Array.isArray(asked))
  if (asked !== undefined && typeof asked !== 'string' && (asked === null || typeof asked !== 'object' || isList))
    throw bad(`sampler to be one of ${samplerUsage(samplersFor(facts.schedulerConfig))}; or a scheduler config,`, shown(asked))
  const sampler = typeof asked === 'string'
    ? createSampler(asked, facts.schedulerConfig)
    : createSampler((asked ?? facts.schedulerConfig) as SchedulerConfig)
  const trainTimesteps = sampler.config.num_train_timesteps as number
  const defaults = requestDefaults(facts.defaults, facts.schedulerConfig, sampler.config, facts.guidanceDim !== undefined)
  const steps = optional(options.steps, value => integer(value, 'steps', 1, trainTimesteps)) ?? Math.min(defaults.steps, trainTimesteps)
  sampler.setTimesteps(steps, strength === undefined ? {} : { strength })
  const samplerSetting = (typeof asked === 'string' ? samplerNamed(asked) : undefined) ?? sampler.config
  return { sampler, steps, samplerSetting, defaults }
}

function parsePlanOption(value: unknown, facts: ModelFacts, sampler: Sampler, eta: number, guided: boolean) {
  const steps = sampler.timesteps.length
  const stochastic = sampler.timesteps.some((_, i) => sampler.needsNoise(i, { eta }))
  const plan = resolvePlan(value, { unets: facts.unets(), steps, order: sampler.order, stochastic })
  return { plan, steps: expandParsed(plan, steps, guided) }
}

function parsePreview(value: unknown, { taesd }: ModelFacts): PreviewKind | undefined {
  if (value === 'taesd') {
    if (taesd) return 'taesd'
    throw bad('a model that was loaded with { taesd: path } for preview "taesd"', 'one without')
  }
  if (typeof value !== 'boolean') throw bad('preview to be true, false or taesd', shown(value))
  return value ? 'rough' : undefined
}

function texts(value: unknown, name: string): string[] {
  const list = typeof value === 'string' ? [value] : listOf(value, name, maxImages)
  if (list.length === 0 || list.length > maxImages || !list.every(text => typeof text === 'string'))
    throw bad(`${name} to be a text or an array of 1 to ${maxImages} texts`, shown(value))
  return list
}

function matchNegatives(negatives: string[], prompts: number): string[] {
  if (negatives.length === 1) return new Array<string>(prompts).fill(negatives[0]!)
  if (negatives.length !== prompts) throw bad(`one negativePrompt for all or one for each of ${prompts} prompts`, `${negatives.length}`)
  return negatives
}

function bad(expected: string, received: string): AsdmError {
  return new AsdmError('INVALID_ARGUMENT', `Expected ${expected} but received ${received}`)
}
