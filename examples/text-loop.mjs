// The text-to-image loop, built from the parts:  node examples/text-loop.mjs "a 3d emoji of red apple" models/emoji
// It gives the image of `sd.generate({ prompt, guidanceScale: 3, steps: 20, seed: 7 })`.
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { createSampler, TextEncoder, Tokenizer, TorchGenerator, UNet, VAE } from 'asdm'

export async function draw(model, { prompt, negativePrompt = '', guidanceScale, steps, seed }) {
  const tokenizer = await Tokenizer.load(path.join(model, 'tokenizer'))
  const textEncoder = await TextEncoder.load(path.join(model, 'text_encoder'))
  const unet = await UNet.load(path.join(model, 'unet'), { dtype: 'fp32' })
  const vae = await VAE.load(path.join(model, 'vae'))
  const sampler = createSampler(JSON.parse(await readFile(path.join(model, 'scheduler', 'scheduler_config.json'), 'utf8')))
  try {
    // 1, 2: the texts' features, the negative prompt's first.
    const text = await textEncoder.encode([tokenizer.encode(negativePrompt), tokenizer.encode(prompt)])

    // 3: noise from the seed, at the first step's level.
    const side = unet.config.sampleSize
    let latents = new TorchGenerator(seed).randn([1, vae.config.latentChannels, side, side])
    sampler.setTimesteps(steps)
    latents = { ...latents, data: latents.data.map(value => value * Math.fround(sampler.initNoiseSigma)) }

    // 4, 5: in each step the UNet looks at the latents twice, without and with the prompt, and the sampler removes some noise.
    for (const [i, timestep] of sampler.timesteps.entries()) {
      const { data, shape: [, ...shape] } = sampler.scaleInput(latents, i)
      const sample = { data: Float32Array.of(...data, ...data), shape: [2, ...shape] }
      const output = await unet.forward({ sample, timestep, encoderHiddenStates: text })
      const [without, withPrompt] = [output.sample.data.subarray(0, data.length), output.sample.data.subarray(data.length)]
      const guided = without.map((value, k) => value + Math.fround(guidanceScale * Math.fround(withPrompt[k] - value)))
      latents = sampler.step({ data: guided, shape: [1, ...shape] }, i, latents)
    }

    // 6: the image, [1,3,H,W] in about [-1, 1], as RGBA bytes (a clamped array rounds half to even).
    const image = await vae.decode({ ...latents, data: latents.data.map(value => value / Math.fround(vae.config.scalingFactor)) })
    const [, , height, width] = image.shape
    const plane = height * width
    const rgba = new Uint8ClampedArray(plane * 4).fill(255)
    for (let i = 0; i < 3 * plane; i++)
      rgba[(i % plane) * 4 + Math.floor(i / plane)] = Math.fround(Math.fround(image.data[i] / 2 + 0.5) * 255)
    return { rgba, width, height }
  } finally {
    for (const part of [textEncoder, unet, vae]) await part.dispose()
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [prompt = 'a 3d emoji of red apple', model = 'models/emoji'] = process.argv.slice(2)
  const { rgba, width, height } = await draw(model, { prompt, guidanceScale: 3, steps: 20, seed: 7 })
  console.log(`${width}x${height} pixels, ${rgba.length} bytes`)
}
