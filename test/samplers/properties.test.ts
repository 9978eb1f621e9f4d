import test from 'ava'
import fc from 'fast-check'
import type { Tensor } from '../../lib/base/tensor'
import { createSampler, samplerNames, type Sampler, type SamplerName } from '../../lib/samplers'
import { maxAbsDiff } from '../support/fixtures'
import { relativeDifference, scaled, sd, tensor } from './support'

const shape = [2, 1, 2, 2]
const wave = (phase: number): Tensor => tensor(Float32Array.from({ length: 8 }, (_, i) => Math.sin(i * 1.7 + phase)), shape)
const seeded = { seed: 20240607, numRuns: 60 }

/** Runs a course with the network's output given by step, sample and timestep. */
function course(sampler: Sampler, begin: Tensor, predict: (sample: Tensor, i: number) => Tensor, eta = 0): Tensor {
  let sample = begin
  for (let i = 0; i < sampler.timesteps.length; i++)
    sample = sampler.step(predict(sample, i), i, sample, { eta, noise: sampler.needsNoise(i, { eta }) ? wave(i) : undefined })
  return sample
}

const classes: readonly (readonly [string, Record<string, unknown>])[] = [
  ['DDIMScheduler', { clip_sample: false }],
  ['DDPMScheduler', { clip_sample: false }],
  ['PNDMScheduler', { skip_prk_steps: true, set_alpha_to_one: true }],
  ['PNDMScheduler', { skip_prk_steps: false, set_alpha_to_one: true }],
  ['EulerDiscreteScheduler', {}],
  ['EulerDiscreteScheduler', { use_karras_sigmas: true }],
  ['EulerAncestralDiscreteScheduler', {}],
  ['DPMSolverMultistepScheduler', { solver_order: 2 }],
  ['DPMSolverMultistepScheduler', { solver_order: 3, use_karras_sigmas: true }],
  ['DPMSolverMultistepScheduler', { algorithm_type: 'sde-dpmsolver++' }],
  ['UniPCMultistepScheduler', { solver_order: 3 }],
  ['UniPCMultistepScheduler', { solver_order: 2, solver_type: 'bh1' }],
  ['UniPCMultistepScheduler', { solver_order: 2, predict_x0: false }],
  ['LCMScheduler', {}],
  ['TCDScheduler', {}],
  ['HeunDiscreteScheduler', {}],
  ['LMSDiscreteScheduler', { use_beta_sigmas: true }],
  ['KDPM2DiscreteScheduler', {}],
  ['KDPM2AncestralDiscreteScheduler', { use_align_your_steps_sigmas: true }],
  ['DPMSolverSDEScheduler', {}],
  ['DPMSolverSDEScheduler', { noise_sampler_seed: 5 }],
  ['DPMSolverMultistepScheduler', { algorithm_type: 'dpmsolver', final_sigmas_type: 'sigma_min' }],
  ['DEISMultistepScheduler', { solver_order: 3 }],
  ['SASolverScheduler', { predictor_order: 3, corrector_order: 4 }],
  ['sample_euler_ancestral', { use_sgm_uniform_sigmas: true }],
  ['sample_dpmpp_2s_ancestral', {}],
  ['sample_dpmpp_3m_sde', { use_karras_sigmas: true }],
  ['sample_ipndm', {}],
]

/** Classes that end at the least noise of training rather than without noise. */
const endsNoisy = (name: string, options: Record<string, unknown>): boolean =>
  /DEIS|SASolver|TCD/.test(name) || options.final_sigmas_type === 'sigma_min'

