import fs from 'node:fs'
import path from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { writeSafetensors } from '../../lib/files/safetensors'
import type { GenerateOptions } from '../../lib/request'
import { StableDiffusion, type LoadOptions } from '../../lib/stable-diffusion'
import { copyCheckpoint, editJson, tensorsIn } from '../model/checkpoints'
import { fixture, maxAbsDiff, repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

// Made by few-steps.py. Steps and guidance are the defaults, except where diffusers' documentation says them for each LoRA.
interface Reference {
  lora: [name: string, shape: number[], salt: number][]
  latents: Record<string, number[]>
}
const reference = JSON.parse(fs.readFileSync(repoPath('test', 'golden', 'few-steps.json'), 'utf8')) as Reference

async function lora(folder: string): Promise<LoadOptions> {
  const file = path.join(folder, 'lora.safetensors')
  await writeSafetensors(file, reference.lora.map(([name, shape, salt]) => ({
    name, dtype: 'F32', shape,
    data: name.endsWith('.alpha')
      ? Float32Array.of(salt)
      : Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => Math.sin(0.7 * i + 1.3 * salt) / 20),
  })))
  return { loras: [{ path: file }] }
}

/** The tiny model with another scheduler, and what else `change` does to it. */
function withScheduler(folder: string, scheduler: object): string {
  const model = copyCheckpoint('sd15-tiny', folder)
  editJson(path.join(model, 'scheduler', 'scheduler_config.json'), json => Object.assign(json, scheduler))
  return model
}

async function agrees(
  t: ExecutionContext, name: string, model: string, load: LoadOptions, request: Partial<GenerateOptions>, settings: object,
): Promise<void> {
  const sd = await StableDiffusion.load(model, { threads: 2, ...load })
  t.teardown(() => sd.dispose())
  let latents: Float32Array | undefined
  const [image] = await sd.generate({
    prompt: 'a lighthouse at dusk', width: 64, height: 64, seed: 7, ...request,
    onProgress: step => { if (step.phase === 'denoise') latents = step.latents.data },
  })
  t.like(image.settings, settings)
  const difference = maxAbsDiff(latents!, reference.latents[name])
  t.true(difference < 1e-3, `${name}: ${difference}`)
}

test('LCM-LoRA with the LCM sampler is diffusers\', in 4 steps without guidance', async t => {
  const load = await lora(temporaryFolder(t))
  await agrees(t, 'lcm-lora', fixture('sd15-tiny'), load, { sampler: 'lcm' }, { steps: 4, guidanceScale: 1, sampler: 'lcm' })
  // As a model whose folder says so, a converted one.
  const model = withScheduler(temporaryFolder(t), { _class_name: 'LCMScheduler' })
  await agrees(t, 'lcm-lora', model, load, {}, { steps: 4, guidanceScale: 1 })
})

test('a TCD LoRA with the TCD sampler is diffusers\'', async t => {
  const load = await lora(temporaryFolder(t))
  await agrees(t, 'tcd-lora', fixture('sd15-tiny'), load, { sampler: 'tcd', eta: 0.3 }, { steps: 4, guidanceScale: 1, sampler: 'tcd' })
})

test('Hyper-SD and PCM LoRAs with trailing DDIM are diffusers\'', async t => {
  const load = await lora(temporaryFolder(t))
  const request = { sampler: 'ddim-trailing', steps: 2, guidanceScale: 0 }
  await agrees(t, 'hyper-sd', fixture('sd15-tiny'), load, request, request)
})

test('a folder as SD-Turbo\'s takes one step without guidance, as diffusers does when told', async t => {
  const model = withScheduler(temporaryFolder(t), { _class_name: 'EulerDiscreteScheduler', timestep_spacing: 'trailing' })
  await agrees(t, 'sd-turbo', model, {}, {}, { steps: 1, guidanceScale: 1 })
  // The same of a model that does not say so.
  await agrees(t, 'sd-turbo', fixture('sd15-tiny'), {}, { sampler: 'euler-trailing', steps: 1, guidanceScale: 1 }, { sampler: 'euler-trailing' })
})

test('a latent consistency model with a guidance embedding is diffusers\' LatentConsistencyModelPipeline, by its defaults', async t => {
  const model = withScheduler(temporaryFolder(t), { _class_name: 'LCMScheduler' })
  editJson(path.join(model, 'model_index.json'), json => { json._class_name = 'LatentConsistencyModelPipeline' })
  editJson(path.join(model, 'unet', 'config.json'), json => { json.time_cond_proj_dim = 32 })
  const file = path.join(model, 'unet', 'diffusion_pytorch_model.safetensors')
  const data = Float32Array.from({ length: 32 * 32 }, (_, i) => Math.fround(0.3) * Math.fround(Math.sin(0.2 + i * 0.7)))
  const added = { name: 'time_embedding.cond_proj.weight', dtype: 'F32' as const, shape: [32, 32], data }
  await writeSafetensors(file, [...await tensorsIn(file), added])
  await agrees(t, 'lcm', model, {}, {}, { steps: 4, guidanceScale: 8.5 })
})
