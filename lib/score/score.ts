import { requestedWeights } from '../assembly/assemble'
import { AsdmError, shown, throwIfAborted } from '../base/errors'
import { abortSignal, callback, checkOptions, integer, number, optional, path as checkPath } from '../base/options'
import { reading } from '../base/reading'
import { pick, tile, type Tensor } from '../base/tensor'
import { guidanceEmbedding } from '../components/conditioning'
import { parseRuntime, runtimeKeys, type RuntimeOptions } from '../components/options'
import { TextEncoder } from '../components/text-encoder'
import { UNet } from '../components/unet'
import { defaultPrompts } from '../eval/prompts'
import { locateModel } from '../hub/locate-model'
import { openCheckpoint, type Part } from '../model/checkpoint'
import type { UNetConfig } from '../native/configs'
import { loadAddon } from '../native/load'
import { unetFacts } from '../plan/names'
import { TorchGenerator } from '../random/torch-generator'
import { createSampler } from '../samplers'
import { guide } from '../samplers/guidance'
import { encodeText } from '../text/encode'
import { FeatureCache } from '../text/feature-cache'
import { loadTokenizer } from '../text/load'
import { changeOf, type LatentChange } from './change'

/** How units are scored. */
export interface ScoreOptions extends RuntimeOptions {
  /** Variant of the weight files, as `fp16`. */
  variant?: string | undefined
  /** Prompts; a built-in list of 8 if left out. */
  prompts?: readonly string[] | undefined
  /** Latents for each prompt, each with the next seed; 1 if left out. With the prompts at least 2 in all. */
  count?: number | undefined
  /** Seed of the first; 1000 if left out. */
  seed?: number | undefined
  /** Denoising steps; 10 if left out. */
  steps?: number | undefined
  /** How much the prompt counts; if left out the model's own default, else 7.5; 1 turns guidance off. */
  guidanceScale?: number | undefined
  /** A sampler's name; the checkpoint's own if left out. */
  sampler?: string | undefined
  /** Latents' height and width in latent pixels; the model's own if left out. */
  height?: number | undefined
  /** As `height`. */
  width?: number | undefined
  /**
   * What to score: prefixes of units, layers or blocks. If left out, every ResNet, transformer, attention and feed-forward, and every
   * layer that has both of the first, that a UNet can do without.
   */
  units?: readonly string[] | undefined
  /** Stops it: it then rejects with an `AbortError`. */
  signal?: AbortSignal | undefined
  /** Called after each denoising step. */
  onProgress?: ((progress: ScoreProgress) => void) | undefined
}

/** How far scoring is. */
export interface ScoreProgress {
  /** What is left out at the moment; `undefined` while the whole UNet runs. */
  prefix: string | undefined
  /** UNet passes that are done. */
  done: number
  /** UNet passes in all. */
  of: number
}

/** A unit, and what leaving it out does. */
export interface UnitScore extends LatentChange {
  /** Prefix of diffusers' weight names, as recipes spell it. */
  prefix: string
  /** Multiply-accumulates that a pass has less without it, all of the batch. */
  macs: number
  /** The same over those of the whole pass. */
  share: number
  /** Numbers in its weights. */
  parameters: number
  /** Median milliseconds of a pass without it. */
  passMs: number
  /** `score` over `share`: what a saving of the whole pass's size costs at this rate. Units come in its order. */
  perShare: number
}

/** How a ranking was measured. */
export interface ScoreSettings {
  /** Path of the model. */
  model: string
  /** Texts, each drawn `count` times. */
  prompts: string[]
  /** Latents of each prompt. */
  count: number
  /** Seed of the first latents. */
  seed: number
  /** Denoising steps. */
  steps: number
  /** How much the prompt counts. */
  guidanceScale: number
  /** The sampler's name. */
  sampler: string
  /** Rows of the image, in pixels. */
  height: number
  /** Columns of the image, in pixels. */
  width: number
}

/** What one UNet pass takes. */
export interface PassCost {
  /** Multiply-accumulates. */
  macs: number
  /** Numbers in its weights. */
  parameters: number
  /** Milliseconds. */
  passMs: number
}

/** What scoring gives: plain JSON. */
export interface ScoreReport {
  /** Version of the format. */
  version: 1
  /** How it was measured. */
  settings: ScoreSettings
  /** Of one whole UNet pass. */
  full: PassCost
  /** The cheapest to do without, for what it saves, first. */
  units: UnitScore[]
}

const keys = [
  ...runtimeKeys, 'variant', 'prompts', 'count', 'seed', 'steps', 'guidanceScale', 'sampler', 'height', 'width', 'units', 'signal',
  'onProgress',
] as const satisfies readonly (keyof ScoreOptions)[]
const maxUnits = 4096

