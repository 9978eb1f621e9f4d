import path from 'node:path'
import test from 'ava'
import { convertModel, StableDiffusion, type DType, type Tensor } from '../../lib'
import { writeSafetensors, type TensorToWrite } from '../../lib/files/safetensors'
import { openCheckpoint } from '../../lib/model/checkpoint'
import { repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

const emoji = repoPath('models', 'emoji')

const wave = (count: number, step: number): Float32Array => Float32Array.from({ length: count }, (_, i) => Math.sin(step * i))

/** A LoRA of rank 2 for every linear projection of the shipped model's attentions and for its first convolutions. */
async function makeLora(file: string): Promise<string> {
  const { unet } = await openCheckpoint(emoji)
  const tensors: TensorToWrite[] = []
  for (const { name, shape } of unet.weights) {
    if (!/(?:to_q|to_v|to_out\.0|ff\.net\.2|resnets\.0\.conv1)\.weight$/.test(name)) continue
    const layer = name.slice(0, -'.weight'.length)
    const [out, ...rest] = shape
    const inputs = rest.reduce((product, size) => product * size, 1)
    tensors.push(
      {
        name: `unet.${layer}.lora_A.weight`, dtype: 'F32', shape: [2, ...rest],
        data: wave(2 * inputs, 0.7 + tensors.length / 100).map(value => value / Math.sqrt(inputs)),
      },
      {
        name: `unet.${layer}.lora_B.weight`, dtype: 'F32', shape: [out!, 2, ...rest.slice(1).map(() => 1)],
        data: wave(out! * 2, 1.3 + tensors.length / 100).map(value => value / 4),
      },
    )
  }
  if (tensors.length < 20) throw new Error('few layers changed')
  await writeSafetensors(file, tensors)
  return file
}

/** One pass of the UNet. */
async function pass(model: string, dtype: DType, loras: { path: string, weight: number }[]): Promise<Tensor> {
  const sd = await StableDiffusion.load(model, { dtype, threads: 2, loras })
  const { inChannels, crossAttentionDim } = sd.unet.config
  const tensor = (shape: number[], step: number): Tensor => ({ data: wave(shape.reduce((a, b) => a * b), step), shape })
  try {
    return (await sd.unet.forward({
      sample: tensor([1, inChannels, 8, 8], 0.37), timestep: 500, encoderHiddenStates: tensor([1, 77, crossAttentionDim], 0.53),
    })).sample
  } finally {
    await sd.dispose()
  }
}

/** ||a - b|| / ||b|| */
function relative(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let wrong = 0, size = 0
  for (let i = 0; i < b.length; i++) {
    wrong += (a[i] - b[i]) ** 2
    size += b[i] ** 2
  }
  return Math.sqrt(wrong / size)
}

test('a LoRA is merged before weights are rounded to bf16 or quantised to int8', async t => {
  const folder = temporaryFolder(t)
  const loras = [{ path: await makeLora(path.join(folder, 'x.safetensors')), weight: 0.8 }]
  const baked = path.join(folder, 'baked')
  await convertModel(emoji, baked, { dtype: 'fp32', loras })
  const exact = (await pass(emoji, 'fp32', loras)).data
  const plain = (await pass(emoji, 'fp32', [])).data
  // Far more than any rounding.
  t.true(relative(exact, plain) > 0.1)
  // The documented errors of a pass.
  for (const [dtype, bound] of [['bf16', 1e-2], ['int8', 3e-2]] as const) {
    const merged = (await pass(emoji, dtype, loras)).data
    t.deepEqual(merged, (await pass(baked, dtype, [])).data, `${dtype}: the bits of a model that has it in float32`)
    const wrong = relative(merged, exact)
    t.true(wrong > 0 && wrong <= bound, `${dtype}: ${wrong}`)
    t.deepEqual((await pass(emoji, dtype, [{ ...loras[0]!, weight: 0 }])).data, (await pass(emoji, dtype, [])).data)
  }
})
