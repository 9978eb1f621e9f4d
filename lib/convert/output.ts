import type { TensorToWrite } from '../files/safetensors'
import type { PartName } from '../model/weights'
import type { StoredDType, TextEncoderConfig, WeightSource } from '../native/configs'
import { elementBytes, readConverted } from '../model/dtype'
import { isConvolutionInLdm, ldmUNetNames, ldmVAENames, openClipNames } from './ldm-names'

/** The weights of a model, each known to be there once and of the right shape, in the order of the graphs. */
export type ModelWeights = Record<PartName, readonly WeightSource[]>

/** A tensor of the new model: what it is made of, and as what. */
export interface OutputTensor {
  name: string
  dtype: StoredDType
  shape: number[]
  /** One weight, or several that are stacked along the first dimension. */
  sources: readonly WeightSource[]
}

/**
 * The tensors of one file with the original names of Stable Diffusion 1.x (a CLIP text encoder) or 2.x (OpenCLIP, whose
 * activation is gelu).
 * @param dtype of all tensors, or `undefined` for each its own
 * @throws AsdmError `UNSUPPORTED_CONFIG` where the original names cannot tell the model
 */
export function singleFileTensors(weights: ModelWeights, textConfig: TextEncoderConfig, dtype: StoredDType | undefined): OutputTensor[] {
  const unetNames = ldmUNetNames(weights.unet.map(({ name }) => name))
  const vaeNames = ldmVAENames(weights.vae.map(({ name }) => name))
  return [
    ...weights.unet.map(source => one(`model.diffusion_model.${unetNames.get(source.name)}`, source, source.shape, dtype)),
    ...weights.vae.map(source =>
      one(
        `first_stage_model.${vaeNames.get(source.name)}`, source, isConvolutionInLdm(source.name) ? [...source.shape, 1, 1] : source.shape,
        dtype,
      )),
    ...(textConfig.hiddenAct === 'gelu' ? openClipTensors(weights.text_encoder, dtype)
      : weights.text_encoder.map(source => one(`cond_stage_model.transformer.text_model.${source.name}`, source, source.shape, dtype))),
  ]
}

function openClipTensors(weights: readonly WeightSource[], dtype: StoredDType | undefined): OutputTensor[] {
  const byName = new Map(weights.map(source => [source.name, source]))
  return [...openClipNames([...byName.keys()])].map(([name, ours]) => {
    const sources = ours.map(source => byName.get(source)!)
    // A stack has one dtype; float32 holds whatever its parts have.
    const first = sources[0]!
    const own = sources.every(source => source.dtype === first.dtype) ? first.dtype : 'F32'
    const shape = [first.shape[0]! * sources.length, ...first.shape.slice(1)]
    return { name: `cond_stage_model.model.${name}`, dtype: dtype ?? own, shape, sources }
  })
}

/**
 * The tensors of a part in a diffusers folder. A text encoder's names begin with `text_model.`, as in all published files; newer
 * versions of transformers write them without and read both.
 */
export function folderTensors(part: PartName, weights: readonly WeightSource[], dtype: StoredDType | undefined): OutputTensor[] {
  return weights.map(source => one(part === 'text_encoder' ? `text_model.${source.name}` : source.name, source, source.shape, dtype))
}

function one(name: string, source: WeightSource, shape: readonly number[], dtype: StoredDType | undefined): OutputTensor {
  return { name, dtype: dtype ?? source.dtype, shape: [...shape], sources: [source] }
}

/** Bytes of a tensor when it is written. */
export function outputBytes({ dtype, shape }: OutputTensor): number {
  return shape.reduce((product, size) => product * size, elementBytes[dtype])
}

/** The tensors for the writer, which reads and converts each when its turn comes. @param onBytes called with the length of each piece */
export function toWrite(
  tensors: readonly OutputTensor[], signal: AbortSignal | undefined, onBytes: (bytes: number) => void,
): TensorToWrite[] {
  return tensors.map(({ name, dtype, shape, sources }) => ({
    name, dtype, shape,
    data: async function * () {
      for await (const piece of readConverted(sources, dtype, name, signal)) {
        yield piece
        onBytes(piece.byteLength)
      }
    },
  }))
}
