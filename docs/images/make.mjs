// Generates docs/images/emoji.png, the sheet in README.md:  node docs/images/make.mjs
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { StableDiffusion } from '../../dist/index.js'
import { writeSheet } from './sheet.mjs'

const prompts = [
  'a 3d emoji of red apple', 'a 3d emoji of rocket', 'a 3d emoji of octopus', 'a 3d emoji of smiling face with sunglasses',
  'a flat emoji of crown', 'a flat emoji of evergreen tree', 'a flat emoji of red heart', 'a flat emoji of strawberry',
]
const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..')
const sd = await StableDiffusion.load(path.join(root, 'models', 'emoji'))
const images = []
for (const prompt of prompts) images.push((await sd.generate({ prompt, seed: 7, guidanceScale: 3, steps: 20 }))[0])
await sd.dispose()
await writeSheet(path.join(root, 'docs', 'images', 'emoji.png'), images, { columns: 4, side: 64 })