/**
 * Ranks a UNet's units by how much the final latents change when each is left out, against the multiply-accumulates it takes. The idea,
 * comparing mean and spread of latents with and without an operator, is LD-Pruner's (arXiv 2404.11936, of which the abstract alone was
 * at hand; the formula, see {@link LatentChange}, is ours). Each unit is left out by itself, as a recipe's `drop` line does it, from
 * weights that are read once; what several do together is not measured. Same seeds, same ranking, but for `passMs`.
 * @param path as of `StableDiffusion.load`
 * @throws AsdmError as `StableDiffusion.load`; `INVALID_ARGUMENT` for units that are none or that a UNet cannot do without; an `AbortError`
 */
export async function scoreUnits(path: string, options?: ScoreOptions): Promise<ScoreReport> {
  checkPath(path, 'the path of a model')
  const given = checkOptions(options, keys, 'scoreUnits')
  const prompts = optional(given.prompts, checkTexts) ?? [...defaultPrompts.slice(0, 8)]
  const count = optional(given.count, value => integer(value, 'count', 1, 1000)) ?? 1
  const seed = optional(given.seed, value => integer(value, 'seed', 0, 2 ** 32)) ?? 1000
  const askedGuidance = optional(given.guidanceScale, value => number(value, 'guidanceScale', 0, 1000))
  const asked = optional(given.units, checkTexts)
  const signal = optional(given.signal, value => abortSignal(value, 'signal'))
  const onProgress = optional(given.onProgress, value => callback<NonNullable<ScoreOptions['onProgress']>>(value, 'onProgress'))
  if (prompts.length * count < 2)
    throw new AsdmError('INVALID_ARGUMENT', 'Expected at least 2 latents, prompts times count, to compare the spread of but received 1')
  const addon = loadAddon()
  const native = parseRuntime(given, addon)
  const found = await locateModel(path, { variant: given.variant as string | undefined, signal })
  const checkpoint = await openCheckpoint(found.path, { variant: found.variant, signal })
  const guidanceScale = askedGuidance ?? checkpoint.defaults.guidanceScale
  const { unet: part } = checkpoint
  if (part.config.inChannels !== checkpoint.vae.config.latentChannels)
    throw new AsdmError('UNSUPPORTED_CONFIG', 'Expected a UNet that makes images of texts but this one is made for inpainting')
  const makeSampler = () => {
    const sampler = given.sampler === undefined
      ? createSampler(checkpoint.schedulerConfig)
      : createSampler(given.sampler as string, checkpoint.schedulerConfig)
    sampler.setTimesteps(optional(given.steps, value => integer(value, 'steps', 1, sampler.config.num_train_timesteps as number)) ?? 10)
    return sampler
  }
  const sampler = makeSampler()
  const sideOf = (side: 'height' | 'width'): number =>
    optional(given[side], value => integer(value, side, 1, 1024)) ?? part.config.sampleSize
  const [height, width] = [sideOf('height'), sideOf('width')]

  const whole = new UNet(addon, part, native)
  const encoder = new TextEncoder(addon, checkpoint.textEncoder, native)
  try {
    const candidates = asked === undefined
      ? droppable(part.config, whole.tapNames())
      : [...new Set(asked)].map(prefix => checkDroppable(part.config, prefix))
    const { timeCondDim } = checkpoint.unet.config
    const guided = guidanceScale > 1 && timeCondDim === undefined
    const conditioned = timeCondDim === undefined ? {} : { timestepCond: guidanceEmbedding(guidanceScale, timeCondDim, 1) }
    const shape = { batch: guided ? 2 : 1, height, width, length: checkpoint.textEncoder.config.maxPositionEmbeddings }
    const { macs, parameters } = whole.describe(shape)
    await encoder.loadWeights({ signal })
    const text = await encodeText(
      await loadTokenizer(checkpoint), encoder, new FeatureCache(),
      { prompts, negativePrompts: guided ? prompts.map(() => '') : undefined, clipSkip: 0, promptWeighting: false }, () => {}, signal,
    )
    await encoder.dispose()
    const runs = prompts.length * count
    const of = (candidates.length + 1) * runs * sampler.timesteps.length
    let done = 0
    /** Final latents of every prompt and seed, one after the other, and the median time of a pass. */
    const sample = async (unet: UNet, prefix: string | undefined): Promise<{ latents: Float32Array[], passMs: number }> => {
      const latents: Float32Array[] = []
      const times: number[] = []
      for (let run = 0; run < runs; run++) {
        const prompt = Math.floor(run / count)
        const features = pick(text, guided ? [prompt, prompts.length + prompt] : [prompt])
        const steps = makeSampler()
        const noise = new TorchGenerator(seed + run)
        const first = noise.randn([1, part.config.inChannels, height, width])
        let current: Tensor = { ...first, data: first.data.map(value => value * steps.initNoiseSigma) }
        for (const [i, timestep] of steps.timesteps.entries()) {
          throwIfAborted(signal)
          const scaled = steps.scaleInput(current, i)
          const begin = performance.now()
          const { sample: output } = await unet.forward({
            sample: guided ? tile(scaled, 2) : scaled, timestep, encoderHiddenStates: features, ...conditioned, ...(signal && { signal }),
          })
          times.push(performance.now() - begin)
          const fresh = steps.needsNoise(i, { eta: 0 }) ? noise.randn(current.shape) : undefined
          current = steps.step(guided ? guide(output, guidanceScale) : output, i, current, { noise: fresh, eta: 0 })
          onProgress?.({ prefix, done: ++done, of })
        }
        latents.push(current.data)
      }
      return { latents, passMs: times.sort((a, b) => a - b)[times.length >> 1]! }
    }
    await whole.loadWeights({ signal })
    const full = await sample(whole, undefined)
    // Its weights stay for the others; the memory of its activations need not.
    whole.trim()

    const units: UnitScore[] = []
    for (const prefix of candidates) {
      const unet = new UNet(addon, partWithout(part, prefix), native)
      try {
        const described = unet.describe(shape)
        await unet.part.share(whole.part)
        const without = await sample(unet, prefix)
        const saved = { macs: macs - described.macs, share: (macs - described.macs) / macs, parameters: parameters - described.parameters }
        const change = changeOf(full.latents, without.latents)
        units.push({ prefix, ...change, ...saved, passMs: without.passMs, perShare: change.score / saved.share })
      } finally {
        await unet.dispose()
      }
    }
    // Equal ones keep the order of their names, so that the list does not depend on how it was sorted.
    units.sort((a, b) => a.perShare - b.perShare || (a.prefix < b.prefix ? -1 : 1))
    return {
      version: 1, settings: {
        model: checkpoint.path, prompts, count, seed, steps: sampler.timesteps.length, guidanceScale, sampler: sampler.name, height, width,
      },
      full: { macs, parameters, passMs: full.passMs }, units,
    }
  } finally {
    await Promise.all([whole.dispose(), encoder.dispose()])
  }
}

