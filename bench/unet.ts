/**
 * One UNet call, ours against PyTorch's CPU build, fp32, on the same threads in the same run.
 *
 *   npm run bench:unet -- [--shape sd15] [--size 64] [--runs 3] [--threads 2] [--python python3] [--channels-last]
 *
 * Each contender is a process of its own; calls alternate, so that a drift of the machine's speed meets both. The two outputs are
 * compared before any time is reported.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import readline from 'node:readline'
import { parseArgs } from 'node:util'
import { writeSafetensors } from '../lib/assembly/safetensors'
import { loadAddon } from '../lib/native/load'
import { randomModel } from '../lib/bench/random-model'
import { shapes } from '../lib/bench/shapes'

interface Answer { ms: number, peakBytes: number, version: string, threads: number, cpu?: string, arenaBytes?: number, weightBytes?: number }

/** A process that answers each command line with a line of JSON. */
class Contender {
  private readonly lines: AsyncIterator<string>
  private readonly child: ChildProcess

  constructor(readonly name: string, command: string, args: string[]) {
    this.child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    this.lines = readline.createInterface({ input: this.child.stdout! })[Symbol.asyncIterator]()
  }

  async ask(command: string): Promise<Answer> {
    this.child.stdin!.write(`${command}\n`)
    const { value, done } = await this.lines.next()
    if (done === true) throw new Error(`${this.name} ended before it answered "${command}"`)
    return JSON.parse(value)
  }

  quit(): void {
    this.child.stdin!.end('quit\n')
  }
}

const median = (values: number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]

function readFloats(file: string, name: string): Float32Array {
  const bytes = fs.readFileSync(file)
  const length = Number(bytes.readBigUInt64LE(0))
  const [begin, end] = JSON.parse(bytes.subarray(8, 8 + length).toString())[name].data_offsets
  return new Float32Array(new Uint8Array(bytes.subarray(8 + length + begin, 8 + length + end)).buffer)
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      shape: { type: 'string', default: 'sd15' }, size: { type: 'string', default: '64' }, runs: { type: 'string', default: '3' },
      threads: { type: 'string', default: String(os.availableParallelism()) }, python: { type: 'string', default: 'python3' },
      'channels-last': { type: 'boolean', default: false }, 'only-ours': { type: 'boolean', default: false },
    },
  })
  const root = path.dirname(require.resolve('../../../package.json'))
  const work = path.join(root, 'build', 'bench')
  fs.mkdirSync(work, { recursive: true })
  const model = await randomModel(values.shape, path.join(work, values.shape))
  const size = Number(values.size), runs = Number(values.runs)
  const width = Number(shapes[values.shape].unet.cross_attention_dim)
  const random = (count: number, seed: number) => {
    let state = seed
    const uniform = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 4294967296
    return Float32Array.from({ length: count }, () => (uniform() + uniform() + uniform() + uniform() - 2) * 1.732)
  }
  const inputs = path.join(work, 'unet-inputs.safetensors')
  const bytesOf = (data: Float32Array) => new Uint8Array(data.buffer)
  await writeSafetensors(inputs, [
    { name: 'sample', dtype: 'F32', shape: [2, 4, size, size], data: bytesOf(random(8 * size * size, 1)) },
    { name: 'timesteps', dtype: 'F32', shape: [2], data: bytesOf(Float32Array.of(601, 601)) },
    { name: 'encoder_hidden_states', dtype: 'F32', shape: [2, 77, width], data: bytesOf(random(2 * 77 * width, 2)) },
  ])
  const unet = path.join(model, 'unet')
  const ours = new Contender('asdm', process.execPath, [path.join(__dirname, 'unet-worker.js'), unet, values.threads])
  const contenders = [ours]
  if (!values['only-ours'])
    contenders.push(new Contender('PyTorch', values.python, [path.join(root, 'bench', 'peers', 'torch_unet.py'), unet, '--threads', values.threads, ...(values['channels-last'] ? ['--channels-last'] : [])]))
  try {
    const loads: Answer[] = []
    for (const contender of contenders) loads.push(await contender.ask('load'))
    const out = (contender: Contender) => path.join(work, `unet-${contender.name}.safetensors`)
    for (const contender of contenders) await contender.ask(`run ${inputs} ${out(contender)}`)  // warm-up, and the result to check
    if (contenders.length === 2) {
      const [a, b] = contenders.map(contender => readFloats(out(contender), 'sample'))
      let square = 0, reference = 0, worst = 0
      a.forEach((value, i) => {
        square += (value - b[i]) ** 2
        reference += b[i] ** 2
        worst = Math.max(worst, Math.abs(value - b[i]))
      })
      const relative = Math.sqrt(square / reference)
      console.log(`outputs: relative RMS difference ${relative.toExponential(2)}, largest ${worst.toExponential(2)}`)
      if (!(relative < 1e-4)) throw new Error('the outputs differ: nothing to time')
    }
    const times = contenders.map(() => [] as number[])
    let last: Answer[] = []
    for (let run = 0; run < runs; run++) {
      last = []
      for (const [i, contender] of contenders.entries()) {
        const answer = await contender.ask(`run ${inputs} ${out(contender)}`)
        times[i].push(answer.ms)
        last.push(answer)
      }
    }
    console.log(`${values.shape} UNet, batch 2, ${size}x${size} latents, fp32, ${values.threads} threads, ${loadAddon().cpuInfo().brand}`)
    contenders.forEach((contender, i) => {
      const { version, cpu, peakBytes, weightBytes } = last[i]
      console.log(`${contender.name} ${version}${cpu ? ` (${cpu})` : ''}: load ${(loads[i].ms / 1000).toFixed(2)} s, call ${(median(times[i]) / 1000).toFixed(3)} s `
        + `[${(Math.min(...times[i]) / 1000).toFixed(3)}, ${(Math.max(...times[i]) / 1000).toFixed(3)}], peak ${(peakBytes / 2 ** 30).toFixed(2)} GiB`
        + (weightBytes ? `, of it weights ${(weightBytes / 2 ** 30).toFixed(2)} GiB` : ''))
    })
    if (contenders.length === 2) console.log(`ratio asdm / PyTorch: ${(median(times[0]) / median(times[1])).toFixed(3)} (median of ${runs}, alternating)`)
  } finally {
    for (const contender of contenders) contender.quit()
  }
}

void main()
