import fs from 'node:fs'
import v8 from 'node:v8'
import vm from 'node:vm'
import { openCheckpoint, type Checkpoint } from '../model/checkpoint'
import { StableDiffusion, type LoadOptions } from '../stable-diffusion'

/** Does something, keeps no memory, gives its milliseconds. */
type Turn = () => number | Promise<number>

/**
 * Times things that need much memory, round by round, each round in the opposite order. Every turn that counts comes right after one of its
 * kind that does not, and so gets memory that the system has at hand, whatever ran before. That matters on virtual machines that give free
 * memory back to their host: to get it again can take ten times as long as to clear it. Exported for tests and scripts.
 */
export async function takeTurns<Name extends string>(turns: Readonly<Record<Name, Turn>>, rounds: number): Promise<Record<Name, number[]>> {
  const names = Object.keys(turns) as Name[]
  const times = Object.fromEntries(names.map(name => [name, [] as number[]])) as Record<Name, number[]>
  for (let round = 0; round < rounds; round++) {
    for (const name of round % 2 === 0 ? names : [...names].reverse()) {
      await turns[name]()
      times[name].push(await turns[name]())
    }
  }
  return times
}

/** The files that hold a model's weights, each once. Exported for tests and scripts. */
export function weightFiles({ unet, vae, textEncoder }: Checkpoint): string[] {
  return [...new Set([...unet.weights, ...vae.weights, ...textEncoder.weights].map(({ file }) => file))]
}

/** Bytes that one call reads at most. */
const piece = 2 ** 30

/** Buffers as small as this stay in the CPU's cache. */
const smallBytes = 2 ** 19

/**
 * Reading files whole, by one thread: `fresh` into new memory as large as they are, as `fs.readFile` does; `small` into one small buffer,
 * over and over, which keeps nothing. Exported for tests and scripts.
 */
export function readingTurns(files: readonly string[]): { fresh: Turn, small: Turn } {
  const reused = Buffer.alloc(smallBytes)
  const read = (small: Buffer | undefined): number => {
    const started = performance.now()
    const kept: Buffer[] = []
    for (const file of files) {
      const handle = fs.openSync(file, 'r')
      try {
        const { size } = fs.fstatSync(handle)
        const buffer = small ?? Buffer.allocUnsafeSlow(size)
        kept.push(buffer)
        for (let at = 0; at < size;) {
          const got = fs.readSync(handle, buffer, small === undefined ? at : 0, Math.min(size - at, small?.length ?? piece), at)
          if (got === 0) break // it was shortened
          at += got
        }
      } finally {
        fs.closeSync(handle)
      }
    }
    return performance.now() - started
  }
  const collect = garbageCollector()
  return {
    fresh: () => {
      const ms = read(undefined)
      collect()
      return ms
    },
    small: () => read(reused),
  }
}

/** Buffers give their memory back only when they are collected, and nothing but this makes V8 do that now. */
function garbageCollector(): () => void {
  v8.setFlagsFromString('--expose-gc')
  const collect = vm.runInNewContext('gc') as () => void
  return () => {
    collect()
    collect() // ends what the first began in another thread
  }
}

/** Loading a model. `use` is not timed. Exported for tests and scripts. */
export function loadingTurn(model: string, options: LoadOptions, use?: (sd: StableDiffusion) => Promise<void>): Turn {
  return async () => {
    const started = performance.now()
    const sd = await StableDiffusion.load(model, options)
    const ms = performance.now() - started
    try {
      await use?.(sd)
    } finally {
      await sd.dispose()
    }
    return ms
  }
}

/** Loading against both ways of reading, milliseconds of each round. The first turns bring the files into the system's cache. */
export async function timeLoading(
  model: string, options: LoadOptions, rounds: number,
): Promise<Record<'fresh' | 'small' | 'load', number[]>> {
  const checkpoint = await openCheckpoint(model, { variant: options.variant })
  return takeTurns({ ...readingTurns(weightFiles(checkpoint)), load: loadingTurn(model, options) }, rounds)
}
