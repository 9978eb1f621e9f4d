import path from 'node:path'
import { AsdmError } from '../base/errors'
import { fileExists } from '../files/files'
import { locateModel } from '../hub/locate-model'
import { openCheckpoint } from '../model/checkpoint'
import { openTextEncoder, openUNet, openVAE } from '../model/folder'
import type { Part } from '../model/part'
import { splitVAEWeights } from '../model/weights'
import type { ForwardShape, NativeModelSpec } from '../native/binding'
import type { TextEncoderConfig, UNetConfig, VAEConfig, WeightSource } from '../native/configs'
import type { DataType } from './nodes'

/** The graphs that a model consists of. */
export const onnxParts = ['unet', 'vae_decoder', 'vae_encoder', 'text_encoder'] as const

/** One of them. */
export type OnnxPart = (typeof onnxParts)[number]

/** What the sizes of an exported graph are called where they are left open. */
export type Size = 'batch' | 'height' | 'width' | 'length'

/** An input in ONNX: the name that diffusers' exports have, and its dimensions, of which some are sizes. */
interface PartInput {
  /** In our graph. */
  unit: string
  name: string
  type: DataType
  shape: readonly (number | Size)[]
}

/** A part as it is exported. */
export interface ExportedPart {
  spec: NativeModelSpec
  weights: WeightSource[]
  /** File or folder that the weights come from. */
  path: string
  sizes: readonly Size[]
  inputs: readonly PartInput[]
  output: { name: string, shape(sizes: Readonly<Partial<Record<Size, number>>>): (number | string)[] }
}

interface PartSource {
  variant?: string | undefined
  config?: string | undefined
  signal?: AbortSignal | undefined
}

/** Opens a model, or a folder with one part of it (its `config.json` and weights). */
export async function openPart(model: string, part: OnnxPart, { variant, config, signal }: PartSource): Promise<ExportedPart> {
  if (config === undefined && await fileExists(path.join(model, 'config.json'))) {
    const folder = path.resolve(model)
    if (part === 'unet') return unetPart(await openUNet(folder, { variant, signal }))
    if (part === 'text_encoder') return textEncoderPart(await openTextEncoder(folder, { variant, signal }))
    return vaePart(await openVAE(folder, { variant, signal }), part)
  }
  const found = await locateModel(model, { variant, signal })
  const { unet, vae, textEncoder } = await openCheckpoint(found.path, { variant: found.variant, config, signal })
  return part === 'unet' ? unetPart(unet) : part === 'text_encoder' ? textEncoderPart(textEncoder) : vaePart(vae, part)
}

function unetPart({ config, weights, path: where }: Part<UNetConfig>): ExportedPart {
  return {
    spec: { kind: 'unet', config }, weights, path: where, sizes: ['batch', 'height', 'width', 'length'],
    inputs: [
      { unit: 'sample', name: 'sample', type: 'FLOAT', shape: ['batch', config.inChannels, 'height', 'width'] },
      { unit: 'timesteps', name: 'timestep', type: 'FLOAT', shape: ['batch'] },
      { unit: 'encoder_hidden_states', name: 'encoder_hidden_states', type: 'FLOAT', shape: ['batch', 'length', config.crossAttentionDim] },
      ...(config.timeCondDim === undefined
        ? []
        : [{ unit: 'timestep_cond', name: 'timestep_cond', type: 'FLOAT' as const, shape: ['batch' as const, config.timeCondDim] }]),
      ...(config.additionDim === undefined
        ? []
        : [{ unit: 'added_embeds', name: 'added_embeds', type: 'FLOAT' as const, shape: ['batch' as const, config.additionDim] }]),
    ],
    output: {
      name: 'out_sample', shape: ({ batch = 'batch', height = 'height', width = 'width' }) => [batch, config.outChannels, height, width],
    },
  }
}

function vaePart({ config, weights, path: where }: Part<VAEConfig>, part: 'vae_decoder' | 'vae_encoder'): ExportedPart {
  const factor = 2 ** (config.blockOutChannels.length - 1)
  const decodes = part === 'vae_decoder'
  const halves = splitVAEWeights(weights)
  const scaled = (size: number | undefined, name: string): number | string =>
    size === undefined ? `${decodes ? 'image' : 'latent'}_${name}` : decodes ? size * factor : Math.floor(size / factor)
  return {
    spec: { kind: part, config }, weights: decodes ? halves.decoder : halves.encoder, path: where, sizes: ['batch', 'height', 'width'],
    inputs: [{
      unit: 'sample', name: decodes ? 'latent_sample' : 'sample', type: 'FLOAT',
      shape: ['batch', decodes ? config.latentChannels : config.inChannels, 'height', 'width'],
    }],
    output: {
      name: decodes ? 'sample' : config.tiny === undefined ? 'latent_parameters' : 'latent_sample',
      shape: ({ batch = 'batch', height, width }) =>
        [batch, decodes ? config.outChannels : (config.tiny === undefined ? 2 : 1) * config.latentChannels, scaled(height, 'height'), scaled(width, 'width')],
    },
  }
}

function textEncoderPart({ config, weights, path: where }: Part<TextEncoderConfig>): ExportedPart {
  return {
    spec: { kind: 'text_encoder', config }, weights, path: where, sizes: ['batch', 'length'],
    inputs: [{ unit: 'ids', name: 'input_ids', type: 'INT32', shape: ['batch', 'length'] }],
    output: { name: 'last_hidden_state', shape: ({ batch = 'batch', length = 'length' }) => [batch, length, config.hiddenSize] },
  }
}

/** The sizes that are given, checked: those that the part has, and others not. */
export function checkSizes(
  { sizes }: ExportedPart, part: OnnxPart, given: Readonly<Partial<Record<Size, number>>>,
): Partial<Record<Size, number>> {
  for (const size of ['batch', 'height', 'width', 'length'] as const)
    if (given[size] !== undefined && !sizes.includes(size))
      throw new AsdmError('INVALID_ARGUMENT',
        `Expected no ${size} for the part ${part}, whose sizes are ${sizes.join(', ')}, but received ${given[size]}`)
  return given
}

/** A size to try a graph with: those given, others usual. */
export function trialShape(
  { sizes, spec }: ExportedPart, { batch = 1, height = 64, width = 64, length }: Readonly<Partial<Record<Size, number>>>,
): ForwardShape {
  const tokens = length ?? (spec.kind === 'text_encoder' ? spec.config.maxPositionEmbeddings : 77)
  return { batch, ...(sizes.includes('height') && { height, width }), ...(sizes.includes('length') && { length: tokens }) }
}
