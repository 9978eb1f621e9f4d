import { AsdmError, shown } from '../base/errors'
import { nearestName } from '../base/options'
import { checkConfig, type SchedulerConfig } from './config'
import { DDIMSampler } from './ddim'
import { DDPMSampler } from './ddpm'
import { DEISSampler } from './deis'
import { DPM2AncestralSampler, DPM2Sampler } from './dpm2'
import { DPMSolverMultistepSampler } from './dpm-solver-multistep'
import { DPMSolver2SAncestralSampler } from './dpmpp-2s-ancestral'
import { DPMSolver3MSDESampler } from './dpmpp-3m-sde'
import { DPMSolverSDESampler } from './dpmpp-sde'
import { EulerSampler } from './euler'
import { EulerAncestralSampler, kDiffusionEulerAncestral } from './euler-ancestral'
import { HeunSampler } from './heun'
import { LCMSampler } from './lcm'
import { IPNDMSampler, LMSSampler } from './lms'
import { parseSamplerName, samplerNames, samplerUsage, trailing, type PlainSamplerName, type SamplerName } from './names'
import { PNDMSampler } from './pndm'
import { SASolverSampler } from './sa-solver'
import type { Sampler } from './sampler'
import { sigmaSwitches } from './sigmas'
import { TCDSampler } from './tcd'
import { UniPCSampler } from './unipc'

type SamplerClass = new (config: SchedulerConfig) => Sampler

/** Samplers by the class name that `scheduler_config.json` states; by k-diffusion's function where diffusers has none. */
const classes: ReadonlyMap<string, SamplerClass> = new Map<string, SamplerClass>([
  ['DDIMScheduler', DDIMSampler],
  ['DDPMScheduler', DDPMSampler],
  ['PNDMScheduler', PNDMSampler],
  ['EulerDiscreteScheduler', EulerSampler],
  ['EulerAncestralDiscreteScheduler', EulerAncestralSampler],
  [kDiffusionEulerAncestral, EulerAncestralSampler],
  ['HeunDiscreteScheduler', HeunSampler],
  ['LMSDiscreteScheduler', LMSSampler],
  ['KDPM2DiscreteScheduler', DPM2Sampler],
  ['KDPM2AncestralDiscreteScheduler', DPM2AncestralSampler],
  ['DPMSolverMultistepScheduler', DPMSolverMultistepSampler],
  ['sample_dpmpp_3m_sde', DPMSolver3MSDESampler],
  ['sample_dpmpp_2s_ancestral', DPMSolver2SAncestralSampler],
  ['DPMSolverSDEScheduler', DPMSolverSDESampler],
  ['DEISMultistepScheduler', DEISSampler],
  ['sample_ipndm', IPNDMSampler],
  ['UniPCMultistepScheduler', UniPCSampler],
  ['SASolverScheduler', SASolverSampler],
  ['LCMScheduler', LCMSampler],
  ['TCDScheduler', TCDSampler],
])

/** Classes that start a run above pure noise and have no option for schedules rescaled to zero terminal SNR. */
const withoutZeroSnr: readonly string[] = [
  'PNDMScheduler', 'HeunDiscreteScheduler', 'LMSDiscreteScheduler', 'KDPM2DiscreteScheduler', 'KDPM2AncestralDiscreteScheduler',
  'DPMSolverSDEScheduler', 'DEISMultistepScheduler', 'SASolverScheduler',
]

/** What each short name stands for: a class, and the options that the name itself settles. */
const named: Readonly<Record<PlainSamplerName, { className: string, settles?: SchedulerConfig }>> = {
  'ddim': { className: 'DDIMScheduler' },
  'ddpm': { className: 'DDPMScheduler' },
  // Runge-Kutta steps make latent models worse, and no checkpoint of theirs asks for them.
  'pndm': { className: 'PNDMScheduler', settles: { skip_prk_steps: true } },
  'euler': { className: 'EulerDiscreteScheduler' },
  'euler-ancestral': { className: 'EulerAncestralDiscreteScheduler' },
  'heun': { className: 'HeunDiscreteScheduler' },
  'lms': { className: 'LMSDiscreteScheduler' },
  'dpm2': { className: 'KDPM2DiscreteScheduler' },
  'dpm2-ancestral': { className: 'KDPM2AncestralDiscreteScheduler' },
  'dpmpp-2m': { className: 'DPMSolverMultistepScheduler', settles: multistepOf2('dpmsolver++') },
  'dpmpp-2m-sde': { className: 'DPMSolverMultistepScheduler', settles: multistepOf2('sde-dpmsolver++') },
  'dpmpp-3m-sde': { className: 'sample_dpmpp_3m_sde' },
  'dpmpp-2s-ancestral': { className: 'sample_dpmpp_2s_ancestral' },
  'dpmpp-sde': { className: 'DPMSolverSDEScheduler' },
  'deis': { className: 'DEISMultistepScheduler' },
  'ipndm': { className: 'sample_ipndm' },
  'unipc': { className: 'UniPCMultistepScheduler' },
  'sa-solver': { className: 'SASolverScheduler' },
  'lcm': { className: 'LCMScheduler' },
  'tcd': { className: 'TCDScheduler' },
}

