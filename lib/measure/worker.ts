/**
 * Our side of a benchmark: one process per case, driven by lines on its input (see contender.ts). Argument: {@link WorkerTask} as JSON.
 */
import readline from 'node:readline'
import { AsdmError } from '../base/errors'
import type { DType, RuntimeOptions } from '../components/options'
import { TextEncoder } from '../components/text-encoder'
import { UNet } from '../components/unet'
import { VAE } from '../components/vae'
import { evaluate, type Evaluation } from '../eval/evaluate'
import { openCheckpoint } from '../model/checkpoint'
import type { CallRow, ForwardInputs } from '../native/binding'
import { loadAddon } from '../native/load'
import type { Step } from '../progress'
import { StableDiffusion } from '../stable-diffusion'
import { mostRunsOfTurn, turnMs } from './contest'
import { timeLoading } from './loading'
import type { ImageTask } from './images'
import { timePlanOf } from './plan-speed'
import type { BenchPhases } from './report'
import { measurePeaks } from './roofline'
import { median } from './statistics'
import { readTensors, writeTensors } from './tensors'

/** What a worker is for. */
export interface WorkerTask {
  part: 'unet' | 'vae-decoder' | 'text-encoder' | 'pipeline' | 'machine'
  /** The model's folder. */
  model: string
  dtype: DType
  threads: number
  cpu: string
  /** What a pipeline makes. */
  image?: ImageTask
}

const task = JSON.parse(process.argv[2]!) as WorkerTask
const runtime: RuntimeOptions = { dtype: task.dtype, threads: task.threads, cpu: task.cpu }

type Extra = Record<string, unknown>
/** A command's time, and what else it has to say. */
type Reply = { ms: number } & Extra

/** One part by itself. */
class PartWorker {
  #component!: UNet | VAE | TextEncoder

  async load(): Promise<Reply> {
    const checkpoint = await openCheckpoint(task.model)
    const start = performance.now()
    const addon = loadAddon()
    const native = { dtype: task.dtype, threads: task.threads, cpu: task.cpu }
    this.#component = task.part === 'unet'
      ? new UNet(addon, checkpoint.unet, native)
      : task.part === 'text-encoder'
        ? new TextEncoder(addon, checkpoint.textEncoder, native)
        : new VAE(addon, checkpoint.vae, native)
    await this.#component.loadWeights({ onWarning: () => {} })
    return { ms: performance.now() - start, cpu: this.#part.cpu }
  }

  get #part() {
    return this.#component instanceof VAE ? this.#component.decoderPart : this.#component.part
  }

