/**
 * How long loading an SD 1.5-sized model takes, over reading its files: plainly, and from packed caches. Fails where plain loading takes
 * more than 1.5 times as long as reading the same files into memory of their own.
 *
 *   npm run bench:load -- [--rounds 5] [--threads 2] [--model folder]
 *
 * Files are in the page cache. Each number format has a process of its own; in it reading and loading alternate, after one round that
 * does not count; medians are told. Reading is one thread's: into new memory, as large as the files, and (for comparison) into one small
 * buffer, over and over, which keeps nothing. A pass of the UNet has to give the same bits either way.
 */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { randomModel } from '../lib/bench/random-model'
import { StableDiffusion, type DType, type Tensor } from '../lib/index'

const formats: readonly DType[] = ['fp32', 'bf16', 'int8']
const mostRatio = 1.5

interface Measured { fresh: number[], small: number[], load: number[], mapped: number[], loadRss: number, mappedRss: number }

const values = (shape: number[]): Tensor => ({ shape, data: Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => Math.sin(i * 7.3)) })
const weightFiles = (folder: string): string[] => ['text_encoder', 'unet', 'vae'].flatMap(part => filesIn(path.join(folder, part), '.safetensors'))
const filesIn = (folder: string, extension: string): string[] => fs.readdirSync(folder).filter(name => name.endsWith(extension)).map(name => path.join(folder, name))

/** Reads files whole; milliseconds. */
function read(files: readonly string[], small?: Buffer): number {
  const started = performance.now()
  const kept: Buffer[] = []
  for (const file of files) {
    const descriptor = fs.openSync(file, 'r'), { size } = fs.fstatSync(descriptor)
    const buffer = small ?? Buffer.allocUnsafeSlow(size)
    kept.push(buffer)
    for (let at = 0; at < size;) at += fs.readSync(descriptor, buffer, small === undefined ? at : 0, Math.min(size - at, small?.length ?? 2 ** 30), at)
    fs.closeSync(descriptor)
  }
  return performance.now() - started
}

async function load(folder: string, dtype: DType, threads: number, packedCache: boolean): Promise<{ ms: number, rss: number, bits: string, outcome: string | undefined }> {
  const started = performance.now()
  const sd = await StableDiffusion.load(folder, { dtype, threads, variant: 'fp16', packedCache })
  const ms = performance.now() - started, rss = process.memoryUsage.rss()
  const { sample } = await sd.unet.forward({ sample: values([1, 4, 8, 8]), timestep: 400, encoderHiddenStates: values([1, 77, 768]) })
  const outcome = sd.unet.packedCache?.outcome
  await sd.dispose()
  return { ms, rss, bits: Buffer.from(sample.data.buffer).toString('base64'), outcome }
}

async function measure(folder: string, dtype: DType, threads: number, rounds: number): Promise<Measured> {
  const small = Buffer.alloc(2 ** 23), files = weightFiles(folder)
  const wanted = (await load(folder, dtype, threads, true)).bits
  const result: Measured = { fresh: [], small: [], load: [], mapped: [], loadRss: 0, mappedRss: 0 }
  for (let i = 0; i <= rounds; i++) {
    const fresh = read(files), reused = read(files, small)
    const plain = await load(folder, dtype, threads, false), mapped = await load(folder, dtype, threads, true)
    if (mapped.outcome !== 'used') throw new Error(`the packed cache is ${mapped.outcome}`)
    if (plain.bits !== wanted || mapped.bits !== wanted) throw new Error('a pass gives other bits')
    if (i === 0) continue
    result.fresh.push(fresh)
    result.small.push(reused)
    result.load.push(plain.ms)
    result.mapped.push(mapped.ms)
    result.loadRss = Math.max(result.loadRss, plain.rss)
    result.mappedRss = Math.max(result.mappedRss, mapped.rss)
  }
  return result
}

async function main(): Promise<void> {
  const { values: options } = parseArgs({
    options: { threads: { type: 'string', default: String(os.availableParallelism()) }, rounds: { type: 'string', default: '5' }, model: { type: 'string' }, measure: { type: 'string' } },
  })
  const folder = options.model ?? await randomModel('sd15', path.join(path.dirname(require.resolve('../../../package.json')), 'build', 'bench', 'sd15'))
  if (options.measure !== undefined) {
    console.log(JSON.stringify(await measure(folder, options.measure as DType, Number(options.threads), Number(options.rounds))))
    return
  }
  let broken = 0
  for (const dtype of formats) {
    const child = spawnSync(process.execPath, [__filename, '--measure', dtype, '--model', folder, '--threads', options.threads, '--rounds', options.rounds], { encoding: 'utf8' })
    for (const part of ['text_encoder', 'unet', 'vae']) for (const file of filesIn(path.join(folder, part), '.asdm')) fs.rmSync(file)
    if (child.status !== 0) throw new Error(`${dtype} ended with ${child.status}: ${child.stderr}`)
    const { fresh, small, load: plain, mapped, loadRss, mappedRss } = JSON.parse(child.stdout) as Measured
    const median = (list: number[]): number => [...list].sort((a, b) => a - b)[list.length >> 1]
    const told = (list: number[]): string => `${(median(list) / 1000).toFixed(2)} s (${(Math.min(...list) / 1000).toFixed(2)}-${(Math.max(...list) / 1000).toFixed(2)})`
    const ratio = median(plain) / median(fresh)
    if (ratio > mostRatio) broken++
    console.log(`${ratio <= mostRatio ? 'ok    ' : 'BROKEN'} ${dtype}: load ${told(plain)}, read ${told(fresh)}: ${ratio.toFixed(2)} (limit ${mostRatio}); ` +
      `read into a small buffer ${told(small)}: ${(median(plain) / median(small)).toFixed(2)}; from packed caches ${told(mapped)}: ${(median(mapped) / median(fresh)).toFixed(2)}; ` +
      `resident ${(loadRss / 2 ** 20).toFixed(0)} MiB, mapped ${(mappedRss / 2 ** 20).toFixed(0)} MiB`)
  }
  process.exitCode = broken === 0 ? 0 : 1
}

void main()
