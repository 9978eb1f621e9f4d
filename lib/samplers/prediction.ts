/**
 * What the network's output means, and how one meaning becomes another.
 *
 * | code       | paper                                                                                              |
 * | ---------- | -------------------------------------------------------------------------------------------------- |
 * | `x`        | x_t = alpha x_0 + sigma epsilon (Ho et al. 2020, https://arxiv.org/abs/2006.11239, eq. 4)           |
 * | `alpha`    | sqrt(alpha-bar_t)                                                                                   |
 * | `sigma`    | sqrt(1 - alpha-bar_t)                                                                               |
 * | `original` | x_0, the predicted clean sample (eq. 15)                                                            |
 * | `epsilon`  | epsilon, the predicted noise                                                                        |
 * | v          | v = alpha epsilon - sigma x_0 (Salimans and Ho 2022, https://arxiv.org/abs/2202.00512, appendix D)  |
 */
import type { Tensor } from '../base/tensor'
import { combine, copyOf } from './arithmetic'
import type { ConfigReader } from './config'

export type PredictionType = 'epsilon' | 'v_prediction' | 'sample'

export const predictionTypes: readonly PredictionType[] = ['epsilon', 'v_prediction', 'sample']

/** The predicted clean sample. With `epsilon`, alpha must not be 0. */
export function toOriginal(type: PredictionType, output: Tensor, x: Tensor, alpha: number, sigma: number): Tensor {
  switch (type) {
    case 'epsilon': return combine([1 / alpha, x], [-sigma / alpha, output])
    case 'v_prediction': return combine([alpha, x], [-sigma, output])
    case 'sample': return copyOf(output)
  }
}

/** The predicted noise. With `sample`, sigma must not be 0. */
export function toEpsilon(type: PredictionType, output: Tensor, x: Tensor, alpha: number, sigma: number): Tensor {
  switch (type) {
    case 'epsilon': return copyOf(output)
    case 'v_prediction': return combine([alpha, output], [sigma, x])
    case 'sample': return combine([1 / sigma, x], [-alpha / sigma, output])
  }
}

/** The predicted clean sample where `x` is x_0 + sigma epsilon (the samplers that scale their input); `sigma` is noise over signal. */
export function toOriginalUnscaled(type: PredictionType, output: Tensor, x: Tensor, sigma: number): Tensor {
  switch (type) {
    case 'epsilon': return combine([1, x], [-sigma, output])
    case 'v_prediction': return combine([1 / (sigma * sigma + 1), x], [-sigma / Math.sqrt(sigma * sigma + 1), output])
    case 'sample': return copyOf(output)
  }
}

/** How a predicted clean sample is kept within bounds. */
export interface Limits {
  /** Dynamic thresholding (Saharia et al. 2022, https://arxiv.org/abs/2205.11487, section 2.3); it replaces clipping. */
  thresholding: boolean
  thresholdRatio: number
  thresholdMax: number
  clip: boolean
  clipRange: number
}

/** Reads the options of {@link Limits}; a class may have thresholding alone. */
export function readLimits(reader: ConfigReader, clipDefault: boolean | 'absent'): Limits {
  return {
    clip: clipDefault !== 'absent' && reader.flag('clip_sample', clipDefault),
    clipRange: clipDefault === 'absent' ? 1 : reader.number('clip_sample_range', 1, 1e-6, 1e6),
    thresholding: reader.flag('thresholding', false),
    thresholdRatio: reader.number('dynamic_thresholding_ratio', 0.995, 0, 1),
    thresholdMax: reader.number('sample_max_value', 1, 1e-6, 1e6),
  }
}

/** Keeps a predicted clean sample within bounds, in place. */
export function limit(original: Tensor, limits: Limits): Tensor {
  const { data, shape } = original
  if (limits.thresholding) {
    const perSample = data.length / shape[0]!
    for (let begin = 0; begin < data.length; begin += perSample) {
      const sample = data.subarray(begin, begin + perSample)
      const bound = Math.min(Math.max(quantile(sample.map(Math.abs), limits.thresholdRatio), 1), limits.thresholdMax)
      for (let i = 0; i < perSample; i++) sample[i] = Math.min(Math.max(sample[i]!, -bound), bound) / bound
    }
  } else if (limits.clip) {
    for (let i = 0; i < data.length; i++) data[i] = Math.min(Math.max(data[i]!, -limits.clipRange), limits.clipRange)
  }
  return original
}

/** The value below which a share `ratio` of the values lies, linear between neighbours; sorts in place. */
function quantile(values: Float32Array, ratio: number): number {
  values.sort()
  const rank = ratio * (values.length - 1)
  const below = Math.floor(rank)
  const above = Math.min(below + 1, values.length - 1)
  return values[below]! + (rank - below) * (values[above]! - values[below]!)
}
