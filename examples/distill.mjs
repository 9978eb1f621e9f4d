// Trains a lighter UNet to do what a model's does, without any images: node examples/distill.mjs [model] [recipe] [out] [steps]
// The same command goes on where it was stopped.
import fs from 'node:fs'
import { distill } from 'asdm'

const [teacher = 'models/emoji', recipe = 'light', out = 'distilled', steps = '200'] = process.argv.slice(2)

// The teacher draws latents of these; a folder of captioned images (`data` instead of `prompts`) is better.
const prompts = ['red apple', 'octopus', 'rocket', 'cat face', 'crown', 'pizza'].flatMap(thing => [`a flat emoji of ${thing}`, `a 3d emoji of ${thing}`])
fs.writeFileSync(`${out}-prompts.txt`, `${prompts.join('\n')}\n`)

const stop = new AbortController()
process.once('SIGINT', () => stop.abort())

const { folder, curves } = await distill({
  teacher, recipe, out, prompts: `${out}-prompts.txt`, samples: 2 * prompts.length, sampleSteps: 10, guidanceScale: 3, sheetPrompts: prompts.slice(0, 4),
  // First what lies around the removed units, then everything; see docs/distillation.md.
  stages: [
    { steps: Math.ceil(Number(steps) / 4), train: ['down_blocks.0', 'up_blocks.3'], losses: { task: { weight: 0 } } },
    { steps: Math.floor(Number(steps) * 3 / 4), losses: { semantic: { weight: 0.1 } } },
  ],
  batch: 4, rate: 3e-4, average: 0.99, validation: 8, checkpointEvery: 50, validateEvery: 50, sheetEvery: 0, signal: stop.signal,
  onProgress: ({ phase, done, of, step, etaMs }) => {
    if (step !== undefined) console.log(`step ${done} of ${of}: loss ${step.loss.toPrecision(3)}, ${Math.ceil(etaMs / 60_000)} min left`)
    else if (done === of) console.log(phase)
  },
})
console.log(`${folder}: held-out loss ${curves.validation.at(-1).loss.toPrecision(3)}; see report.html in it`)
