import { AsdmError } from '../base/errors'
import { shownPath } from '../files/files'
import type { TextEncoderConfig, UNetConfig, VAEConfig } from '../native/configs'
import type { Shapes } from './shapes'
import { defaultScalingFactor } from './vae-config'

/** Which published model decides what shapes cannot tell. */
export type Family = 'sd1' | 'sd2'

/** Channels of one attention head in SD 2.x's UNet and in CLIP's and OpenCLIP's text encoders; SD 1.x's UNet has 8 heads everywhere. */
const headWidth = 64
const sd1Heads = 8

/**
 * A UNet's config from the shapes of its weights under diffusers names. Group count, epsilon and head counts are those of the
 * family: 32 groups, and 8 heads (SD 1.x) or heads 64 channels wide (SD 2.x).
 * @throws AsdmError `TENSOR_MISSING`, `TENSOR_SHAPE`, `UNSUPPORTED_CONFIG`
 */
export function inferUNetConfig(shapes: Shapes, family: Family, sampleSize: number): UNetConfig {
  const stages = shapes.count(stage => `down_blocks.${stage}.resnets.0.conv1.weight`)
  const blockOutChannels: number[] = []
  const layersPerBlock: number[] = []
  const downCrossAttention: boolean[] = []
  const upCrossAttention: boolean[] = []
  for (let stage = 0; stage < stages; stage++) {
    blockOutChannels.push(shapes.size(`down_blocks.${stage}.resnets.0.conv1.weight`, 0))
    const layers = shapes.count(layer => `down_blocks.${stage}.resnets.${layer}.conv1.weight`)
    layersPerBlock.push(layers)
    downCrossAttention.push(attends(shapes, `down_blocks.${stage}`, layers))
  }
  for (const [stage, layers] of [...layersPerBlock].reverse().entries())
    upCrossAttention.push(attends(shapes, `up_blocks.${stage}`, layers + 1))
  if (stages === 0) shapes.size('down_blocks.0.resnets.0.conv1.weight', 0)

  const hasMidBlock = shapes.has('mid_block.resnets.0.conv1.weight')
  if (hasMidBlock && !shapes.has('mid_block.attentions.0.proj_in.weight'))
    throw new AsdmError('UNSUPPORTED_CONFIG',
      `Expected the middle block in ${shownPath(shapes.file)} to hold a transformer but it has none, which is not supported`)
  const transformerLayersPerBlock = blockOutChannels.map((_, stage) => {
    const last = stage === stages - 1
    const place = downCrossAttention[stage]
      ? `down_blocks.${stage}`
      : upCrossAttention[stages - 1 - stage]
        ? `up_blocks.${stages - 1 - stage}`
        : last && hasMidBlock
          ? 'mid_block'
          : undefined
    return place === undefined ? 1 : shapes.count(layer => `${place}.attentions.0.transformer_blocks.${layer}.attn1.to_q.weight`)
  })
  const place = firstTransformer(downCrossAttention, upCrossAttention, hasMidBlock)
  if (place === undefined)
    throw new AsdmError('UNSUPPORTED_CONFIG', `Expected the UNet in ${shownPath(shapes.file)} to attend to text but it has no transformer`)
  return {
    inChannels: shapes.size('conv_in.weight', 1),
    outChannels: shapes.size('conv_out.weight', 0),
    sampleSize,
    blockOutChannels,
    downCrossAttention,
    upCrossAttention,
    layersPerBlock,
    transformerLayersPerBlock,
    attentionHeads: blockOutChannels.map(width => (family === 'sd2' ? width / headWidth : sd1Heads)),
    crossAttentionDim: shapes.size(`${place}.attentions.0.transformer_blocks.0.attn2.to_k.weight`, 1),
    hasMidBlock,
    normNumGroups: 32,
    normEps: 1e-5,
    useLinearProjection: isLinear(shapes, `${place}.attentions.0.proj_in.weight`),
    onlyCrossAttention: blockOutChannels.map(() => false),
    downsamplePadding: 1,
    flipSinToCos: true,
    freqShift: 0,
  }
}

