import fs from 'node:fs'
import test from 'ava'
import type { Tensor } from '../../lib/base/tensor'
import { createSampler, type Sampler } from '../../lib/samplers'
import { loadExpected, maxAbsDiff, repoPath } from '../support/fixtures'
import { relativeDifference, scaled, slice, tensor } from './support'

/** Bound on samples: 2e-5 times the largest value of the run, at least 1. */
const sampleBound = (run: Tensor): number => 2e-5 * run.data.reduce((most, value) => Math.max(most, Math.abs(value)), 1)

type Check = (actual: readonly number[], expected: readonly number[]) => boolean
/** Integers exactly, fractions to 1e-5. */
const sameTimesteps: Check = (actual, expected) => relativeDifference(actual, expected) <= (expected.every(Number.isInteger) ? 0 : 1e-5)
const sameSigmas: Check = (actual, expected) => relativeDifference(actual, expected) <= 1e-5
/**
 * The middle levels of DPM2 ancestral and DPM++ 2S ancestral are the next levels; the references get them as differences of nearly equal
 * float32 numbers, and are themselves off by up to 1.7e-4 of the level.
 */
const nearTimesteps: Check = (actual, expected) =>
  actual.length === expected.length && actual.every((value, i) => Math.abs(value - expected[i]) <= 3e-4)
const nearSigmas: Check = (actual, expected) =>
  relativeDifference(actual, expected) <= 2e-4 && sameSigmas(actual.filter((_, i) => i % 2 === 0), expected.filter((_, i) => i % 2 === 0))

for (const set of ['sd15-tiny', 'sd21-tiny']) {
  const { json: { schedulers }, tensor: expected, has } = loadExpected(set)
  const outputs = expected('schedulers/model_outputs')
  const noises = expected('schedulers/noises')

  for (const [name, run] of Object.entries<any>(schedulers.runs)) {
    test(`${set}: ${name} follows the reference trajectory`, t => {
      const sampler = createSampler(run.config)
      sampler.setTimesteps(run.num_inference_steps)
      t.true(sameTimesteps(sampler.timesteps, run.timesteps), `timesteps ${sampler.timesteps}`)
      t.true(relativeDifference([sampler.initNoiseSigma], [run.init_noise_sigma]) <= 1e-5)
      t.is(sampler.sigmas === undefined, run.sigmas === undefined)
      if (run.sigmas) t.true(sameSigmas(sampler.sigmas!, run.sigmas), `sigmas ${sampler.sigmas}`)

      const previous = expected(`schedulers/${name}/prev_samples`)
      const inputs = `schedulers/${name}/scaled_inputs`
      const bound = sampleBound(previous)
      const { eta } = run.step_arguments
      let sample = scaled(expected('schedulers/initial_noise'), sampler.initNoiseSigma)
      run.timesteps.forEach((_: number, k: number) => {
        const input = sampler.scaleInput(sample, k)
        if (has(inputs)) t.true(maxAbsDiff(input.data, slice(expected(inputs), k).data) <= bound, `input ${k}`)
        else t.is(input, sample)
        const draw: number | null = run.draws[k]
        t.is(sampler.needsNoise(k, { eta }), draw !== null, `draw ${k}`)
        sample = sampler.step(slice(outputs, k), k, sample, { eta, noise: draw === null ? undefined : slice(noises, draw) })
        const difference = maxAbsDiff(sample.data, slice(previous, k).data)
        t.true(difference <= bound, `step ${k}: ${difference} > ${bound}`)
      })
    })
  }

  test(`${set}: noise schedule, forward noising and velocity`, t => {
    const { timesteps } = schedulers.add_noise
    const sampler = createSampler(schedulers.runs['ddpm/epsilon'].config)
    t.true(relativeDifference([...sampler.alphasCumprod], [...expected('schedulers/alphas_cumprod').data]) <= 1e-6)
    const x0 = expected('schedulers/add_noise/x0')
    const noise = expected('schedulers/add_noise/noise')
    const noisy = expected('schedulers/add_noise/noisy')
    const velocity = expected('schedulers/add_noise/velocity')
    t.true(maxAbsDiff(sampler.addNoiseAt(x0, noise, timesteps).data, noisy.data) <= sampleBound(noisy))
    t.true(maxAbsDiff(sampler.getVelocity(x0, noise, timesteps).data, velocity.data) <= sampleBound(velocity))
    const second = sampler.addNoiseAt(slice(x0, 1), slice(noise, 1), timesteps[1])
    t.true(maxAbsDiff(second.data, slice(noisy, 1).data) <= sampleBound(noisy))
  })
}

// The further options and runs of reference.py, and those of k_diffusion.py.
const [more, foreign] = ['reference.json', 'k_diffusion.json'].map(file =>
  JSON.parse(fs.readFileSync(repoPath('test', 'samplers', file), 'utf8')))
const values = (data: number[]): Tensor => tensor(data, more.shape)

function start(sampler: Sampler, run: any): Tensor {
  return run.strength === undefined
    ? scaled(values(more.initial), sampler.initNoiseSigma)
    : sampler.addNoise(values(more.original), values(more.noises.at(-1)), 0)
}

for (const [number, run] of [...more.runs, ...foreign.runs].entries()) {
  const { _class_name: name, beta_start: _s, beta_end: _e, ...options } = run.config
  const told = JSON.stringify(options, (key, value) => (key === 'trained_betas' ? '...' : value))
  test(`${number}: ${name} ${told}, ${run.steps} steps, strength ${run.strength ?? 1}`, t => {
    const sampler = createSampler(run.config)
    sampler.setTimesteps(run.steps, { strength: run.strength })
    const exact = !['KDPM2AncestralDiscreteScheduler', 'sample_dpmpp_2s_ancestral'].includes(name)
    t.true((exact ? sameTimesteps : nearTimesteps)(sampler.timesteps, run.timesteps),
      `timesteps ${sampler.timesteps}, not ${run.timesteps}`)
    t.true(relativeDifference([sampler.initNoiseSigma], [run.init_noise_sigma]) <= 1e-5)
    // The reference keeps the noise levels that a part-way start leaves out.
    if (run.sigmas)
      t.true((exact ? sameSigmas : nearSigmas)(sampler.sigmas!, run.sigmas.slice(-1 - run.timesteps.length)),
        `sigmas ${sampler.sigmas}, not ${run.sigmas}`)

    const bound = sampleBound(tensor(run.samples.flat()))
    let drawn = 0
    let sample = start(sampler, run)
    if (run.start) t.true(maxAbsDiff(sample.data, run.start) <= bound)
    run.samples.forEach((expected: number[], k: number) => {
      t.is(sampler.needsNoise(k, { eta: run.eta }), run.draws[k])
      const noise = run.draws[k] ? values(more.noises[drawn++]) : undefined
      sample = sampler.step(values(more.outputs[k]), k, sample, { eta: run.eta, noise })
      const difference = maxAbsDiff(sample.data, expected)
      t.true(difference <= bound, `step ${k}: ${difference} > ${bound}`)
    })
  })
}
