import type { Tensor } from '../../lib/base/tensor'
import type { NoiseSource } from '../../lib/image/start'
import { runPipeline } from '../../lib/pipeline'
import type { Step } from '../../lib/progress'
import { modelFacts, parseRequest, type GenerateOptions } from '../../lib/request'
import type { StableDiffusion } from '../../lib/stable-diffusion'
import { FeatureCache } from '../../lib/text/feature-cache'

/** Noise from a list, in order; every shape is checked. */
export class NoiseList implements NoiseSource {
  private next = 0

  constructor(private readonly tensors: readonly Tensor[]) {}

  async randnSliced(shape: readonly number[]): Promise<Tensor> {
    const tensor = this.tensors[this.next++]
    if (tensor === undefined) throw new Error(`more than ${this.tensors.length} noise tensors drawn`)
    if (String(tensor.shape) !== String(shape)) throw new Error(`noise [${shape}] drawn where [${tensor.shape}] is due`)
    return tensor
  }

  get left(): number {
    return this.tensors.length - this.next
  }
}

/** Runs the pipeline of a model with noise that is given instead of drawn from a seed. */
export async function runWithNoise(
  sd: StableDiffusion, options: GenerateOptions, noise: NoiseSource,
): Promise<{ steps: Step[], latents: Tensor[], rgba: Uint8ClampedArray[] }> {
  const { tokenizer, textEncoder, unet, vae } = sd
  const model = {
    tokenizer, textEncoder, features: new FeatureCache(), unet, vae, decodeMsPerPixel: undefined,
    preview: () => Promise.reject(new Error('no preview here')),
    warn: () => {},
  }
  const request = parseRequest(options, modelFacts(sd, sd.schedulerConfig), 'test')
  const steps: Step[] = []
  for await (const step of runPipeline(model, request, noise, new AbortController().signal)) steps.push(step)
  const latents = steps.flatMap(step => (step.phase === 'denoise' ? [step.latents] : []))
  const last = steps[steps.length - 1]
  return { steps, latents, rgba: last.phase === 'done' ? last.images.map(image => image.rgba) : [] }
}

/** Slice `index` of a stacked tensor, without the first dimension. */
export function slice({ data, shape }: Tensor, index: number): Tensor {
  const size = data.length / shape[0]
  return { data: data.slice(index * size, (index + 1) * size), shape: shape.slice(1) }
}

/** What a reference picture [1,3,H,W] in [0, 1] is as RGBA bytes. */
export function expectedRgba({ data, shape: [, , height, width] }: Tensor): Uint8ClampedArray {
  const plane = height * width
  // The assignment to a clamped array rounds half to even.
  return new Uint8ClampedArray(plane * 4).map((_, i) => (i % 4 === 3 ? 255 : data[(i % 4) * plane + (i >> 2)] * 255))
}
