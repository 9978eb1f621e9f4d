/**
 * What the samplers of second order over x_0 + sigma n share that run the network twice a step: at the step's noise level, and once more at
 * the end of a first move. Each run of the network is a step of the course, so that plans, progress and `needsNoise` count them. The last
 * step, which ends without noise, is Euler's and runs it once.
 */
import type { Tensor } from '../base/tensor'
import { combine, copyOf } from './arithmetic'
import type { Course, StepInput } from './sampler'
import { UnscaledSampler, type SigmaOptions } from './unscaled'

/** The first half of a step, as the second one sees it. */
export interface FirstStage {
  /** The sample that the step started from. */
  sample: Tensor
  /** The clean sample predicted there. */
  original: Tensor
  /** Its noise level. */
  sigma: number
  /** The noise level where the whole step ends. */
  next: number
  /** The noise drawn in the first half, where that draws. */
  noise: Tensor | undefined
}

export abstract class TwoStageSampler<Options extends SigmaOptions = SigmaOptions> extends UnscaledSampler<Options> {
  #first: FirstStage | undefined

  override get order(): number { return 2 }
  protected override get multistep(): boolean { return true }

  /** The noise level of the second run of the network, in a step from `sigma` to `next`; not called for a step that ends without noise. */
  protected abstract middle(sigma: number, next: number): number

  /** The timestep of a middle level, `next` being the timestep where the step ends. */
  protected middleTimestep(sigma: number, _next: number): number { return this.timestepAt(sigma) }

  /** The first half of a step to the middle level: Euler's, if not another. */
  protected begin(input: StepInput, original: Tensor, middle: number, _next: number): Tensor {
    const ratio = middle / this.course.sigmas![input.index]!
    return combine([ratio, input.sample], [1 - ratio, original])
  }

  /** The second half: from the step's start to its end, with what the network said in the middle. */
  protected abstract finish(input: StepInput, first: FirstStage, original: Tensor): Tensor

  protected override lay(steps: number): Course {
    const { timesteps, sigmas } = super.lay(steps)
    const course = { timesteps: [] as number[], sigmas: [] as number[] }
    timesteps.forEach((timestep, i) => {
      course.timesteps.push(timestep)
      course.sigmas.push(sigmas![i]!)
      if (sigmas![i + 1] === 0) return
      const middle = Math.fround(this.middle(sigmas![i]!, sigmas![i + 1]!))
      course.timesteps.push(this.middleTimestep(middle, timesteps[i + 1]!))
      course.sigmas.push(middle)
    })
    course.sigmas.push(0)
    return course
  }

  protected override forget(): void { this.#first = undefined }

  protected override advance(input: StepInput): Tensor {
    const original = this.original(input)
    const sigmas = this.course.sigmas!
    if (input.index % 2 === 0) {
      const last = input.index === this.course.timesteps.length - 1
      const next = last ? 0 : sigmas[input.index + 2]!
      this.#first = {
        sample: copyOf(input.sample), original, sigma: sigmas[input.index]!, next, noise: input.noise && copyOf(input.noise),
      }
      return last ? copyOf(original) : this.begin(input, original, sigmas[input.index + 1]!, next)
    }
    return this.finish(input, this.#first!, original)
  }
}
