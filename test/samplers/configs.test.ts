import fs from 'node:fs'
import test from 'ava'
import fc from 'fast-check'
import { AsdmError } from '../../lib/base/errors'
import { createSampler, DDIMSampler, EulerSampler, PNDMSampler, samplerNames, samplersFor, type Sampler, type SchedulerConfig } from '../../lib/samplers'
import { repoPath } from '../support/fixtures'
import { sd, tensor, throwsCode } from './support'

const ddim = { _class_name: 'DDIMScheduler', ...sd }
const make = (config: unknown): Sampler => createSampler(config as SchedulerConfig)
const named = (name: unknown, config?: unknown): Sampler => createSampler(name as string, config as SchedulerConfig)

/** Scheduler configs in the wild: short ones, complete ones, and ones that carry options of other classes along. */
const published: readonly (readonly [string, string, SchedulerConfig])[] = [
  ['Stable Diffusion 1.5', 'pndm', {
    _class_name: 'PNDMScheduler', _diffusers_version: '0.6.0', beta_end: 0.012, beta_schedule: 'scaled_linear', beta_start: 0.00085,
    num_train_timesteps: 1000, set_alpha_to_one: false, skip_prk_steps: true, steps_offset: 1, trained_betas: null, clip_sample: false,
  }],
  ['Stable Diffusion 2.1', 'ddim', {
    _class_name: 'DDIMScheduler', _diffusers_version: '0.8.0', beta_end: 0.012, beta_schedule: 'scaled_linear', beta_start: 0.00085,
    clip_sample: false, num_train_timesteps: 1000, prediction_type: 'v_prediction', set_alpha_to_one: false, skip_prk_steps: true,
    steps_offset: 1, trained_betas: null,
  }],
  ['SD Turbo', 'euler', {
    _class_name: 'EulerDiscreteScheduler', _diffusers_version: '0.24.0.dev0', beta_end: 0.012, beta_schedule: 'scaled_linear',
    beta_start: 0.00085, clip_sample: false, interpolation_type: 'linear', num_train_timesteps: 1000, prediction_type: 'epsilon',
    sample_max_value: 1, set_alpha_to_one: false, sigma_max: null, sigma_min: null, skip_prk_steps: true, steps_offset: 1,
    timestep_spacing: 'trailing', timestep_type: 'discrete', trained_betas: null, use_karras_sigmas: false,
  }],
  ['a fine-tune with DPM-Solver++', 'dpmpp-2m-karras', {
    _class_name: 'DPMSolverMultistepScheduler', _diffusers_version: '0.21.4', algorithm_type: 'dpmsolver++', beta_end: 0.012,
    beta_schedule: 'scaled_linear', beta_start: 0.00085, clip_sample: false, dynamic_thresholding_ratio: 0.995, euler_at_final: false,
    lambda_min_clipped: -Infinity, lower_order_final: true, num_train_timesteps: 1000, prediction_type: 'epsilon', sample_max_value: 1,
    set_alpha_to_one: false, skip_prk_steps: true, solver_order: 2, solver_type: 'midpoint', steps_offset: 1, thresholding: false,
    timestep_spacing: 'leading', trained_betas: null, use_karras_sigmas: true, use_lu_lambdas: false, variance_type: null,
  }],
  ['an LCM', 'lcm', {
    _class_name: 'LCMScheduler', _diffusers_version: '0.23.0', beta_end: 0.012, beta_schedule: 'scaled_linear', beta_start: 0.00085,
    clip_sample: false, clip_sample_range: 1, dynamic_thresholding_ratio: 0.995, num_train_timesteps: 1000, original_inference_steps: 50,
    prediction_type: 'epsilon', rescale_betas_zero_snr: false, sample_max_value: 1, set_alpha_to_one: true, steps_offset: 1,
    thresholding: false, timestep_scaling: 10, timestep_spacing: 'leading', trained_betas: null,
  }],
]

for (const [model, name, config] of published) {
  test(`the config of ${model} loads, and serves every other sampler`, t => {
    t.is(make(config).name, name)
    for (const other of samplerNames) {
      const sampler = named(other, config)
      t.is(sampler.name, other)
      t.is(sampler.trainTimesteps, 1000)
      t.is(sampler.config['prediction_type'], config['prediction_type'] ?? 'epsilon')
      t.is(sampler.config['beta_end'], 0.012)
      t.is(sampler.config['skip_prk_steps'], other === 'pndm' ? true : undefined)
    }
  })
}

