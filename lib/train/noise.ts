/**
 * What the UNet is trained on at a time step, and the numbers that a step draws. They follow from seed and step alone, so that a training
 * that was
 * stopped goes on as if it had not been.
 *
 * x_t = alpha x_0 + sigma epsilon (Ho et al. 2020, https://arxiv.org/abs/2006.11239, eq. 4); v = alpha epsilon - sigma x_0 (Salimans and
 * Ho 2022,
 * https://arxiv.org/abs/2202.00512). Min-SNR weighting: Hang et al. 2023, https://arxiv.org/abs/2303.09556, eq. 8 and section 3.3.
 */
import type { Tensor } from '../base/tensor'
import { MersenneTwister } from '../random/mersenne-twister'
import { TorchGenerator } from '../random/torch-generator'
import type { PredictionType } from '../samplers/prediction'

/** alpha x + sigma noise, sample by sample. */
export function addNoise(latents: Tensor, noise: Tensor, timesteps: readonly number[], alphasCumprod: Float32Array): Tensor {
  return mix(latents, noise, timesteps, alphasCumprod, (alpha, sigma) => [alpha, sigma])
}

/** What the UNet is to predict. */
export function taskTarget(
  type: PredictionType, latents: Tensor, noise: Tensor, timesteps: readonly number[], alphasCumprod: Float32Array,
): Tensor {
  switch (type) {
    case 'epsilon': return noise
    case 'sample': return latents
    case 'v_prediction': return mix(latents, noise, timesteps, alphasCumprod, (alpha, sigma) => [-sigma, alpha])
  }
}

function mix(
  a: Tensor, b: Tensor, timesteps: readonly number[], alphasCumprod: Float32Array,
  factors: (alpha: number, sigma: number) => [number, number],
): Tensor {
  const size = a.data.length / a.shape[0]!
  const data = new Float32Array(a.data.length)
  timesteps.forEach((t, n) => {
    const [ofA, ofB] = factors(Math.sqrt(alphasCumprod[t]!), Math.sqrt(1 - alphasCumprod[t]!))
    for (let i = n * size; i < (n + 1) * size; i++) data[i] = ofA * a.data[i]! + ofB * b.data[i]!
  })
  return { data, shape: [...a.shape] }
}

/** A sample's factor in the task loss, which is on the prediction: min(SNR, gamma) for x_0, over SNR for epsilon, over SNR + 1 for v. */
export function minSnrWeight(type: PredictionType, alphaCumprod: number, gamma: number): number {
  const snr = alphaCumprod / (1 - alphaCumprod)
  switch (type) {
    case 'epsilon': return snr <= gamma ? 1 : gamma / snr
    case 'v_prediction': return Math.min(snr, gamma) / (snr + 1)
    case 'sample': return Math.min(snr, gamma)
  }
}

/** The numbers of one step: the same whenever it is asked for. */
export class StepNumbers {
  readonly #twister = new MersenneTwister()
  readonly #noise: TorchGenerator

  constructor(seed: number, step: number) {
    const mixed = mix64(mix64(BigInt(seed)) + BigInt(step))
    this.#twister.seed(Number(mixed & 0xffff_ffffn))
    this.#noise = new TorchGenerator(mixed)
  }

  /** A whole number from 0 to `count` - 1. */
  below(count: number): number {
    return Math.floor(this.uniform() * count)
  }

  /** From 0 to 1, without 1, in steps of 2^-32. */
  uniform(): number {
    return this.#twister.next() / 2 ** 32
  }

  /** Standard normal. */
  randn(shape: readonly number[]): Tensor {
    return this.#noise.randn(shape)
  }
}

/** SplitMix64's finaliser (Steele, Lea and Flood 2014): near inputs, far outputs. */
function mix64(value: bigint): bigint {
  const wrap = (x: bigint): bigint => BigInt.asUintN(64, x)
  let z = wrap(value + 0x9e37_79b9_7f4a_7c15n)
  z = wrap((z ^ (z >> 30n)) * 0xbf58_476d_1ce4_e5b9n)
  z = wrap((z ^ (z >> 27n)) * 0x94d0_49bb_1331_11ebn)
  return z ^ (z >> 31n)
}

/**
 * Grows in a line for `warmup` steps, then falls along half a cosine to `last` times the rate at step `total` (Loshchilov and Hutter
 * 2017).
 */
export function learningRate(rate: number, step: number, total: number, warmup: number, last = 0): number {
  if (step < warmup) return rate * (step + 1) / warmup
  const share = total > warmup ? Math.min(1, (step - warmup) / (total - warmup)) : 1
  return rate * (last + (1 - last) * (1 + Math.cos(Math.PI * share)) / 2)
}
