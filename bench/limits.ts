/**
 * Checks the promises about memory and aborts on an SD 1.5-sized model with random weights, and fails where one is broken.
 *
 *   npm run bench:limits -- [--threads 2] [--aborts 20] [--only threads]
 *
 * UNet forward (batch 2, 64x64 latents): peak memory at most weights + 1 GiB. VAE decode of 64x64 latents: at most 1 GiB above its
 * weights. Loading never holds two copies of the weights. An abort at a random moment of a UNet call rejects within 100 ms, and
 * the next call gives the same bits as before. Several threads are at least 1.6 times as fast as one on idle cores, and take at most 1.15
 * of its time while another process keeps a core busy: images of the emoji model, and UNet calls of SD 1.5's size. Each measurement is a
 * process of its own, since a peak cannot be reset.
 */
import { spawn, spawnSync } from 'node:child_process'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { StableDiffusion, UNet, VAE, type Tensor } from '../lib/index'
import { randomModel } from '../lib/measure/random-model'

const GiB = 2 ** 30

/** Peak resident memory of this process so far, in bytes. */
const peakBytes = (): number => process.resourceUsage().maxRSS * 1024

/** Values of roughly unit size that are the same each time. */
function values(shape: number[], seed: number): Tensor {
  let state = seed
  const next = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 4294967296 - 0.5
  return { shape, data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => 3 * next()) }
}

const unetInputs = () => ({ sample: values([2, 4, 64, 64], 1), timestep: 601, encoderHiddenStates: values([2, 77, 768], 2) })

async function measureUNet(folder: string, threads: number): Promise<Record<string, number>> {
  const before = peakBytes()
  const unet = await UNet.load(path.join(folder, 'unet'), { threads })
  const loaded = peakBytes()
  await unet.forward(unetInputs())
  const weights = unet.describe({ batch: 2, height: 64, width: 64, length: 77 }).parameters * 4
  await unet.dispose()
  return { weights, 'load peak above weights': loaded - before - weights, 'forward peak above weights': peakBytes() - before - weights }
}

async function measureVAE(folder: string, threads: number): Promise<Record<string, number>> {
  const vae = await VAE.load(path.join(folder, 'vae'), { threads })
  const loaded = process.memoryUsage.rss()
  await vae.decode(values([1, 4, 64, 64], 3))
  await vae.dispose()
  return { 'decode peak above loaded': peakBytes() - loaded }
}

async function measureAborts(folder: string, threads: number, count: number): Promise<Record<string, number>> {
  const unet = await UNet.load(path.join(folder, 'unet'), { threads })
  const first = await unet.forward(unetInputs())
  const started = performance.now()
  await unet.forward(unetInputs())
  const duration = performance.now() - started
  let worst = 0
  for (let i = 0; i < count; i++) {
    const controller = new AbortController()
    const call = unet.forward({
      ...unetInputs(), signal: controller.signal,
    }).then(() => { throw new Error('the call ended before its abort') }, error => {
      if (error.name !== 'AbortError') throw error
    })
    // Spread over the call, so that most kinds of layer are met; not to its very end, since a call may be faster than the timed one.
    await new Promise(resolve => setTimeout(resolve, (0.75 * duration * (i + 0.5)) / count))
    const aborted = performance.now()
    controller.abort()
    await call
    worst = Math.max(worst, performance.now() - aborted)
  }
  const again = await unet.forward(unetInputs())
  if (Buffer.compare(Buffer.from(first.sample.data.buffer), Buffer.from(again.sample.data.buffer)) !== 0)
    throw new Error('the model gives other bits after aborts')
  await unet.dispose()
  return { 'call ms': duration, 'worst abort ms': worst }
}

/** Milliseconds of each task, which take turns: of its shortest round, the one least disturbed, or of its median one. */
async function inTurn(
  tasks: readonly (() => Promise<unknown>)[], rounds: number, which: 'shortest' | 'median',
): Promise<number[]> {
  const times = tasks.map(() => [] as number[])
  for (let round = -1; round < rounds; round++)
    for (const [i, task] of tasks.entries()) {
      const start = performance.now()
      await task()
      if (round >= 0) times[i].push(performance.now() - start)
    }
  return times.map(list => list.sort((a, b) => a - b)[which === 'shortest' ? 0 : list.length >> 1])
}

/**
 * One thread's time over that of several, on idle cores and while a process keeps one busy. Idle cores of a shared machine are those of the
 * shortest round; where a core is taken, the median counts.
 */