test('a name takes what the config says of the network, and its class\'s defaults for the rest', t => {
  t.is(named('euler', sd).config['timestep_spacing'], 'linspace')
  t.is(named('euler', { ...sd, timestep_spacing: 'leading' }).config['timestep_spacing'], 'leading')
  const karras = { _class_name: 'DPMSolverMultistepScheduler', ...sd, use_karras_sigmas: true, solver_order: 3, solver_type: 'heun' }
  t.like(named('dpmpp-2m', karras).config, { use_karras_sigmas: false, solver_order: 2, solver_type: 'heun' })
  t.like(named('dpmpp-2m-karras', ddim).config, { use_karras_sigmas: true, solver_order: 2, solver_type: 'midpoint' })
  t.like(named('euler', karras).config, { use_karras_sigmas: false })
  t.like(named('ddim', { ...sd, _class_name: 'PNDMScheduler', skip_prk_steps: false }).config, {
    _class_name: 'DDIMScheduler', clip_sample: true,
  })
})

test('classes construct by themselves, also from another class\'s config', t => {
  t.is(new DDIMSampler(sd).config['_class_name'], 'DDIMScheduler')
  t.is(new EulerSampler({ ...ddim, clip_sample: false }).config['_class_name'], 'EulerDiscreteScheduler')
  t.is(new PNDMSampler({}).config['beta_schedule'], 'linear')
})

test('unknown classes and names are refused with what there is', t => {
  throwsCode(t, 'UNSUPPORTED_CONFIG', /one of DDIMScheduler, DDPMScheduler, .*TCDScheduler but received "IPNDMScheduler"/,
    () => make({ _class_name: 'IPNDMScheduler' }))
  for (const name of ['toString', '__proto__', 'constructor'])
    throwsCode(t, 'UNSUPPORTED_CONFIG', /one of DDIMScheduler/, () => make({ _class_name: name }))
  for (const name of [undefined, null, 7, {}, []]) throwsCode(t, 'BAD_CONFIG', /_class_name/, () => make({ _class_name: name }))
  for (const name of ['DDDIM', '', '__proto__', 'toString', 'x'.repeat(1e6)])
    throwsCode(t, 'INVALID_ARGUMENT', /one of ddim, ddpm/, () => named(name, ddim))
  for (const value of [undefined, null, 7, true, [], new Float32Array(3), () => {}, 1n]) {
    throwsCode(t, 'INVALID_ARGUMENT', /scheduler config to be an object/, () => make(value))
    throwsCode(t, 'INVALID_ARGUMENT', /scheduler config to be an object/, () => named('ddim', value))
    throwsCode(t, 'INVALID_ARGUMENT', /scheduler config to be an object/, () => new DDIMSampler(value as unknown as SchedulerConfig))
  }
})