  async #inputs(file: string): Promise<ForwardInputs> {
    const { ids, ...values } = await readTensors(file)
    return { values: ids === undefined ? values : { ids: { data: Int32Array.from(ids.data), shape: ids.shape } } }
  }

  async run(from: string, to: string): Promise<Reply> {
    const inputs = await this.#inputs(from)
    const start = performance.now()
    const { sample } = await this.#part.forward(inputs, undefined)
    const ms = performance.now() - start
    await writeTensors(to, { sample })
    return { ms, ...this.#count(inputs) }
  }

  #count({ values: { sample, ids, encoder_hidden_states: text } }: ForwardInputs): Extra {
    const [batch, , height, width] = (sample ?? ids)!.shape
    const length = (text ?? ids)?.shape[1]
    const shape = { batch: batch!, ...(sample && { height: height!, width: width! }), ...(length !== undefined && { length }) }
    const { macs, arenaBytes } = this.#part.describe(shape)
    return { macs, arenaBytes }
  }

  async profile(from: string, runs: number): Promise<Reply> {
    const inputs: ForwardInputs = { ...await this.#inputs(from), profile: true }
    await this.#part.forward(inputs, undefined)
    const passes: CallRow[][] = [], times: number[] = []
    for (let run = 0; run < runs || (run < mostRunsOfTurn && times.reduce((a, b) => a + b, 0) < turnMs); run++) {
      const start = performance.now()
      passes.push((await this.#part.forward(inputs, undefined)).calls)
      times.push(performance.now() - start)
    }
    return { ms: median(times), times, passes, cpu: this.#part.cpu, names: this.#part.tapNames() }
  }

  async plan(plan: string, steps: number, runs: number): Promise<Reply> {
    const checkpoint = await openCheckpoint(task.model)
    return { ms: 0, ...await timePlanOf(this.#component as UNet, checkpoint, plan, { steps, runs }) }
  }
}

/** A whole model. */
class PipelineWorker {
  #model!: StableDiffusion
  #full: Evaluation | undefined

  async load(): Promise<Reply> {
    const start = performance.now()
    this.#model = await StableDiffusion.load(task.model, runtime)
    this.#model.on('warning', () => {})
    return { ms: performance.now() - start, cpu: this.#model.unet.part.cpu }
  }

  /** Loads the model over and over, against reading its files; for a process that does nothing else. */
  async loading(rounds: number): Promise<Reply> {
    const times = await timeLoading(task.model, runtime, rounds)
    return { ms: median(times.load), times }
  }

  /** The image that the task asks for, into a file, and how long each phase took. */
  async generate(file: string): Promise<Reply> {
    const { size, ...options } = task.image!
    const phases: BenchPhases = { text: 0, denoise: 0, step: 0, decode: 0 }
    const onProgress = (step: Step): void => {
      if (step.phase === 'text' || step.phase === 'denoise' || step.phase === 'decode') phases[step.phase] += step.ms
    }
    const start = performance.now()
    const image = (await this.#model.generate({ ...options, width: size, height: size, onProgress }))[0]!
    const ms = performance.now() - start
    phases.step = phases.denoise / options.steps
    await image.save(file)
    // Enough to tell whether another run gives the same image.
    let hash = 0
    for (const value of image.rgba) hash = (Math.imul(hash, 31) + value) >>> 0
    // The model caches recent text features. Others encode them for each image, so that counts here, too.
    const { tokenizer, textEncoder } = this.#model
    const before = performance.now()
    await textEncoder.encode(['', options.prompt].map(text => tokenizer.encodeWithDetails(text).ids))
    const text = performance.now() - before
    return { ms: ms - phases.text + text, phases: { ...phases, text }, hash }
  }

  /** How near a plan's images are to the full run's. */
  async quality(plan: string, steps: number, count: number): Promise<Reply> {
    const start = performance.now()
    const options = { steps, count, guidanceScale: 3 }
    this.#full ??= await evaluate(this.#model, options)
    const { report } = await evaluate(this.#model, { ...options, plan, reference: this.#full })
    const likeness = report.sets.prompts!.likeness!
    return { ms: performance.now() - start, psnr: likeness.psnr.mean, ssim: likeness.ssim.mean }
  }
}

async function main(): Promise<void> {
  const part = new PartWorker()
  const pipeline = new PipelineWorker()
  const answer = async (line: string): Promise<Reply> => {
    const [command = '', ...args] = line.split(' ')
    const [file = ''] = args
    switch (`${task.part === 'pipeline' ? 'pipeline' : 'part'} ${command}`) {
      case 'part load': return part.load()
      case 'part run': return part.run(file, args[1] ?? '')
      case 'part profile': return part.profile(file, Number(args[1]))
      case 'part plan': return part.plan(file, Number(args[1]), Number(args[2]))
      case 'part peaks': return { ms: 0, peaks: measurePeaks(loadAddon(), task.threads, task.cpu) }
      case 'pipeline load': return pipeline.load()
      case 'pipeline loading': return pipeline.loading(Number(args[0]))
      case 'pipeline generate': return pipeline.generate(file)
      case 'pipeline quality': return pipeline.quality(file, Number(args[1]), Number(args[2]))
    }
    throw new AsdmError('INTERNAL', `Expected a command of a benchmark but received ${command}`)
  }
  for await (const line of readline.createInterface({ input: process.stdin })) {
    if (line === 'quit') break
    const reply = await answer(line)
    process.stdout.write(`${JSON.stringify({ ...reply, peakBytes: process.resourceUsage().maxRSS * 1024 })}\n`)
  }
  process.exit(0)
}

main().catch((error: unknown) => {
  process.stderr.write(`${String((error as Error | undefined)?.message ?? error)}\n`)
  process.exit(1)
})
