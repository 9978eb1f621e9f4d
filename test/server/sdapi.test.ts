import test from 'ava'
import { PNG } from 'pngjs'
import { samplerNames, StableDiffusion } from '../../lib'
import { repoPath } from '../support/fixtures'
import { ask, modelFolder, started, steps } from './support'

// By node-sd-webui, a client that others wrote, where it has a call; the other routes as AUTOMATIC1111 documents them.

// Its package.json names no types for CommonJS.
const { default: sdwebui, SamplingMethod } = require('node-sd-webui') as any

const pixels = (base64: string): Buffer => PNG.sync.read(Buffer.from(base64, 'base64')).data
const asked = { prompt: 'a red heart', steps, seed: 7, width: 64, height: 64, cfg_scale: 3 }

test('node-sd-webui gets the images that asdm makes, with a seed for each', async t => {
  const { url } = await started(t)
  const client = sdwebui({ apiUrl: url })
  const { images, info, parameters } = await client.txt2img({
    prompt: 'a red heart', negativePrompt: 'a blue square', samplingMethod: SamplingMethod.Euler_A, width: 64, height: 64, steps, seed: 7, cfgScale: 3,
    batchSize: 2, batchCount: 2,
  }) as any
  t.is(images.length, 4)
  t.is(parameters.negative_prompt, 'a blue square')
  const said = JSON.parse(info)
  t.deepEqual(said.all_seeds, [7, 8, 9, 10])
  t.is(said.sampler_name, 'Euler a')
  t.is(said.infotexts.length, 4)
  t.regex(said.infotexts[1], /^a red heart\nNegative prompt: a blue square\nSteps: 4, Sampler: Euler a, CFG scale: 3, Seed: 8, Size: 64x64/)
  await using sd = await StableDiffusion.load(repoPath('models', 'emoji'), { threads: 2 })
  const direct = await sd.generate({
    prompt: 'a red heart', negativePrompt: 'a blue square', sampler: 'euler-ancestral', steps, guidanceScale: 3, seed: 9, seeds: 'per-image', count: 2,
  })
  t.deepEqual(pixels(images[2]), Buffer.from(direct[0].rgba))
  t.deepEqual(pixels(images[3]), Buffer.from(direct[1].rgba))

  const read = await client.pngInfo({ imageData: images[1] })
  t.like(read, { prompt: 'a red heart', negativePrompt: 'a blue square', steps, samplingMethod: 'Euler a', cfgScale: 3, seed: 8, width: 64, height: 64 })
})

test('node-sd-webui repaints an image', async t => {
  const { url } = await started(t)
  const client = sdwebui({ apiUrl: url })
  const source = await client.txt2img({ prompt: 'a blue square', steps, seed: 1, width: 64, height: 64 })
  const { images } = await client.img2img({ imageData: [source.images[0]], prompt: 'a red heart', steps, seed: 7, width: 64, height: 64 })
  t.is(images.length, 1)
  t.notDeepEqual(pixels(images[0]), pixels(source.images[0]))
})

test('a mask says what is repainted, and denoising_strength how much', async t => {
  const { url } = await started(t)
  const { json: { images: [image] } } = await ask(`${url}/sdapi/v1/txt2img`, asked)
  const mask = new PNG({ width: 64, height: 64 })
  for (let i = 0; i < 64 * 64; i++) mask.data.fill(i % 64 < 32 ? 255 : 0, 4 * i, 4 * i + 3).fill(255, 4 * i + 3, 4 * i + 4)
  const { status, json } = await ask(`${url}/sdapi/v1/img2img`, {
    ...asked, seed: 8, init_images: [`data:image/png;base64,${image}`], mask: PNG.sync.write(mask).toString('base64'), denoising_strength: 1,
    inpainting_fill: 1, inpaint_full_res: false, mask_blur: 0, resize_mode: 0,
  })
  t.is(status, 200, JSON.stringify(json))
  const [was, is] = [pixels(image), pixels(json.images[0])]
  t.true(was.some((value, i) => (i >> 2) % 64 < 32 && value !== is[i]))
  t.false(was.some((value, i) => (i >> 2) % 64 >= 32 && value !== is[i]))
  t.is(JSON.parse(json.info).denoising_strength, 1)
  t.false('init_images' in json.parameters)
})

test('progress has a preview; skip goes on with the next batch, interrupt gives what there is', async t => {
  const { url } = await started(t)
  const progress = async (): Promise<any> => (await ask(`${url}/sdapi/v1/progress`)).json
  t.like(await progress(), { progress: 0, current_image: null })
  const long = ask(`${url}/sdapi/v1/txt2img`, { ...asked, steps: 300, n_iter: 3 })
  const reach = async (job: number): Promise<any> => {
    for (;;) {
      const now = await progress()
      if (now.state.job_no === job && now.state.sampling_step > 1) return now
      await new Promise(resolve => setTimeout(resolve, 10))
    }
  }
  const { current_image: preview, state, progress: fraction } = await reach(0)
  t.true(pixels(preview).length > 0)
  t.is(state.sampling_steps, 300)
  t.is(state.job_count, 3)
  t.true(fraction > 0 && fraction < 0.5)
  await ask(`${url}/sdapi/v1/skip`, {})
  await reach(1)
  await ask(`${url}/sdapi/v1/interrupt`, {})
  const { status, json } = await long
  t.is(status, 200)
  t.deepEqual(json.images, [])
})