test('what is not implemented is refused by name and value', t => {
  const refused: readonly (readonly [string, SchedulerConfig, RegExp])[] = [
    ['DDIMScheduler', { beta_schedule: 'sigmoid' }, /beta_schedule .*linear, scaled_linear, squaredcos_cap_v2 but received "sigmoid"/],
    ['DDIMScheduler', { prediction_type: 'flow_prediction' }, /prediction_type .*"flow_prediction"/],
    ['DDIMScheduler', { timestep_spacing: 'karras' }, /timestep_spacing .*"karras"/],
    ['DDIMScheduler', { brand_new_option: 3 }, /brand_new_option .*3/],
    ['DDPMScheduler', { variance_type: 'fixed_large_log' }, /variance_type .*"fixed_large_log"/],
    ['EulerDiscreteScheduler', { timestep_type: 'continuous' }, /timestep_type .*"continuous"/],
    ['EulerDiscreteScheduler', { interpolation_type: 'log_linear' }, /interpolation_type .*"log_linear"/],
    ['EulerAncestralDiscreteScheduler', { interpolation: 3 }, /interpolation .*3/],
    ['DPMSolverMultistepScheduler', { algorithm_type: 'dpmsolver' }, /final_sigmas_type .*sigma_min with algorithm_type dpmsolver.*"zero"/],
    ['DPMSolverMultistepScheduler', { algorithm_type: 'dpmsolver3' }, /algorithm_type .*"dpmsolver3"/],
    ['DEISMultistepScheduler', { use_flow_sigmas: true }, /use_flow_sigmas .*true/],
    ['DEISMultistepScheduler', { solver_type: 'x' }, /solver_type .*"x"/],
    ['SASolverScheduler', { tau_func: 'x' }, /tau_func .*"x"/],
    ['SASolverScheduler', { algorithm_type: 'noise_prediction', thresholding: true }, /thresholding .*true/],
    ['DPMSolverMultistepScheduler', { algorithm_type: 'sde-dpmsolver++', solver_order: 3 }, /solver_order .*3/],
    ['DPMSolverMultistepScheduler', { use_flow_sigmas: true }, /use_flow_sigmas .*true/],
    ['DPMSolverMultistepScheduler', { variance_type: 'learned' }, /variance_type .*"learned"/],
    ['DPMSolverMultistepScheduler', { use_dynamic_shifting: true }, /use_dynamic_shifting .*true/],
    ['UniPCMultistepScheduler', { solver_p: {} }, /solver_p .*object/],
    ['UniPCMultistepScheduler', { shift_terminal: 0.1 }, /shift_terminal .*0\.1/],
    ['UniPCMultistepScheduler', { lower_order_final: false }, /lower_order_final .*false/],
    ['UniPCMultistepScheduler', { predict_x0: false, thresholding: true }, /thresholding .*true/],
    ['UniPCMultistepScheduler', { solver_type: 'vary_coeff' }, /solver_type .*"vary_coeff"/],
  ]
  for (const [_class_name, options, message] of refused)
    throwsCode(t, 'UNSUPPORTED_CONFIG', message, () => make({ _class_name, ...options }))
})

/** diffusers' options by class, and for each one a value that asks for something. */
const options: Record<string, string[]> = JSON.parse(fs.readFileSync(repoPath('test', 'samplers', 'options.json'), 'utf8'))
const asking: Record<string, unknown> = {
  solver_p: {}, shift_terminal: 0.1, variance_type: 'learned', noise_sampler_seed: 3, tau_func: 'x', flow_shift: 3,
}

test('what only other classes know is passed over, what a class knows is read or refused', t => {
  const all = new Set(Object.values(options).flat())
  for (const [_class_name, own] of Object.entries(options)) {
    let plain: Sampler
    try {
      plain = make({ _class_name, ...sd })
    } catch {
      continue
    }
    for (const option of all) {
      const asked = { _class_name, ...sd, [option]: asking[option] ?? true }
      if (!own.includes(option)) t.deepEqual(make(asked).config, plain.config, `${_class_name} ${option}`)
      else if (!(option in plain.config) && !['flow_shift', 'time_shift_type'].includes(option))
        throwsCode(t, 'UNSUPPORTED_CONFIG', new RegExp(option), () => make(asked))
    }
  }
  throwsCode(t, 'UNSUPPORTED_CONFIG', /brand_new_option/, () => make({ ...ddim, brand_new_option: 3 }))
})

