import fs from 'node:fs'
import path from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { elementCount } from '../../lib/base/tensor'
import { openCheckpoint, type Checkpoint } from '../../lib/model/checkpoint'
import { temporaryFolder } from '../support/temporary'

/*
 * Whole checkpoints at their real size, as headers in front of a hole: what the original code would build for the published
 * settings, written down module by module. The published parameter counts check that these are the right shapes.
 */

type Shape = number[]
type Tensors = Map<string, Shape>

function module(out: Tensors, name: string, weight: Shape, bias = true): void {
  out.set(`${name}.weight`, weight)
  if (bias) out.set(`${name}.bias`, [weight[0]])
}
const conv = (out: Tensors, name: string, from: number, to: number, kernel = 3): void => module(out, name, [to, from, kernel, kernel])
const norm = (out: Tensors, name: string, width: number): void => module(out, name, [width])

function unet(out: Tensors, { inChannels, context, linear }: { inChannels: number, context: number, linear: boolean }): void {
  const root = 'model.diffusion_model'
  const multipliers = [1, 2, 4, 4]
  module(out, `${root}.time_embed.0`, [1280, 320])
  module(out, `${root}.time_embed.2`, [1280, 1280])
  const resnet = (name: string, from: number, to: number): void => {
    norm(out, `${name}.in_layers.0`, from)
    conv(out, `${name}.in_layers.2`, from, to)
    module(out, `${name}.emb_layers.1`, [to, 1280])
    norm(out, `${name}.out_layers.0`, to)
    conv(out, `${name}.out_layers.3`, to, to)
    if (from !== to) conv(out, `${name}.skip_connection`, from, to, 1)
  }
  const transformer = (name: string, width: number): void => {
    norm(out, `${name}.norm`, width)
    for (const projection of ['proj_in', 'proj_out']) module(out, `${name}.${projection}`, linear ? [width, width] : [width, width, 1, 1])
    const block = `${name}.transformer_blocks.0`
    for (const [attention, keys] of [['attn1', width], ['attn2', context]] as const) {
      module(out, `${block}.${attention}.to_q`, [width, width], false)
      module(out, `${block}.${attention}.to_k`, [width, keys], false)
      module(out, `${block}.${attention}.to_v`, [width, keys], false)
      module(out, `${block}.${attention}.to_out.0`, [width, width])
    }
    module(out, `${block}.ff.net.0.proj`, [8 * width, width])
    module(out, `${block}.ff.net.2`, [width, 4 * width])
    for (const i of [1, 2, 3]) norm(out, `${block}.norm${i}`, width)
  }
  conv(out, `${root}.input_blocks.0.0`, inChannels, 320)
  const skips = [320]
  let width = 320
  let block = 1
  multipliers.forEach((multiplier, level) => {
    for (let i = 0; i < 2; i++) {
      resnet(`${root}.input_blocks.${block}.0`, width, 320 * multiplier)
      width = 320 * multiplier
      if (level < 3) transformer(`${root}.input_blocks.${block}.1`, width)
      skips.push(width)
      block++
    }
    if (level < 3) {
      conv(out, `${root}.input_blocks.${block++}.0.op`, width, width)
      skips.push(width)
    }
  })
  resnet(`${root}.middle_block.0`, width, width)
  transformer(`${root}.middle_block.1`, width)
  resnet(`${root}.middle_block.2`, width, width)
  block = 0
  for (let level = 3; level >= 0; level--) {
    for (let i = 0; i < 3; i++) {
      resnet(`${root}.output_blocks.${block}.0`, width + skips.pop()!, 320 * multipliers[level])
      width = 320 * multipliers[level]
      if (level < 3) transformer(`${root}.output_blocks.${block}.1`, width)
      if (level > 0 && i === 2) conv(out, `${root}.output_blocks.${block}.${level < 3 ? 2 : 1}.conv`, width, width)
      block++
    }
  }
  norm(out, `${root}.out.0`, width)
  conv(out, `${root}.out.2`, width, 4)
}