/** Do the blocks of a stage hold transformers? All or none of them do. */
function attends(shapes: Shapes, place: string, layers: number): boolean {
  let found = 0
  for (let layer = 0; layer < layers; layer++) if (shapes.has(`${place}.attentions.${layer}.proj_in.weight`)) found++
  if (found !== 0 && found !== layers)
    throw new AsdmError('UNSUPPORTED_CONFIG',
      `Expected all or none of the ${layers} layers of ${place} in ${shownPath(shapes.file)} to hold transformers but ${found} do, which `
      + 'is not supported')
  return found > 0
}

function firstTransformer(down: readonly boolean[], up: readonly boolean[], mid: boolean): string | undefined {
  if (down.includes(true)) return `down_blocks.${down.indexOf(true)}`
  if (up.includes(true)) return `up_blocks.${up.indexOf(true)}`
  return mid ? 'mid_block' : undefined
}

/** A linear projection is a matrix, a convolution's weight has four dimensions. */
function isLinear(shapes: Shapes, name: string): boolean {
  shapes.size(name, 1)
  return !shapes.hasRank(name, 4)
}

/**
 * A VAE's config from the shapes of its weights under diffusers names. Groups (32) and the scaling factor are Stable Diffusion's.
 * @param latentSize side of the latents that the UNet beside it was trained on, where there is one
 * @throws AsdmError `TENSOR_MISSING`, `TENSOR_SHAPE`
 */
export function inferVAEConfig(shapes: Shapes, latentSize?: number): VAEConfig {
  const stages = shapes.count(stage => `encoder.down_blocks.${stage}.resnets.0.conv1.weight`)
  if (stages === 0) shapes.size('encoder.down_blocks.0.resnets.0.conv1.weight', 0)
  const widths: number[] = []
  for (let stage = 0; stage < stages; stage++) widths.push(shapes.size(`encoder.down_blocks.${stage}.resnets.0.conv1.weight`, 0))
  return {
    inChannels: shapes.size('encoder.conv_in.weight', 1),
    outChannels: shapes.size('decoder.conv_out.weight', 0),
    latentChannels: shapes.size('decoder.conv_in.weight', 1),
    blockOutChannels: widths,
    layersPerBlock: shapes.count(layer => `encoder.down_blocks.0.resnets.${layer}.conv1.weight`),
    normNumGroups: 32,
    useQuantConv: shapes.has('quant_conv.weight'),
    usePostQuantConv: shapes.has('post_quant_conv.weight'),
    midBlockAddAttention: shapes.has('decoder.mid_block.attentions.0.to_q.weight'),
    scalingFactor: defaultScalingFactor,
    shiftFactor: 0,
    ...(latentSize !== undefined && { sampleSize: latentSize * 2 ** (stages - 1) }),
  }
}

/**
 * A text encoder's config from the shapes of its weights under transformers names. Heads are 64 wide; SD 1.x's CLIP uses
 * quick_gelu, SD 2.x's OpenCLIP gelu.
 * @throws AsdmError `TENSOR_MISSING`, `TENSOR_SHAPE`
 */
export function inferTextEncoderConfig(shapes: Shapes, family: Family): TextEncoderConfig {
  const hiddenSize = shapes.size('embeddings.token_embedding.weight', 1)
  return {
    vocabSize: shapes.size('embeddings.token_embedding.weight', 0),
    hiddenSize,
    intermediateSize: shapes.size('encoder.layers.0.mlp.fc1.weight', 0),
    numHiddenLayers: shapes.count(layer => `encoder.layers.${layer}.mlp.fc1.weight`),
    numAttentionHeads: hiddenSize / headWidth,
    maxPositionEmbeddings: shapes.size('embeddings.position_embedding.weight', 0),
    hiddenAct: family === 'sd2' ? 'gelu' : 'quick_gelu',
    layerNormEps: 1e-5,
  }
}