test('other programs\' names are understood', t => {
  const names: Record<string, string[]> = {
    'ddim': ['DDIM', 'DDIMScheduler'],
    'pndm': ['PLMS', 'PNDM', 'PNDMScheduler'],
    'euler': ['Euler', 'k_euler', 'sample_euler', 'EulerDiscreteScheduler'],
    'euler-ancestral': [
      'Euler a', 'k_euler_a', 'euler_ancestral', 'sample_euler_ancestral', 'EulerAncestralDiscreteScheduler', 'Euler Ancestral',
    ],
    'dpmpp-2m': ['DPM++ 2M', 'dpmpp_2m', 'k_dpmpp_2m', 'sample_dpmpp_2m'],
    'dpmpp-2m-karras': ['DPM++ 2M Karras', 'dpmpp_2m_karras'],
    'unipc': ['UniPC', 'uni_pc', 'UniPCMultistepScheduler'],
    'lcm': ['LCM', 'LCMScheduler', 'sample_lcm'],
    'heun': ['Heun', 'sample_heun', 'k_heun', 'HeunDiscreteScheduler'],
    'lms': ['LMS', 'k_lms', 'LMSDiscreteScheduler'],
    'dpm2': ['DPM2', 'sample_dpm_2', 'k_dpm_2', 'KDPM2DiscreteScheduler'],
    'dpm2-ancestral': ['DPM2 a', 'sample_dpm_2_ancestral', 'k_dpm_2_a', 'KDPM2AncestralDiscreteScheduler'],
    'dpmpp-2s-ancestral': ['DPM++ 2S a', 'sample_dpmpp_2s_ancestral'],
    'dpmpp-sde': ['DPM++ SDE', 'sample_dpmpp_sde', 'dpmpp_sde_gpu', 'DPMSolverSDEScheduler'],
    'dpmpp-2m-sde': ['DPM++ 2M SDE', 'dpmpp_2m_sde', 'sample_dpmpp_2m_sde'],
    'dpmpp-3m-sde': ['DPM++ 3M SDE', 'sample_dpmpp_3m_sde'],
    'deis': ['DEIS', 'DEISMultistepScheduler'],
    'ipndm': ['iPNDM', 'sample_ipndm'],
    'sa-solver': ['SA-Solver', 'sa_solver', 'SASolverScheduler'],
    'tcd': ['TCD', 'TCDScheduler'],
    'dpmpp-sde-karras': ['DPM++ SDE Karras', 'dpmpp_sde_karras'],
    'euler-sgm-uniform': ['Euler SGM Uniform', 'euler_sgm_uniform'],
    'ddim-trailing': ['DDIM trailing', 'ddim_trailing'],
    'euler-trailing': ['Euler Trailing', 'k_euler_trailing'],
    'euler-ancestral-align-your-steps': ['Euler a Align Your Steps', 'euler_ancestral_ays'],
  }
  for (const [name, others] of Object.entries(names))
    for (const other of [name, ...others]) t.deepEqual(named(other, ddim).config, named(name, ddim).config, other)
  // A class that has several names is itself: what the config says of it holds.
  const karras = { _class_name: 'DPMSolverMultistepScheduler', ...sd, use_karras_sigmas: true, solver_order: 3 }
  t.like(named('DPMSolverMultistepScheduler', karras).config, { use_karras_sigmas: true, solver_order: 3 })
  t.like(named('DPMSolverMultistepScheduler', ddim).config, { use_karras_sigmas: false, solver_order: 2 })
  t.like(named('dpmpp-2m', karras).config, { use_karras_sigmas: false, use_beta_sigmas: false })
  t.like(named('dpmpp-2m-beta', karras).config, { use_karras_sigmas: false, use_beta_sigmas: true })
  t.is(named('euler-ancestral-karras', ddim).config['_class_name'], 'sample_euler_ancestral')
  for (const name of samplerNames) {
    if (name === 'lcm' || name === 'tcd') continue
    const sampler = named(`${name}-trailing`, ddim)
    t.is(sampler.config.timestep_spacing, 'trailing', name)
    sampler.setTimesteps(1)
    // k-diffusion's levels are spaced by themselves.
    t.is(sampler.timesteps[0], 999, name)
  }
  t.like(named('euler-trailing', { ...sd, _class_name: 'EulerDiscreteScheduler', use_karras_sigmas: true }).config, { use_karras_sigmas: false })
  t.is(named('euler-ancestral-trailing', ddim).config._class_name, 'EulerAncestralDiscreteScheduler')
  for (const name of ['ddim-karras', 'lcm-beta', 'karras', 'DPM++ 2M Karras Beta', 'euler-kerras', 'lcm-trailing', 'trailing'])
    throwsCode(t, 'INVALID_ARGUMENT', /-karras, -exponential, -beta, -sgm-uniform, -align-your-steps/, () => named(name, ddim))
  for (const name of ['heun', 'sa-solver', 'LMSDiscreteScheduler'])
    throwsCode(t, 'UNSUPPORTED_CONFIG', /rescale_betas_zero_snr/, () => named(name, { ...ddim, rescale_betas_zero_snr: true }))
  throwsCode(t, 'INVALID_ARGUMENT', /did you mean "euler-ancestral"\?/, () => named('euler-ancestrall', ddim))
  throwsCode(t, 'INVALID_ARGUMENT', /did you mean "EulerDiscreteScheduler"\?/, () => named('EulerDiscretScheduler', ddim))
  const pureNoise = { ...ddim, rescale_betas_zero_snr: true }
  throwsCode(t, 'UNSUPPORTED_CONFIG', /rescale_betas_zero_snr/, () => named('PLMS', pureNoise))
  t.deepEqual(samplersFor(ddim), samplerNames)
  const above = ['pndm', 'heun', 'lms', 'dpm2', 'dpm2-ancestral', 'dpmpp-sde', 'deis', 'sa-solver']
  t.deepEqual(samplersFor(pureNoise), samplerNames.filter(name => !above.includes(name)))
  throwsCode(t, 'INVALID_ARGUMENT', /one of ddim, ddpm, euler,/, () => named('nothing', pureNoise))
})

