// Makes docs/pictures/plans.png, in README.md: a row in full, and one for each of some presets; prints what each row took. With nothing
// else running, since it measures times:  node docs/pictures/plans.mjs
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { PNG } from 'pngjs'
import { StableDiffusion } from '../../dist/index.js'

const prompts = ['a flat emoji of crown', 'a flat emoji of evergreen tree', 'a flat emoji of strawberry', 'a flat emoji of red heart']
const rows = [undefined, 'balanced', 'fast']
const side = 64

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..')
const sd = await StableDiffusion.load(path.join(root, 'models', 'emoji'))
const sheet = new PNG({ width: prompts.length * side, height: rows.length * side })
const make = async (prompt, plan) => {
  let ms = 0
  const [image] = await sd.generate({
    prompt, guidanceScale: 3, steps: 20, seed: 7, sampler: 'euler-ancestral', ...(plan && { plan }),
    onProgress: step => { if (step.phase === 'denoise') ms += step.ms },
  })
  return { image, ms }
}
await make(prompts[0]) // lays out memory
for (const [y, plan] of rows.entries()) {
  const times = []
  for (const [x, prompt] of prompts.entries()) {
    const { image, ms } = await make(prompt, plan)
    times.push(ms)
    const data = Buffer.from(image.rgba.buffer, image.rgba.byteOffset, image.rgba.byteLength)
    PNG.bitblt({ width: side, height: side, data }, sheet, 0, 0, side, side, x * side, y * side)
  }
  const median = times.sort((a, b) => a - b)[times.length >> 1]
  console.log(`${plan ?? 'in full'}: ${median.toFixed(0)} ms of denoising a picture (median of ${times.length}), ${sd.unet.part.cpu}`)
}
// Levels are coarsened to every eighth, for a small file.
for (let i = 0; i < sheet.data.length; i++) if (i % 4 < 3) sheet.data[i] = Math.min(255, Math.round(sheet.data[i] / 8) * 8)
const file = path.join(root, 'docs', 'pictures', 'plans.png')
fs.writeFileSync(file, PNG.sync.write(sheet, { colorType: 2, deflateLevel: 9 }))
console.log(`${fs.statSync(file).size} bytes`)
await sd.dispose()