/** The config of a UNet without a unit, as a recipe's drop line makes it. */
function configWithout(config: UNetConfig, prefix: string): UNetConfig {
  return prefix === 'mid_block' ? { ...config, hasMidBlock: false } : { ...config, removed: [...config.removed ?? [], prefix] }
}

function partWithout(part: Part<UNetConfig>, prefix: string): Part<UNetConfig> {
  const config = configWithout(part.config, prefix)
  const names = new Set(requestedWeights(config).map(({ name }) => name))
  return { ...part, config, weights: part.weights.filter(({ name }) => names.has(name)) }
}

function canDrop(config: UNetConfig, prefix: string): AsdmError | undefined {
  try {
    requestedWeights(configWithout(config, prefix))
    return undefined
  } catch (error) {
    if (error instanceof AsdmError && error.code === 'BAD_CONFIG') return error
    throw error
  }
}

function checkDroppable(config: UNetConfig, prefix: string): string {
  const error = canDrop(config, prefix)
  if (error !== undefined)
    throw new AsdmError(
      'INVALID_ARGUMENT', `Expected units that a UNet can do without but received ${shown(prefix)}: ${error.message}`, { cause: error },
    )
  return prefix
}

/** Units and layers that a UNet can do without, in the order of their names. */
function droppable(config: UNetConfig, names: readonly string[]): string[] {
  const all = [...unetFacts(config, names).prefixes].filter(prefix =>
    /\.(?:resnets|attentions)\.\d+$|\.(?:attn1|attn2|ff)$|^(?:down|up)_blocks\.\d+\.\d+$/.test(prefix))
  return all.sort().filter(prefix => canDrop(config, prefix) === undefined)
}

function checkTexts(value: unknown): string[] {
  const texts = reading('prompts or units', (): unknown[] => (Array.isArray(value) && value.length <= maxUnits ? Array.from(value as unknown[]) : []))
  if (texts.length === 0 || !texts.every(item => typeof item === 'string' && item.length <= 10_000))
    throw new AsdmError('INVALID_ARGUMENT', `Expected an array of 1 to ${maxUnits} texts but received ${shown(value)}`)
  return texts as string[]
}