function vae(out: Tensors): void {
  const root = 'first_stage_model'
  const multipliers = [1, 2, 4, 4]
  const resnet = (name: string, from: number, to: number): void => {
    norm(out, `${name}.norm1`, from)
    conv(out, `${name}.conv1`, from, to)
    norm(out, `${name}.norm2`, to)
    conv(out, `${name}.conv2`, to, to)
    if (from !== to) conv(out, `${name}.nin_shortcut`, from, to, 1)
  }
  const middle = (name: string): void => {
    resnet(`${name}.mid.block_1`, 512, 512)
    norm(out, `${name}.mid.attn_1.norm`, 512)
    for (const layer of ['q', 'k', 'v', 'proj_out']) conv(out, `${name}.mid.attn_1.${layer}`, 512, 512, 1)
    resnet(`${name}.mid.block_2`, 512, 512)
  }
  conv(out, `${root}.encoder.conv_in`, 3, 128)
  let width = 128
  multipliers.forEach((multiplier, level) => {
    for (let i = 0; i < 2; i++) {
      resnet(`${root}.encoder.down.${level}.block.${i}`, width, 128 * multiplier)
      width = 128 * multiplier
    }
    if (level < 3) conv(out, `${root}.encoder.down.${level}.downsample.conv`, width, width)
  })
  middle(`${root}.encoder`)
  norm(out, `${root}.encoder.norm_out`, width)
  conv(out, `${root}.encoder.conv_out`, width, 8)
  conv(out, `${root}.quant_conv`, 8, 8, 1)
  conv(out, `${root}.post_quant_conv`, 4, 4, 1)
  conv(out, `${root}.decoder.conv_in`, 4, width)
  middle(`${root}.decoder`)
  for (let level = 3; level >= 0; level--) {
    for (let i = 0; i < 3; i++) {
      resnet(`${root}.decoder.up.${level}.block.${i}`, width, 128 * multipliers[level])
      width = 128 * multipliers[level]
    }
    if (level > 0) conv(out, `${root}.decoder.up.${level}.upsample.conv`, width, width)
  }
  norm(out, `${root}.decoder.norm_out`, width)
  conv(out, `${root}.decoder.conv_out`, width, 3)
}

function clip(out: Tensors): void {
  const root = 'cond_stage_model.transformer.text_model'
  out.set(`${root}.embeddings.position_ids`, [1, 77])
  module(out, `${root}.embeddings.token_embedding`, [49408, 768], false)
  module(out, `${root}.embeddings.position_embedding`, [77, 768], false)
  for (let layer = 0; layer < 12; layer++) {
    const name = `${root}.encoder.layers.${layer}`
    for (const projection of ['q', 'k', 'v', 'out']) module(out, `${name}.self_attn.${projection}_proj`, [768, 768])
    module(out, `${name}.mlp.fc1`, [3072, 768])
    module(out, `${name}.mlp.fc2`, [768, 3072])
    norm(out, `${name}.layer_norm1`, 768)
    norm(out, `${name}.layer_norm2`, 768)
  }
  norm(out, `${root}.final_layer_norm`, 768)
}

function openClip(out: Tensors, layers = 24): void {
  const root = 'cond_stage_model.model'
  out.set(`${root}.positional_embedding`, [77, 1024])
  out.set(`${root}.text_projection`, [1024, 1024])
  out.set(`${root}.logit_scale`, [])
  module(out, `${root}.token_embedding`, [49408, 1024], false)
  for (let layer = 0; layer < layers; layer++) {
    const name = `${root}.transformer.resblocks.${layer}`
    out.set(`${name}.attn.in_proj_weight`, [3072, 1024])
    out.set(`${name}.attn.in_proj_bias`, [3072])
    module(out, `${name}.attn.out_proj`, [1024, 1024])
    module(out, `${name}.mlp.c_fc`, [4096, 1024])
    module(out, `${name}.mlp.c_proj`, [1024, 4096])
    norm(out, `${name}.ln_1`, 1024)
    norm(out, `${name}.ln_2`, 1024)
  }
  norm(out, `${root}.ln_final`, 1024)
}