test('absurd values are refused', t => {
  const absurd: readonly (readonly [SchedulerConfig, RegExp])[] = [
    ...[1e12, 0, 1, -5, NaN, Infinity, 2.5, '1000', [], true].map(value =>
      [{ num_train_timesteps: value }, /num_train_timesteps/] as const),
    ...[NaN, 1.5, 0, -1, Infinity, '0.1', {}, true].map(value => [{ beta_start: value }, /beta_start/] as const),
    [{ beta_end: 1 }, /beta_end/],
    [{ beta_schedule: 'linear', beta_start: 0.99, beta_end: 0.99 }, /leave signal/],
    [{ beta_schedule: 7 }, /beta_schedule/],
    [{ trained_betas: [0.1, 0.2] }, /trained_betas .*num_train_timesteps \(1000\)/],
    [{ num_train_timesteps: 2, trained_betas: [0.1, NaN] }, /trained_betas\[1\]/],
    [{ num_train_timesteps: 2, trained_betas: ['0.1', 0.2] }, /trained_betas\[0\]/],
    [{ num_train_timesteps: 3, trained_betas: [0.1, 1, 0.2] }, /leave signal/],
    [{ trained_betas: { length: 1e9 } }, /trained_betas/],
    [{ trained_betas: new Array(1e7) }, /trained_betas/],
    [{ prediction_type: 3 }, /prediction_type/],
    [{ steps_offset: -1 }, /steps_offset/],
    [{ steps_offset: 1000 }, /steps_offset/],
    [{ steps_offset: 0.5 }, /steps_offset/],
    [{ clip_sample: 'no' }, /clip_sample/],
    [{ clip_sample_range: -1 }, /clip_sample_range/],
    [{ dynamic_thresholding_ratio: 2 }, /dynamic_thresholding_ratio/],
    [{ set_alpha_to_one: 1 }, /set_alpha_to_one/],
  ]
  for (const [options, message] of absurd) throwsCode(t, 'BAD_CONFIG', message, () => make({ ...ddim, ...options }))
  throwsCode(t, 'BAD_CONFIG', /solver_order/, () => make({ _class_name: 'UniPCMultistepScheduler', solver_order: 4 }))
  throwsCode(t, 'BAD_CONFIG', /true for one at most/,
    () => make({ _class_name: 'EulerDiscreteScheduler', use_karras_sigmas: true, use_exponential_sigmas: true }))
  throwsCode(
    t, 'BAD_CONFIG', /sigma_min .*below sigma_max/, () => make({ _class_name: 'EulerDiscreteScheduler', sigma_min: 3, sigma_max: 2 }),
  )
  throwsCode(t, 'BAD_CONFIG', /original_inference_steps/, () => make({ _class_name: 'LCMScheduler', original_inference_steps: 2000 }))
  throwsCode(t, 'BAD_CONFIG', /leave signal/,
    () => make({ _class_name: 'EulerDiscreteScheduler', num_train_timesteps: 2, trained_betas: [0.1, 1] }))
  throwsCode(t, 'BAD_CONFIG', /lambda_min_clipped/, () => make({ _class_name: 'DPMSolverMultistepScheduler', lambda_min_clipped: NaN }))
  throwsCode(t, 'BAD_CONFIG', /lambda_min_clipped/,
    () => make({ _class_name: 'DPMSolverMultistepScheduler', lambda_min_clipped: 100 }).setTimesteps(3))
})

