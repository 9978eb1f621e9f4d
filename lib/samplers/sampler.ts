import { AsdmError, shown } from '../base/errors'
import { checkLoaded } from '../base/options'
import { fieldsOf, listOf } from '../base/reading'
import { checkTensor, type Tensor } from '../base/tensor'
import { combine, combinePerSample } from './arithmetic'
import type { ConfigReader, ParsedConfig, SchedulerConfig } from './config'
import { predictionTypes, type PredictionType } from './prediction'
import { readSchedule, type NoiseSchedule, type ScheduleDefaults } from './schedule'
import { skippedSteps, timestepSpacings, type TimestepSpacing } from './timesteps'

/** How a run is laid out. */
export interface TimestepOptions {
  /** img2img: how much of the run to do, in (0, 1]. 0.6 of 10 steps leaves out the first 4. */
  strength?: number | undefined
}

/** What the noise of a step depends on. */
export interface NoiseOptions {
  /** DDIM's and TCD's share of fresh noise per step, in [0, 1]; 0, the default, is deterministic. Other samplers ignore it. */
  eta?: number | undefined
}

/** What a step takes besides sample and model output. */
export interface StepOptions extends NoiseOptions {
  /** Standard normal noise of the sample's shape; required where {@link Sampler.needsNoise} says so. */
  noise?: Tensor | undefined
}

/** The options every sampler has. */
export interface CommonOptions extends NoiseSchedule {
  predictionType: PredictionType
  spacing: TimestepSpacing
  stepsOffset: number
}

export interface CommonDefaults extends ScheduleDefaults {
  spacing: TimestepSpacing
}

/** Reads {@link CommonOptions}. @throws AsdmError `BAD_CONFIG`, `UNSUPPORTED_CONFIG` */
export function readCommon(reader: ConfigReader, defaults: CommonDefaults): CommonOptions {
  const schedule = readSchedule(reader, defaults)
  return {
    ...schedule,
    predictionType: reader.choice('prediction_type', 'epsilon', predictionTypes),
    spacing: reader.choice('timestep_spacing', defaults.spacing, timestepSpacings),
    stepsOffset: reader.integer('steps_offset', 0, 0, schedule.trainTimesteps - 1),
  }
}

/**
 * The course of a run: timesteps, noisiest first, and where the sampler integrates over noise levels, those: one more, the last where it
 * ends.
 */
export interface Course {
  timesteps: number[]
  sigmas?: number[]
}

/** One step as a sampler's arithmetic sees it, checked. */
export interface StepInput {
  output: Tensor
  sample: Tensor
  /** The step, counted from the first one of this run. */
  i: number
  /** The step, counted from the first one of the whole course, of which img2img leaves out the beginning. */
  index: number
  timestep: number
  /** Present where `needsNoise` says so. */
  noise: Tensor | undefined
  eta: number
}

/**
 * A sampling algorithm with its noise schedule: what diffusers calls a scheduler.
 *
 * ```ts
 * sampler.setTimesteps(20)
 * let sample = noise * sampler.initNoiseSigma
 * for (const [i, timestep] of sampler.timesteps.entries()) {
 *   const output = predict(sampler.scaleInput(sample, i), timestep)
 *   sample = sampler.step(output, i, sample, { noise: sampler.needsNoise(i) ? randn() : undefined })
 * }
 * ```
 *
 * Tensors go in and out as [batch, ...]; none that is handed in is changed or kept. The schedule, and for samplers that remember earlier
 * outputs those too, belong to the instance: run one course at a time on it. Every method throws AsdmError `INVALID_ARGUMENT` or
 * `SHAPE_MISMATCH` when handed something else than it documents.
 */
export abstract class Sampler<Options extends CommonOptions = CommonOptions> {
  /** The complete config, in diffusers' words; `createSampler(sampler.config)` makes an equal sampler. */
  readonly config: SchedulerConfig
  /** alpha-bar per training timestep (Ho et al. 2020, eq. 4): the share of signal in a noised sample's variance. Not to be changed. */
  readonly alphasCumprod: Float32Array
  protected readonly options: Options
  #course: Course = { timesteps: [] }
  #timesteps: readonly number[] = []
  #sigmas: readonly number[] | undefined
  #begin = 0
  #next = 0
  #shape: readonly number[] | undefined

