/** What graphs read, by name; part of `lib/native/binding.ts`. */

/** A value of a graph's input. */
export interface InputTensor {
  data: Float32Array | Int32Array
  shape: number[]
}

/**
 * Values of a graph's inputs, by their names. UNet: `sample` [N,C,H,W], `timesteps` [N], `encoder_hidden_states` [N,L,D], and with a
 * `timeCondDim` in its config `timestep_cond` [N,D], with an `additionDim` `added_embeds` [N,additionDim]. VAE decoder: `sample`, latents.
 * VAE encoder: `sample`, image. Text encoder: `ids` [N,L], an Int32Array.
 */
export type InputValues = Readonly<Record<string, InputTensor>>
