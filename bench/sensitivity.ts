/**
 * How far a UNet's output moves in bf16 and in 8-bit integers: by the rules of lib/model/precision.ts, with every product, and with one
 * unit alone in 8 bits while the rest is bf16, without float weights.
 *
 *   npm run bench:sensitivity -- [--model emoji] [--steps 10] [--threads 2] [--units] [--limit 40]
 *   npm run bench:sensitivity -- --unet folder --size 64 [...]     a UNet alone, on noise
 *
 * Errors are relative root mean squares, ||y - y32|| / ||y32|| with y32 the output in fp32, each over three inputs: of a model early, in
 * the middle and late on the way of its own generation. `own` is what integers add to bf16's error:
 * sqrt(error^2 - bf16^2). Which unit costs more accuracy than its share of the arithmetic is worth, the column beside it tells.
 */
import { parseArgs } from 'node:util'
import type { Tensor } from '../lib/base/tensor'
import { table } from '../lib/base/format'
import { locateModel } from '../lib/hub/locate-model'
import { openCheckpoint, type Part } from '../lib/model/checkpoint'
import { openUNet } from '../lib/model/folder'
import { withPrecision } from '../lib/model/precision'
import { matchWeights } from '../lib/model/weights'
import type { ForwardInputs, NativeModel, NativeModelOptions } from '../lib/native/binding'
import type { UNetConfig } from '../lib/native/configs'
import { loadAddon } from '../lib/native/load'
import { TorchGenerator } from '../lib/random/torch-generator'
import { StableDiffusion } from '../lib/stable-diffusion'

interface Bench { part: Part<UNetConfig>, inputs: ForwardInputs[], threads: number }

async function run(
  { part, inputs, threads }: Bench, options: Pick<NativeModelOptions, 'dtype' | 'exact' | 'wide'>,
): Promise<Float32Array[]> {
  const model: NativeModel = loadAddon().createModel(
    { kind: 'unet', config: part.config }, withPrecision({ kind: 'unet', config: part.config }, { ...options, threads, cpu: 'auto' }),
  )
  try {
    await model.load(matchWeights(model.weights(), part.weights, part.path)).promise
    const outputs: Float32Array[] = []
    for (const input of inputs) outputs.push((await model.forward(input).promise).sample.data)
    return outputs
  } finally {
    model.dispose()
  }
}

function relative(outputs: Float32Array[], wanted: Float32Array[]): number {
  let wrong = 0, size = 0
  for (const [i, output] of outputs.entries()) {
    for (const [j, value] of output.entries()) {
      wrong += (value - wanted[i][j]) ** 2
      size += wanted[i][j] ** 2
    }
  }
  return Math.sqrt(wrong / size)
}

/** Three passes of a generation of the model itself. */
async function ownInputs(model: string, steps: number, threads: number): Promise<ForwardInputs[]> {
  const sd = await StableDiffusion.load(model, { threads })
  const prompt = ['a 3d emoji of red apple', 'a flat emoji of rocket']
  const features = await sd.textEncoder.encode(prompt.map(text => sd.tokenizer.encode(text)))
  const passes: ForwardInputs[] = []
  let sample: Tensor | undefined
  for await (const step of sd.steps({ prompt, steps, seed: 7, guidanceScale: 3, sampler: 'ddim' })) {
    if (step.phase !== 'denoise') continue
    const timesteps = times(prompt.length, step.timestep)
    if (sample !== undefined) passes.push({ values: { sample, timesteps, encoder_hidden_states: features } })
    sample = step.latents
  }
  await sd.dispose()
  return [0, 0.5, 0.9].map(place => passes[Math.floor(place * passes.length)])
}

const times = (count: number, time: number): Tensor => ({ data: new Float32Array(count).fill(time), shape: [count] })

/** Noise, at three time steps. */
function noiseInputs({ config }: Part<UNetConfig>, size: number): ForwardInputs[] {
  const noise = new TorchGenerator(1)
  return [900, 500, 100].map(time => ({
    values: {
      sample: noise.randn([2, config.inChannels, size, size]), timesteps: times(2, time),
      encoder_hidden_states: noise.randn([2, 77, config.crossAttentionDim]),
    },
  }))
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      model: { type: 'string', default: 'emoji' }, unet: { type: 'string' }, size: { type: 'string', default: '64' }, steps: { type: 'string', default: '10' },
      threads: { type: 'string', default: '2' }, units: { type: 'boolean' }, limit: { type: 'string', default: '40' },
    },
  })
  const threads = Number(values.threads)
  const part = values.unet !== undefined ? await openUNet(values.unet) : (await openCheckpoint((await locateModel(values.model)).path)).unet
  const inputs = values.unet !== undefined
    ? noiseInputs(part, Number(values.size))
    : await ownInputs(values.model, Number(values.steps), threads)
  const bench = { part, inputs, threads }
  const wanted = await run(bench, { dtype: 'fp32' })
  const bf16 = relative(await run(bench, { dtype: 'bf16' }), wanted)
  const plain = relative(await run(bench, { dtype: 'bf16', wide: [] }), wanted)
  const row = (error: number, without = plain): string[] =>
    [error.toExponential(2), Math.sqrt(Math.max(0, error ** 2 - without ** 2)).toExponential(2)]
  console.log(table(['weights', 'error', 'own'], [
    ['bf16 by the rule', ...row(bf16, bf16)],
    ['bf16 everywhere', ...row(plain)],
    ['int8 by the rule', ...row(relative(await run(bench, { dtype: 'int8' }), wanted), bf16)],
    ['int8 everywhere', ...row(relative(await run(bench, { dtype: 'int8', exact: [], wide: [] }), wanted))],
  ]))
  if (values.units !== true) return

  const model = loadAddon().createModel({ kind: 'unet', config: part.config }, { dtype: 'fp32', threads: 1, cpu: 'auto' })
  const names = model.weights().filter(({ shape }) => shape.length > 1).map(({ name }) => name.replace(/\.weight$/, ''))
  const [batch, , height, width] = inputs[0].values.sample.shape
  const { units, macs } = model.describe({ batch, height, width, length: inputs[0].values.encoder_hidden_states.shape[1] })
  model.dispose()
  // A product of several weights is one unit: it is in integers only if all of them are.
  const products = new Map<string, string[]>()
  for (const name of names) {
    const unit = units.find(each => each.name === name)?.name ?? name.replace(/\.to_[qkv]$/, '')
    products.set(unit, [...products.get(unit) ?? [], name])
  }
  const rows: { unit: string, error: number }[] = []
  for (const [unit, own] of products) {
    rows.push({
      unit, error: relative(await run(bench, { dtype: 'int8', exact: names.filter(name => !own.includes(name)), wide: [] }), wanted),
    })
    process.stderr.write('.')
  }
  process.stderr.write('\n')
  rows.sort((a, b) => b.error - a.error)
  console.log('\n' + table(['unit', 'error', 'own', 'MACs'], rows.slice(0, Number(values.limit)).map(({ unit, error }) => {
    const computed = units.filter(({ name }) => name === unit || name.startsWith(`${unit}.to_`)).reduce((sum, each) => sum + each.macs, 0)
    return [unit, ...row(error), `${(100 * computed / macs).toFixed(2)} %`]
  })))
}

void main()
