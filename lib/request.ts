import { AsdmError, shown } from './base/errors'
import { abortSignal, boolean, callback, checkOptions, integer, number, optional } from './base/options'
import type { Tensor } from './base/tensor'
import type { TextEncoder } from './components/text-encoder'
import type { UNet } from './components/unet'
import type { VAE } from './components/vae'
import type { Fit } from './image/fit'
import { parseImages } from './image/request-images'
import type { GenerationSettings } from './image/generation-settings'
import type { ImageInput } from './image/source'
import type { Opened } from './image/start'
import { expandPlan, type ExpandedStep } from './plan/expand'
import { unetFacts, type UNets } from './plan/names'
import { mainUNet, type Plan } from './plan/plan'
import { resolvePlan, type PlanSource } from './plan/source'
import type { Step } from './progress'
import { parseSeeds } from './random/seeds'
import { createSampler, samplerNames, type Sampler, type SamplerName, type SchedulerConfig } from './samplers'
import { samplerNamed } from './samplers/names'

/** What to generate. Only `prompt` must be there. */
export interface GenerateOptions {
  /** What the image shows; an empty text is fine. Several prompts make one batch. */
  prompt: string | readonly string[]
  /**
   * What it must not show; one for all prompts, or one for each. Not used when `guidanceScale` is 1 or less, nor by UNets that take the
   * guidance scale as an input (latent consistency models with `time_cond_proj_dim`).
   */
  negativePrompt?: string | readonly string[] | undefined
  /** How much more the prompt counts than the negative prompt; 7.5 if left out. At 1 or less no unconditional pass is run. */
  guidanceScale?: number | undefined
  /** Denoising steps, 1 to the scheduler's training steps; 20 if left out. */
  steps?: number | undefined
  /**
   * A sampler's name, asdm's or another program's (`Euler a`, `DPMSolverMultistepScheduler`), run with the checkpoint's noise schedule, or
   * a whole scheduler config as in `scheduler_config.json`. The checkpoint's own if left out.
   */
  sampler?: SamplerName | (string & {}) | SchedulerConfig | undefined
  /** Share of fresh noise in each step, for samplers that have it (DDIM): 0 to 1; 0 if left out. */
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
  /** Initial noise [images,C,h,w] instead of the seed's, before scaling by the sampler's `initNoiseSigma`, as in diffusers. */
  latents?: Tensor | undefined
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
  /** Stops the request, which then rejects with an `AbortError`; the model works on. */
  signal?: AbortSignal | undefined
  /** Called with each step's progress, see {@link Step}; the last one has the images. */
  onProgress?: ((step: Step) => void) | undefined
  /** Adds small rough previews of the latents to the denoising steps. */
  preview?: boolean | undefined
}

const keys = [
  'prompt', 'negativePrompt', 'guidanceScale', 'steps', 'sampler', 'eta', 'seed', 'seeds', 'width', 'height', 'count', 'latents', 'image', 'mask',
  'fit', 'keepOutside', 'strength', 'clipSkip', 'promptWeighting', 'longPrompts', 'plan', 'signal', 'onProgress', 'preview',
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
  /** What plans may name; made when the first one is checked. */
  unets(): UNets
}