test('runs that cannot be are refused, and the sampler goes on', t => {
  const sampler = make(ddim)
  for (const steps of [0, -1, NaN, 1001, 2 ** 31, 2.5, Infinity, '5', null, undefined, {}, 5n])
    throwsCode(t, 'INVALID_ARGUMENT', /steps to be an integer from 1 to 1000/, () => sampler.setTimesteps(steps as number))
  for (const strength of [0, -1, 1.01, NaN, '1', {}])
    throwsCode(t, 'INVALID_ARGUMENT', /strength/, () => sampler.setTimesteps(10, { strength: strength as number }))
  throwsCode(t, 'INVALID_ARGUMENT', /at least 1 but received 0.05 times 10/, () => sampler.setTimesteps(10, { strength: 0.05 }))
  throwsCode(t, 'INVALID_ARGUMENT', /options/, () => sampler.setTimesteps(10, null as never))
  throwsCode(t, 'INVALID_ARGUMENT', /setTimesteps to be called/, () => sampler.step(tensor([1]), 0, tensor([1])))
  throwsCode(t, 'INVALID_ARGUMENT', /setTimesteps to be called/, () => sampler.scaleInput(tensor([1]), 0))
  throwsCode(
    t, 'INVALID_ARGUMENT', /fewer than 1000 steps: with steps_offset 1/, () => make({ ...ddim, steps_offset: 1 }).setTimesteps(1000),
  )
  throwsCode(t, 'INVALID_ARGUMENT', /at most 50 steps for lcm/, () => named('lcm', sd).setTimesteps(51))
  throwsCode(t, 'INVALID_ARGUMENT', /fewer than 1000 steps for unipc/, () => named('unipc', sd).setTimesteps(1000))
  throwsCode(t, 'INVALID_ARGUMENT', /fewer than 1000 steps for dpmpp-2m/,
    () => named('dpmpp-2m', { ...sd, timestep_spacing: 'leading' }).setTimesteps(1000))
  const runge = make({ _class_name: 'PNDMScheduler' })
  throwsCode(t, 'INVALID_ARGUMENT', /at least 4 steps for pndm/, () => runge.setTimesteps(3))
  throwsCode(t, 'INVALID_ARGUMENT', /Expected strength 1 for pndm/, () => runge.setTimesteps(10, { strength: 0.5 }))
  const blind = make({ ...ddim, rescale_betas_zero_snr: true, timestep_spacing: 'trailing' })
  throwsCode(t, 'UNSUPPORTED_CONFIG', /"epsilon", which says nothing at timestep 999/, () => blind.setTimesteps(10))
  sampler.setTimesteps(1000)
  t.is(sampler.timesteps.length, 1000)
  // A run that could not be leaves the one before.
  throwsCode(t, 'INVALID_ARGUMENT', /steps/, () => sampler.setTimesteps(0))
  t.is(sampler.timesteps.length, 1000)
})

test('steps that cannot be are refused, and the run goes on', t => {
  const x = tensor([1, 2], [1, 2])
  const sampler = make(ddim)
  sampler.setTimesteps(4)
  for (const i of [-1, 4, 0.5, NaN, '0', undefined, null])
    for (const call of [
      () => sampler.step(x, i as number, x), () => sampler.scaleInput(x, i as number),
      () => sampler.needsNoise(i as number), () => sampler.addNoise(x, x, i as number),
    ]) throwsCode(t, 'INVALID_ARGUMENT', /step index to be an integer from 0 to 3/, call)
  for (const value of [undefined, null, 3, [1, 2], new Float32Array(2), { data: [1, 2], shape: [1, 2] }]) {
    throwsCode(t, 'INVALID_ARGUMENT', /model output/, () => sampler.step(value as never, 0, x))
    throwsCode(t, 'INVALID_ARGUMENT', /sample/, () => sampler.step(x, 0, value as never))
    throwsCode(t, 'INVALID_ARGUMENT', /sample/, () => sampler.scaleInput(value as never, 0))
    throwsCode(t, 'INVALID_ARGUMENT', /noise/, () => sampler.step(x, 0, x, { eta: 1, noise: value as never }))
    throwsCode(t, 'INVALID_ARGUMENT', /original/, () => sampler.addNoise(value as never, x, 0))
    throwsCode(t, 'INVALID_ARGUMENT', /noise/, () => sampler.getVelocity(x, value as never, 0))
  }
  throwsCode(
    t, 'SHAPE_MISMATCH', /model output to have shape \[1,2\] but received \[2,1\]/, () => sampler.step(tensor([1, 2], [2, 1]), 0, x),
  )
  throwsCode(t, 'SHAPE_MISMATCH', /noise to have shape/, () => sampler.step(x, 0, x, { eta: 1, noise: tensor([1]) }))
  throwsCode(t, 'SHAPE_MISMATCH', /noise to have shape/, () => sampler.addNoise(x, tensor([1]), 0))
  throwsCode(t, 'SHAPE_MISMATCH', /to hold 6 values/, () => sampler.step(x, 0, { data: new Float32Array(2), shape: [2, 3] }))
  for (const eta of [-0.1, 1.1, NaN, '1', null])
    throwsCode(t, 'INVALID_ARGUMENT', /eta/, () => sampler.step(x, 0, x, { eta: eta as number }))
  for (const options of [null, 3, 'x']) throwsCode(t, 'INVALID_ARGUMENT', /options/, () => sampler.step(x, 0, x, options as never))
  for (const timestep of [-1, 1000, 1.5, NaN, '3', [1, 2], [NaN], undefined])
    throwsCode(t, 'INVALID_ARGUMENT', /timestep/, () => sampler.addNoiseAt(x, x, timestep as number))
  t.is(sampler.step(x, 2, x).data.length, 2) // any order
})

