import { execFile } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import type { Tensor } from '../../lib/base/tensor'
import type { ForwardInputs, NativeModel, NativeModelOptions, NativeModelSpec } from '../../lib/native/binding'
import type { TextEncoderConfig, UNetConfig, VAEConfig, WeightSource } from '../../lib/native/configs'
import { loadAddon } from '../../lib/native/load'
import { idInputs, passInputs } from '../support/passes'

export const unetConfig: UNetConfig = {
  inChannels: 4, outChannels: 4, sampleSize: 8, blockOutChannels: [32, 64],
  downCrossAttention: [true, false], upCrossAttention: [false, true], layersPerBlock: [1, 1], transformerLayersPerBlock: [1, 1],
  attentionHeads: [2, 4], crossAttentionDim: 16, hasMidBlock: true, normNumGroups: 8, normEps: 1e-5, useLinearProjection: false,
  onlyCrossAttention: [false, false], downsamplePadding: 1, flipSinToCos: true, freqShift: 0,
}

export const vaeConfig: VAEConfig = {
  inChannels: 3, outChannels: 3, latentChannels: 4, blockOutChannels: [16, 32], layersPerBlock: 1, normNumGroups: 8,
  useQuantConv: true, usePostQuantConv: true, midBlockAddAttention: true, scalingFactor: 0.18215, shiftFactor: 0,
}

export const textConfig: TextEncoderConfig = {
  vocabSize: 50, hiddenSize: 16, intermediateSize: 32, numHiddenLayers: 2, numAttentionHeads: 2, maxPositionEmbeddings: 12,
  hiddenAct: 'quick_gelu', layerNormEps: 1e-5,
}

export const specs: Record<string, NativeModelSpec> = {
  unet: { kind: 'unet', config: unetConfig },
  vae_decoder: { kind: 'vae_decoder', config: vaeConfig },
  vae_encoder: { kind: 'vae_encoder', config: vaeConfig },
  text_encoder: { kind: 'text_encoder', config: textConfig },
}

export const options: NativeModelOptions = { dtype: 'fp32', threads: 1, cpu: 'auto' }

export const count = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1)

export function zeros(...shape: number[]): Tensor {
  return { data: new Float32Array(count(shape)), shape }
}

let scratch = ''
let files = 0

/** A new path in a folder that is removed at the process's end. */
function scratchFile(): string {
  if (scratch === '') {
    scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'asdm-boundary-'))
    process.once('exit', () => fs.rmSync(scratch, { recursive: true, force: true }))
  }
  return path.join(scratch, String(files++))
}

/** Small weights for a model, in a file of their own. */
export function writeWeights(model: NativeModel): WeightSource[] {
  const file = scratchFile()
  const sources: WeightSource[] = []
  const parts: Buffer[] = []
  let offset = 0
  for (const { name, shape } of model.weights()) {
    const values = Float32Array.from({ length: count(shape) }, (_, i) => 0.1 * Math.sin(i * 1.7 + name.length))
    parts.push(Buffer.from(values.buffer))
    sources.push({ name, file, dtype: 'F32', shape, begin: offset, end: offset + values.byteLength })
    offset += values.byteLength
  }
  fs.writeFileSync(file, Buffer.concat(parts))
  return sources
}

/** A model that is loaded and ready. */
export async function loaded(kind = 'unet', changes: Partial<NativeModelOptions> = {}): Promise<NativeModel> {
  const model = loadAddon().createModel(specs[kind], { ...options, ...changes })
  await model.load(writeWeights(model)).promise
  return model
}

/** Inputs that fit `specs.unet`. */
export function unetInputs(size = 8, batch = 1): ForwardInputs {
  return passInputs({
    sample: zeros(batch, 4, size, size), timesteps: new Float32Array(batch).fill(500), encoderHiddenStates: zeros(batch, 5, 16),
  })
}

export const inputsOf: Record<string, () => ForwardInputs> = {
  unet: () => unetInputs(),
  vae_decoder: () => passInputs({ sample: zeros(1, 4, 8, 8) }),
  vae_encoder: () => passInputs({ sample: zeros(1, 3, 16, 16) }),
  text_encoder: () => idInputs(Int32Array.from({ length: 12 }, (_, i) => i), 1),
}

/** Inputs whose forward takes a second at least, so that something can happen meanwhile. */
export function longInputs(model: NativeModel): ForwardInputs {
  let size = 32
  while (model.describe({ batch: 1, height: size, width: size, length: 5 }).macs < 120e9) size += 32
  return unetInputs(size)
}

export const delay = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

export interface Ended {
  code: number | null
  signal: string | null
  stdout: string
  stderr: string
}

/** Runs a script in a Node process of its own; `support` and `load` are these modules, compiled. */
export function runScript(script: string, { env = {}, flags = [] as string[], timeout = 120_000 } = {}): Promise<Ended> {
  const prelude = `const support = require(${JSON.stringify(__filename)}); const { loadAddon } = `
    + `require(${JSON.stringify(require.resolve('../../lib/native/load'))});\n`
  return new Promise(resolve => {
    const child = execFile(process.execPath, [
      ...flags, '-e', `${prelude}(async () => {${script}\n})()`,
    ], { env: { ...process.env, ...env }, timeout }, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode, signal: child.signalCode, stdout, stderr }))
  })
}

/** What ava is to expect of an aborted call; its error is a `DOMException`, which ava takes for no error unless told so. */
export const aborted = { any: true, name: 'AbortError' } as const
