/**
 * How long loading an SD 1.5-sized model takes, over reading its files: plainly, and from packed caches. Fails where plain loading takes
 * more than 1.5 times as long as reading the same files into new memory.
 *
 *   npm run bench:load -- [--rounds 5] [--threads 2] [--model folder]
 *
 * Each number format has a process of its own; in it reading and loading take turns (lib/measure/loading.ts, as in `asdm bench`). A pass of
 * the UNet has to give the same bits either way.
 */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { loadingGoal } from '../lib/measure/goals'
import { loadingTurn, readingTurns, takeTurns, weightFiles } from '../lib/measure/loading'
import { randomModel } from '../lib/measure/random-model'
import { measured, pairedRatio } from '../lib/measure/statistics'
import { StableDiffusion, type DType, type Tensor } from '../lib/index'
import { openCheckpoint } from '../lib/model/checkpoint'

const formats: readonly DType[] = ['fp32', 'bf16', 'int8']

/** Milliseconds of each round; bytes. */
interface Found { times: Record<'fresh' | 'small' | 'load' | 'cached', number[]>, loadRss: number, cachedRss: number }

const values = (shape: number[]): Tensor =>
  ({ shape, data: Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => Math.sin(i * 7.3)) })

async function measure(folder: string, dtype: DType, threads: number, rounds: number): Promise<Found> {
  let wanted: string | undefined
  const rss = { load: 0, cached: 0 }
  const check = (name: keyof typeof rss, outcome: string | undefined) => async (sd: StableDiffusion): Promise<void> => {
    rss[name] = Math.max(rss[name], process.memoryUsage.rss())
    if (outcome !== undefined && sd.unet.packedCache?.outcome !== outcome)
      throw new Error(`the packed cache is ${sd.unet.packedCache?.outcome}`)
    const { sample } = await sd.unet.forward({ sample: values([1, 4, 8, 8]), timestep: 400, encoderHiddenStates: values([1, 77, 768]) })
    const bits = Buffer.from(sample.data.buffer).toString('base64')
    if (bits !== (wanted ??= bits)) throw new Error('a pass gives other bits')
  }
  await loadingTurn(folder, { dtype, threads, packedCache: true }, check('cached', 'written'))()
  rss.cached = 0
  const times = await takeTurns({
    ...readingTurns(weightFiles(await openCheckpoint(folder))),
    load: loadingTurn(
      folder, { dtype, threads }, check('load', undefined),
    ),
    cached: loadingTurn(folder, { dtype, threads, packedCache: true }, check('cached', 'used')),
  }, rounds)
  return { times, loadRss: rss.load, cachedRss: rss.cached }
}

function removePackedCaches(folder: string): void {
  for (const name of fs.readdirSync(folder, { recursive: true, encoding: 'utf8' }))
    if (name.endsWith('.asdm')) fs.rmSync(path.join(folder, name))
}

async function main(): Promise<void> {
  const { values: options } = parseArgs({
    options: {
      threads: { type: 'string', default: String(os.availableParallelism()) }, rounds: { type: 'string', default: '5' },
      model: { type: 'string' }, measure: { type: 'string' },
    },
  })
  const folder = options.model
    ?? await randomModel('sd15', path.join(path.dirname(require.resolve('../../../package.json')), 'build', 'bench', 'sd15'))
  if (options.measure !== undefined) {
    console.log(JSON.stringify(await measure(folder, options.measure as DType, Number(options.threads), Number(options.rounds))))
    return
  }
  let broken = 0
  for (const dtype of formats) {
    removePackedCaches(folder)
    const child = spawnSync(
      process.execPath, [__filename, '--measure', dtype, '--model', folder, '--threads', options.threads, '--rounds', options.rounds],
      { encoding: 'utf8' },
    )
    removePackedCaches(folder)
    if (child.status !== 0) throw new Error(`${dtype} ended with ${child.status}: ${child.stderr}`)
    const { times, loadRss, cachedRss } = JSON.parse(child.stdout) as Found
    const told = (list: number[]): string => {
      const { median, least, most } = measured(list)
      return `${(median / 1000).toFixed(2)} s (${(least / 1000).toFixed(2)}-${(most / 1000).toFixed(2)})`
    }
    const over = (ours: number[], theirs: number[]): number => pairedRatio(ours, theirs).median
    const ratio = over(times.load, times.fresh)
    if (ratio > loadingGoal) broken++
    console.log(`${ratio <= loadingGoal ? 'ok    ' : 'BROKEN'} ${dtype}: load ${told(times.load)}, read into new memory `
      + `${told(times.fresh)}: ${ratio.toFixed(2)} (limit ${loadingGoal}); `
      + `read into a small buffer ${told(times.small)}: ${over(times.load, times.small).toFixed(2)}; from packed caches `
      + `${told(times.cached)}: ${over(times.cached, times.fresh).toFixed(2)}; `
      + `resident ${(loadRss / 2 ** 20).toFixed(0)} MiB, from packed caches ${(cachedRss / 2 ** 20).toFixed(0)} MiB`)
  }
  process.exitCode = broken === 0 ? 0 : 1
}

void main()
