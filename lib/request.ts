import { randomInt } from 'node:crypto'
import { AsdmError, shown } from './base/errors'
import { abortSignal, boolean, callback, checkOptions, integer, number, optional } from './base/options'
import { checkTensor, type Tensor } from './base/tensor'
import type { TextEncoder } from './components/text-encoder'
import type { UNet } from './components/unet'
import type { VAE } from './components/vae'
import type { GenerationSettings } from './image/settings'
import { checkImage, imageSize, imageTensor, maskValues, type ImageInput } from './image/input'
import type { Opened } from './image/start'
import { expandPlan, type ExpandedStep } from './plan/expand'
import { unetFacts, type UNets } from './plan/names'
import { mainUNet, type Plan } from './plan/plan'
import { resolvePlan, type PlanSource } from './plan/source'
import type { Step } from './progress'
import { checkSeed } from './random/torch-generator'
import { createSampler, samplerNames, type Sampler, type SamplerName, type SchedulerConfig } from './samplers'
import { samplerNamed } from './samplers/names'

/** What to generate. Only `prompt` must be there. */
export interface GenerateOptions {
  /** What the picture shows; an empty text is fine. Several prompts make one batch. */
  prompt: string | readonly string[]
  /** What it must not show; one for all prompts, or one for each. Not used when `guidanceScale` is 1 or less. */
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
  /** Whole number to 2^53, or BigInt to 2^64-1. The initial noise is what PyTorch's CPU generator gives for it; random if left out. */
  seed?: number | bigint | undefined
  /** Size in pixels: multiples of the VAE's factor (8 for Stable Diffusion). The model's own size, or the image's, if left out. */
  width?: number | undefined
  /** As `width`. */
  height?: number | undefined
  /** Pictures for each prompt, made as one batch; 1 if left out. */
  count?: number | undefined
  /** Initial noise [images,C,h,w] instead of the seed's, before scaling by the sampler's `initNoiseSigma`, as in diffusers. */
  latents?: Tensor | undefined
  /**
   * A picture to start from: a PNG's path or bytes, 8-bit pixels, or a tensor [1,3,H,W] in [-1, 1]. It has the size of the picture to make.
   */
  image?: ImageInput | Tensor | undefined
  /** Where to repaint `image`: white (grey from a half) is made anew, black is kept. A PNG's path or bytes, or 8-bit pixels. */
  mask?: ImageInput | undefined
  /** How much of `image` is made anew, above 0 to 1: that share of the steps is run. 0.8 if left out, with a mask 1. */
  strength?: number | undefined
  /** How many of the text encoder's last layers to leave out; 0 if left out. */
  clipSkip?: number | undefined
  /** Reads `(word:1.2)` in prompts as a weight; false if left out. */
  promptWeighting?: boolean | undefined
  /**
   * What each step inherits from earlier ones, which UNet it runs and whether guidance runs: a plan, what a builder as `deepcache` gives,
   * or a text as `deepcache:3,0`. Every step in full if left out.
   */
  plan?: PlanSource | undefined
  /** Stops the request, which then rejects with an `AbortError`; the model works on. */
  signal?: AbortSignal | undefined
  /** Called with each step's progress, see {@link Step}; the last one has the pictures. */
  onProgress?: ((step: Step) => void) | undefined
  /** Adds small rough pictures of the latents to the denoising steps. */
  preview?: boolean | undefined
}

const keys = [
  'prompt', 'negativePrompt', 'guidanceScale', 'steps', 'sampler', 'eta', 'seed', 'width', 'height', 'count', 'latents', 'image', 'mask',
  'strength', 'clipSkip', 'promptWeighting', 'plan', 'signal', 'onProgress', 'preview',
] as const satisfies readonly (keyof GenerateOptions)[]

/** Longest side of a picture. */
export const maxSide = 8192
/** Most pictures of one request. */
export const maxImages = 256

/** Most pixels of one request, all pictures together: 256 pictures of 512x512, or one of 8192x8192. */
export const maxPixels = 2 ** 26

/** What a request must fit: facts of the model. */
export interface ModelFacts {
  /** Side of a picture over the side of its latents; width and height are multiples of it. The UNet takes latents of any size. */
  vaeFactor: number
  /** Width and height where none are asked for. */
  defaultSize: number
  latentChannels: number
  /** The UNet also takes a mask and a masked picture. */
  inpainting: boolean
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
    textLayers: textEncoder.config.numHiddenLayers,
    schedulerConfig,
  }
}

/** In pixels. */
interface Size {
  width: number
  height: number
}

/** A checked request: nothing in it can change from outside any more. */
export interface Request {
  prompts: string[]
  negativePrompts: string[] | undefined
  guidanceScale: number
  count: number
  /** Pictures in all. */
  images: number
  clipSkip: number
  promptWeighting: boolean
  /** Set to the steps asked for, strength included. */
  sampler: Sampler
  eta: number
  seed: number | bigint
  latents: Tensor | undefined
  strength: number
  /** The plan and what it says for each of the sampler's steps. */
  plan: { plan: Plan, steps: ExpandedStep[] } | undefined
  preview: boolean
  signal: AbortSignal | undefined
  onProgress: ((step: Step) => void) | undefined
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
  const count = optional(options.count, item => integer(item, 'count', 1, maxImages)) ?? 1
  const images = prompts.length * count
  if (images > maxImages) throw bad(`at most ${maxImages} pictures in one request`, `${prompts.length} prompts times a count of ${count}`)
  const eta = optional(options.eta, item => number(item, 'eta', 0, 1)) ?? 0
  if (options.seed !== undefined) checkSeed(options.seed)
  const seed = options.seed as number | bigint | undefined ?? randomInt(2 ** 32)
  const clipSkip = optional(options.clipSkip, item => integer(item, 'clipSkip', 0, facts.textLayers - 1)) ?? 0
  const promptWeighting = optional(options.promptWeighting, item => boolean(item, 'promptWeighting')) ?? false