/** The header, and a hole where the numbers would be. */
function write(t: ExecutionContext, tensors: Tensors, metadata: Record<string, string> = {}): string {
  let next = 0
  const entries: Record<string, unknown> = { __metadata__: metadata }
  for (const [name, shape] of tensors) {
    const ids = name.endsWith('position_ids')
    const bytes = elementCount(shape) * (ids ? 8 : 2)
    entries[name] = { dtype: ids ? 'I64' : 'F16', shape, data_offsets: [next, next += bytes] }
  }
  const header = Buffer.from(JSON.stringify(entries))
  const start = Buffer.alloc(8)
  start.writeBigUInt64LE(BigInt(header.length))
  const file = path.join(temporaryFolder(t), 'model.safetensors')
  fs.writeFileSync(file, Buffer.concat([start, header]))
  fs.truncateSync(file, 8 + header.length + next)
  return file
}

const parameters = (checkpoint: Checkpoint): number[] =>
  [checkpoint.unet, checkpoint.vae, checkpoint.textEncoder].map(({ weights }) =>
    weights.reduce((sum, { shape }) => sum + elementCount(shape), 0))

test('Stable Diffusion 1.5', async t => {
  const tensors: Tensors = new Map()
  unet(tensors, { inChannels: 4, context: 768, linear: false })
  vae(tensors)
  clip(tensors)
  const checkpoint = await openCheckpoint(write(t, tensors))
  t.deepEqual(parameters(checkpoint), [859_520_964, 83_653_863, 123_060_480])
  t.deepEqual(checkpoint.unet.config, {
    inChannels: 4, outChannels: 4, sampleSize: 64, blockOutChannels: [320, 640, 1280, 1280], downCrossAttention: [true, true, true, false],
    upCrossAttention: [false, true, true, true],
    layersPerBlock: [2, 2, 2, 2], transformerLayersPerBlock: [1, 1, 1, 1], attentionHeads: [8, 8, 8, 8], crossAttentionDim: 768,
    hasMidBlock: true, normNumGroups: 32, normEps: 1e-5,
    useLinearProjection: false, onlyCrossAttention: [false, false, false, false], downsamplePadding: 1, flipSinToCos: true, freqShift: 0,
  })
  t.deepEqual(checkpoint.vae.config, {
    inChannels: 3, outChannels: 3, latentChannels: 4, blockOutChannels: [
      128, 256, 512, 512,
    ], layersPerBlock: 2, normNumGroups: 32, useQuantConv: true, usePostQuantConv: true,
    midBlockAddAttention: true, scalingFactor: 0.18215, shiftFactor: 0, sampleSize: 512,
  })
  t.deepEqual(checkpoint.textEncoder.config, {
    vocabSize: 49408, hiddenSize: 768, intermediateSize: 3072, numHiddenLayers: 12, numAttentionHeads: 12, maxPositionEmbeddings: 77,
    hiddenAct: 'quick_gelu', layerNormEps: 1e-5,
  })
  t.is(checkpoint.schedulerConfig._class_name, 'PNDMScheduler')
  t.is(checkpoint.schedulerConfig.prediction_type, undefined)
  t.deepEqual([checkpoint.tokenizerFolder, checkpoint.padToken, checkpoint.warnings], [undefined, undefined, []])
})