for (const [name, options] of classes) {
  const label = `${name} ${JSON.stringify(options)}`
  const make = (more: Record<string, unknown> = {}): Sampler =>
    createSampler({ _class_name: name, ...sd, timestep_spacing: 'trailing', ...options, ...more })

  test(`${label}: a network that always sees the same clean sample ends at it`, t => {
    const clean = wave(0.3)
    for (const steps of [1, 2, 5, 20]) {
      const sampler = make({ prediction_type: 'sample' })
      if (options.skip_prk_steps === false && steps < 4) continue
      sampler.setTimesteps(steps)
      const end = course(sampler, scaled(wave(2), sampler.initNoiseSigma), () => clean)
      // LCM keeps c_skip of the sample: 1e-7 at timestep 259 or later. Noise predictions pass through 1 / alpha.
      const rest = endsNoisy(name, options) ? 4 * (sampler.sigmas?.at(-1) ?? Math.sqrt(1 - sampler.alphasCumprod[0])) : 0
      t.true(maxAbsDiff(end.data, clean.data) < 2e-4 + rest, `${steps} steps: ${maxAbsDiff(end.data, clean.data)}`)
    }
  })

  // PNDM mixes the outputs of several steps before it converts them.
  if (name !== 'PNDMScheduler') test(`${label}: epsilon, v and sample predictions of one thing make the same step`, t => {
    const original = wave(0.3)
    const noise = wave(2)
    const samplers = ['epsilon', 'v_prediction', 'sample'].map(type => make({ prediction_type: type }))
    for (const sampler of samplers) sampler.setTimesteps(8)
    const first = samplers[0]
    for (let i = 0; i < first.timesteps.length; i++) {
      const sample = first.addNoise(original, noise, i)
      // The amounts of signal and noise at this step, seen from outside.
      const signal = first.addNoise(tensor([1]), tensor([0]), i).data[0]
      const amount = first.addNoise(tensor([0]), tensor([1]), i).data[0]
      const sigma = amount / Math.hypot(signal, amount)
      const alpha = Math.sqrt(1 - sigma ** 2)
      const velocity = tensor(noise.data.map((value, k) => alpha * value - sigma * original.data[k]), shape)
      const [epsilon, v, x0] = samplers.map((sampler, k) =>
        sampler.step([noise, velocity, original][k], i, sample, { noise: wave(5) }))
      const scale = Math.max(1, ...epsilon.data.map(Math.abs))
      t.true(maxAbsDiff(epsilon.data, x0.data) < 1e-5 * scale, `epsilon, step ${i}`)
      t.true(maxAbsDiff(v.data, x0.data) < 1e-5 * scale, `v, step ${i}`)
    }
  })

  test(`${label}: neither changes nor keeps what it is handed, and setTimesteps forgets`, t => {
    const sampler = make()
    sampler.setTimesteps(6)
    const plain = course(sampler, wave(2), (_, i) => wave(i + 0.5))
    sampler.setTimesteps(6)
    let sample = wave(2)
    for (let i = 0; i < sampler.timesteps.length; i++) {
      const given = { data: sample.data.slice(), shape: [...sample.shape] }
      const output = wave(i + 0.5)
      const noise = wave(i)
      sampler.scaleInput(given, i)
      sample = sampler.step(output, i, given, { noise })
      t.deepEqual(output, wave(i + 0.5))
      t.deepEqual(noise, wave(i))
      t.not(sample.data, given.data)
      // Reused buffers must not reach into the history.
      for (const { data } of [given, output, noise]) data.fill(NaN)
    }
    t.deepEqual(sample, plain)
  })

  test(`${label}: its complete config makes an equal sampler`, t => {
    const sampler = make()
    const again = createSampler(JSON.parse(JSON.stringify(sampler.config)))
    t.deepEqual(again.config, sampler.config)
    t.is(again.name, sampler.name)
    t.deepEqual(again.alphasCumprod, sampler.alphasCumprod)
  })
}

