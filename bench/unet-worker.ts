/** The asdm side of `unet.ts`: the protocol of peers/torch_unet.py on our kernels. Arguments: UNet folder, threads. */
import fs from 'node:fs'
import readline from 'node:readline'
import { readSafetensorsHeader, writeSafetensors } from '../lib/assembly/safetensors'
import { openUNet } from '../lib/model/folder'
import { matchWeights } from '../lib/model/weights'
import type { NativeModel } from '../lib/native/binding'
import { loadAddon } from '../lib/native/load'
import type { Tensor } from '../lib/tensor'

async function readTensors(file: string): Promise<Record<string, Tensor>> {
  const bytes = fs.readFileSync(file)
  const { tensors } = await readSafetensorsHeader(file)
  return Object.fromEntries([...tensors].map(([name, { shape, begin, end }]) =>
    [name, { shape: [...shape], data: new Float32Array(new Uint8Array(bytes.subarray(begin, end)).buffer) }]))
}

async function main(): Promise<void> {
  const [folder, threads] = process.argv.slice(2)
  let model: NativeModel | undefined
  let weightBytes = 0
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [command, from, to] = line.split(' ')
    if (command === 'quit') break
    let started = performance.now()
    let ms: number
    if (command === 'load') {
      const { config, weights } = await openUNet(folder)
      const created: NativeModel = loadAddon().createModel({ kind: 'unet', config }, { dtype: 'fp32', threads: Number(threads), cpu: 'auto' })
      model = created
      weightBytes = (await created.load(matchWeights(created.weights(), weights, folder)).promise).weightBytes
      ms = performance.now() - started
    } else {
      const { sample, timesteps, encoder_hidden_states: encoderHiddenStates } = await readTensors(from)
      started = performance.now()
      const out = await model!.forward({ sample, timesteps: timesteps.data, encoderHiddenStates }).promise
      ms = performance.now() - started
      await writeSafetensors(to, [{ name: 'sample', dtype: 'F32', shape: out.sample.shape, data: new Uint8Array(out.sample.data.buffer) }])
    }
    console.log(JSON.stringify({ ms, peakBytes: process.resourceUsage().maxRSS * 1024, version: '', threads: Number(threads), cpu: model!.cpu, weightBytes }))
  }
  model?.dispose()
}

void main()
