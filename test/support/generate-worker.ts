/** A worker thread that loads the shipped model, says `loaded`, and generates as often as it is told to; sends each picture's bytes. */
import { parentPort, workerData } from 'node:worker_threads'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { repoPath } from './fixtures'

async function main({ times, steps, side }: { times: number, steps: number, side: number }): Promise<void> {
  const sd = await StableDiffusion.load(repoPath('models', 'emoji'), { threads: 1 })
  parentPort?.postMessage('loaded')
  for (let i = 0; i < times; i++) {
    const [image] = await sd.generate({ prompt: 'a flat emoji of rocket', guidanceScale: 3, steps, seed: 5, width: side, height: side })
    parentPort?.postMessage(Buffer.from(image.rgba).toString('base64'))
  }
  await sd.dispose()
}

void main(workerData as { times: number, steps: number, side: number })
