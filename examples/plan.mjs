// The same image in full and with inherited features: node examples/plan.mjs [prompt] [plan] [model]
import { StableDiffusion } from 'asdm'

const [prompt = 'a 3d emoji of red apple', plan = 'deepcache:3,0', model = 'models/emoji'] = process.argv.slice(2)

const sd = await StableDiffusion.load(model)
try {
  for (const [name, more] of [['full', {}], ['planned', { plan }]]) {
    let denoiseMs = 0
    for await (const step of sd.steps({ prompt, guidanceScale: 3, steps: 20, seed: 7, ...more })) {
      if (step.phase === 'plan') console.log(`computes ${(100 * step.report.share).toFixed(1)} % and keeps ${step.report.keptBytes} bytes between steps`)
      if (step.phase === 'denoise') denoiseMs += step.ms
      if (step.phase !== 'done') continue
      console.log(`${await step.images[0].save(`${name}.png`)}: ${denoiseMs.toFixed(0)} ms of denoising`)
      if (step.statistics !== undefined) console.log(`${step.statistics.speedUp.counted.toFixed(2)} times as fast by count, ${step.statistics.speedUp.measured?.toFixed(2)} as measured`)
    }
  }
} finally {
  await sd.dispose()
}
