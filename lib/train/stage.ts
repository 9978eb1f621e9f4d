import { AsdmError } from '../base/errors'
import type { Tensor } from '../base/tensor'
import type { DistillSettings, DistillStage } from './distill-options'
import { addNoise, learningRate, StepNumbers, taskTarget } from './noise'
import { termWeights, type Term } from './objective'
import type { Prepared } from './prepare'
import type { Trainer } from './trainer'
import type { TrainingBatch } from './trainer-options'

/** What a step, or a validation, gave. */
export interface StepResult {
  /** The weighted sum that is minimised. */
  loss: number
  /** Each loss, a mean over the samples without weights. */
  losses: Record<string, number>
  /** Of the gradients, before they were clipped; of a validation 0. */
  norm: number
}

/** Is it a multiple of `every`, where that is not 0? */
export const isStep = (step: number, every: number): boolean => every > 0 && step % every === 0

/** Numbers of validations come from steps that no training has. */
const validationSteps = 2 ** 50

/** The steps of one stage. */
export class StageTraining {
  constructor(
    readonly prepared: Prepared, readonly settings: DistillSettings, readonly stage: DistillStage, readonly terms: readonly Term[],
    readonly trainer: Trainer, readonly total: number, readonly signal: AbortSignal,
  ) {}

  /**
   * Step number `step` of the training, `inStage` of the stage.
   * @throws AsdmError `TRAINING_DIVERGED`, naming the unit
   */
  async step(step: number, inStage: number): Promise<StepResult> {
    const { settings: { accumulate, batch, rate, warmup, beta1, beta2, decay, clip, average }, trainer, signal, prepared: { data } } = this
    const sums: Record<string, number> = {}
    let loss = 0
    for (let part = 0; part < accumulate; part++) {
      const numbers = new StepNumbers(this.settings.seed, step * accumulate + part)
      const examples = Array.from({ length: batch }, () => data.train[numbers.below(data.train.length)]!)
      const dropped = examples.map(() => numbers.uniform() < this.settings.dropCaptions)
      const given = await this.#batch(examples, dropped, numbers, batch * accumulate)
      const { losses } = await trainer.accumulate(given, { signal })
      loss += this.#add(sums, losses, given, batch * accumulate)
      if (!Number.isFinite(loss)) throw await this.#diverged(step + 1, given, loss)
    }
    // Early on a long memory would hold on to the first values.
    const keep = Math.min(average, (1 + inStage) / (10 + inStage))
    try {
      const norm = await trainer.update({ rate: learningRate(rate, step, this.total, warmup), beta1, beta2, decay, clip, keep, signal })
      return { loss, losses: sums, norm }
    } catch (error) {
      if (!(error instanceof AsdmError) || !error.message.startsWith('Expected finite gradients')) throw error
      const weight = /that of (\S+) is not/.exec(error.message)?.[1]
      throw new AsdmError('TRAINING_DIVERGED',
        `Expected finite gradients at step ${step + 1} but that of ${weight} is not; the last checkpoint stays, and a lower rate may help`, { cause: error })
    }
  }

  /** The losses on held-out examples, always with the same noise; undefined where none are held out. */
  async validate(): Promise<StepResult | undefined> {
    const { settings: { batch, validation, seed }, prepared: { data }, trainer, signal } = this
    const wanted = data.validation.slice(0, validation)
    // Whole batches: another size would be compiled, and held in memory, beside that of training.
    const examples = wanted.length < batch ? wanted : wanted.slice(0, wanted.length - wanted.length % batch)
    if (examples.length === 0) return undefined
    const sums: Record<string, number> = {}
    let loss = 0
    for (let at = 0; at < examples.length; at += batch) {
      const some = examples.slice(at, at + batch)
      const given = await this.#batch(some, some.map(() => false), new StepNumbers(seed, validationSteps + at), examples.length)
      loss += this.#add(sums, (await trainer.evaluate(given, { signal })).losses, given, examples.length)
    }
    return { loss, losses: sums, norm: 0 }
  }

  /** Adds losses up, as means over `samples`. @returns their part of the weighted sum */
  #add(sums: Record<string, number>, losses: Record<string, Float32Array>, given: TrainingBatch, samples: number): number {
    let weighted = 0
    for (const [name, values] of Object.entries(losses)) {
      sums[name] = (sums[name] ?? 0) + values.reduce((sum, value) => sum + value, 0) / samples
      const weights = given.weights![name]!
      values.forEach((value, i) => { weighted += value * weights[i]! })
    }
    return weighted
  }

  async #batch(examples: readonly number[], dropped: readonly boolean[], numbers: StepNumbers, samples: number): Promise<TrainingBatch> {
    const { prepared: { teacher, data, alphasCumprod, predictionType }, terms, stage: { losses }, signal } = this
    const timesteps = examples.map(() => numbers.below(alphasCumprod.length))
    const latents = await data.latents(examples)
    const noise = numbers.randn(latents.shape)
    const sample = addNoise(latents, noise, timesteps, alphasCumprod)
    const encoderHiddenStates = await data.text(examples, dropped)
    const taps = [...new Set(terms.flatMap(({ target }) => (typeof target === 'string' ? [] : [target.tap])))]
    const taught = terms.every(({ target }) => target === 'task')
      ? undefined
      : await teacher.unet.forward({ sample, timestep: timesteps, encoderHiddenStates, taps, signal })
    const target = ({ target: of }: Term): Tensor => {
      if (of === 'task') return taskTarget(predictionType, latents, noise, timesteps, alphasCumprod)
      return of === 'output' ? taught!.sample : taught!.taps[of.tap]!
    }
    const alphas = timesteps.map(t => alphasCumprod[t]!)
    return {
      sample, timesteps, encoderHiddenStates, targets: Object.fromEntries(terms.map(term => [term.loss.name, target(term)])),
      weights: Object.fromEntries(terms.map(term => [term.loss.name, termWeights(term, losses, predictionType, alphas, samples)])),
    }
  }

  async #diverged(step: number, given: TrainingBatch, loss: number): Promise<AsdmError> {
    const bad = Object.entries(given.targets).find(([, { data }]) => !data.every(Number.isFinite))?.[0]
    const unit = bad === undefined ? await this.trainer.firstNonFinite(given, { signal: this.signal }) : undefined
    const where = bad !== undefined ? `the teacher's target of the loss ${bad}` : unit ?? 'the losses'
    return new AsdmError('TRAINING_DIVERGED',
      `Expected finite losses at step ${step} but the sum is ${loss}: it began in ${where}; the last checkpoint stays, and a lower rate may help`)
  }
}
