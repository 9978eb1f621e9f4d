/**
 * Noise schedules: betas and their cumulated products, in float32 step by step as the reference does, since zero-SNR rescaling subtracts
 * nearly equal numbers and a double would land 1e-5 beside it.
 *
 * | code            | paper (Ho et al. 2020, https://arxiv.org/abs/2006.11239)      |
 * | --------------- | ------------------------------------------------------------- |
 * | `betas[t]`      | beta_{t+1}: timesteps count from 0 here, from 1 in the paper  |
 * | `alphasCumprod` | alpha-bar, the product of 1 - beta up to t (section 2, eq. 4) |
 *
 * Zero terminal SNR: Lin et al. 2023, https://arxiv.org/abs/2305.08891, algorithm 1. Cosine schedule: Nichol and Dhariwal 2021,
 * https://arxiv.org/abs/2102.09672, eq. 17.
 */
import { AsdmError } from '../base/errors'
import type { ConfigReader } from './config'

type BetaSchedule = 'linear' | 'scaled_linear' | 'squaredcos_cap_v2'

const betaSchedules: readonly BetaSchedule[] = ['linear', 'scaled_linear', 'squaredcos_cap_v2']

const f32 = Math.fround

/** `count` float32 values from start to end, counted from whichever end is nearer, as PyTorch does. */
function linspace(start: number, end: number, count: number): Float32Array {
  const from = f32(start)
  const to = f32(end)
  const step = f32(f32(to - from) / (count - 1))
  const values = new Float32Array(count)
  for (let i = 0; i < count; i++) values[i] = i < count / 2 ? from + step * i : to - step * (count - 1 - i)
  return values
}

/** The betas of a named schedule, one per training timestep. */
function namedBetas(schedule: BetaSchedule, betaStart: number, betaEnd: number, trainTimesteps: number): Float32Array {
  switch (schedule) {
    case 'linear': return linspace(betaStart, betaEnd, trainTimesteps)
    case 'scaled_linear': return linspace(Math.sqrt(betaStart), Math.sqrt(betaEnd), trainTimesteps).map(root => root * root)
    case 'squaredcos_cap_v2': {
      const alphaBar = (time: number): number => Math.cos((time + 0.008) / 1.008 * Math.PI / 2) ** 2
      return Float32Array.from({ length: trainTimesteps },
        (_, t) => Math.min(1 - alphaBar((t + 1) / trainTimesteps) / alphaBar(t / trainTimesteps), 0.999))
    }
  }
}

/** Cumulated products of 1 - beta: each rounded to float32, the running product in double. */
function cumulatedAlphas(betas: Float32Array): Float32Array {
  let product = 1
  return betas.map(beta => (product *= f32(1 - beta)))
}

/** Betas shifted and scaled so that the last timestep holds no signal and the first keeps its own (Lin et al., algorithm 1). */
function rescaleZeroTerminalSnr(betas: Float32Array): Float32Array {
  const roots = cumulatedAlphas(betas).map(Math.sqrt)
  const first = roots[0]!
  const last = roots[roots.length - 1]!
  const scale = f32(first / f32(first - last))
  const products = roots.map(root => f32(f32(root - last) * scale) ** 2)
  return products.map((product, t) => 1 - f32(t === 0 ? product : product / products[t - 1]!))
}

/** The defaults in which diffusers' scheduler classes differ, and what they know of zero terminal SNR. */
export interface ScheduleDefaults {
  betaStart?: number
  betaEnd?: number
  betaSchedule?: BetaSchedule
  /**
   * `exact`: the last alpha-bar becomes 0. `floor`: it becomes 2^-24 (float16's least number), so that sigma stays finite (4096).
   * `none`: the class has no such option.
   */
  zeroSnr: 'exact' | 'floor' | 'none'
}

export interface NoiseSchedule {
  trainTimesteps: number
  alphasCumprod: Float32Array
}

/** More training timesteps than any model has; keeps a hostile config from allocating gigabytes. */
const mostTrainTimesteps = 100_000

/** Reads the options that make the noise schedule. @throws AsdmError `BAD_CONFIG`, `UNSUPPORTED_CONFIG` */
export function readSchedule(reader: ConfigReader, defaults: ScheduleDefaults): NoiseSchedule {
  const trainTimesteps = reader.integer('num_train_timesteps', 1000, 2, mostTrainTimesteps)
  const betaStart = reader.number('beta_start', defaults.betaStart ?? 0.0001, 1e-9, 0.9999)
  const betaEnd = reader.number('beta_end', defaults.betaEnd ?? 0.02, 1e-9, 0.9999)
  const schedule = reader.choice('beta_schedule', defaults.betaSchedule ?? 'linear', betaSchedules)
  const trained = reader.numbers('trained_betas', null, 1e-9, 1, mostTrainTimesteps)
  if (trained !== null && trained.length !== trainTimesteps)
    throw reader.bad('trained_betas', `a list of num_train_timesteps (${trainTimesteps}) numbers`, trained)
  const rescale = defaults.zeroSnr !== 'none' && reader.flag('rescale_betas_zero_snr', false)

  let betas = trained !== null ? Float32Array.from(trained) : namedBetas(schedule, betaStart, betaEnd, trainTimesteps)
  if (rescale) betas = rescaleZeroTerminalSnr(betas)
  const alphasCumprod = cumulatedAlphas(betas)
  if (rescale && defaults.zeroSnr === 'floor') alphasCumprod[trainTimesteps - 1] = 2 ** -24

  // Only the very last timestep may be without signal, and only for samplers that know how to start there.
  const least = alphasCumprod[trainTimesteps - (defaults.zeroSnr === 'exact' ? 2 : 1)]
  if (least === undefined || !(least > 0 && alphasCumprod[0]! < 1))
    throw new AsdmError('BAD_CONFIG',
      `Expected the betas of ${reader.className} to leave signal at every timestep and noise at the first, `
      + `but the products of 1 - beta run from ${alphasCumprod[0]} to ${least}`)
  return { trainTimesteps, alphasCumprod }
}
