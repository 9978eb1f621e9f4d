import { createHash, randomInt } from 'node:crypto'
import type { StableDiffusion, Step } from 'asdm'
import type { JobRequest } from '../jobs/job'
import type { NamedLora } from '../models/store'
import type { ResultStore } from '../results/store'
import { decodeRound, encodeRound } from './codec'

/** One image that is to be made: JSON. */
export interface Task {
  model: string
  loras: readonly NamedLora[]
  /** A round as `encodeRound` writes it, with its seed and the number of the image. */
  round: unknown
}

/** Who makes a task's image: the same bits come of the same task only where all of it is alike. */
export interface Maker {
  /** Hash of the model's files. */
  model: string
  /** Hashes of the files of the task's LoRAs. */
  loras: readonly string[]
  /** Kind of machine. */
  kind: string
}

/** A request whose seeds are known, so that whoever carries it out again gets the same images. */
export function withSeeds(request: JobRequest): JobRequest {
  const fixed = (seed: number | bigint): number | bigint => seed === -1 || seed === -1n ? randomInt(2 ** 32) : seed
  const rounds = request.rounds.map(round => {
    const seed = round.seed ?? -1
    return { ...round, seed: typeof seed === 'object' ? seed.map(fixed) : fixed(seed) }
  })
  return { ...request, rounds }
}

/** The tasks of a request, a list for each round. */
export async function tasksOf({ model = '', loras, rounds }: JobRequest, store: ResultStore): Promise<Task[][]> {
  return Promise.all(rounds.map(async round => {
    const count = round.index !== undefined ? 1 : (typeof round.prompt === 'string' ? 1 : round.prompt.length) * (round.count ?? 1)
    const encoded = await encodeRound(round, store) as object
    return Array.from({ length: count }, (_, index) => ({ model, loras, round: count === 1 ? encoded : { ...encoded, index } }))
  }))
}

/** The name of a task's image among the results: the same for the same request, model and kind of machine. */
export function resultOf({ loras, round }: Task, maker: Maker): string {
  const what = [maker.model, maker.kind, loras.map(({ weight }, i) => [maker.loras[i], weight]), sorted(round)]
  return `${createHash('sha256').update(JSON.stringify(what)).digest('hex')}.png`
}

/** Makes a task's image, as a PNG. */
export async function make(
  { round }: Task, sd: StableDiffusion, store: ResultStore,
  options: { signal: AbortSignal, preview: boolean, onProgress(step: Step): void },
): Promise<Buffer> {
  const read = await decodeRound(round, store)
  const side = sd.sizes.default
  const [image] = await sd.generate({ ...read, width: read.width ?? side, height: read.height ?? side, ...options })
  return image!.png()
}

/** Keys in one order, whatever way the JSON has gone. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1).map(([key, each]) => [key, sorted(each)]))
}
