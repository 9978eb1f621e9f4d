import { shown } from '../base/errors'
import type { JsonObject } from '../files/json'

/** Classes that clip the predicted sample to [-1, 1] where a config leaves `clip_sample` out: a range for pixels, not for latents. */
const clipByDefault: readonly unknown[] = ['DDIMScheduler', 'DDPMScheduler', 'TCDScheduler']
/** Classes that look at `clip_sample` at all. */
const clipping: readonly unknown[] = [...clipByDefault, 'LCMScheduler']
/** Classes whose timesteps count from the offset where a config leaves `timestep_spacing` out. */
const leadingByDefault: readonly unknown[] = ['DDIMScheduler', 'DDPMScheduler', 'PNDMScheduler', 'TCDScheduler']

/**
 * A folder's scheduler config as diffusers' Stable Diffusion pipelines correct it in their constructors, whatever it says or leaves out:
 * `clip_sample` false (latents reach far beyond the [-1, 1] that it clips to), `steps_offset` 1, and for inpainting pipelines
 * `skip_prk_steps` true. Values of the wrong type stay, for the sampler to refuse. Latent consistency pipelines correct nothing.
 * @param pipeline `_class_name` of the model index, `undefined` where there is none
 * @param warnings takes a sentence where the correction changes images
 */
export function correctedScheduler(config: JsonObject, pipeline: unknown, warnings: string[]): JsonObject {
  if (typeof pipeline === 'string' && pipeline.startsWith('LatentConsistency')) return config
  const corrected = { ...config }
  const { _class_name: name, clip_sample: clip, steps_offset: offset } = config
  const correct = (option: string, value: unknown, matters: boolean): void => {
    corrected[option] = value
    if (matters)
      warnings.push(
        `The scheduler config ${config[option] === undefined ? `leaves ${option} out` : `says ${option} ${shown(config[option])}`}; `
        + `${String(value)} is used, as in diffusers.`,
      )
  }
  if (clip === undefined || clip === null || clip === true)
    correct('clip_sample', false, clip === true ? clipping.includes(name) : clipByDefault.includes(name))
  if (offset === undefined || offset === null || Number.isInteger(offset) && offset !== 1)
    correct(
      'steps_offset', 1,
      (config.timestep_spacing ?? (leadingByDefault.includes(name) ? 'leading' : undefined)) === 'leading' && name !== 'LCMScheduler',
    )
  if (typeof pipeline === 'string' && pipeline.includes('Inpaint') && name === 'PNDMScheduler'
    && (config.skip_prk_steps ?? false) === false)
    correct('skip_prk_steps', true, true)
  return corrected
}