test('a sampler that remembers is called in order, with one shape', t => {
  const x = tensor([1, 2], [1, 2])
  for (const name of ['pndm', 'dpmpp-2m', 'unipc'] as const) {
    const sampler = named(name, sd)
    sampler.setTimesteps(3)
    throwsCode(t, 'INVALID_ARGUMENT', /Expected step 0 but received step 1/, () => sampler.step(x, 1, x))
    const first = sampler.step(x, 0, x)
    throwsCode(t, 'INVALID_ARGUMENT', /Expected step 1 but received step 0/, () => sampler.step(x, 0, x))
    throwsCode(t, 'SHAPE_MISMATCH', /sample to have shape \[1,2\]/, () => sampler.step(tensor([1]), 1, tensor([1])))
    // What was refused left no trace.
    const rest = sampler.timesteps.slice(1).reduce((sample, _, k) => sampler.step(x, k + 1, sample), first)
    throwsCode(t, 'INVALID_ARGUMENT', /Expected setTimesteps before another run/, () => sampler.step(x, 0, x))
    sampler.setTimesteps(3)
    t.deepEqual(sampler.timesteps.reduce((sample, _, k) => sampler.step(x, k, sample), x), rest)
  }
  const stochastic = make({ _class_name: 'DPMSolverMultistepScheduler', ...sd, algorithm_type: 'sde-dpmsolver++' })
  stochastic.setTimesteps(2)
  throwsCode(t, 'INVALID_ARGUMENT', /Expected noise for step 0/, () => stochastic.step(x, 0, x))
  t.is(stochastic.step(x, 0, x, { noise: x }).data.length, 2)
})

