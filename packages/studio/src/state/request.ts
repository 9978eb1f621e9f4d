import { signal } from '@preact/signals'
import type { JobBody, Settings } from '../api/types'
import { stored } from './stored'

/** A LoRA of the request. */
export interface ChosenLora {
  name: string
  weight: number
}

/** What the form holds. An empty text stands for the model's own value. */
export interface FormRequest {
  model: string
  prompt: string
  negativePrompt: string
  sampler: string
  steps: number | undefined
  guidanceScale: number | undefined
  seed: string
  width: number | undefined
  height: number | undefined
  count: number
  strength: number
  loras: ChosenLora[]
  /** Whether the plan of the plan page is used. */
  planned: boolean
}

const standard: FormRequest = {
  model: '', prompt: '', negativePrompt: '', sampler: '', steps: undefined, guidanceScale: undefined, seed: '', width: undefined, height: undefined,
  count: 1, strength: 0.6, loras: [], planned: false,
}

/** What is asked for next. */
export const request = stored<FormRequest>('request', standard)

/** An image to start from, and a mask on it, as `data:` URLs. */
export interface SourceImage {
  url: string
  width: number
  height: number
  mask: string | undefined
}

/** The image to start from. */
export const source = signal<SourceImage | undefined>(undefined)

/** Changes some of the request. */
export function change(changes: Partial<FormRequest>): void {
  request.value = { ...request.value, ...changes }
}

/** The request as the API takes it. */
export function bodyOf(form: FormRequest, model: string | undefined, image: SourceImage | undefined): JobBody {
  const { prompt, negativePrompt, sampler, steps, guidanceScale, seed, width, height, count, strength, loras } = form
  return {
    prompt, preview: true, count, seeds: 'per-image',
    ...(model !== undefined && { model }), ...(negativePrompt !== '' && { negativePrompt }), ...(sampler !== '' && { sampler }),
    ...(steps !== undefined && { steps }), ...(guidanceScale !== undefined && { guidanceScale }), ...(seed !== '' && { seed }),
    ...(width !== undefined && { width }), ...(height !== undefined && { height }), ...(loras.length > 0 && { loras }),
    ...(image !== undefined && { image: image.url, strength, ...(image.mask !== undefined && { mask: image.mask, keepOutside: true }) }),
  }
}

/** The form with an image's settings. What they do not say stays. */
export function withSettings(form: FormRequest, settings: Settings): FormRequest {
  const { prompt, negativePrompt, guidanceScale, steps, sampler, seed, width, height, strength } = settings
  return {
    ...form, ...(prompt !== undefined && { prompt }), ...(negativePrompt !== undefined && { negativePrompt }),
    ...(guidanceScale !== undefined && { guidanceScale }), ...(steps !== undefined && { steps }), ...(typeof sampler === 'string' && { sampler }),
    ...(seed !== undefined && { seed: String(seed) }), ...(width !== undefined && { width }), ...(height !== undefined && { height }),
    ...(strength !== undefined && { strength }), count: 1,
  }
}
