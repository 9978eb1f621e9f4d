import { AsdmError, shown } from '../base/errors'
import { reading } from '../base/reading'

/**
 * A scheduler config as diffusers writes it (`scheduler_config.json`): snake_case options, all of them optional except `_class_name`.
 * Options that are absent or `null` take the defaults of the diffusers class.
 */
export type SchedulerConfig = Readonly<Record<string, unknown>>

/** What a config says: the options a sampler reads, and the same as a complete config that makes an equal sampler again. */
export interface ParsedConfig<Options> {
  options: Options
  config: SchedulerConfig
}

/**
 * Every option of diffusers' scheduler classes for Stable Diffusion (`KarrasDiffusionSchedulers`, and LCM, TCD, SA-Solver beside them). A
 * config keeps those of the class that it was made from, so a class passes over what only others know, as diffusers' `extract_init_dict`
 * does.
 */
const known = new Set([
  'algorithm_type', 'beta_end', 'beta_schedule', 'beta_start', 'clip_sample', 'clip_sample_range', 'corrector_order', 'disable_corrector',
  'dynamic_thresholding_ratio', 'euler_at_final', 'final_sigmas_type', 'flow_shift', 'interpolation_type', 'lambda_min_clipped', 'lower_order_final',
  'noise_sampler_seed', 'num_train_timesteps', 'original_inference_steps', 'predict_x0', 'prediction_type', 'predictor_order', 'rescale_betas_zero_snr',
  'rho', 'sample_max_value', 'set_alpha_to_one', 'shift_terminal', 'sigma_data', 'sigma_max', 'sigma_min', 'sigma_schedule', 'skip_prk_steps',
  'solver_order', 'solver_p', 'solver_type', 'steps_offset', 'tau_func', 'thresholding', 'time_shift_type', 'timestep_scaling', 'timestep_spacing',
  'timestep_type', 'trained_betas', 'use_beta_sigmas', 'use_dynamic_shifting', 'use_exponential_sigmas', 'use_flow_sigmas', 'use_karras_sigmas',
  'use_lu_lambdas', 'variance_type',
  // asdm's own.
  'use_sgm_uniform_sigmas', 'use_align_your_steps_sigmas',
])

/** Options that a class has in diffusers and not here; what they ask for is refused. `false` and `null` ask for nothing. */
const unsupported: ReadonlyMap<string, readonly string[]> = new Map([
  ['DPMSolverMultistepScheduler', ['use_flow_sigmas', 'use_dynamic_shifting', 'variance_type']],
  ['UniPCMultistepScheduler', ['use_flow_sigmas', 'use_dynamic_shifting', 'solver_p', 'shift_terminal']],
  ['DEISMultistepScheduler', ['use_flow_sigmas', 'use_dynamic_shifting']],
  ['SASolverScheduler', ['use_flow_sigmas', 'variance_type', 'tau_func']],
])

/** Variances of DDPM, which DPM-Solver leaves alone: it only acts on learned ones. */
const fixedVariances: readonly unknown[] = ['fixed_small', 'fixed_small_log', 'fixed_large', 'fixed_large_log']

/**
 * Reads one scheduler config option by option, remembering which were read, so that {@link parseConfig} can refuse what is left over.
 * Every method throws AsdmError `BAD_CONFIG` for a value of the wrong type or out of range, and `UNSUPPORTED_CONFIG` for one that asks for
 * something not implemented; the message names the class, the option and the value.
 */
export class ConfigReader {
  readonly values: Record<string, unknown>
  readonly #given: Map<string, unknown>

  constructor(config: unknown, readonly className: string) {
    this.#given = new Map(Object.entries(checkConfig(config)))
    this.values = { _class_name: className }
  }

