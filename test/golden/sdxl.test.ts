import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import type { Tensor } from '../../lib/base/tensor'
import { UNet } from '../../lib/components/unet'
import { unetJson } from '../../lib/convert/configs'
import { writeSafetensors } from '../../lib/files/safetensors'
import { parseUNetConfig } from '../../lib/model/unet-config'
import { maxAbsDiff, repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

// Made by sdxl.py.
interface Reference {
  config: Record<string, unknown>
  weights: [name: string, shape: number[]][]
  timeIds: number[]
  sample: number[]
  taps: Record<string, number[]>
}
const reference = JSON.parse(fs.readFileSync(repoPath('test', 'golden', 'sdxl.json'), 'utf8')) as Reference

function wave(shape: number[], step: number, start: number, scale = 1, plus = 0): Tensor {
  const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(start + i * step) * scale)
  return { data: plus === 0 ? data : data.map(value => value + plus), shape }
}

async function tinyUNet(folder: string): Promise<string> {
  fs.writeFileSync(path.join(folder, 'config.json'), JSON.stringify(reference.config))
  await writeSafetensors(path.join(folder, 'diffusion_pytorch_model.safetensors'), reference.weights.map(([name, shape], salt) => ({
    name, dtype: 'F32' as const, shape,
    data: wave(shape, 0.7, 1.3 * salt, 0.125, name.includes('norm') && name.endsWith('weight') ? 1 : 0).data as Float32Array,
  })))
  return folder
}

const inputs = {
  sample: wave([2, 4, 8, 8], 0.37, 1), timestep: 601, encoderHiddenStates: wave([2, 7, 64], 0.61, 2), textEmbeds: wave([2, 32], 0.43, 3),
  timeIds: { data: Float32Array.from(reference.timeIds), shape: [2, 6] },
}

/** 64 values, evenly spread, as sdxl.py takes them. */
function few(data: ArrayLike<number>): Float32Array {
  const count = Math.min(64, data.length)
  return Float32Array.from({ length: count }, (_, i) => data[Math.floor(i * (data.length - 1) / (count - 1))]!)
}

test('a UNet with pooled text and sizes gives diffusers\' output, block by block', async t => {
  const unet = await UNet.load(await tinyUNet(temporaryFolder(t)), { threads: 2 })
  t.teardown(() => unet.dispose())
  const { sample, taps } = await unet.forward({ ...inputs, taps: Object.keys(reference.taps) })
  for (const [name, wanted] of [...Object.entries(reference.taps), ['sample', reference.sample] as const]) {
    const scale = Math.max(1, ...wanted.map(Math.abs))
    const difference = maxAbsDiff(few((name === 'sample' ? sample : taps[name]!).data), wanted)
    t.log(name, difference / scale)
    t.true(difference <= 2e-5 * scale, `${name}: ${difference} of ${scale}`)
  }
  // In a run, too, where the conditional half has its own row.
  const steps = [false, true].map(conditionalOnly => ({ inherit: [], conditionalOnly }))
  const run = await unet.createRun({ batch: 2, height: 8, width: 8, length: 7 }, steps)
  const { encoderHiddenStates, textEmbeds, timeIds } = inputs
  await run.condition({ encoderHiddenStates, textEmbeds, timeIds })
  t.deepEqual((await run.forward(0, { sample: inputs.sample, timestep: 601 })).data, sample.data)
  const second = { data: inputs.sample.data.slice(256), shape: [1, 4, 8, 8] }
  t.deepEqual((await run.forward(1, { sample: second, timestep: 601 })).data, sample.data.slice(256))
  run.dispose()

  for (const missing of ['textEmbeds', 'timeIds'])
    await t.throwsAsync(unet.forward({ ...inputs, [missing]: undefined }), {
      instanceOf: AsdmError, code: 'INVALID_ARGUMENT', message: new RegExp(missing),
    })
  await t.throwsAsync(unet.forward({ ...inputs, timeIds: wave([2, 5], 1, 1) }), {
    instanceOf: AsdmError, code: 'SHAPE_MISMATCH', message: /P \+ 8 K = 80/,
  })
})

test('widths of pooled text and sizes are read, written and checked', t => {
  const config = parseUNetConfig({ ...reference.config }, 'f')
  t.like(config, { additionDim: 80, additionTimeDim: 8, transformerLayersPerBlock: [1, 2, 3], attentionHeads: [2, 4, 4] })
  t.deepEqual(parseUNetConfig(unetJson(config, false), 'f'), config)
  for (const [option, value] of [
    ['addition_embed_type', 'text'], ['addition_time_embed_dim', 7], ['addition_time_embed_dim', 80], ['addition_time_embed_dim', null],
    ['projection_class_embeddings_input_dim', null], ['projection_class_embeddings_input_dim', [80, 80]], ['projection_class_embeddings_input_dim', 0],
  ] as const) t.throws(() => parseUNetConfig({ ...reference.config, [option]: value } as never, 'f'), { instanceOf: AsdmError })
})
