/**
 * Runs in a process of its own: generates again and again and prints what the tests compare. Arguments: what to measure, how often.
 *   delay: prints the 99th percentile of the event loop's delay during one generation of `count` steps, in milliseconds
 *   leak:  prints the resident memory after each of `count` generations, in bytes
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { repoPath } from './fixtures'

async function main(what: string, count: number): Promise<void> {
  const sd = await StableDiffusion.load(repoPath('models', 'emoji'), { threads: 1 })
  const request = { prompt: 'a 3d emoji of red apple', guidanceScale: 3, seed: 1 }
  if (what === 'delay') {
    await sd.generate({ ...request, steps: 1 })
    const delay = monitorEventLoopDelay({ resolution: 5 })
    delay.enable()
    const [image] = await sd.generate({ ...request, steps: count, width: 192, height: 192 })
    await image.png()
    delay.disable()
    process.stdout.write(JSON.stringify({ p99Ms: delay.percentile(99) / 1e6 }))
  } else {
    const rss: number[] = []
    for (let i = 0; i < count; i++) {
      const [image] = await sd.generate({ ...request, seed: i, steps: 2, width: i % 2 === 0 ? 64 : 96 })
      await image.png()
      globalThis.gc?.()
      rss.push(process.memoryUsage.rss())
    }
    process.stdout.write(JSON.stringify({ rss }))
  }
  await sd.dispose()
}

void main(process.argv[2], Number(process.argv[3]))
