import { AsdmError, shown } from '../base/errors'
import { nearestName } from '../base/options'
import { checkConfig, type SchedulerConfig } from './config'
import { DDIMSampler } from './ddim'
import { DDPMSampler } from './ddpm'
import { DPMSolverMultistepSampler } from './dpm-solver-multistep'
import { EulerSampler } from './euler'
import { EulerAncestralSampler } from './euler-ancestral'
import { LCMSampler } from './lcm'
import { samplerNamed } from './names'
import { PNDMSampler } from './pndm'
import type { Sampler } from './sampler'
import { UniPCSampler } from './unipc'

export type { Sampler } from './sampler'

type SamplerClass = new (config: SchedulerConfig) => Sampler

/** Samplers by the class name that `scheduler_config.json` states. */
const classes: ReadonlyMap<string, SamplerClass> = new Map<string, SamplerClass>([
  ['DDIMScheduler', DDIMSampler],
  ['DDPMScheduler', DDPMSampler],
  ['PNDMScheduler', PNDMSampler],
  ['EulerDiscreteScheduler', EulerSampler],
  ['EulerAncestralDiscreteScheduler', EulerAncestralSampler],
  ['DPMSolverMultistepScheduler', DPMSolverMultistepSampler],
  ['UniPCMultistepScheduler', UniPCSampler],
  ['LCMScheduler', LCMSampler],
])

/** Short names, as pipelines and the command line take them. */
export type SamplerName = 'ddim' | 'ddpm' | 'pndm' | 'euler' | 'euler-ancestral' | 'dpmpp-2m' | 'dpmpp-2m-karras' | 'unipc' | 'lcm'

/** What each short name stands for: a class, and the options that the name itself settles. */
const named: Readonly<Record<SamplerName, { className: string, settles?: SchedulerConfig }>> = {
  'ddim': { className: 'DDIMScheduler' },
  'ddpm': { className: 'DDPMScheduler' },
  // Runge-Kutta steps make latent models worse, and no checkpoint of theirs asks for them.
  'pndm': { className: 'PNDMScheduler', settles: { skip_prk_steps: true } },
  'euler': { className: 'EulerDiscreteScheduler' },
  'euler-ancestral': { className: 'EulerAncestralDiscreteScheduler' },
  'dpmpp-2m': { className: 'DPMSolverMultistepScheduler', settles: { ...multistepOf2(), use_karras_sigmas: false } },
  'dpmpp-2m-karras': { className: 'DPMSolverMultistepScheduler', settles: { ...multistepOf2(), use_karras_sigmas: true } },
  'unipc': { className: 'UniPCMultistepScheduler' },
  'lcm': { className: 'LCMScheduler' },
}

function multistepOf2(): SchedulerConfig {
  return { algorithm_type: 'dpmsolver++', solver_order: 2, use_exponential_sigmas: false, use_lu_lambdas: false }
}

/** Every short name, for help texts. */
export const samplerNames: readonly SamplerName[] = Object.freeze(Object.keys(named) as SamplerName[])

/** Options that tell about the network, and therefore hold for any sampler; the others tune one algorithm. */
const checkpointOptions = [
  'num_train_timesteps', 'beta_start', 'beta_end', 'beta_schedule', 'trained_betas', 'rescale_betas_zero_snr', 'prediction_type',
  'timestep_spacing', 'steps_offset', 'set_alpha_to_one', 'clip_sample', 'clip_sample_range', 'thresholding',
  'dynamic_thresholding_ratio', 'sample_max_value',
]

/**
 * Makes a sampler from a scheduler config, by its `_class_name`.
 * @throws AsdmError `UNSUPPORTED_CONFIG` for an unknown class or an option that asks for something not implemented, `BAD_CONFIG` for an
 * absurd value, `INVALID_ARGUMENT` for something that is no config
 */
export function createSampler(config: SchedulerConfig): Sampler
/**
 * Makes a sampler by its short name, or another program's name for it (`Euler a`, `DPM++ 2M Karras`, `sample_dpmpp_2m`, a diffusers class),
 * for a checkpoint whose scheduler config is given. What that config states about the network (betas, prediction type, spacing, ...) holds
 * for the new sampler; what it leaves out takes the new class's defaults, as with diffusers' `from_config`; what it states about another
 * algorithm is left aside.
 * @throws AsdmError as above; `INVALID_ARGUMENT` for an unknown name
 */
export function createSampler(name: SamplerName | (string & {}), checkpointConfig: SchedulerConfig): Sampler
/** Either of the two, for what comes from outside. The checkpoint's config is only looked at beside a name. */
export function createSampler(nameOrConfig: string | SchedulerConfig, checkpointConfig?: SchedulerConfig): Sampler
export function createSampler(nameOrConfig: unknown, checkpointConfig?: unknown): Sampler {
  if (typeof nameOrConfig !== 'string') {
    const config = checkConfig(nameOrConfig)
    const className = config._class_name
    if (typeof className !== 'string')
      throw new AsdmError('BAD_CONFIG', `Expected _class_name of a scheduler config to be a text but received ${shown(className)}`)
    return construct(className, config)
  }
  const name = samplerNamed(nameOrConfig, samplerNames)
  const base = checkConfig(checkpointConfig)
  // A class has more than one name where these settle its options; by its own name it keeps those of the config.
  const { className, settles } = name !== undefined ? named[name] : { className: nameOrConfig, settles: undefined }
  if (name === undefined && !classes.has(className)) throw unknownName(nameOrConfig)
  const sameClass = base._class_name === className
  const kept = Object.entries(base).filter(([option]) => sameClass || checkpointOptions.includes(option))
  if (!sameClass && className === 'PNDMScheduler' && base.rescale_betas_zero_snr === true)
    throw new AsdmError('UNSUPPORTED_CONFIG',
      'Expected a sampler that starts from pure noise, since the checkpoint has rescale_betas_zero_snr true, but received "pndm", '
      + 'which cannot')
  return construct(className, { ...Object.fromEntries(kept), ...settles, _class_name: className })
}

function unknownName(name: string): AsdmError {
  const nearest = nearestName(name, [...samplerNames, ...classes.keys()])
  const hint = nearest === undefined ? '' : `; did you mean ${JSON.stringify(nearest)}?`
  return new AsdmError('INVALID_ARGUMENT',
    `Expected a sampler to be one of ${samplerNames.join(', ')}, or one of these in diffusers', AUTOMATIC1111's or k-diffusion's words, `
    + `but received ${shown(name)}${hint}`)
}

function construct(className: string, config: SchedulerConfig): Sampler {
  const constructor = classes.get(className)
  if (constructor === undefined)
    throw new AsdmError('UNSUPPORTED_CONFIG',
      `Expected _class_name of a scheduler config to be one of ${[...classes.keys()].join(', ')} but received ${shown(className)}`)
  return new constructor(config)
}