  /** The option's value, undefined where it is absent or null; counts as read. */
  #take(option: string): unknown {
    const value = this.#given.get(option)
    this.#given.delete(option)
    return value ?? undefined
  }

  #record<T>(option: string, value: T): T {
    this.values[option] = value
    return value
  }

  bad(option: string, expected: string, value: unknown): AsdmError {
    return new AsdmError('BAD_CONFIG', `Expected ${option} of ${this.className} to be ${expected} but received ${shown(value)}`)
  }

  unsupported(option: string, value: unknown, expected: string): AsdmError {
    return new AsdmError('UNSUPPORTED_CONFIG',
      `Expected ${option} of ${this.className} to be ${expected} but received ${shown(value)}, which is not supported`)
  }

  /** A number in the closed range [min, max]. */
  number<Default extends number | null>(option: string, fallback: Default, min: number, max: number): number | Default {
    const value = this.#take(option)
    if (value === undefined) return this.#record(option, fallback)
    if (typeof value !== 'number' || !(value >= min && value <= max)) throw this.bad(option, `a number from ${min} to ${max}`, value)
    return this.#record(option, value)
  }

  /** An integer in the closed range [min, max]. */
  integer<Default extends number | null>(option: string, fallback: Default, min: number, max: number): number | Default {
    const value = this.#take(option)
    if (value === undefined) return this.#record(option, fallback)
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max)
      throw this.bad(option, `an integer from ${min} to ${max}`, value)
    return this.#record(option, value)
  }

  flag(option: string, fallback: boolean): boolean {
    const value = this.#take(option) ?? fallback
    if (typeof value !== 'boolean') throw this.bad(option, 'true or false', value)
    return this.#record(option, value)
  }

  /** One of several strings. `aliases` maps further spellings to them. */
  choice<T extends string>(option: string, fallback: T, choices: readonly T[], aliases: ReadonlyMap<string, T> = new Map()): T {
    const value = this.#take(option) ?? fallback
    if (typeof value !== 'string') throw this.bad(option, `one of ${choices.join(', ')}`, value)
    const choice = choices.find(choice => choice === value) ?? aliases.get(value)
    if (choice === undefined) throw this.unsupported(option, value, `one of ${choices.join(', ')}`)
    return this.#record(option, choice)
  }

  /** A list of numbers in the closed range [min, max], at most `most` long, or the fallback. */
  numbers<Default extends readonly number[] | null>(
    option: string, fallback: Default, min: number, max: number, most: number,
  ): readonly number[] | Default {
    const value = this.#take(option)
    if (value === undefined) return this.#record(option, fallback)
    const list = reading(option, () => (Array.isArray(value) && value.length <= most ? Array.from(value as unknown[]) : undefined))
    if (list === undefined) throw this.bad(option, `a list of at most ${most} numbers`, value)
    const wrong = list.findIndex(item => typeof item !== 'number' || !(item >= min && item <= max))
    if (wrong >= 0) throw this.bad(`${option}[${wrong}]`, `a number from ${min} to ${max}`, list[wrong])
    return this.#record(option, Object.freeze(list as number[]))
  }

  /** Refuses what nobody read, unless it asks for nothing or belongs to other classes. */
  finish(): SchedulerConfig {
    const refused = unsupported.get(this.className) ?? []
    for (const [option, value] of this.#given) {
      if (option.startsWith('_') || value === null || value === undefined || value === false) continue
      if (known.has(option) && !refused.includes(option) || option === 'variance_type' && fixedVariances.includes(value)) continue
      throw new AsdmError('UNSUPPORTED_CONFIG',
        `Expected no option ${option.slice(0, 60)} for ${this.className} but received ${shown(value)}, which is not supported`)
    }
    return Object.freeze(this.values)
  }
}

/** Checks that a config is an object at all. @throws AsdmError `INVALID_ARGUMENT` */
export function checkConfig(config: unknown): SchedulerConfig {
  return reading('a scheduler config', () => {
    if (config === null || typeof config !== 'object' || Array.isArray(config) || ArrayBuffer.isView(config))
      throw new AsdmError('INVALID_ARGUMENT', `Expected a scheduler config to be an object but received ${shown(config)}`)
    return { ...config }
  })
}

/**
 * Runs `read` over a config and refuses the options it left unread.
 * @throws AsdmError `INVALID_ARGUMENT`, `BAD_CONFIG`, `UNSUPPORTED_CONFIG`
 */
export function parseConfig<Options>(className: string, config: unknown, read: (reader: ConfigReader) => Options): ParsedConfig<Options> {
  const reader = new ConfigReader(config, className)
  const options = read(reader)
  return { options, config: reader.finish() }
}