  const pictures = parsePictures(options, facts, images)
  const { sampler, steps, samplerSetting } = parseSampler(options, facts, pictures.from === undefined ? undefined : pictures.strength)
  const plan = optional(options.plan, item => parsePlanOption(item, facts, sampler, eta, guidanceScale > 1))

  return {
    plan, prompts, negativePrompts: guidanceScale > 1 ? negatives : undefined, guidanceScale, count, images, clipSkip, promptWeighting,
    sampler, eta, seed, latents: pictures.latents, strength: pictures.strength, open: pictures.open,
    preview: optional(options.preview, item => boolean(item, 'preview')) ?? false,
    signal: optional(options.signal, item => abortSignal(item, 'signal')),
    onProgress: optional(options.onProgress, item => callback<(step: Step) => void>(item, 'onProgress')),
    settings: (index, opened) => ({
      prompt: prompts[Math.floor(index / count)], negativePrompt: negatives[Math.floor(index / count)], guidanceScale, steps, sampler: samplerSetting, eta, seed,
      width: opened.width, height: opened.height, count, index, clipSkip, promptWeighting,
      ...(pictures.from !== undefined && { from: pictures.from, strength: pictures.strength }),
      ...(pictures.latents !== undefined && { latents: true }),
      ...(plan !== undefined && { plan: plan.plan }),
    }),
  }
}

/** Size, image, mask, strength and latents: everything that has to do with pixels. */
function parsePictures(options: Record<string, unknown>, facts: ModelFacts, images: number) {
  const hasImage = options.image !== undefined
  const hasMask = options.mask !== undefined
  if (hasMask && !hasImage) throw bad('an image together with the mask', 'none')
  if (facts.inpainting && !hasMask)
    throw bad('an image and a mask, since the UNet is made for inpainting', hasImage ? 'no mask' : 'neither')
  if (options.strength !== undefined && !hasImage) throw bad('strength only together with an image', 'none')
  if (options.latents !== undefined && hasImage) throw bad('either latents or an image to start from', 'both')
  const strength = optional(options.strength, item => number(item, 'strength', Number.MIN_VALUE, 1)) ?? (hasMask ? 1 : 0.8)

  // The size of a picture in a file is not known before the file is read.
  const own = hasImage ? imageSize(options.image) : { width: facts.defaultSize, height: facts.defaultSize }
  const width = optional(options.width, item => side(item, 'width', facts.vaeFactor)) ?? own?.width
  const height = optional(options.height, item => side(item, 'height', facts.vaeFactor)) ?? own?.height
  const checkSides = (size: Size): void => {
    side(size.width, 'the width of the image', facts.vaeFactor)
    side(size.height, 'the height of the image', facts.vaeFactor)
  }
  const checkPixels = (size: Size): void => {
    if (images * size.width * size.height > maxPixels)
      throw bad(`at most ${maxPixels} pixels in one request`, `${images} pictures of ${size.width}x${size.height}; make fewer at a time`)
  }
  if (width !== undefined && height !== undefined) checkPixels({ width, height })
  const wanted = { width, height, check: checkSides }
  const readImage = hasImage ? checkImage(options.image, 'image', wanted) : undefined
  const readMask = hasMask ? checkImage(options.mask, 'mask', wanted) : undefined
  const latents = optional(options.latents, item => checkLatents(item, images, facts, width!, height!))
  return {
    from: hasImage ? hasMask ? 'inpaint' as const : 'image' as const : undefined, strength, latents,
    async open(signal: AbortSignal): Promise<Opened> {
      const image = await readImage?.(signal)
      const size = image === undefined ? { width: width!, height: height! } : { width: image.width, height: image.height }
      checkPixels(size)
      const mask = await readMask?.(signal)
      if (mask !== undefined && (mask.width !== size.width || mask.height !== size.height))
        throw bad(`mask to be ${size.width}x${size.height} pixels like the image`, `${mask.width}x${mask.height}`)
      return { ...size, image: image && imageTensor(image), mask: mask && maskValues(mask) }
    },
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

/** A side in pixels; one that is no multiple is answered with those next to it. */
function side(value: unknown, name: string, multiple: number): number {
  const most = Math.floor(maxSide / multiple) * multiple
  if (typeof value !== 'number' || !Number.isInteger(value) || value < multiple || value > most)
    throw bad(`${name} to be a multiple of ${multiple} from ${multiple} to ${most}`, shown(value))
  if (value % multiple !== 0) {
    const below = Math.floor(value / multiple) * multiple
    throw bad(`${name} to be a multiple of ${multiple}, as ${below} or ${below + multiple},`, shown(value))
  }
  return value
}

function checkLatents(value: unknown, images: number, { latentChannels, vaeFactor }: ModelFacts, width: number, height: number): Tensor {
  checkTensor(value, 'latents', 4)
  const wanted = [images, latentChannels, height / vaeFactor, width / vaeFactor]
  if (value.shape.some((size, i) => size !== wanted[i]))
    throw new AsdmError('SHAPE_MISMATCH',
      `Expected latents to be [${wanted}] for ${images} pictures of ${width}x${height} but received [${value.shape}]`)
  if (!value.data.every(Number.isFinite)) throw bad('latents to hold finite values', 'NaN or infinity')
  return { data: value.data.slice(), shape: [...value.shape] }
}

function bad(expected: string, received: string): AsdmError {
  return new AsdmError('INVALID_ARGUMENT', `Expected ${expected} but received ${received}`)
}
