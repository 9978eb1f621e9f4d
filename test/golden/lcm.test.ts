import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import type { Tensor } from '../../lib/base/tensor'
import { guidanceEmbedding } from '../../lib/components/conditioning'
import { UNet } from '../../lib/components/unet'
import { writeSafetensors } from '../../lib/files/safetensors'
import { parseUNetConfig } from '../../lib/model/unet-config'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { copyCheckpoint, editJson, tensorsIn } from '../model/checkpoints'
import { maxAbsDiff, repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

// Made by lcm-reference.py.
interface Reference {
  embeddings: { scale: number, dim: number, values: number[] }[]
  outputs: Record<string, number[]>
}
const reference = JSON.parse(fs.readFileSync(repoPath('test', 'golden', 'lcm-reference.json'), 'utf8')) as Reference

const dim = 32

function wave(shape: number[], step: number, start: number): Tensor {
  return { data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(start + i * step)), shape }
}

/** The tiny checkpoint as a latent consistency model that was distilled with a guidance embedding. */
async function lcm(folder: string): Promise<string> {
  const model = copyCheckpoint('sd15-tiny', folder)
  const config = path.join(model, 'unet', 'config.json')
  editJson(config, json => { json.time_cond_proj_dim = dim })
  const weights = path.join(model, 'unet', 'diffusion_pytorch_model.safetensors')
  const { data } = wave([32, dim], 0.7, 0.2)
  const projection = data.map(value => Math.fround(0.3) * value)
  const added = { name: 'time_embedding.cond_proj.weight', dtype: 'F32' as const, shape: [32, dim], data: Buffer.from(projection.buffer) }
  await writeSafetensors(weights, [...await tensorsIn(weights), added])
  return model
}

test('the guidance embedding is diffusers\'', t => {
  for (const { scale, dim: width, values } of reference.embeddings) {
    const { data, shape } = guidanceEmbedding(scale, width, 2)
    t.deepEqual(shape, [2, width])
    t.deepEqual(data.subarray(0, width), data.subarray(width))
    // An angle of some thousands, of which a last place of the exponential moves one by 1e-4: most have the same bits.
    const difference = maxAbsDiff(data.subarray(0, width), values)
    t.true(difference <= 1e-3, `${scale}, ${width}: ${difference}`)
  }
})

test('a UNet with a guidance embedding gives diffusers\' output', async t => {
  const model = await lcm(temporaryFolder(t))
  const unet = await UNet.load(path.join(model, 'unet'), { threads: 2 })
  t.teardown(() => unet.dispose())
  const text = wave([2, 7, unet.config.crossAttentionDim], 0.61, 2)
  const inputs = { sample: wave([2, 4, 8, 8], 0.37, 1), timestep: 601, encoderHiddenStates: text }
  for (const [scale, wanted] of Object.entries(reference.outputs)) {
    const { values } = reference.embeddings.find(each => each.scale === Number(scale) && each.dim === dim)!
    const { sample } = await unet.forward({ ...inputs, timestepCond: { data: Float32Array.from([...values, ...values]), shape: [2, dim] } })
    const difference = maxAbsDiff(sample.data, wanted)
    t.true(difference <= 2e-5, `${scale}: ${difference}`)
  }
  // In a run, too, where the conditional half has its own row.
  const run = await unet.createRun({ batch: 2, height: 8, width: 8, length: 7 }, [{ inherit: [], conditionalOnly: false }])
  await run.condition({ encoderHiddenStates: text, timestepCond: guidanceEmbedding(8, dim, 2) })
  const whole = await unet.forward({ ...inputs, timestepCond: guidanceEmbedding(8, dim, 2) })
  t.deepEqual((await run.forward(0, { sample: inputs.sample, timestep: 601 })).data, whole.sample.data)
  run.dispose()

  await t.throwsAsync(unet.forward(inputs), { instanceOf: AsdmError, code: 'INVALID_ARGUMENT', message: /timestepCond/ })
  for (const shape of [[1, dim], [2, 3]])
    await t.throwsAsync(unet.forward({ ...inputs, timestepCond: wave(shape, 1, 1) }), {
      instanceOf: AsdmError, code: 'SHAPE_MISMATCH', message: /timestepCond to be \[2,32\]/,
    })
})

test('a pipeline with a guidance embedding runs one pass a step; its run knows the scale', async t => {
  const sd = await StableDiffusion.load(await lcm(temporaryFolder(t)), { threads: 2 })
  t.teardown(() => sd.dispose())
  const seen: (Tensor | undefined)[] = []
  const createRun = sd.unet.createRun
  sd.unet.createRun = async (...given) => {
    const run = await createRun.apply(sd.unet, given)
    return {
      ...run,
      condition: (conditioning, options) => { seen.push(conditioning.timestepCond); return run.condition(conditioning, options) },
    }
  }
  const request = { prompt: 'a', seed: 1, steps: 2, sampler: 'lcm', width: 64, height: 64, count: 2 } as const
  const [picture] = await sd.generate({ ...request, guidanceScale: 8 })
  t.deepEqual(seen, [guidanceEmbedding(8, dim, 2)])
  t.notDeepEqual((await sd.generate({ ...request, guidanceScale: 2 }))[0].rgba, picture.rgba)
  t.deepEqual((await sd.generate({ ...request, guidanceScale: 8, negativePrompt: 'b' }))[0].rgba, picture.rgba)
})

test('a UNet without one takes none', async t => {
  const unet = await UNet.load(repoPath('models', 'emoji', 'unet'), { threads: 1 })
  t.teardown(() => unet.dispose())
  const { inChannels, crossAttentionDim } = unet.config
  const inputs = { sample: wave([1, inChannels, 8, 8], 1, 1), timestep: 1, encoderHiddenStates: wave([1, 5, crossAttentionDim], 1, 1) }
  await t.throwsAsync(unet.forward({ ...inputs, timestepCond: wave([1, dim], 1, 1) }), {
    instanceOf: AsdmError, code: 'INVALID_ARGUMENT', message: /time_cond_proj_dim/,
  })
})

test('a width of the guidance embedding that is none is refused', t => {
  const json = JSON.parse(fs.readFileSync(repoPath('test', 'fixtures', 'sd15-tiny', 'unet', 'config.json'), 'utf8'))
  for (const value of [3, 0, -1, 2.5, '256', 1e9]) {
    const { code, message } = t.throws(() => parseUNetConfig({ ...json, time_cond_proj_dim: value }, 'f'), { instanceOf: AsdmError })
    t.is(code, 'BAD_CONFIG')
    t.regex(message, /time_cond_proj_dim/)
  }
  t.is(parseUNetConfig({ ...json, time_cond_proj_dim: 256 }, 'f').timeCondDim, 256)
  t.is(parseUNetConfig({ ...json, time_cond_proj_dim: null }, 'f').timeCondDim, undefined)
})
