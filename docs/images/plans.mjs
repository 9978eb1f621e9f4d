// Generates docs/images/plans.png, in docs/guide.md: a row in full, and one for each of some presets; prints what each row took. With
// nothing else running, since it measures times:  node docs/images/plans.mjs
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { StableDiffusion } from '../../dist/index.js'
import { writeSheet } from './sheet.mjs'

const prompts = ['a flat emoji of crown', 'a flat emoji of evergreen tree', 'a flat emoji of strawberry', 'a flat emoji of red heart']
const rows = [undefined, 'balanced', 'fast']

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..')
const sd = await StableDiffusion.load(path.join(root, 'models', 'emoji'))
async function generate(prompt, plan) {
  let ms = 0
  const [image] = await sd.generate({
    prompt, guidanceScale: 3, steps: 20, seed: 7, sampler: 'euler-ancestral', ...(plan && { plan }),
    onProgress: step => { if (step.phase === 'denoise') ms += step.ms },
  })
  return { image, ms }
}
await generate(prompts[0]) // lays out memory
const images = []
for (const plan of rows) {
  const times = []
  for (const prompt of prompts) {
    const { image, ms } = await generate(prompt, plan)
    times.push(ms)
    images.push(image)
  }
  const median = times.sort((a, b) => a - b)[times.length >> 1]
  console.log(`${plan ?? 'in full'}: ${median.toFixed(0)} ms of denoising an image (median of ${times.length}), ${sd.unet.part.cpu}`)
}
await sd.dispose()
await writeSheet(path.join(root, 'docs', 'images', 'plans.png'), images, { columns: prompts.length, side: 64, levels: 8 })
