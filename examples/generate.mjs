// An image from a text:  node examples/generate.mjs "a 3d emoji of red apple" apple.png
import { StableDiffusion } from 'asdm'

const [prompt = 'a 3d emoji of red apple', file = 'apple.png', model = 'models/emoji'] = process.argv.slice(2)

const sd = await StableDiffusion.load(model)
sd.on('warning', warning => console.warn(warning.message))

for await (const step of sd.steps({ prompt, guidanceScale: 3, steps: 20, seed: 7 })) {
  if (step.phase === 'denoise') console.log(`step ${step.index} of ${step.of}, ${Math.round(step.ms)} ms, ${Math.round(step.etaMs)} ms left`)
  if (step.phase === 'done') console.log(await step.images[0].save(file))
}

await sd.dispose()