function multistepOf2(algorithm: string): SchedulerConfig {
  return { algorithm_type: algorithm, solver_order: 2, use_lu_lambdas: false, ...sigmaSwitches('timesteps') }
}

/**
 * The class of a name, and what the name settles. A class that has more than one name, since these settle its options, keeps those of the
 * config by its own name.
 */
function meaningOf(name: string): { className: string, settles?: SchedulerConfig } | undefined {
  const parsed = parseSamplerName(name)
  if (parsed === undefined) return classes.has(name) ? { className: name } : undefined
  const { plain, schedule } = parsed
  const { className, settles } = named[plain]
  if (schedule === undefined) return { className, ...(settles && { settles }) }
  if (schedule === trailing) return { className, settles: { ...settles, timestep_spacing: trailing } }
  return {
    className: plain === 'euler-ancestral' ? kDiffusionEulerAncestral : className, settles: { ...settles, ...sigmaSwitches(schedule) },
  }
}

/**
 * The short names, without noise schedules behind them, that `createSampler` takes for a checkpoint. Not every sampler can start from the
 * pure noise of a checkpoint with `rescale_betas_zero_snr`.
 * @throws AsdmError `INVALID_ARGUMENT` for something that is no config
 */
export function samplersFor(checkpointConfig: SchedulerConfig): PlainSamplerName[] {
  const config = checkConfig(checkpointConfig)
  return samplerNames.filter(name => {
    try {
      createSampler(name, config)
      return true
    } catch (error) {
      if (error instanceof AsdmError && error.code === 'UNSUPPORTED_CONFIG') return false
      throw error
    }
  })
}

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
  const meaning = meaningOf(nameOrConfig)
  const base = checkConfig(checkpointConfig)
  if (meaning === undefined) throw unknownName(nameOrConfig, samplersFor(base))
  const { className, settles } = meaning
  const sameClass = base._class_name === className
  // Levels by a rule of their own have no spacing.
  const ruled = settles?.timestep_spacing === undefined ? [] : Object.keys(sigmaSwitches('timesteps'))
  const kept = Object.entries(base).filter(([option]) => (sameClass || checkpointOptions.includes(option)) && !ruled.includes(option))
  if (!sameClass && withoutZeroSnr.includes(className) && base.rescale_betas_zero_snr === true)
    throw new AsdmError('UNSUPPORTED_CONFIG',
      'Expected a sampler that starts from pure noise, since the checkpoint has rescale_betas_zero_snr true, '
      + `but received ${shown(nameOrConfig)}, which cannot`)
  return construct(className, { ...Object.fromEntries(kept), ...settles, _class_name: className })
}

function unknownName(name: string, known: readonly PlainSamplerName[]): AsdmError {
  const nearest = nearestName(name, [...known, ...classes.keys()])
  const hint = nearest === undefined ? '' : `; did you mean ${JSON.stringify(nearest)}?`
  return new AsdmError('INVALID_ARGUMENT',
    `Expected a sampler to be one of ${samplerUsage(known)}; or one of these in diffusers', AUTOMATIC1111's or k-diffusion's words, `
    + `but received ${shown(name)}${hint}`)
}

function construct(className: string, config: SchedulerConfig): Sampler {
  const constructor = classes.get(className)
  if (constructor === undefined)
    throw new AsdmError('UNSUPPORTED_CONFIG',
      `Expected _class_name of a scheduler config to be one of ${[...classes.keys()].join(', ')} but received ${shown(className)}`)
  return new constructor(config)
}
