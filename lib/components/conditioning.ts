import { integer, number } from '../base/options'
import type { Tensor } from '../base/tensor'
import type { UNetConfig } from '../native/configs'
import type { InputValues } from '../native/inputs'

/** What the UNet is conditioned by besides sample and time step: its further inputs, each with the batch as its first dimension. */
export interface Conditioning {
  /** Text features [N,L,D]. */
  encoderHiddenStates: Tensor
  /** Embedding of the guidance scale [N,D], of UNets that were distilled with one (`time_cond_proj_dim`); see {@link guidanceEmbedding}. */
  timestepCond?: Tensor
  /** Pooled text features [N,P], of UNets that take them (`addition_embed_type: text_time`), as Stable Diffusion XL's. */
  textEmbeds?: Tensor
  /** Sizes [N,K] beside them: original height and width, top and left of the crop, target height and width. */
  timeIds?: Tensor
}

/** The same by the names of the graph's inputs, without pooled text and sizes, of which {@link addedEmbeds} makes one. */
export function conditioningValues({ encoderHiddenStates, timestepCond }: Conditioning): InputValues {
  return { encoder_hidden_states: encoderHiddenStates, ...(timestepCond && { timestep_cond: timestepCond }) }
}

/** Pooled text, and behind it the features of each size: cosines and sines of it, as those of time steps; diffusers' float32 throughout. */
export function addedEmbeds(text: Tensor, ids: Tensor, { additionTimeDim = 0, flipSinToCos, freqShift }: UNetConfig): Tensor {
  const { fround } = Math
  const [count, pooled, sizes] = [text.shape[0]!, text.shape[1]!, ids.shape[1]!]
  const half = additionTimeDim / 2, width = pooled + sizes * additionTimeDim
  const rate = fround(-Math.log(10_000))
  const frequencies = Float32Array.from({ length: half }, (_, i) => Math.exp(fround(fround(rate * i) / fround(half - freqShift))))
  const [sine, cosine] = flipSinToCos ? [half, 0] : [0, half]
  const data = new Float32Array(count * width)
  for (let row = 0; row < count; row++) {
    data.set(text.data.subarray(row * pooled, (row + 1) * pooled), row * width)
    for (let k = 0; k < sizes; k++) {
      const at = row * width + pooled + k * additionTimeDim
      frequencies.forEach((frequency, i) => {
        const angle = fround(ids.data[row * sizes + k]! * frequency)
        data[at + sine + i] = Math.sin(angle)
        data[at + cosine + i] = Math.cos(angle)
      })
    }
  }
  return { data, shape: [count, width] }
}

/**
 * What a latent consistency model knows the guidance scale by, so that a step takes one pass instead of two: sines, then cosines, of
 * 1000 (scale - 1) times frequencies from 1 to 1/10000. Float32 operation by operation, as diffusers' `get_guidance_scale_embedding`.
 * @param dim of the embedding, at least 4; the last of an odd number is 0
 * @returns [count,dim], with equal rows
 * @throws AsdmError `INVALID_ARGUMENT`
 */
export function guidanceEmbedding(scale: number, dim: number, count: number): Tensor {
  number(scale, 'scale', -1e6, 1e6)
  integer(dim, 'dim', 4, 65_536)
  integer(count, 'count', 1, 65_536)
  const { fround } = Math
  const w = fround(fround(scale - 1) * 1000)
  const half = dim >> 1
  const rate = fround(fround(Math.log(10_000)) / (half - 1))
  const data = new Float32Array(count * dim)
  for (let i = 0; i < half; i++) {
    const angle = fround(w * fround(Math.exp(fround(i * -rate))))
    for (let row = 0; row < count; row++) {
      data[row * dim + i] = Math.sin(angle)
      data[row * dim + half + i] = Math.cos(angle)
    }
  }
  return { data, shape: [count, dim] }
}
