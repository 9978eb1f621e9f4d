/** AUTOMATIC1111's names of samplers, with asdm's, in its order. */
export const samplers: readonly (readonly [label: string, name: string])[] = [
  ['DPM++ 2M', 'dpmpp-2m'], ['DPM++ SDE', 'dpmpp-sde'], ['DPM++ 2M SDE', 'dpmpp-2m-sde'], ['DPM++ 2S a', 'dpmpp-2s-ancestral'],
  ['DPM++ 3M SDE', 'dpmpp-3m-sde'], ['Euler a', 'euler-ancestral'], ['Euler', 'euler'], ['LMS', 'lms'], ['Heun', 'heun'], ['DPM2', 'dpm2'],
  ['DPM2 a', 'dpm2-ancestral'], ['DDIM', 'ddim'], ['PLMS', 'pndm'], ['UniPC', 'unipc'], ['LCM', 'lcm'], ['DDPM', 'ddpm'], ['DEIS', 'deis'],
  ['iPNDM', 'ipndm'], ['SA-Solver', 'sa-solver'], ['TCD', 'tcd'],
]

/** Its names of noise schedules, with what stands behind asdm's sampler names. */
export const schedulers: readonly (readonly [name: string, label: string, suffix: string])[] = [
  ['automatic', 'Automatic', ''], ['karras', 'Karras', '-karras'], ['exponential', 'Exponential', '-exponential'],
  ['sgm_uniform', 'SGM Uniform', '-sgm-uniform'], ['beta', 'Beta', '-beta'],
  ['align_your_steps', 'Align Your Steps', '-align-your-steps'],
]

const folded = (text: string): string => text.toLowerCase().replaceAll(/[^a-z\d+]/g, '')

/** A sampler and a noise schedule in its words, as asdm's sampler; what none names is handed on, for asdm to refuse in words. */
export function samplerOf(sampler: string | undefined, scheduler: string | undefined): string | undefined {
  if (sampler === undefined || folded(sampler) === 'automatic') return undefined
  const name = samplers.find(([label]) => folded(label) === folded(sampler))?.[1] ?? sampler
  if (scheduler === undefined) return name
  const found = schedulers.find(([each, label]) => [each, label].some(text => folded(text) === folded(scheduler)))
  return name + (found === undefined ? `-${scheduler}` : found[2])
}

/** asdm's sampler in its words. */
export function labelOf(sampler: unknown): string {
  if (typeof sampler !== 'string') {
    const name = (sampler as { _class_name?: unknown } | undefined)?._class_name
    return typeof name === 'string' ? name : ''
  }
  const suffix = schedulers.find(([, , each]) => each !== '' && sampler.endsWith(each))?.[2] ?? ''
  const plain = sampler.slice(0, sampler.length - suffix.length)
  return samplers.find(([, name]) => name === plain)?.[0] ?? plain
}
