/**
 * Runs in a process of its own: generates again and again and prints what the tests compare. Arguments: what to measure, how often.
 *   delay: prints the 99th percentile of the event loop's delay during one generation of `count` steps, in milliseconds; on Linux without
 * the
 *          time for which this thread was ready but other processes had the processor
 *   leak:  prints the resident memory after each of `count` generations, in bytes
 */
import fs from 'node:fs'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { repoPath } from './fixtures'

const intervalMs = 5

/** For how long this process's main thread has waited for a processor so far; 0 where the system does not tell. */
function waitedMs(): number {
  try {
    return Number(fs.readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'latin1').split(' ')[1]) / 1e6
  } catch {
    return 0
  }
}

async function main(what: string, count: number): Promise<void> {
  const sd = await StableDiffusion.load(repoPath('models', 'emoji'), { threads: 1 })
  const request = { prompt: 'a 3d emoji of red apple', guidanceScale: 3, seed: 1 }
  if (what === 'delay') {
    await sd.generate({ ...request, steps: 1 })
    const delays: number[] = []
    let [last, waited] = [performance.now(), waitedMs()]
    const timer = setInterval(() => {
      const [now, wait] = [performance.now(), waitedMs()]
      delays.push(now - last - intervalMs - (wait - waited));
      [last, waited] = [now, wait]
    }, intervalMs)
    const [image] = await sd.generate({ ...request, steps: count, width: 192, height: 192 })
    await image.png()
    clearInterval(timer)
    delays.sort((x, y) => x - y)
    process.stdout.write(JSON.stringify({ p99Ms: delays[Math.floor(delays.length * 0.99)], ticks: delays.length }))
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
