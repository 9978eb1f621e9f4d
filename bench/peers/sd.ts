import { spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { AsdmError, throwIfAborted } from '../../lib/base/errors'
import type { ImagePeers, ImageRequest } from '../../lib/measure/context'
import { readImage, type PeerImage, type ImagePeer, type ImageTask } from '../../lib/measure/images'
import { shapes } from '../../lib/measure/shapes'
import { readSafetensorsHeader, writeSafetensors } from '../../lib/files/safetensors'
import type { Checkpoint } from '../../lib/model/part'
import type { WeightSource } from '../../lib/native/configs'
import { isSdHelp, parseSdOutput, sdVersion } from './sd-output'

/** As reports name it. */
export const sdName = 'stable-diffusion.cpp'

/** A binary that is known to be stable-diffusion.cpp's. */
export interface SdBinary {
  file: string
  /** `unknown` for builds that do not tell. */
  version: string
  /** Its help text, which tells what it can. */
  help: string
}

const note = 'it runs guidance as two passes of batch 1, which its step counts together, and makes whole images only, each in a new '
  + 'process: a step is the last of its image, decoding the first and only. '
  + 'Its image begins with the same noise and was compared with ours in fp32.'

/**
 * Finds the binary.
 * @param named a file, or a name to look for on the PATH; `sd-cli`, then `sd`, if left out
 * @returns it, or why there is none
 */
export function findSd(named: string | undefined, searchPath = process.env.PATH ?? ''): SdBinary | string {
  const candidates = named !== undefined && /[\\/]/.test(named)
    ? [path.resolve(named)]
    : (named === undefined ? ['sd-cli', 'sd'] : [named]).flatMap(name => onPath(name, searchPath))
  if (candidates.length === 0) return `there is no ${named ?? 'sd-cli or sd'} on the PATH; --sd names another.`
  let why = ''
  for (const file of candidates) {
    const said = (option: string): string | undefined => {
      const { error, stdout, stderr } = spawnSync(file, [option], { encoding: 'utf8', timeout: 20_000, windowsHide: true })
      return error === undefined ? `${stdout}\n${stderr}` : undefined
    }
    const help = said('--help')
    if (help === undefined) {
      why ||= `${file} does not run; --sd names another.`
      continue
    }
    const version = sdVersion(said('--version') ?? '')
    if (version !== undefined || isSdHelp(help)) return { file, version: version ?? 'unknown', help }
    why ||= `${file} is another program; --sd names another.`
  }
  return why
}

function onPath(name: string, searchPath: string): string[] {
  return searchPath.split(path.delimiter).filter(place => place !== '').map(place =>
    path.join(place, process.platform === 'win32' ? `${name}.exe` : name)).filter(file => fs.existsSync(file))
}

/** stable-diffusion.cpp on this checkpoint. */
export async function sdPeer({ checkpoint, work, threads }: ImageRequest, named: string | undefined): Promise<ImagePeers> {
  const absent = (why: string): ImagePeers => ({ found: [], absent: [{ name: sdName, absent: why }] })
  const binary = findSd(named)
  if (typeof binary === 'string') return absent(binary)
  const refused = unsupported(checkpoint)
  if (refused !== undefined) return absent(refused)
  const model = await sdModel(checkpoint, path.join(work, `${sdName}-${path.basename(checkpoint.path)}`))
  const peer: ImagePeer = {
    name: sdName, dtype: model.dtype, version: binary.version, note,
    make: (task, file, signal) =>
      makeImage(
        binary, [...sdArguments(binary, model.folder, task, file, threads), ...predictionArguments(checkpoint)], task, file, signal,
      ),
  }
  return { found: [peer], absent: [] }
}

/** It knows the published architectures by their weights' names and sizes, not by configs. */
function unsupported({ unet }: Checkpoint): string | undefined {
  const { blockOutChannels, crossAttentionDim, layersPerBlock } = unet.config
  const known = Object.values(shapes).some(({ unet: published }) =>
    String(published.block_out_channels) === String(blockOutChannels) && published.cross_attention_dim === crossAttentionDim
    && layersPerBlock.every(layers => layers === published.layers_per_block))
  return known ? undefined : 'it knows the published sizes of UNets only, not this one.'
}

/** Where it looks for weights in a folder of diffusers' layout. */
const weightFiles = {
  unet: 'unet/diffusion_pytorch_model.safetensors', vae: 'vae/diffusion_pytorch_model.safetensors',
  textEncoder: 'text_encoder/model.safetensors',
} as const

/** A folder with the checkpoint's weights under the files' and tensors' names that it reads: links, where a file is right as it is. */
export async function sdModel(checkpoint: Checkpoint, folder: string): Promise<{ folder: string, dtype: string }> {
  for (const [part, name] of Object.entries(weightFiles) as [keyof typeof weightFiles, string][]) {
    const { weights } = checkpoint[part]
    const to = path.join(folder, name)
    fs.mkdirSync(path.dirname(to), { recursive: true })
    const files = [...new Set(weights.map(({ file }) => file))]
    if (files.length === 1 && await isPublished(part, files[0])) {
      fs.rmSync(to, { force: true })
      link(path.resolve(files[0]), to)
    } else if (!isNewer(to, files)) await copy(part, weights, to)
  }
  return { folder, dtype: commonest(checkpoint.unet.weights) }
}

/** It knows a text encoder by the prefix that published files have and some tools leave out. */
const prefixOf = (part: keyof typeof weightFiles): string => (part === 'textEncoder' ? 'text_model.' : '')

async function isPublished(part: keyof typeof weightFiles, file: string): Promise<boolean> {
  if (!file.endsWith('.safetensors')) return false
  const { tensors } = await readSafetensorsHeader(file)
  return [...tensors.keys()].some(name => name.startsWith(prefixOf(part)))
}

/** Kept from run to run, unless the model's files are newer. */
function isNewer(copied: string, files: readonly string[]): boolean {
  const stat = fs.lstatSync(copied, { throwIfNoEntry: false })
  return stat !== undefined && !stat.isSymbolicLink() && files.every(file => fs.statSync(file).mtimeMs < stat.mtimeMs)
}

async function copy(part: keyof typeof weightFiles, weights: readonly WeightSource[], to: string): Promise<void> {
  fs.rmSync(to, { force: true })
  await writeSafetensors(to, weights.map(({ name, dtype, shape, file, begin, end }) => ({
    name: prefixOf(part) + name, dtype, shape, data: () =>
      (end > begin ? fs.createReadStream(file, { start: begin, end: end - 1 }) as AsyncIterable<Uint8Array> : []),
  })))
}

/** Symbolic, or hard where the system refuses (Windows without the privilege), or a copy on another disk. */
function link(from: string, to: string): void {
  for (const way of [fs.symlinkSync, fs.linkSync, fs.copyFileSync]) {
    try {
      way(from, to)
      return
    } catch (error) {
      if (way === fs.copyFileSync) throw error
    }
  }
}

/** It multiplies in the format of the file, f16 for F16. */
function commonest(weights: readonly WeightSource[]): string {
  const bytes = new Map<string, number>()
  for (const { dtype, begin, end } of weights) bytes.set(dtype, (bytes.get(dtype) ?? 0) + end - begin)
  return [...bytes].sort((a, b) => b[1] - a[1])[0][0].toLowerCase()
}

/** What makes it draw the image that the task asks for, out of the same noise. */
export function sdArguments({ help }: Pick<SdBinary, 'help'>, model: string, task: ImageTask, file: string, threads: number): string[] {
  return [
    '--model', model, '--prompt', task.prompt, '--seed', String(task.seed), '--steps', String(task.steps), '--cfg-scale', String(task.guidanceScale),
    '--width', String(task.size), '--height', String(task.size), '--sampling-method', 'euler', '--scheduler', 'discrete', '--rng', 'cpu',
    '--threads', String(threads), '--output', file,
    // So that no step waits for weights.
    ...help.includes('--eager-load') ? ['--eager-load'] : [],
  ]
}

function predictionArguments({ schedulerConfig }: Checkpoint): string[] {
  return ['--prediction', schedulerConfig.prediction_type === 'v_prediction' ? 'v' : 'eps']
}

/** How often a process' memory is looked at. */
const memoryInterval = 100

/** Runs it once. @throws AsdmError `INTERNAL`; an `AbortError` when the signal fires */
export async function makeImage(
  { file: command }: SdBinary, args: string[], task: ImageTask, file: string, signal: AbortSignal | undefined,
): Promise<PeerImage> {
  fs.rmSync(file, { force: true })
  const { text, ended, peakBytes } = await runToEnd(command, args, signal)
  throwIfAborted(signal)
  const failure = (what: string): AsdmError => {
    const last = text.replaceAll('\r', '\n').split('\n').filter(line =>
      /ERROR|WARN|rror:/.test(line) && !line.includes('text_encoder_2')).slice(-2).join(' | ')
    return new AsdmError('INTERNAL', `Expected ${sdName} to make an image but ${what}${last === '' ? '' : `: ${last}`}`)
  }
  if (ended !== 'code 0') throw failure(`it ended with ${ended}`)
  const times = parseSdOutput(text, task.steps)
  if (typeof times === 'string') throw failure(`it printed ${times}`)
  if (!fs.existsSync(file)) throw failure('it wrote none')
  return {
    image: await readImage(file), loadMs: 1000 * times.load, peakBytes,
    phases: { text: 1000 * times.text, denoise: 1000 * times.sampling, step: 1000 * times.steps.at(-1)!, decode: 1000 * times.decode },
  }
}

/** A process' whole output, how it ended, and the most memory it held: by /proc, where there is one. */
function runToEnd(
  command: string, args: string[], signal: AbortSignal | undefined,
): Promise<{ text: string, ended: string, peakBytes: number }> {
  return new Promise(resolve => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], windowsHide: true })
    let text = '', peakBytes = 0
    const look = (): void => {
      try {
        peakBytes = Math.max(
          peakBytes, 1024 * Number(/^VmHWM:\s*(\d+) kB/m.exec(fs.readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1] ?? 0),
        )
      } catch {
        // no such system, or it just ended
      }
    }
    const timer = setInterval(look, memoryInterval)
    const kill = (): void => void child.kill('SIGKILL')
    if (signal?.aborted === true) kill()
    signal?.addEventListener('abort', kill)
    const end = (ended: string): void => {
      clearInterval(timer)
      signal?.removeEventListener('abort', kill)
      resolve({ text, ended, peakBytes })
    }
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (piece: string) => { text = (text + piece).slice(-4_000_000) })
    child.once('error', error => end(error.message))
    child.once('close', (code, killed) => end(killed ?? `code ${code}`))
  })
}
