import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import path from 'node:path'
import { LoadError } from '../errors'
import type { ModelOptions } from '../options'
import type { SizedModel } from './model'

/** A row of a profile: kernel calls taken together. */
export interface ProfileRow {
  name: string
  calls: number
  ms: number
  share: number
  macs: number
  gflops: number
  bytes: number
  boundMs: number
  ofRoofline: number
}

interface Profile {
  dtype: string
  cpu: string
  threads: number
  peaks: { arithmetic: Record<string, number>, copy: { bytes: number, perSecond: number }[] }
  steps: { passMs: number, whole: ProfileRow, blocks: ProfileRow[], units: ProfileRow[], kinds: ProfileRow[] }[]
}

/** Most output that is read of the command. */
const mostBytes = 2 ** 26

/**
 * Times each unit of a guided UNet pass by the command `asdm profile`: a process of its own, which keeps its memory to itself and can be
 * stopped, since measuring the machine's peaks would hold up the server.
 * @param source what `StableDiffusion.load` takes
 * @throws LoadError; an `AbortError` when the signal fires
 */
export async function profileModel(
  source: string, { width, height, count = 1 }: SizedModel, { dtype, threads, cpu }: ModelOptions, signal: AbortSignal,
) {
  const flags = { width, height, batch: 2 * count, dtype, threads, cpu }
  const given = Object.entries(flags).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`, String(value)]))
  const { dtype: format, cpu: set, threads: used, peaks, steps } = JSON.parse(
    await asdm(['profile', '--json', '--runs', '3', `--model=${source}`, ...given], signal)) as Profile
  const [step] = steps
  const copy = peaks.copy.at(-1)
  return {
    dtype: format, cpu: set, threads: used, peakGflops: (peaks.arithmetic[format] ?? peaks.arithmetic.fp32 ?? 0) / 1e9,
    peakGBs: (copy?.perSecond ?? 0) / 1e9, passMs: step!.passMs, whole: step!.whole,
    blocks: step!.blocks, units: step!.units, kinds: step!.kinds,
  }
}

async function asdm(args: readonly string[], signal: AbortSignal): Promise<string> {
  const manifest = createRequire(__filename).resolve('asdm/package.json')
  const command = path.join(path.dirname(manifest), 'dist', 'cli', 'main.js')
  const child = spawn(process.execPath, [command, ...args], { signal, stdio: ['ignore', 'pipe', 'pipe'] })
  let text = '', said = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
    if (text.length > mostBytes) child.kill()
  })
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => { said = (said + chunk).slice(-2000) })
  const code = await new Promise<number | null>((resolve, reject) => void child.once('error', reject).once('close', resolve))
  if (code === 0) return text
  const [, message = 'The command asdm profile failed', name = 'INTERNAL'] = /^asdm: (.*?)(?: \(([A-Z_]+)\))?$/m.exec(said) ?? []
  throw new LoadError(name, message, undefined)
}
