// An image from an image, and one with its right half rebuilt:  node examples/img2img.mjs
import { StableDiffusion } from 'asdm'

const model = process.argv[2] ?? 'models/emoji'
const sd = await StableDiffusion.load(model)
const settings = { guidanceScale: 3, steps: 20, seed: 7 }

const [apple] = await sd.generate({ ...settings, prompt: 'a 3d emoji of red apple' })

// Any PNG's path would do for `image`, too. The higher the strength, the less of the image is left.
const [pear] = await sd.generate({ ...settings, prompt: 'a 3d emoji of pear', image: apple, strength: 0.7 })

// White (255) in the mask is rebuilt, black is kept.
const { width, height } = apple
const mask = { width, height, data: Uint8Array.from({ length: width * height }, (_, i) => (i % width < width / 2 ? 0 : 255)) }
const [half] = await sd.generate({ ...settings, prompt: 'a 3d emoji of green apple', image: apple, mask })

for (const [name, image] of Object.entries({ apple, pear, half })) console.log(await image.save(`${name}.png`))
await sd.dispose()
