import { execFile } from 'node:child_process'
import path from 'node:path'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { repoPath } from '../support/fixtures'

const script = (name: string): string => path.join(__dirname, '..', 'support', name)

async function child(what: string, count: number): Promise<any> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', script('loop-child.js'), what, String(count)])
  return JSON.parse(stdout)
}

test('the event loop goes on during a generation', async t => {
  const { p99Ms, ticks } = await child('delay', 6)
  t.true(ticks > 50, `${ticks} ticks`)
  t.true(p99Ms < 20, `${p99Ms} ms`)
})

test('memory stays flat over 50 generations', async t => {
  const { rss } = await child('leak', 50) as { rss: number[] }
  const median = (list: number[]): number => [...list].sort((a, b) => a - b)[list.length >> 1]
  const growth = median(rss.slice(-10)) - median(rss.slice(10, 20))
  // The weights and one arena together are some 100 MB; a leak of either would show at once, 100 kB for each generation too.
  t.true(growth < 4 * 2 ** 20, `${Math.round(growth / 1024)} KiB in 30 generations: ${rss.map(bytes => Math.round(bytes / 2 ** 20))}`)
})

/** Starts a worker; gives it and a promise for what it sends. */
function start(
  data: { times: number, steps: number, side: number },
): { worker: Worker, loaded: Promise<void>, pictures: Promise<string[]> } {
  const worker = new Worker(script('generate-worker.js'), { workerData: data })
  const pictures: string[] = []
  let markLoaded = (): void => {}
  const loaded = new Promise<void>(resolve => { markLoaded = resolve })
  const ended = new Promise<string[]>((resolve, reject) => {
    worker.on('message', message => { if (message === 'loaded') markLoaded(); else pictures.push(message) })
    worker.on('error', reject)
    worker.on('exit', () => resolve(pictures))
  })
  return { worker, loaded, pictures: ended }
}

test('several worker threads generate at once, and ending one in the middle leaves the others alone', async t => {
  const short = { times: 2, steps: 2, side: 64 }
  const sd = await StableDiffusion.load(repoPath('models', 'emoji'), { threads: 1 })
  const [wanted] = await sd.generate({ prompt: 'a flat emoji of rocket', guidanceScale: 3, steps: 2, seed: 5 })
  const expected = Buffer.from(wanted.rgba).toString('base64')
  const victim = start({ times: 1, steps: 500, side: 256 })
  const others = [start(short), start(short)]
  await victim.loaded
  await new Promise(resolve => setTimeout(resolve, 200))
  await victim.worker.terminate()
  t.deepEqual(await victim.pictures, [])
  for (const { pictures } of others) t.deepEqual(await pictures, [expected, expected])
  t.is(
    Buffer.from((await sd.generate({ prompt: 'a flat emoji of rocket', guidanceScale: 3, steps: 2, seed: 5 }))[0].rgba).toString('base64'),
    expected,
  )
  await sd.dispose()
})