test('Stable Diffusion 2.1', async t => {
  const tensors: Tensors = new Map()
  unet(tensors, { inChannels: 4, context: 1024, linear: true })
  vae(tensors)
  openClip(tensors)
  const checkpoint = await openCheckpoint(write(t, tensors))
  t.deepEqual(parameters(checkpoint), [865_910_724, 83_653_863, 340_387_840])
  const { blockOutChannels, attentionHeads, crossAttentionDim, useLinearProjection, sampleSize } = checkpoint.unet.config
  t.deepEqual(
    [blockOutChannels, attentionHeads, crossAttentionDim, useLinearProjection, sampleSize],
    [[320, 640, 1280, 1280], [5, 10, 20, 20], 1024, true, 96],
  )
  t.deepEqual(checkpoint.textEncoder.config, {
    vocabSize: 49408, hiddenSize: 1024, intermediateSize: 4096, numHiddenLayers: 23, numAttentionHeads: 16, maxPositionEmbeddings: 77,
    hiddenAct: 'gelu', layerNormEps: 1e-5,
  })
  t.deepEqual(
    [checkpoint.schedulerConfig._class_name, checkpoint.schedulerConfig.prediction_type, checkpoint.padToken],
    ['DDIMScheduler', 'v_prediction', '!'],
  )
  t.regex(checkpoint.warnings.join(), /v is assumed/)

  // A file that says what it predicts.
  const base = await openCheckpoint(write(t, tensors, { 'modelspec.prediction_type': 'epsilon' }))
  t.deepEqual([base.schedulerConfig.prediction_type, base.unet.config.sampleSize, base.warnings], ['epsilon', 64, []])

  // A file that was written without the layer that is not used.
  for (const name of [...tensors.keys()]) if (name.includes('resblocks.23.')) tensors.delete(name)
  t.is((await openCheckpoint(write(t, tensors))).textEncoder.config.numHiddenLayers, 23)
})

test('inpainting', async t => {
  const first: Tensors = new Map()
  unet(first, { inChannels: 9, context: 768, linear: false })
  vae(first)
  clip(first)
  t.is((await openCheckpoint(write(t, first))).unet.config.inChannels, 9)
  const second: Tensors = new Map()
  unet(second, { inChannels: 9, context: 1024, linear: true })
  vae(second)
  openClip(second)
  const checkpoint = await openCheckpoint(write(t, second))
  t.deepEqual([checkpoint.unet.config.inChannels, checkpoint.schedulerConfig.prediction_type, checkpoint.warnings], [9, 'epsilon', []])
})

test('a UNet alone, with the published VAE and text encoder files beside it', async t => {
  const [whole, first, second, third]: Tensors[] = [new Map(), new Map(), new Map(), new Map()]
  unet(whole, { inChannels: 4, context: 768, linear: false })
  vae(first)
  clip(second)
  openClip(third)
  const stripped = (tensors: Tensors, prefix: string, more: Record<string, Shape> = {}): Tensors =>
    new Map([...[...tensors].map(([name, shape]): [string, Shape] => [name.replace(prefix, ''), shape]), ...Object.entries(more)])
  const main = write(t, whole)
  // As vae-ft-mse-840000-ema-pruned and clip_l are published.
  const vaeFile = write(t, stripped(first, 'first_stage_model.', { 'loss.logvar': [], 'model_ema.decay': [] }))
  const clipFile = write(t, stripped(second, 'cond_stage_model.transformer.', { logit_scale: [], 'text_projection.weight': [768, 768] }))
  const checkpoint = await openCheckpoint(main, { vae: vaeFile, textEncoder: clipFile })
  t.deepEqual(parameters(checkpoint), [859_520_964, 83_653_863, 123_060_480])
  t.deepEqual([checkpoint.vae.config.blockOutChannels, checkpoint.vae.config.scalingFactor], [[128, 256, 512, 512], 0.18215])
  t.deepEqual([checkpoint.textEncoder.config.hiddenAct, checkpoint.textEncoder.config.numAttentionHeads], ['quick_gelu', 12])
  t.deepEqual([checkpoint.schedulerConfig._class_name, checkpoint.warnings], ['PNDMScheduler', []])

  // Stable Diffusion 2: the text encoder says so.
  const newer: Tensors = new Map()
  unet(newer, { inChannels: 4, context: 1024, linear: true })
  const openClipFile = write(t, stripped(third, 'cond_stage_model.model.', { 'visual.conv1.weight': [1280, 3, 14, 14] }))
  const second2 = await openCheckpoint(write(t, stripped(newer, 'model.diffusion_model.')), { vae: vaeFile, textEncoder: openClipFile })
  t.deepEqual(parameters(second2), [865_910_724, 83_653_863, 340_387_840])
  t.deepEqual(
    [second2.unet.config.attentionHeads, second2.textEncoder.config.hiddenAct, second2.schedulerConfig._class_name, second2.padToken],
    [[5, 10, 20, 20], 'gelu', 'DDIMScheduler', '!'],
  )
})