test('any config gives a sampler whose course is finite, or an AsdmError', t => {
  const weird = fc.oneof(
    fc.constantFrom(null, undefined, true, false, NaN, Infinity, -Infinity, -1, 0, 1, 2, 3, 1e12, 0.5, '', 'zero', 'x', [], {}, [0.1], 1n),
    fc.integer({ min: 0, max: 1000 }), fc.double(), fc.string({ maxLength: 5 }), fc.array(fc.double({ min: 0, max: 1 }), { maxLength: 12 }))
  const fair: Record<string, fc.Arbitrary<unknown>> = {
    num_train_timesteps: fc.integer({ min: 2, max: 300 }),
    beta_start: fc.double({ min: 1e-5, max: 0.1 }),
    beta_end: fc.double({ min: 1e-5, max: 0.1 }),
    beta_schedule: fc.constantFrom('linear', 'scaled_linear', 'squaredcos_cap_v2'),
    prediction_type: fc.constantFrom('epsilon', 'v_prediction', 'sample'),
    timestep_spacing: fc.constantFrom('leading', 'trailing', 'linspace'),
    steps_offset: fc.integer({ min: 0, max: 3 }),
    rescale_betas_zero_snr: fc.boolean(),
    clip_sample: fc.boolean(),
    thresholding: fc.boolean(),
    sample_max_value: fc.double({ min: 0.1, max: 3 }),
    set_alpha_to_one: fc.boolean(),
    skip_prk_steps: fc.boolean(),
    solver_order: fc.integer({ min: 1, max: 3 }),
    solver_type: fc.constantFrom('midpoint', 'heun', 'bh1', 'bh2'),
    algorithm_type: fc.constantFrom('dpmsolver++', 'sde-dpmsolver++', 'dpmsolver', 'data_prediction', 'noise_prediction', 'deis'),
    predictor_order: fc.integer({ min: 1, max: 4 }),
    corrector_order: fc.integer({ min: 1, max: 4 }),
    use_beta_sigmas: fc.boolean(),
    use_sgm_uniform_sigmas: fc.boolean(),
    use_align_your_steps_sigmas: fc.boolean(),
    noise_sampler_seed: fc.nat(),
    predict_x0: fc.boolean(),
    lower_order_final: fc.boolean(),
    euler_at_final: fc.boolean(),
    use_karras_sigmas: fc.boolean(),
    use_exponential_sigmas: fc.boolean(),
    use_lu_lambdas: fc.boolean(),
    final_sigmas_type: fc.constantFrom('zero', 'sigma_min'),
    sigma_min: fc.double({ min: 1e-3, max: 1 }),
    sigma_max: fc.double({ min: 1, max: 100 }),
    lambda_min_clipped: fc.double({ min: -10, max: 1 }),
    original_inference_steps: fc.integer({ min: 1, max: 60 }),
    disable_corrector: fc.array(fc.nat({ max: 5 })),
    variance_type: fc.constantFrom('fixed_small', 'fixed_large'),
  }
  const mostlyFair = Object.entries(fair).map(([option, value]) =>
    [option, fc.oneof({ weight: 80, arbitrary: value }, { weight: 1, arbitrary: weird })] as const)
  const options = fc.record(Object.fromEntries(mostlyFair), { requiredKeys: [] })
  const classNames = ['DDIM', 'DDPM', 'PNDM', 'EulerDiscrete', 'EulerAncestralDiscrete', 'DPMSolverMultistep', 'UniPCMultistep', 'LCM',
    'HeunDiscrete', 'LMSDiscrete', 'KDPM2Discrete', 'KDPM2AncestralDiscrete', 'DPMSolverSDE', 'DEISMultistep', 'SASolver', 'TCD']
    .map(name => `${name}Scheduler`).concat('sample_euler_ancestral', 'sample_dpmpp_2s_ancestral', 'sample_dpmpp_3m_sde', 'sample_ipndm')
  // Which classes know an option that the others refuse; mostly left out for those, so that runs get further.
  const known: Record<string, RegExp> = {
    use_karras_sigmas: /EulerD|DPM|UniPC/, use_exponential_sigmas: /EulerD|DPM|UniPC/, use_lu_lambdas: /DPM/, use_beta_sigmas: /^Euler|Heun/,
    use_sgm_uniform_sigmas: /^sample/, use_align_your_steps_sigmas: /LMS|2m_sde/, algorithm_type: /DPMSolverM|DEIS|SA/, clip_sample: /DD|LCM/,
    thresholding: /DD|LCM|DPM|UniPC/, rescale_betas_zero_snr: /DD|Euler|DPM|UniPC|LCM/, sigma_min: /EulerD|UniPC/, sigma_max: /EulerD|UniPC/,
    final_sigmas_type: /EulerD|DPM|UniPC/, variance_type: /DDPM/,
  }
  const run = fc.tuple(fc.nat({ max: 5 }), fc.integer({ min: 1, max: 30 }), fc.double({ min: 0.1, max: 1, noNaN: true }))
  let ran = 0
  fc.assert(fc.property(fc.constantFrom(...classNames), options, run, (name, config, [tame, steps, strength]) => {
    const given = Object.entries(config).filter(([option]) => tame === 0 || !(option in known) || known[option].test(name))
    const x = tensor([0.3, -1.2, 0.7, 2], [2, 2])
    try {
      const sampler = make({ _class_name: name, ...Object.fromEntries(given) })
      sampler.setTimesteps(steps, { strength })
      let sample = tensor(x.data.map(value => value * sampler.initNoiseSigma), [2, 2])
      sampler.timesteps.forEach((timestep, i) => {
        if (!Number.isFinite(timestep)) throw new Error(`timestep ${timestep}`)
        if (!sampler.scaleInput(sample, i).data.every(Number.isFinite)) throw new Error(`not finite before step ${i}`)
        sample = sampler.step(x, i, sample, { eta: 0.5, noise: x })
        if (!sample.data.every(Number.isFinite)) throw new Error(`not finite after step ${i}`)
      })
      ran++
    } catch (error) {
      if (!(error instanceof AsdmError)) throw error
    }
  }), { seed: 4711, numRuns: 3000 })
  t.true(ran > 600, `only ${ran} of 3000 configs ran`)
})
