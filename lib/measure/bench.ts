import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { AsdmError, throwIfAborted } from '../base/errors'
import { dtypes as allDtypes, type DType } from '../components/options'
import { makeFolders } from '../files/folders'
import { packageRoot } from '../files/package-root'
import { locateModel } from '../hub/locate-model'
import { openCheckpoint } from '../model/checkpoint'
import type { Checkpoint } from '../model/part'
import type { InputTensor } from '../native/inputs'
import { loadAddon } from '../native/load'
import type { ForwardShape } from '../native/binding'
import type { BenchContext, BenchOptions } from './context'
import { doubts } from './doubts'
import { goalsOf } from './goals'
import { randomInputs } from './profile-model'
import { randomModel } from './random-model'
import type { BenchReport } from './report'
import type { Peaks } from './roofline'
import { shapes } from './shapes'
import { runSuites } from './suites'
import { writeTensors } from './tensors'
import type { WorkerTask } from './worker'

/** The shapes that can be measured: the shipped model, and published sizes with random weights. */
export const shapeNames: readonly string[] = ['emoji', ...Object.keys(shapes)]

/** Where models with random weights are kept if no folder is named. */
export function defaultWork(): string {
  return path.join(process.env.XDG_CACHE_HOME || path.join(os.homedir(), '.cache'), 'asdm', 'bench')
}

/** The model's folder, made if need be. */
async function modelOf(shape: string, work: string, signal: AbortSignal | undefined): Promise<string> {
  if (shape === 'emoji') return (await locateModel('emoji', { signal })).path
  if (shape in shapes) return randomModel(shape, path.join(work, shape))
  if (fs.existsSync(path.join(shape, 'model_index.json'))) return path.resolve(shape)
  throw new AsdmError('INVALID_ARGUMENT',
    `Expected --shape to be ${shapeNames.join(', ')} or a model's folder but received ${JSON.stringify(shape)}`)
}

/**
 * Runs suites and gives what was found.
 * @throws AsdmError where ours fails; an `AbortError` when the signal fires. Peers that fail are noted.
 */
export async function runBench(options: BenchOptions): Promise<BenchReport> {
  const started = performance.now()
  const { shape, work, threads, runs, signal, onProgress } = options
  const addon = loadAddon()
  const load = os.loadavg()[0]!
  await makeFolders(work)
  onProgress('model')
  const model = await modelOf(shape, work, signal)
  const checkpoint = await openCheckpoint(model, { signal })
  throwIfAborted(signal)
  const info = addon.cpuInfo()
  const notes: string[] = []
  const dtypes = supported(options.dtypes, checkpoint, options, notes)
  const factor = 2 ** (checkpoint.vae.config.blockOutChannels.length - 1)
  const probe = addon.createModel({ kind: 'unet', config: checkpoint.unet.config }, { dtype: 'fp32', threads: 1, cpu: options.cpu })
  const set = probe.cpu
  probe.dispose()
  if (load > 0.5 * info.cores)
    notes.push(
      `When this began, ${load.toFixed(1)} other processes wanted to run on ${info.cores} cores, so times are longer than they need be and `
      + 'ratios less certain.',
    )
  const report: BenchReport = {
    format: 'asdm-bench', version: 1, asdm: packageVersion(), ...(options.commit !== undefined && { commit: options.commit }),
    date: new Date().toISOString(),
    shape, size: checkpoint.unet.config.sampleSize * factor, threads, runs, dtypes: [...dtypes], suites: [...options.suites],
    machine: {
      platform: `${process.platform}-${process.arch}`, node: process.version, cpu: info.brand, features: info.features, set,
      cores: info.cores, memoryBytes: os.totalmem(), load,
    },
    peaks: {
      arithmetic: { fp32: 0 }, copy: [],
    }, peers: [], checks: [], cases: [], ratios: [], goals: [], loading: [], ops: [], plans: [], notes, seconds: 0,
  }
  const context: BenchContext = {
    ...options, checkpoint, report, dtypes,
    worker: (part, dtype, other = {}) => ({
      name: 'asdm', dtype, ours: true, command: process.execPath,
      args: [
        path.join(__dirname, 'worker.js'), JSON.stringify({ part, model, dtype, threads, cpu: options.cpu, ...other } satisfies WorkerTask),
      ],
    }),
    inputs: async part => {
      const latent = { height: checkpoint.unet.config.sampleSize, width: checkpoint.unet.config.sampleSize }
      const length = checkpoint.textEncoder.config.maxPositionEmbeddings
      const input: ForwardShape = part === 'unet'
        ? { batch: 2, ...latent, length }
        : part === 'vae-decoder'
          ? { batch: 1, ...latent }
          : { batch: 2, length }
      const name = `${part}-inputs.safetensors`
      await writeTensors(path.join(work, name), Object.fromEntries(Object.entries<InputTensor>(randomInputs(part, input, checkpoint))
        .map(([key, { data, shape }]) => [key, { data: Float32Array.from(data), shape }])))
      return { name, input }
    },
  }
  await runSuites(context, peaks => { report.peaks = peaks satisfies Peaks })
  report.goals = goalsOf(report)
  report.notes.push(...doubts(report))
  const after = os.loadavg()[0]!
  if (after > threads + 0.5 * info.cores)
    notes.push(
      `When this ended, ${(after - threads).toFixed(1)} other processes had been running beside it, so times are longer than they need be `
      + 'and ratios less certain.',
    )
  report.seconds = (performance.now() - started) / 1000
  return report
}

/** The formats that were asked for, or all; those that this build cannot compute this model in are said aloud and left out. */
function supported(asked: readonly DType[] | undefined, { unet }: Checkpoint, { cpu }: BenchOptions, notes: string[]): DType[] {
  const addon = loadAddon()
  return (asked ?? allDtypes).filter(dtype => {
    try {
      addon.createModel({ kind: 'unet', config: unet.config }, { dtype, threads: 1, cpu }).dispose()
      return true
    } catch (error) {
      if (!(error instanceof AsdmError) || (error.code !== 'UNSUPPORTED_CONFIG' && error.code !== 'INVALID_ARGUMENT')) throw error
      notes.push(`Not measured in ${dtype}: ${error.message}`)
      return false
    }
  })
}

function packageVersion(): string {
  const root = packageRoot()
  return root === undefined
    ? 'unknown'
    : (JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string }).version
}
