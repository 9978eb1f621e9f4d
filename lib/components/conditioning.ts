import { integer, number } from '../base/options'
import type { Tensor } from '../base/tensor'
import type { InputValues } from '../native/inputs'

/** What the UNet is conditioned by besides sample and time step: its further inputs, each with the batch as its first dimension. */
export interface Conditioning {
  /** Text features [N,L,D]. */
  encoderHiddenStates: Tensor
  /** Embedding of the guidance scale [N,D], of UNets that were distilled with one (`time_cond_proj_dim`); see {@link guidanceEmbedding}. */
  timestepCond?: Tensor
}

/** The same by the names of the graph's inputs. */
export function conditioningValues({ encoderHiddenStates, timestepCond }: Conditioning): InputValues {
  return { encoder_hidden_states: encoderHiddenStates, ...(timestepCond && { timestep_cond: timestepCond }) }
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