test('DDIM, Euler and first-order DPM-Solver++ are one method in different coordinates', t => {
  const options = { ...sd, timestep_spacing: 'trailing', prediction_type: 'v_prediction', clip_sample: false }
  const ddim = createSampler({ _class_name: 'DDIMScheduler', ...options })
  const euler = createSampler({ _class_name: 'EulerDiscreteScheduler', ...options })
  const dpm = createSampler({ _class_name: 'DPMSolverMultistepScheduler', ...options, solver_order: 1 })
  for (const sampler of [ddim, euler, dpm]) sampler.setTimesteps(10)
  t.deepEqual(euler.timesteps, ddim.timesteps)
  t.deepEqual(dpm.timesteps, ddim.timesteps)
  const predict = (_: Tensor, i: number): Tensor => wave(i)
  const end = course(ddim, wave(9), predict)
  t.true(maxAbsDiff(course(dpm, wave(9), predict).data, end.data) < 1e-5)
  const unscaled = scaled(wave(9), Math.sqrt(euler.sigmas![0] ** 2 + 1))
  t.true(maxAbsDiff(course(euler, unscaled, predict).data, end.data) < 1e-5)
})

test('higher orders come closer to the exact flow', t => {
  // Data of standard deviation 0.5: the flow has a closed form, x(sigma) in proportion to sqrt(0.25 + sigma²) in unscaled coordinates.
  const variance = 0.25
  const error = (steps: number, config: Record<string, unknown>): number => {
    const sampler = createSampler({
      ...sd, prediction_type: 'sample', use_exponential_sigmas: true, final_sigmas_type: 'sigma_min', lower_order_final: false, ...config,
    })
    sampler.setTimesteps(steps)
    const levels = sampler.sigmas!
    const deviation = (sigma: number): number => Math.sqrt((variance + sigma ** 2) / (1 + sigma ** 2))
    const end = course(sampler, tensor([100]), (sample, i) =>
      tensor([sample.data[0] * Math.sqrt(1 + levels[i] ** 2) * variance / (variance + levels[i] ** 2)]))
    return Math.abs(end.data[0] / 100 - deviation(levels.at(-1)!) / deviation(levels[0]))
  }
  // Equal steps in lambda, so that halving them divides the error by 2 to the order.
  const order = (config: Record<string, unknown>): number => Math.log2(error(20, config) / error(40, config))
  const dpm = [1, 2, 3].map(solver_order => order({ _class_name: 'DPMSolverMultistepScheduler', solver_order }))
  // The third is held back by the lower orders that begin the run.
  t.true(dpm[0] > 0.9 && dpm[1] > 1.9 && dpm[2] > 2.2, `DPM-Solver++ ${dpm}`)
  const heun = order({ _class_name: 'DPMSolverMultistepScheduler', solver_order: 2, solver_type: 'heun' })
  t.true(heun > 1.7, `heun ${heun}`)
  // The corrector adds one.
  for (const solver_type of ['bh1', 'bh2']) {
    const unipc = [1, 2].map(solver_order => order({ _class_name: 'UniPCMultistepScheduler', solver_order, solver_type }))
    t.true(unipc.every((found, k) => found > k + 1.7), `UniPC ${solver_type} ${unipc}`)
  }
})

test('rescaled to zero terminal SNR, the last timestep holds no signal and the first keeps its own', t => {
  const plain = createSampler({ _class_name: 'DDIMScheduler', ...sd }).alphasCumprod
  for (const name of ['DDIMScheduler', 'DDPMScheduler', 'LCMScheduler']) {
    const rescaled = createSampler({ _class_name: name, ...sd, rescale_betas_zero_snr: true }).alphasCumprod
    t.is(rescaled[999], 0)
    t.true(Math.abs(rescaled[0] - plain[0]) < 1e-6)
    t.true(rescaled.every((value, i) => i === 0 || value < rescaled[i - 1]))
  }
  for (const name of [
    'EulerDiscreteScheduler', 'EulerAncestralDiscreteScheduler', 'DPMSolverMultistepScheduler', 'UniPCMultistepScheduler',
  ]) {
    const sampler = createSampler({ _class_name: name, ...sd, rescale_betas_zero_snr: true, timestep_spacing: 'trailing' })
    t.is(sampler.alphasCumprod[999], 2 ** -24)
    sampler.setTimesteps(5)
    t.is(Math.round(sampler.sigmas![0]), 4096)
  }
})

