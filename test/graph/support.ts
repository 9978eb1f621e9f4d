import fs from 'node:fs'
import path from 'node:path'
import type { NativeModel, NativeModelOptions, NativeModelSpec } from '../../lib/native/binding'
import type { UNetConfig, TextEncoderConfig, VAEConfig, WeightSource } from '../../lib/native/configs'
import { loadAddon } from '../../lib/native/load'
import { fixture } from '../support/fixtures'

export const addon = loadAddon()
export const options: NativeModelOptions = { dtype: 'fp32', threads: 2, cpu: 'auto' }

/** What places in memory are rounded up to: on the CPU, or the device that `npm run test:device` runs these tests on. */
export const alignment = process.env.ASDM_DEVICE === 'handles' ? 256 : 64

/** Stable Diffusion 1.5's three parts. */
export const sd15: UNetConfig = {
  inChannels: 4, outChannels: 4, sampleSize: 64, blockOutChannels: [320, 640, 1280, 1280], downCrossAttention: [true, true, true, false],
  upCrossAttention: [false, true, true, true], layersPerBlock: [2, 2, 2, 2], transformerLayersPerBlock: [1, 1, 1, 1],
  attentionHeads: [8, 8, 8, 8],
  crossAttentionDim: 768, hasMidBlock: true, normNumGroups: 32, normEps: 1e-5, useLinearProjection: false, onlyCrossAttention: [
    false, false, false, false,
  ],
  downsamplePadding: 1, flipSinToCos: true, freqShift: 0,
}
export const sdVAE: VAEConfig = {
  inChannels: 3, outChannels: 3, latentChannels: 4, blockOutChannels: [
    128, 256, 512, 512,
  ], layersPerBlock: 2, normNumGroups: 32, useQuantConv: true,
  usePostQuantConv: true, midBlockAddAttention: true, scalingFactor: 0.18215, shiftFactor: 0,
}
export const clipLarge: TextEncoderConfig = {
  vocabSize: 49408, hiddenSize: 768, intermediateSize: 3072, numHiddenLayers: 12, numAttentionHeads: 12, maxPositionEmbeddings: 77,
  hiddenAct: 'quick_gelu', layerNormEps: 1e-5,
}

/** Small configs, which build in no time. */
export const smallUNet: UNetConfig = {
  ...sd15, blockOutChannels: [8, 16], downCrossAttention: [true, false], upCrossAttention: [false, true], layersPerBlock: [1, 1],
  transformerLayersPerBlock: [1, 1], attentionHeads: [2, 2], crossAttentionDim: 12, normNumGroups: 4, onlyCrossAttention: [false, false],
}
export const smallVAE: VAEConfig = { ...sdVAE, blockOutChannels: [8, 16], layersPerBlock: 1, normNumGroups: 4 }
export const smallText: TextEncoderConfig = {
  ...clipLarge, vocabSize: 50, hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 2, numAttentionHeads: 2, maxPositionEmbeddings: 7,
}

export const create = (spec: NativeModelSpec, more: Partial<NativeModelOptions> = {}): NativeModel =>
  addon.createModel(spec, { ...options, ...more })

/** Where the weights of a fixture's file lie, under today's names; reads the header with its own few lines. */
export function fixtureWeights(...parts: string[]): WeightSource[] {
  const file = fixture(...parts)
  const bytes = fs.readFileSync(file)
  const start = 8 + Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.subarray(8, start).toString('utf8')) as Record<string, {
    dtype: WeightSource['dtype']
    shape: number[]
    data_offsets: [number, number]
  }>
  const old: Record<string, string> = { query: 'to_q', key: 'to_k', value: 'to_v', proj_attn: 'to_out.0' }
  return Object.entries(header).filter(([name]) => name !== '__metadata__').map(([name, { dtype, shape, data_offsets: [begin, end] }]) => ({
    name: name.replace(
      /(attentions\.0\.)(query|key|value|proj_attn)\./, (_, before: string, part: string) => `${before}${old[part]}.`,
    ).replace(/^text_model\./, ''),
    file, dtype, shape, begin: start + begin, end: start + end,
  }))
}

/** Writes numbers for every weight of a model into one file and says where they lie. */
export function writeWeights(
  folder: string, model: NativeModel, number: (index: number, name: string) => number = i => Math.sin(i) / 4,
): WeightSource[] {
  const file = path.join(folder, 'weights.bin')
  const chunks: Buffer[] = []
  let begin = 16 // not at the start, as in a real file
  chunks.push(Buffer.alloc(begin))
  const sources = model.weights().map(({ name, shape }): WeightSource => {
    const values = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => number(i, name))
    chunks.push(Buffer.from(values.buffer))
    const end = begin + values.byteLength
    const source: WeightSource = { name, file, dtype: 'F32', shape, begin, end }
    begin = end
    return source
  })
  fs.writeFileSync(file, Buffer.concat(chunks))
  return sources
}
