import { throwIfAborted } from './base/errors'
import { Slices } from './base/slices'
import { item, joinChannels, pick, type Tensor } from './base/tensor'
import { guidanceEmbedding, type Conditioning } from './components/conditioning'
import { FiniteWatch } from './components/finite'
import type { Warning } from './components/warnings'
import type { TextEncoder } from './components/text-encoder'
import type { UNet } from './components/unet'
import type { VAE } from './components/vae'
import { GeneratedImage } from './image/generated-image'
import { overlay } from './image/overlay'
import { toRgba } from './image/pixels'
import type { Preview, PreviewKind } from './image/preview'
import { imageNoise, start, type NoiseSource } from './image/start'
import { mainUNet } from './plan/plan'
import { plainSteps, PlannedRun } from './plan/planned-run'
import { Clock, type Step } from './progress'
import type { Request } from './request'
import { encodeText } from './text/encode'
import type { FeatureCache } from './text/feature-cache'
import type { Tokenizer } from './text/tokenizer'

/** What the pipeline is made of. */
export interface Pipeline {
  tokenizer: Tokenizer
  textEncoder: TextEncoder
  /** Features of recent prompts. */
  features: FeatureCache
  unet: UNet
  /** Further UNets, which plans name. */
  unets?: Readonly<Record<string, UNet>>
  vae: VAE
  /** Previews of latents that are scaled as the UNet reads them. */
  preview(kind: PreviewKind, latents: Tensor, signal: AbortSignal): Promise<Preview[]>
  warn(warning: Warning): void
  /** What decoding took before, in milliseconds for each pixel; the pipeline keeps it up to date. */
  decodeMsPerPixel: number | undefined
}

/**
 * The whole path of a request: tokens and text features, then in each step sampler and UNet on the latents, then the images. It is
 * diffusers' `StableDiffusionPipeline`, with an image its `Img2ImgPipeline`, with a mask its `InpaintPipeline`; random numbers
 * are drawn in their order. Yields progress; the last step carries the images, which are also the return value.
 */
export async function* runPipeline(
  model: Pipeline, request: Request, noise: NoiseSource, signal: AbortSignal,
): AsyncGenerator<Step, GeneratedImage[], void> {
  const { tokenizer, textEncoder, unet, vae } = model
  const { sampler, images: batch, guidanceScale, negativePrompts } = request
  const opened = await request.open(signal)
  const { width, height } = opened
  const decodeMs = model.decodeMsPerPixel === undefined ? undefined : model.decodeMsPerPixel * width * height
  const clock = new Clock(sampler.timesteps.length, batch, decodeMs)

  const finite = new FiniteWatch(warning => model.warn(warning), signal)
  const perPrompt = await encodeText(tokenizer, textEncoder, model.features, request, warning => model.warn(warning), signal)
  const text = pick(perPrompt, Array.from({ length: perPrompt.shape[0]! * request.count }, (_, i) => Math.floor(i / request.count)))
  await finite.look('textEncoder', perPrompt.data)
  const conditioning: Conditioning = {
    encoderHiddenStates: text,
    ...(request.guidanceDim !== undefined && { timestepCond: guidanceEmbedding(guidanceScale, request.guidanceDim, batch) }),
  }
  textEncoder.trim()
  yield { phase: 'text', ...clock.lap('text', 1) }
  clock.resume()

  const begin = await start(request, opened, vae, noise, unet.config.inChannels !== vae.config.latentChannels, signal)
  let latents = begin.latents
  if (opened.image !== undefined) {
    await finite.look('vaeEncoder', latents.data)
    vae.trim()
    yield { phase: 'encode', ...clock.lap('encode', 1) }
    clock.resume()
  }

  const guided = negativePrompts !== undefined
  const run = await PlannedRun.compile({ ...model.unets, [mainUNet]: unet }, request.plan?.steps ?? plainSteps(sampler.timesteps.length), {
    images: batch, height: latents.shape[2]!, width: latents.shape[3]!, length: text.shape[1]!, guided,
  }, request.plan?.plan, signal)
  try {
    await run.condition(conditioning, signal)
    if (request.plan !== undefined) {
      yield { phase: 'plan', ...clock.lap('plan', 1), report: run.report }
      clock.resume()
    }
    for (const [i, timestep] of sampler.timesteps.entries()) {
      throwIfAborted(signal)
      const scaled = sampler.scaleInput(latents, i)
      const sample = begin.condition === undefined ? scaled : joinChannels([scaled, ...begin.condition])
      const output = await run.step(i, sample, timestep, guidanceScale, signal)
      await finite.look('unet', output.data, i + 1)
      const fresh = sampler.needsNoise(i, { eta: request.eta }) ? await imageNoise(noise, latents.shape, new Slices(signal)) : undefined
      latents = sampler.step(output, i, latents, { noise: fresh, eta: request.eta })
      if (begin.keep !== undefined) latents = begin.keep(latents, i)
      const preview = request.preview && await model.preview(request.preview, visible(latents, i, request), signal)
      yield { phase: 'denoise', ...clock.lap('denoise', i + 1), timestep, latents, ...(preview && { preview }) }
      clock.resume()
    }
  } finally {
    run.dispose()
  }
  for (const each of [unet, ...Object.values(model.unets ?? {})]) each.trim()

  const { scalingFactor, shiftFactor } = vae.config
  const images: GeneratedImage[] = []
  for (let i = 0; i < batch; i++) {
    throwIfAborted(signal)
    const decoded = await vae.decode(unscale(item(latents, i), scalingFactor, shiftFactor), { signal, tiling: request.tiling })
    await finite.look('vae', decoded.data)
    const rgba = await toRgba(decoded, 0, new Slices(signal))
    if (opened.outside !== undefined) await overlay(rgba, opened.outside.image, opened.outside.mask, new Slices(signal))
    images.push(new GeneratedImage(rgba, width, height, request.settings(i, opened)))
    const lap = clock.lap('decode', i + 1)
    model.decodeMsPerPixel = lap.ms / (width * height)
    if (i === batch - 1) vae.trim()
    yield { phase: 'decode', ...lap }
    clock.resume()
  }
  yield { phase: 'done', ...clock.lap('done', 1), images, ...(request.plan && { statistics: run.statistics() }) }
  return images
}

/** Latents as the decoder wants them. Exported for tests and scripts. */
export function unscale({ data, shape }: Tensor, scalingFactor: number, shiftFactor: number): Tensor {
  const divisor = Math.fround(scalingFactor)
  return { data: data.map(value => Math.fround(value / divisor) + shiftFactor), shape }
}

/** Latents between two steps, brought to the scale of the next step's input. */
function visible(latents: Tensor, i: number, { sampler }: Request): Tensor {
  return i + 1 < sampler.timesteps.length ? sampler.scaleInput(latents, i + 1) : latents
}
