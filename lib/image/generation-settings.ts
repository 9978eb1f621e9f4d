import type { Plan } from '../plan/plan'
import type { SamplerName, SchedulerConfig } from '../samplers'
import type { LoraOptions } from '../lora/options'
import type { Fit } from './fit'

/**
 * What made an image: the request's options with everything that was left to defaults filled in, but for images and latents handed in.
 * `generate(image.settings)` makes the image again; where an image or latents were handed in, together with those.
 */
export interface GenerationSettings {
  /** This image's prompt. */
  prompt: string
  /** This image's negative prompt; without effect where `guidanceScale` is 1 or less. */
  negativePrompt: string
  /** As asked for. */
  guidanceScale: number
  /** As asked for, before `strength` leaves some out. */
  steps: number
  /** The sampler's name, or the scheduler config it was made from, complete with defaults. */
  sampler: SamplerName | SchedulerConfig
  /** Share of fresh noise in each step. */
  eta: number
  /** The request's seed. */
  seed: number | bigint
  /** In pixels. */
  width: number
  /** In pixels. */
  height: number
  /** Images that came of one seed; together with `index` and `seed` this tells which noise the image began with. */
  count: number
  /** Which of the request's images this is, counted from 0, all of the first prompt before those of the second. */
  index: number
  /** Last layers of the text encoder that were left out. */
  clipSkip: number
  /** Were weights read in the prompts? */
  promptWeighting: boolean
  /** Prompts beyond the window filled further ones. */
  longPrompts?: true
  /** Whether the VAE worked tile by tile, where the request said so. */
  tiling?: boolean
  /** The request's own LoRAs, by their paths; those that its prompt names are there. */
  loras?: readonly LoraOptions[]
  /** Where an image was handed in: `image`, or `inpaint` for one with a mask. */
  from?: 'image' | 'inpaint'
  /** How much of the image handed in was repainted. */
  strength?: number
  /** How the image or the mask was fitted, where either had another size. */
  fit?: Fit
  /** What lies outside of the mask was put back. */
  keepOutside?: true
  /** Initial noise was handed in, so the seed alone does not give the image. */
  latents?: true
  /** The plan, where there was one. */
  plan?: Plan
}

/**
 * Settings read from a PNG. Of a file that asdm wrote they are all there; AUTOMATIC1111's web UI and its relatives name fewer, and
 * samplers that asdm does not have.
 */
export type ReadSettings = Partial<Omit<GenerationSettings, 'sampler'>> & { sampler?: SamplerName | (string & {}) | SchedulerConfig }