/** What requests to a model must fit. */
export function modelFacts(
  { unet, unets = {}, vae, textEncoder }: {
    unet: UNet
    unets?: Readonly<Record<string, UNet>> | undefined
    vae: VAE
    textEncoder: TextEncoder
  }, schedulerConfig: SchedulerConfig,
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
    schedulerConfig,
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
  /** Set to the steps asked for, strength included. */
  sampler: Sampler
  eta: number
  /** Of the batch's one generator, or one for each image. */
  seed: number | bigint | readonly (number | bigint)[]
  latents: Tensor | undefined
  strength: number
  /** The plan and what it says for each of the sampler's steps. */
  plan: { plan: Plan, steps: ExpandedStep[] } | undefined
  preview: boolean
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
export function parseRequest(value: unknown, facts: ModelFacts, where: string): Request {
  const options = checkOptions(value, keys, where)
  const prompts = texts(options.prompt, 'prompt')
  const negatives = matchNegatives(optional(options.negativePrompt, item => texts(item, 'negativePrompt')) ?? [''], prompts.length)
  const guidanceScale = optional(options.guidanceScale, item => number(item, 'guidanceScale', 0, 1000)) ?? 7.5
  const guided = guidanceScale > 1 && facts.guidanceDim === undefined
  const count = optional(options.count, item => integer(item, 'count', 1, maxImages)) ?? 1
  const images = prompts.length * count
  if (images > maxImages) throw bad(`at most ${maxImages} images in one request`, `${prompts.length} prompts times a count of ${count}`)
  const eta = optional(options.eta, item => number(item, 'eta', 0, 1)) ?? 0
  const seed = parseSeeds(options.seed, options.seeds, images)
  const clipSkip = optional(options.clipSkip, item => integer(item, 'clipSkip', 0, facts.textLayers - 1)) ?? 0
  const promptWeighting = optional(options.promptWeighting, item => boolean(item, 'promptWeighting')) ?? false
  const longPrompts = optional(options.longPrompts, item => boolean(item, 'longPrompts')) ?? false

  const failure = new AbortController()
  const handed = parseImages(options, facts, images)
  const { sampler, steps, samplerSetting } = parseSampler(options, facts, handed.from === undefined ? undefined : handed.strength)
  const plan = optional(options.plan, item => parsePlanOption(item, facts, sampler, eta, guided))

  return {
    plan, prompts, negativePrompts: guided ? negatives : undefined, guidanceScale, guidanceDim: facts.guidanceDim, count, images, clipSkip,
    promptWeighting, longPrompts, sampler, eta, seed, latents: handed.latents, strength: handed.strength, open: handed.open,
    preview: optional(options.preview, item => boolean(item, 'preview')) ?? false,
    signal: optional(options.signal, item => abortSignal(item, 'signal')),
    onProgress: optional(options.onProgress, item => callback<(step: Step) => void>(item, 'onProgress', reason => failure.abort(reason))),
    failure: failure.signal,
    settings: (index, opened) => ({
      prompt: prompts[Math.floor(index / count)], negativePrompt: negatives[Math.floor(index / count)], guidanceScale, steps,
      sampler: samplerSetting, eta, width: opened.width, height: opened.height, clipSkip, promptWeighting,
      // With a seed of its own an image is one that can be made alone.
      ...(typeof seed === 'object' ? { seed: seed[index], count: 1, index: 0 } : { seed, count, index }),
      ...(longPrompts && { longPrompts: true as const }),
      ...(handed.from !== undefined && { from: handed.from, strength: handed.strength }),
      ...(opened.fit !== undefined && { fit: opened.fit }),
      ...(opened.outside !== undefined && { keepOutside: true as const }),
      ...(handed.latents !== undefined && { latents: true }),
      ...(plan !== undefined && { plan: plan.plan }),
    }),
  }
}

function parseSampler({ sampler: asked, ...options }: Record<string, unknown>, facts: ModelFacts, strength: number | undefined) {
  if (asked !== undefined && typeof asked !== 'string' && (asked === null || typeof asked !== 'object' || Array.isArray(asked)))
    throw bad(`sampler to be one of ${samplerNames.join(', ')}, or a scheduler config,`, shown(asked))
  const sampler = typeof asked === 'string'
    ? createSampler(asked, facts.schedulerConfig)
    : createSampler((asked ?? facts.schedulerConfig) as SchedulerConfig)
  const trainTimesteps = sampler.config.num_train_timesteps as number
  const steps = optional(options.steps, item => integer(item, 'steps', 1, trainTimesteps)) ?? Math.min(20, trainTimesteps)
  sampler.setTimesteps(steps, strength === undefined ? {} : { strength })
  const samplerSetting = (typeof asked === 'string' ? samplerNamed(asked, samplerNames) : undefined) ?? sampler.config
  return { sampler, steps, samplerSetting }
}

function parsePlanOption(value: unknown, facts: ModelFacts, sampler: Sampler, eta: number, guided: boolean) {
  const steps = sampler.timesteps.length
  const stochastic = sampler.timesteps.some((_, i) => sampler.needsNoise(i, { eta }))
  const plan = resolvePlan(value, { unets: facts.unets(), steps, stochastic })
  return { plan, steps: expandPlan(plan, steps, guided) }
}

function texts(value: unknown, name: string): string[] {
  const list: unknown[] = Array.isArray(value) ? value.slice(0, maxImages + 1) : [value]
  if (list.length === 0 || list.length > maxImages || !list.every(text => typeof text === 'string'))
    throw bad(`${name} to be a text or an array of 1 to ${maxImages} texts`, shown(value))
  return list
}

function matchNegatives(negatives: string[], prompts: number): string[] {
  if (negatives.length === 1) return new Array<string>(prompts).fill(negatives[0])
  if (negatives.length !== prompts) throw bad(`one negativePrompt for all or one for each of ${prompts} prompts`, `${negatives.length}`)
  return negatives
}

function bad(expected: string, received: string): AsdmError {
  return new AsdmError('INVALID_ARGUMENT', `Expected ${expected} but received ${received}`)
}
