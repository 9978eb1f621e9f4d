import { bad, bytesOfText } from '../images'
import type { Round } from '../jobs/job'
import type { NamedLora } from '../models/store'
import { samplerOf } from './names'

/** What txt2img and img2img take, once `null` is taken out. */
export interface SdBody {
  prompt?: string
  negative_prompt?: string
  seed?: number
  sampler_name?: string
  sampler_index?: string
  scheduler?: string
  batch_size?: number
  n_iter?: number
  steps?: number
  cfg_scale?: number
  width?: number
  height?: number
  eta?: number
  denoising_strength?: number
  override_settings?: Record<string, unknown>
  send_images?: boolean
  init_images?: string[]
  mask?: string
  mask_blur?: number
  inpainting_fill?: number
  inpainting_mask_invert?: number
  inpaint_full_res?: boolean | number
  resize_mode?: number
  [name: string]: unknown
}

/** What changes the image there and is not here: refused when it is asked for, never passed over. Values that mean none. */
const absent: Readonly<Record<string, (value: unknown) => boolean>> = {
  enable_hr: value => value === false, restore_faces: value => value === false, tiling: value => value === false,
  subseed_strength: value => value === 0, seed_resize_from_w: value => Number(value) <= 0, seed_resize_from_h: value => Number(value) <= 0,
  script_name: value => value === '', styles: value => Array.isArray(value) && value.length === 0, refiner_checkpoint: value => value === '',
  alwayson_scripts: value => typeof value === 'object' && Object.keys(value ?? {}).length === 0, firstphase_width: value => value === 0,
  firstphase_height: value => value === 0, controlnet_units: value => Array.isArray(value) && value.length === 0,
  inpainting_mask_invert: value => value === 0, mask_blur: value => value === 0, mask_blur_x: value => Number(value) === 4,
  mask_blur_y: value => Number(value) === 4, save_images: value => value === false, latent_mask: () => false,
}

const fits = ['stretch', 'cover', 'contain'] as const

/** A request as rounds of asdm. @throws AsdmError `INVALID_ARGUMENT` */
export function roundsOf(body: SdBody, clipSkip: number | undefined): { rounds: Round[], loras: NamedLora[], seed: number } {
  for (const [name, isNone] of Object.entries(absent))
    if (Object.hasOwn(body, name) && !isNone(body[name])) throw bad(`${name} to be left out, since asdm does not have it,`, JSON.stringify(body[name]).slice(0, 60))
  const { batch_size: count = 1, n_iter: rounds = 1, steps = 50, cfg_scale: guidanceScale = 7, eta, width = 512, height = 512 } = body
  // Seeds count on from image to image, and so does a random one, which the answer names.
  const seed = body.seed === undefined || body.seed < 0 ? Math.floor(Math.random() * 2 ** 32) : body.seed
  const { prompt, loras } = lorasOf(body.prompt ?? '')
  const round: Round = {
    prompt, negativePrompt: body.negative_prompt ?? '', count, steps, guidanceScale, width, height, promptWeighting: true, longPrompts: true,
    seeds: 'per-image', sampler: samplerOf(body.sampler_name ?? body.sampler_index, body.scheduler), clipSkip, eta, ...imagesOf(body),
  }
  return { loras, seed, rounds: Array.from({ length: rounds }, (_, i) => ({ ...round, seed: seed + i * count })) }
}

function imagesOf(body: SdBody): Partial<Round> {
  const { init_images: images, mask, resize_mode: mode = 0, denoising_strength: strength = 0.75, inpainting_fill: fill = 1 } = body
  if (images === undefined) return {}
  const [image] = images
  if (image === undefined || images.length > 1) throw bad('one image in init_images', String(images.length))
  const fit = fits[mode]
  if (fit === undefined) throw bad('resize_mode to be 0 (just resize), 1 (crop and resize) or 2 (resize and fill)', String(mode))
  if (mask === undefined) return { image: bytesOfText(image, 'init_images[0]'), fit, strength }
  if (fill !== 1) throw bad('inpainting_fill to be 1 (original)', String(fill))
  if (body.inpaint_full_res === true || body.inpaint_full_res === 1) throw bad('inpaint_full_res to be false', 'true')
  return { image: bytesOfText(image, 'init_images[0]'), mask: bytesOfText(mask, 'mask'), keepOutside: true, fit, strength }
}

/** The prompt without its `<lora:name:weight>`, and these. */
function lorasOf(text: string): { prompt: string, loras: NamedLora[] } {
  const loras: NamedLora[] = []
  const prompt = text.replaceAll(/<lora:([^:<>]{1,200})(?::([^<>]{1,40}))?>/g, (_match, name: string, weight: string | undefined) => {
    const value = weight === undefined ? 1 : Number(weight)
    if (!Number.isFinite(value)) throw bad(`<lora:${name}:weight> with a number`, JSON.stringify(weight))
    loras.push({ name, weight: value })
    return ''
  })
  return { prompt: prompt.trim(), loras }
}