async function measureThreads(folder: string, threads: number): Promise<Record<string, number>> {
  const image = { prompt: 'a red apple', negativePrompt: '', seed: 1, steps: 20, guidanceScale: 5 }
  const small = { ...unetInputs(), sample: values([2, 4, 32, 32], 1) }
  const [one, several] = [await StableDiffusion.load('emoji', { threads: 1 }), await StableDiffusion.load('emoji', { threads })]
  const unet = path.join(folder, 'unet')
  const [oneUNet, severalUNet] = [await UNet.load(unet, { threads: 1 }), await UNet.load(unet, { threads })]
  const result: Record<string, number> = {}
  for (const busy of [false, true]) {
    const which = busy ? 'median' : 'shortest'
    const other = busy ? spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }) : undefined
    try {
      const [a, b] = await inTurn([one, several].map(model => () => model.generate(image)), 15, which)
      const [c, d] = await inTurn([oneUNet, severalUNet].map(unet => () => unet.forward(small)), 5, which)
      Object.assign(result, busy ? { 'busy image': b / a, 'busy call': d / c } : { 'image': a / b, 'call': c / d })
    } finally {
      other?.kill()
    }
  }
  for (const model of [one, several, oneUNet, severalUNet]) await model.dispose()
  return result
}

async function main(): Promise<void> {
  const { values: options } = parseArgs({
    options: {
      threads: { type: 'string', default: String(os.availableParallelism()) }, aborts: { type: 'string', default: '20' },
      measure: { type: 'string' }, only: { type: 'string' },
    },
  })
  const folder = await randomModel('sd15', path.join(path.dirname(require.resolve('../../../package.json')), 'build', 'bench', 'sd15'))
  const threads = Number(options.threads)
  if (options.measure !== undefined) {
    const measures: Record<string, () => Promise<Record<string, number>>> = {
      unet: () => measureUNet(folder, threads),
      vae: () => measureVAE(folder, threads),
      aborts: () => measureAborts(folder, threads, Number(options.aborts)),
      threads: () => measureThreads(folder, threads),
    }
    const measured = measures[options.measure]()
    console.log(JSON.stringify(await measured))
    return
  }
  const ask = (measure: string): Record<string, number> => {
    const child = spawnSync(
      process.execPath, [__filename, '--measure', measure, '--threads', options.threads, '--aborts', options.aborts], { encoding: 'utf8' },
    )
    if (child.status !== 0) throw new Error(`${measure} ended with ${child.status}: ${child.stderr}`)
    return JSON.parse(child.stdout.trim().split('\n').at(-1)!)
  }
  let broken = 0
  const check = (name: string, value: number, limit: number, unit: string, bound: 'at most' | 'at least' = 'at most') => {
    const scale = unit === 'GiB' ? GiB : 1
    const ok = bound === 'at most' ? value <= limit : value >= limit
    if (!ok) broken++
    const digits = unit === 'ms' ? 0 : 2
    console.log(`${ok ? 'ok    ' : 'BROKEN'} ${name}: ${(value / scale).toFixed(digits)} ${unit} (${bound} ${limit / scale} ${unit})`)
  }
  if (threads > 1) {
    const shared = ask('threads')
    const kinds = [['image', 'an image of the emoji model'], ['call', 'a UNet call of SD 1.5\'s size, 32x32 latents']] as const
    for (const [name, what] of kinds) {
      check(`one thread on idle cores, ${what}, in times of ${threads} threads`, shared[name], 1.6, '', 'at least')
      check(`${threads} threads while a core is taken, ${what}, in times of one thread`, shared[`busy ${name}`], 1.15, '')
    }
  }
  if (options.only === 'threads') {
    process.exitCode = broken === 0 ? 0 : 1
    return
  }
  const unet = ask('unet')
  check(`UNet load, peak above ${(unet.weights / GiB).toFixed(2)} GiB of weights`, unet['load peak above weights'], 0.25 * GiB, 'GiB')
  check('UNet forward, peak above weights', unet['forward peak above weights'], GiB, 'GiB')
  check('VAE decode of 64x64 latents, peak above the loaded model', ask('vae')['decode peak above loaded'], GiB, 'GiB')
  const aborts = ask('aborts')
  check(
    `abort of a UNet call of ${(aborts['call ms'] / 1000).toFixed(1)} s, worst of ${options.aborts}`, aborts['worst abort ms'], 100, 'ms',
  )
  process.exitCode = broken === 0 ? 0 : 1
}

void main()
