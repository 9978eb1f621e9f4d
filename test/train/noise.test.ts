import test from 'ava'
import type { Tensor } from '../../lib/base/tensor'
import { createSampler } from '../../lib/samplers'
import { addNoise, learningRate, minSnrWeight, StepNumbers, taskTarget } from '../../lib/train/noise'

const alphas = createSampler('ddim', { beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' }).alphasCumprod
const tensor = (...data: number[]): Tensor => ({ data: Float32Array.from(data), shape: [2, 1, 1, data.length / 2] })
const close = (a: Float32Array, b: readonly number[]) =>
  a.every((value, i) => Math.abs(value - b[i]!) <= 1e-6 * Math.max(1, Math.abs(b[i]!)))

// diffusers at 58eb52c: add_noise and get_velocity of DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear") for
// the tensors below at [137, 801].
const diffusers = {
  noisy: [1.0178638696670532, -1.4468656778335571, -0.885970950126648, 1.0642924308776855],
  velocity: [-0.16264459490776062, 1.7048695087432861, -0.6819497346878052, -2.8490843772888184],
}
test('noise and targets are as in diffusers', t => {
  const x = tensor(1, -2, 0.5, 3), noise = tensor(0.25, 1, -1, 0.5)
  t.true(close(addNoise(x, noise, [137, 801], alphas).data, diffusers.noisy))
  t.true(close(taskTarget('v_prediction', x, noise, [137, 801], alphas).data, diffusers.velocity))
  t.is(taskTarget('epsilon', x, noise, [137, 801], alphas), noise)
  t.is(taskTarget('sample', x, noise, [137, 801], alphas), x)
})

test('min-SNR weights: the same loss on x_0, whatever is predicted', t => {
  for (const alpha of [0.999, 0.9, 0.5, 0.1, 0.001]) {
    const snr = alpha / (1 - alpha)
    // A squared error on epsilon is SNR times that on x_0, on v SNR + 1 times.
    const ofSample = minSnrWeight('sample', alpha, 5)
    t.true(Math.abs(minSnrWeight('epsilon', alpha, 5) * snr - ofSample) <= 1e-9 * ofSample)
    t.true(Math.abs(minSnrWeight('v_prediction', alpha, 5) * (snr + 1) - ofSample) <= 1e-9 * ofSample)
    t.is(ofSample, Math.min(snr, 5))
  }
  t.is(minSnrWeight('epsilon', 0, 5), 1)
  t.is(minSnrWeight('v_prediction', 0, 5), 0)
})

test('the rate grows, then falls along half a cosine to zero', t => {
  const rates = Array.from({ length: 101 }, (_, step) => learningRate(2, step, 100, 10))
  t.is(rates[9], 2)
  t.is(rates[0], 0.2)
  t.is(rates[10], 2)
  t.true(Math.abs(rates[55]! - 1) < 1e-9)
  t.true(Math.abs(rates[100]!) < 1e-9)
  t.true(rates.slice(10).every((rate, i, all) => i === 0 || rate < all[i - 1]!))
  t.is(learningRate(1, 0, 1, 0), 1)
})

test('a step draws the same numbers whenever it is asked, and other steps others', t => {
  const draw = (seed: number, step: number) => {
    const numbers = new StepNumbers(seed, step)
    return [numbers.below(1000), numbers.uniform(), ...numbers.randn([3]).data]
  }
  t.deepEqual(draw(7, 5), draw(7, 5))
  const all = [draw(7, 5), draw(7, 6), draw(8, 5), draw(8, 4)].map(String)
  t.is(new Set(all).size, 4)
  const below = Array.from({ length: 2000 }, (_, i) => new StepNumbers(1, i).below(10))
  for (let i = 0; i < 10; i++) t.true(Math.abs(below.filter(value => value === i).length - 200) < 60)
})
