/**
 * How long a request waits for other LoRAs: switching between two of rank 128, for every projection of an SD 1.5-sized UNet, then taking
 * off the last one. Fails where a switch takes more than 3 seconds.
 *
 *   npm run bench:lora -- [--rounds 5] [--threads 2] [--dtype bf16] [--rank 128]
 *
 * First a model that was switched has to give the bits of one that was loaded with that LoRA, and without any those of the checkpoint.
 */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { StableDiffusion, type DType, type Tensor } from '../lib/index'
import { writeSafetensors, type TensorToWrite } from '../lib/files/safetensors'
import type { LoraToMerge } from '../lib/lora/open'
import { randomModel } from '../lib/measure/random-model'
import { openCheckpoint } from '../lib/model/checkpoint'
import { ModelLoras } from '../lib/model-loras'

/** Most that a switch may take, with bf16 and rank 128. */
const limitMs = 3000

const values = (shape: number[], step = 7.3): Tensor =>
  ({ shape, data: Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => Math.sin(i * step)) })

async function makeLora(model: string, file: string, rank: number, salt: number): Promise<LoraToMerge> {
  const { unet } = await openCheckpoint(model)
  const tensors: TensorToWrite[] = []
  for (const { name, shape } of unet.weights) {
    if (!/(?:to_[qkv]|to_out\.0|ff\.net\.0\.proj|ff\.net\.2|proj_in|proj_out)\.weight$/.test(name)) continue
    const [out = 1, inputs = 1] = shape
    const layer = `unet.${name.slice(0, -'.weight'.length)}`
    const square = shape.slice(2).map(() => 1)
    tensors.push({ name: `${layer}.lora_A.weight`, dtype: 'F32', shape: [rank, inputs, ...square], data: values([rank, inputs], salt).data })
    tensors.push({ name: `${layer}.lora_B.weight`, dtype: 'F32', shape: [out, rank, ...square], data: values([out, rank], salt / 1e3).data.map(x => x / 1e3) })
  }
  await writeSafetensors(file, tensors)
  return { path: file, weight: 1, textWeight: 1 }
}

async function bitsOf({ unet }: StableDiffusion): Promise<string> {
  const { sample } = await unet.forward({ sample: values([1, 4, 8, 8]), timestep: 400, encoderHiddenStates: values([1, 77, 768]) })
  return Buffer.from(sample.data.buffer).toString('base64')
}

async function main(): Promise<void> {
  const { values: options } = parseArgs({
    options: {
      threads: { type: 'string', default: String(os.availableParallelism()) }, rounds: { type: 'string', default: '5' },
      dtype: { type: 'string', default: 'bf16' }, rank: { type: 'string', default: '128' },
    },
  })
  const root = path.join(path.dirname(require.resolve('../../../package.json')), 'build', 'bench')
  const model = await randomModel('sd15', path.join(root, 'sd15'))
  const folder = fs.mkdtempSync(path.join(root, 'lora-'))
  try {
    const loras: LoraToMerge[] = []
    for (const salt of [1.1, 2.3]) loras.push(await makeLora(model, path.join(folder, `${salt}.safetensors`), Number(options.rank), salt))
    const load = { dtype: options.dtype as DType, threads: Number(options.threads) }
    const wanted: string[] = []
    for (const set of [[], ...loras.map(lora => [lora])]) {
      const loaded = await StableDiffusion.load(model, { ...load, loras: set })
      wanted.push(await bitsOf(loaded))
      await loaded.dispose()
    }
    if (new Set(wanted).size !== 3) throw new Error('the LoRAs change nothing')
    const sd = await StableDiffusion.load(model, load)
    const changes = new ModelLoras(sd, { warn: warning => { throw new Error(warning.message) }, textChanges: () => {} })
    const times: number[] = []
    await changes.use([loras[1]!], undefined)
    for (let round = 0; round < Number(options.rounds); round++) {
      const began = performance.now()
      await changes.use([loras[round % 2]!], undefined)
      times.push(performance.now() - began)
      if (await bitsOf(sd) !== wanted[1 + round % 2]) throw new Error('a switched model gives other bits than a loaded one')
    }
    const began = performance.now()
    await changes.use([], undefined)
    const offMs = performance.now() - began
    if (await bitsOf(sd) !== wanted[0]) throw new Error('a LoRA that was taken off left a trace')
    await sd.dispose()
    times.sort((a, b) => a - b)
    const median = times[times.length >> 1]!
    console.log(`${options.dtype}, rank ${options.rank}, ${options.threads} threads: switched in ${(median / 1000).toFixed(2)} s `
      + `(${(times[0]! / 1000).toFixed(2)} to ${(times.at(-1)! / 1000).toFixed(2)} s), taken off in ${(offMs / 1000).toFixed(2)} s`)
    if (options.dtype === 'bf16' && options.rank === '128' && median > limitMs) throw new Error(`a switch took more than ${limitMs / 1000} s`)
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

main().catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})