test('any number of steps gives that many timesteps of training, from noisy to clean', t => {
  const names = ['DDIMScheduler', 'DDPMScheduler', 'EulerDiscreteScheduler', 'DPMSolverMultistepScheduler', 'UniPCMultistepScheduler']
  for (const name of names) {
    for (const spacing of ['leading', 'trailing', 'linspace']) {
      const sampler = createSampler({ _class_name: name, ...sd, timestep_spacing: spacing })
      for (let steps = 1; steps < 1000; steps += steps < 60 ? 1 : 7) {
        sampler.setTimesteps(steps)
        t.is(sampler.timesteps.length, steps)
        t.true(sampler.timesteps.every((timestep, i) =>
          timestep >= 0 && timestep <= 999 && (i === 0 || timestep < sampler.timesteps[i - 1])))
      }
    }
  }
})

test('a strength leaves out the first steps and keeps the rest of the course', t => {
  const run = fc.tuple(fc.integer({ min: 1, max: 50 }), fc.double({ min: 0.02, max: 1, noNaN: true }))
  fc.assert(fc.property(fc.constantFrom(...samplerNames), run, (name, [steps, strength]) => {
    const whole = createSampler(name, sd)
    const part = createSampler(name, sd)
    whole.setTimesteps(steps)
    fc.pre(Math.trunc(steps * strength) >= 1)
    part.setTimesteps(steps, { strength })
    const left = (steps - Math.trunc(steps * strength)) * whole.order
    t.deepEqual(part.timesteps, whole.timesteps.slice(left))
    t.deepEqual(part.sigmas, whole.sigmas?.slice(left))
    t.is(part.initNoiseSigma, whole.initNoiseSigma)
  }), seeded)
})

test('noising at a step is the noise level the step starts from', t => {
  for (const name of samplerNames) {
    const sampler = createSampler(name, { ...sd, timestep_spacing: 'trailing' })
    sampler.setTimesteps(10)
    sampler.timesteps.forEach((timestep, i) => {
      const signal = sampler.addNoise(tensor([1]), tensor([0]), i).data[0]
      const noise = sampler.addNoise(tensor([0]), tensor([1]), i).data[0]
      if (sampler.sigmas) t.true(relativeDifference([noise / signal], [sampler.sigmas[i]]) < 1e-6)
      else t.true(Math.abs(signal ** 2 - sampler.alphasCumprod[timestep]) < 1e-6 && Math.abs(signal ** 2 + noise ** 2 - 1) < 1e-6)
    })
  }
})

test('velocity is what a v-predicting network has to say: it leads back to the clean sample', t => {
  const sampler = createSampler('ddim', { ...sd, prediction_type: 'v_prediction', clip_sample: false, set_alpha_to_one: true })
  sampler.setTimesteps(1)
  const timestep = sampler.timesteps[0]
  const clean = wave(1)
  const noise = wave(2)
  const end = sampler.step(sampler.getVelocity(clean, noise, timestep), 0, sampler.addNoiseAt(clean, noise, timestep))
  t.true(maxAbsDiff(end.data, clean.data) < 1e-6)
})

test('only LCM spares the noise of its last step, and DDIM draws for eta alone', t => {
  const draws = (name: SamplerName, eta: number): boolean[] => {
    const sampler = createSampler(name, sd)
    sampler.setTimesteps(4)
    return sampler.timesteps.map((_, i) => sampler.needsNoise(i, { eta }))
  }
  t.deepEqual(draws('lcm', 0), [true, true, true, false])
  t.deepEqual(draws('euler-ancestral', 0), [true, true, true, true])
  t.deepEqual(draws('ddim', 0), [false, false, false, false])
  t.deepEqual(draws('ddim', 0.3), [true, true, true, true])
  for (const name of ['pndm', 'euler', 'dpmpp-2m', 'dpmpp-2m-karras', 'unipc'] as const) t.false(draws(name, 1).includes(true), name)
  // DDPM's last timestep here is 0, which gets no noise.
  t.deepEqual(draws('ddpm', 0), [true, true, true, false])
})