  protected constructor(parsed: ParsedConfig<Options>) {
    checkLoaded(() => typeof parsed.config === 'object' && typeof parsed.options.alphasCumprod === 'object', 'a sampler', 'createSampler')
    this.config = parsed.config
    this.options = parsed.options
    this.alphasCumprod = parsed.options.alphasCumprod
  }

  /** The short name, as `createSampler` takes it. */
  abstract get name(): string

  /** Number of training timesteps: the most steps a run can have. */
  get trainTimesteps(): number { return this.options.trainTimesteps }

  /** Does a step draw noise although `eta` is 0? */
  get stochastic(): boolean { return false }

  /**
   * How often the network runs in a step that is asked for: 2 for methods of second order in one step. `timesteps` has an entry for each
   * run (the last step, which ends without noise, may need fewer), so that plans and progress count runs; `setTimesteps` and its strength
   * count steps.
   */
  get order(): number { return 1 }

  /** Does a step depend on the ones before it? Such steps are to be called in order, each once. */
  protected get multistep(): boolean { return false }

  /**
   * The timesteps of the run, noisiest first, as the network gets them; may lie between integers, and PNDM repeats one. Empty before
   * `setTimesteps`.
   */
  get timesteps(): readonly number[] { return this.#timesteps }

  /** Noise over signal at each step, and where the run ends; only for samplers that integrate over it. */
  get sigmas(): readonly number[] | undefined { return this.#sigmas }

  /** Standard deviation that the sample starts with: multiply standard normal noise by it. */
  get initNoiseSigma(): number { return 1 }

  /**
   * Lays out a run of `steps` steps (see {@link order} for how often the network runs) and forgets the one before.
   * @throws AsdmError `INVALID_ARGUMENT` for a number of steps that is no integer, below 1 or above the number of training timesteps, and
   * for a strength that leaves no step; `UNSUPPORTED_CONFIG` when the run would start where the network's prediction says nothing
   */
  setTimesteps(steps: number, options: TimestepOptions = {}): void {
    const { trainTimesteps } = this.options
    if (!Number.isInteger(steps) || steps < 1 || steps > trainTimesteps)
      throw new AsdmError('INVALID_ARGUMENT', `Expected steps to be an integer from 1 to ${trainTimesteps} but received ${shown(steps)}`)
    const strength = fieldsOf(checkOptions(options), 'options', ['strength']).strength ?? 1
    if (typeof strength !== 'number' || !(strength > 0 && strength <= 1))
      throw new AsdmError('INVALID_ARGUMENT', `Expected strength to be a number above 0 and up to 1 but received ${shown(strength)}`)
    const skipped = skippedSteps(steps, strength)
    const begin = skipped * this.order
    if (skipped >= steps)
      throw new AsdmError('INVALID_ARGUMENT', `Expected strength times steps to be at least 1 but received ${strength} times ${steps}`)
    const course = this.lay(steps, begin)
    if (begin >= course.timesteps.length)
      throw new AsdmError('INVALID_ARGUMENT',
        `Expected strength to leave one of the ${course.timesteps.length} steps that ${this.name} takes but received ${strength}`)
    this.#course = course
    this.#begin = begin
    this.#timesteps = Object.freeze(course.timesteps.slice(begin))
    this.#sigmas = course.sigmas && Object.freeze(course.sigmas.slice(begin))
    this.#next = 0
    this.#shape = undefined
    this.forget()
  }

  /** What the network is to be handed for step `i`; the sample itself where the sampler does not scale. */
  scaleInput(sample: Tensor, i: number): Tensor {
    this.checkInput(sample, i)
    return sample
  }

  /** The sample of {@link scaleInput}, checked. */
  protected checkInput(sample: Tensor, i: number): Tensor {
    this.#checkIndex(i)
    return checkTensor(sample, 'sample')
  }

  /** Does step `i` take noise? Draw then, and only then, to draw in diffusers' order. */
  needsNoise(i: number, options: NoiseOptions = {}): boolean {
    this.#checkIndex(i)
    return this.draws(i + this.#begin, checkEta(fieldsOf(checkOptions(options), 'options', ['eta']).eta))
  }

  /**
   * One step: the less noisy sample that follows from the network's output.
   * @param modelOutput what the network made of `scaleInput(from, i)`, of its shape
   * @param i index into `timesteps`
   * @throws AsdmError `INVALID_ARGUMENT` also when a sampler that remembers earlier steps is called out of order
   */
  step(modelOutput: Tensor, i: number, from: Tensor, options: StepOptions = {}): Tensor {
    this.#checkIndex(i)
    if (this.multistep && i !== this.#next) {
      const expected = this.#next < this.#timesteps.length ? `step ${this.#next}` : 'setTimesteps before another run'
      throw new AsdmError('INVALID_ARGUMENT',
        `Expected ${expected} but received step ${i}: ${this.name} remembers earlier steps, so they run in order`)
    }
    const sample = checkTensor(from, 'sample')
    const output = checkTensor(modelOutput, 'model output')
    checkSameShape(output, 'the model output', sample.shape)
    if (this.#shape !== undefined) checkSameShape(sample, 'the sample', this.#shape)
    const { noise: given, eta } = fieldsOf(checkOptions(options), 'options', ['noise', 'eta'])
    const input: StepInput = {
      output, sample, i, index: i + this.#begin, timestep: this.#timesteps[i]!, noise: undefined, eta: checkEta(eta),
    }
    if (this.draws(input.index, input.eta)) {
      if (given === undefined) throw new AsdmError('INVALID_ARGUMENT', `Expected noise for step ${i} of ${this.name} but received none`)
      const noise = checkTensor(given, 'noise')
      checkSameShape(noise, 'the noise', sample.shape)
      input.noise = noise
    }
    const previous = this.advance(input)
    if (this.multistep) {
      this.#next = i + 1
      this.#shape = [...sample.shape]
    }
    return previous
  }

  /** A clean sample with as much noise as the run has at step `i`; in inpainting also for the steps after the first. */
  addNoise(original: Tensor, noise: Tensor, i: number): Tensor {
    this.#checkIndex(i)
    const pair = checkPair(original, noise)
    const { signal, noise: amount } = this.levels(i + this.#begin)
    return combine([signal, pair.original], [amount, pair.noise])
  }

  /**
   * Forward noising as in training: sqrt(alpha-bar) x_0 + sqrt(1 - alpha-bar) noise (Ho et al. 2020, eq. 4).
   * @param timesteps a training timestep, or one per sample of the batch
   */
  addNoiseAt(original: Tensor, noise: Tensor, timesteps: number | readonly number[]): Tensor {
    const pair = checkPair(original, noise)
    const { signals, noises } = this.#trainingLevels(pair.original, timesteps)
    return combinePerSample(pair.original, signals, pair.noise, noises)
  }

  /**
   * The target of a network that predicts v: sqrt(alpha-bar) noise - sqrt(1 - alpha-bar) x_0 (Salimans and Ho 2022). Arguments as
   * `addNoiseAt`.
   */
  getVelocity(original: Tensor, noise: Tensor, timesteps: number | readonly number[]): Tensor {
    const pair = checkPair(original, noise)
    const { signals, noises } = this.#trainingLevels(pair.original, timesteps)
    return combinePerSample(pair.noise, signals, pair.original, noises.map(value => -value))
  }

  /** Lays out the whole course of a run; `begin` steps of it will be left out. */
  protected abstract lay(steps: number, begin: number): Course

  /** The arithmetic of one step. */
  protected abstract advance(input: StepInput): Tensor

  /** Does a step of the course, by its index there, take noise? */
  protected draws(_index: number, _eta: number): boolean { return this.stochastic }

  /** Drops what was remembered of a run. */
  protected forget(): void { /* most remember nothing */ }

  /** Amplitudes of signal and noise in a sample at a step of the course. */
  protected levels(index: number): { signal: number, noise: number } {
    const product = this.alphasCumprod[this.#course.timesteps[index]!]!
    return { signal: Math.sqrt(product), noise: Math.sqrt(1 - product) }
  }

  protected get course(): Course { return this.#course }

  /**
   * Checks the timesteps of a sampler that looks up alpha-bar at each.
   * @throws AsdmError `INVALID_ARGUMENT` when one lies beyond training, `UNSUPPORTED_CONFIG` when a noise prediction is asked of pure noise
   */
  protected checkTrained(timesteps: readonly number[], steps: number): void {
    const { trainTimesteps, stepsOffset, predictionType } = this.options
    if (timesteps[0]! >= trainTimesteps)
      throw new AsdmError('INVALID_ARGUMENT',
        `Expected fewer than ${steps} steps: with steps_offset ${stepsOffset} they start at timestep ${timesteps[0]}, `
        + `but training ended at ${trainTimesteps - 1}`)
    if (predictionType === 'epsilon' && this.alphasCumprod[timesteps[0]!] === 0)
      throw new AsdmError('UNSUPPORTED_CONFIG',
        `Expected prediction_type to be v_prediction or sample but received "epsilon", which says nothing at timestep ${timesteps[0]}: `
        + 'the schedule leaves no signal there (zero terminal SNR)')
  }

  #checkIndex(i: unknown): void {
    if (this.#timesteps.length === 0)
      throw new AsdmError('INVALID_ARGUMENT', `Expected setTimesteps to be called before ${this.name} is used`)
    if (!Number.isInteger(i) || (i as number) < 0 || (i as number) >= this.#timesteps.length)
      throw new AsdmError('INVALID_ARGUMENT',
        `Expected the step index to be an integer from 0 to ${this.#timesteps.length - 1} but received ${shown(i)}`)
  }

  #trainingLevels({ shape }: Tensor, timesteps: unknown): { signals: number[], noises: number[] } {
    const batch = shape[0] ?? 1
    const list: readonly unknown[] = typeof timesteps === 'object' && timesteps !== null
      ? listOf(timesteps, 'timesteps', batch)
      : Array.from({ length: batch }, () => timesteps)
    if (list.length !== batch)
      throw new AsdmError('INVALID_ARGUMENT', `Expected one timestep per sample, ${batch}, but received ${list.length}`)
    const products = list.map(timestep => {
      if (!Number.isInteger(timestep) || (timestep as number) < 0 || (timestep as number) >= this.options.trainTimesteps)
        throw new AsdmError('INVALID_ARGUMENT',
          `Expected a training timestep to be an integer from 0 to ${this.options.trainTimesteps - 1} but received ${shown(timestep)}`)
      return this.alphasCumprod[timestep as number]!
    })
    return { signals: products.map(Math.sqrt), noises: products.map(product => Math.sqrt(1 - product)) }
  }
}

function checkOptions<T extends object>(options: T): T {
  if (options === null || typeof options !== 'object')
    throw new AsdmError('INVALID_ARGUMENT', `Expected options to be an object but received ${shown(options)}`)
  return options
}

function checkEta(eta: unknown = 0): number {
  if (typeof eta !== 'number' || !(eta >= 0 && eta <= 1))
    throw new AsdmError('INVALID_ARGUMENT', `Expected eta to be a number from 0 to 1 but received ${shown(eta)}`)
  return eta
}

/** A sample and noise of its shape. */
function checkPair(original: unknown, noise: unknown): { original: Tensor, noise: Tensor } {
  const pair = { original: checkTensor(original, 'original'), noise: checkTensor(noise, 'noise') }
  checkSameShape(pair.noise, 'the noise', pair.original.shape)
  return pair
}

function checkSameShape(tensor: Tensor, name: string, shape: readonly number[]): void {
  if (tensor.shape.length !== shape.length || tensor.shape.some((size, d) => size !== shape[d]))
    throw new AsdmError('SHAPE_MISMATCH', `Expected ${name} to have shape [${shape}] but received [${tensor.shape}]`)
}
