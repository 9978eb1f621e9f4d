import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { openCheckpoint } from '../../lib/model/checkpoint'
import { correctedScheduler } from '../../lib/model/scheduler-config'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'
import { copyCheckpoint, editJson } from './checkpoints'

const reference = JSON.parse(fs.readFileSync(repoPath('test', 'model', 'corrected.json'), 'utf8'))

test('scheduler configs are corrected as by diffusers\' pipelines', t => {
  t.true(reference.schedulers.length > 50)
  for (const { pipeline, config, after } of reference.schedulers) {
    const corrected = correctedScheduler(config, pipeline, [])
    for (const [option, value] of Object.entries<boolean | number>(after)) {
      // diffusers' inpainting pipeline forgets clip_sample; clipped latents are no use to it either.
      if (option === 'clip_sample' && pipeline === 'StableDiffusionInpaintPipeline') t.is(corrected[option], false)
      // What is left out and not corrected takes the class's default, here and there.
      else if (corrected[option] !== undefined) t.is(corrected[option], value, JSON.stringify({ pipeline, config, option }))
      else t.true(
        pipeline.startsWith('LatentConsistency') || option === 'skip_prk_steps' && value === false,
        JSON.stringify({ pipeline, config, option }),
      )
    }
  }
})

test('the sample size of old UNet configs is corrected as by diffusers\' pipelines', async t => {
  const folder = copyCheckpoint('sd15-tiny', temporaryFolder(t))
  for (const { pipeline, version, size, after } of reference.sizes) {
    editJson(path.join(folder, 'model_index.json'), json => { json._class_name = pipeline })
    editJson(path.join(folder, 'unet/config.json'), json => { json._diffusers_version = version ?? undefined; json.sample_size = size })
    const { unet, warnings } = await openCheckpoint(folder, {})
    t.is(unet.config.sampleSize, after, JSON.stringify({ pipeline, version, size }))
    t.is(warnings.some(text => text.includes('sample_size')), after !== size)
  }
})

const network = {
  beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear', prediction_type: 'v_prediction', set_alpha_to_one: false,
}

test('a folder that leaves clip_sample and steps_offset out draws what it draws with both told', async t => {
  const folder = copyCheckpoint('sd21-tiny', temporaryFolder(t))
  const draw = async (config: object, sampler?: string): Promise<{ bytes: string, warnings: string[] }> => {
    fs.writeFileSync(path.join(folder, 'scheduler/scheduler_config.json'), JSON.stringify({ ...network, ...config }))
    const warnings: string[] = []
    await using sd = await StableDiffusion.load(folder, { threads: 1, onWarning: ({ message }) => warnings.push(message) })
    const [image] = await sd.generate({
      prompt: 'a cat', steps: 6, seed: 3, width: 64, height: 64, ...(sampler !== undefined && { sampler }),
    })
    return { bytes: Buffer.from(image.rgba).toString('base64'), warnings }
  }
  for (const name of ['DDIMScheduler', 'DDPMScheduler']) {
    const right = await draw({ _class_name: name, clip_sample: false, steps_offset: 1 })
    t.deepEqual(right.warnings, [])
    for (const options of [{}, { clip_sample: true, steps_offset: 1 }, { clip_sample: false }, { clip_sample: null, steps_offset: 0 }]) {
      const got = await draw({ _class_name: name, ...options })
      t.is(got.bytes, right.bytes, JSON.stringify(options))
      t.true(got.warnings.length > 0 && got.warnings.every(text => /clip_sample|steps_offset/.test(text)))
    }
    // By name on another class's folder, too.
    const named = await draw({ _class_name: 'EulerDiscreteScheduler' }, name === 'DDIMScheduler' ? 'ddim' : 'DDPMScheduler')
    t.deepEqual(named.bytes, right.bytes)
    t.deepEqual(named.warnings, [])
  }
  // A config that the caller gives is taken at its word.
  fs.writeFileSync(path.join(folder, 'scheduler/scheduler_config.json'), JSON.stringify({ ...network, _class_name: 'DDIMScheduler' }))
  await using sd = await StableDiffusion.load(folder, { threads: 1, onWarning: () => {} })
  t.like(sd.schedulerConfig, { clip_sample: false, steps_offset: 1 })
  const [clipped] = await sd.generate({
    prompt: 'a cat', steps: 6, seed: 3, width: 64, height: 64, sampler: { ...network, _class_name: 'DDIMScheduler' },
  })
  t.like(clipped.settings.sampler, { clip_sample: true, steps_offset: 0 })
})