test('models, samplers, schedulers, options and memory are told, and options set', async t => {
  const { url } = await started(t, { models: modelFolder(t, 'a', 'b') })
  const get = async (name: string): Promise<any> => (await ask(`${url}/sdapi/v1/${name}`)).json
  t.deepEqual((await get('sd-models')).map((model: any) => model.title), ['a', 'b'])
  t.true((await get('samplers')).some((sampler: any) => sampler.name === 'DPM++ 2M'))
  t.deepEqual((await get('schedulers')).map((each: any) => each.name).slice(0, 2), ['automatic', 'karras'])
  t.deepEqual(await get('loras'), [])
  t.true((await get('memory')).ram.total > 0)
  t.is((await get('options')).sd_model_checkpoint, 'a')
  t.is((await ask(`${url}/sdapi/v1/options`, { sd_model_checkpoint: 'b' })).status, 200)
  t.is((await get('options')).sd_model_checkpoint, 'b')
  const { json } = await ask(`${url}/sdapi/v1/txt2img`, { ...asked, sampler_name: 'DPM++ 2M', scheduler: 'Karras' })
  t.is(JSON.parse(json.info).sd_model_name, 'b')
  t.regex(JSON.parse(json.info).infotexts[0], /Sampler: DPM\+\+ 2M, Schedule type: Karras/)
  const other = await ask(`${url}/sdapi/v1/txt2img`, { ...asked, override_settings: { sd_model_checkpoint: 'a' } })
  t.is(JSON.parse(other.json.info).sd_model_name, 'a')
  t.is((await get('options')).sd_model_checkpoint, 'b')
})

test('every listed sampler that the model can be sampled by runs, the others are refused by name, and every schedule runs', async t => {
  const { url } = await started(t)
  await using sd = await StableDiffusion.load(repoPath('models', 'emoji'), { threads: 1 })
  const listed = (await ask(`${url}/sdapi/v1/samplers`)).json
  t.deepEqual(listed.map((each: any) => each.aliases[0]).sort(), [...samplerNames].sort())
  for (const { name: sampler_name, aliases: [own] } of listed) {
    const { status, json } = await ask(`${url}/sdapi/v1/txt2img`, { ...asked, steps: 2, sampler_name })
    t.is(status, sd.samplers.includes(own) ? 200 : 422, `${sampler_name} ${JSON.stringify(json.detail)}`)
    if (status === 200) t.is(JSON.parse(json.info).sampler_name, sampler_name)
    else t.true(json.detail.includes(JSON.stringify(own)))
  }
  for (const { name: scheduler } of (await ask(`${url}/sdapi/v1/schedulers`)).json)
    t.is((await ask(`${url}/sdapi/v1/txt2img`, { ...asked, steps: 2, sampler_name: 'Euler', scheduler })).status, 200, scheduler)
})

test('what asdm does not have is refused by name, and null means left out', async t => {
  const { url } = await started(t)
  for (const [body, word] of [
    [{ enable_hr: true }, /enable_hr/], [{ restore_faces: true }, /restore_faces/], [{ tiling: true }, /tiling/], [{ script_name: 'x' }, /script_name/],
    [{ alwayson_scripts: { controlnet: {} } }, /alwayson_scripts/], [{ sampler_name: 'Nonesuch' }, /Nonesuch/], [{ steps: 0 }, /body\.steps/],
    [{ init_images: ['x'] }, /init_images/], [{ override_settings: { sd_vae: 'x' } }, /sd_vae/], [{ prompt: '<lora:a:b>' }, /lora:a/],
  ] as const) {
    const { status, json } = await ask(`${url}/sdapi/v1/txt2img`, { ...asked, ...body })
    t.is(status, 422, JSON.stringify(body))
    t.regex(json.detail, word)
  }
  for (const [body, word] of [
    [{}, /init_images/], [{ init_images: ['/etc/passwd!'] }, /base64/], [{ init_images: ['AAAA'], resize_mode: 3 }, /resize_mode/],
    [{ init_images: ['AAAA'], mask: 'AAAA', inpainting_fill: 0 }, /inpainting_fill/],
  ] as const) {
    const { status, json } = await ask(`${url}/sdapi/v1/img2img`, { ...asked, ...body })
    t.is(status, 422, JSON.stringify(body))
    t.regex(json.detail, word)
  }
  const plain = {
    ...asked, styles: null, sampler_name: null, enable_hr: false, restore_faces: null, subseed: -1, subseed_strength: 0,
    alwayson_scripts: {},
  }
  t.is((await ask(`${url}/sdapi/v1/txt2img`, plain)).status, 200)
  t.is((await ask(`${url}/sdapi/v1/png-info`, { image: 'AAAA' })).json.info, '')
})
