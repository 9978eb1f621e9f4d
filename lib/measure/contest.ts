import path from 'node:path'
import { AsdmError } from '../base/errors'
import type { Tensor } from '../base/tensor'
import { Contender, type Answer, type ContenderSpec } from './contender'
import type { BenchCase, BenchCheck, BenchPart, BenchRatio, Suite } from './report'
import { measured, median, pairedRatio, relativeRms, resultLimit } from './statistics'
import { readTensors } from './tensors'

/** Long enough for a small pass to come to its pace. */
export const turnMs = 300
/** Most runs of one turn. */
export const mostRunsOfTurn = 20

interface Contest {
  suite: Suite
  part: BenchPart
  /** Ours in fp32, whose result is the reference; it takes part where `dtypes` has fp32. */
  reference: ContenderSpec
  /** Those that are compared with each other: alive at the same time, each round in another order. */
  groups: ContenderSpec[][]
  /** Another kernel set of ours in fp32, to check the reference with where no peer does. */
  second?: ContenderSpec | undefined
  /** The folder in which files lie, and the inputs' name in it. */
  work: string
  inputs: string
  /** Rounds; 0 checks results only. */
  runs: number
  /**
   * A turn is as many runs as fit into these milliseconds, at least one, and its time their median, since one run of milliseconds measures
   * the caches' state; {@link turnMs} if left out.
   */
  turnMs?: number
  signal?: AbortSignal | undefined
  onProgress: (what: string) => void
}

interface ContestResult {
  cases: BenchCase[]
  checks: BenchCheck[]
  ratios: BenchRatio[]
  notes: string[]
}

const shownName = ({ name, dtype }: ContenderSpec): string => `${name} ${dtype}`

/**
 * Runs the same inputs through all contenders: first once each, and compares the results; then those that agree in rounds, each round in
 * another order, so that neither a drift of the machine's speed nor the neighbour before favours one.
 */
export async function contest(
  { suite, part, reference, groups, second, work, inputs, runs, turnMs: turn = turnMs, signal, onProgress }: Contest,
): Promise<ContestResult> {
  const result: ContestResult = { cases: [], checks: [], ratios: [], notes: [] }
  const output = (spec: ContenderSpec): string => `${part}-${spec.name}-${spec.dtype}.safetensors`.replaceAll(' ', '-')
  const read = async (spec: ContenderSpec): Promise<Tensor> => (await readTensors(path.join(work, output(spec)))).sample!
  const open = async (spec: ContenderSpec): Promise<Entrant> => {
    onProgress(`${part}: ${shownName(spec)} loads`)
    const contender = new Contender(spec, work, signal)
    try {
      const load = await contender.ask('load')
      onProgress(`${part}: ${shownName(spec)} runs once`)
      return { contender, spec, load, first: await contender.ask(`run ${inputs} ${output(spec)}`) }
    } catch (error) {
      await contender.quit()
      throw error
    }
  }
  const check = async (spec: ContenderSpec, against: ContenderSpec): Promise<boolean> => {
    const difference = relativeRms((await read(spec)).data, (await read(against)).data)
    const limit = resultLimit(spec.dtype)
    const ok = difference <= limit // false for NaN
    result.checks.push({ name: `${part} ${shownName(spec)}`, against: shownName(against), difference, limit, ok })
    return ok
  }

  // Not timed where fp32 was not asked for.
  let first: Entrant | undefined = await open(reference)
  const timedHere = groups.findIndex(group => group.includes(reference))
  if (timedHere === -1) [first] = [await first.contender.quit().then(() => undefined)]
  let agreed = !groups.flat().some(spec => !spec.ours && spec.dtype === 'fp32') && second === undefined
  for (const [g, group] of groups.entries()) {
    const entrants: Entrant[] = []
    try {
      for (const spec of group) {
        if (spec === reference) {
          entrants.push(first!)
          continue
        }
        try {
          const entrant = await open(spec)
          entrants.push(entrant)
          const ok = await check(spec, reference)
          if (ok && !spec.ours && spec.dtype === 'fp32') agreed = true
          if (!ok) {
            result.notes.push(
              `${part}: the result of ${shownName(spec)} differs from ours in fp32 by more than allowed, so it was not timed.`,
            )
            entrants.pop()
            await entrant.contender.quit()
          }
        } catch (error) {
          // A peer that fails is no failure of ours: it is said, and the others go on.
          if (spec.ours || !(error instanceof AsdmError) || error.code !== 'INTERNAL') throw error
          result.notes.push(`${part}: ${shownName(spec)} failed: ${error.message}`)
        }
      }
      if (!agreed && second !== undefined && group.includes(reference)) {
        const other = await open(second)
        await other.contender.quit()
        agreed = await check(second, reference)
      }
      await rounds(entrants)
    } finally {
      for (const { contender } of entrants) await contender.quit()
      if (g === timedHere) first = undefined
    }
  }
  await first?.contender.quit()
  return result

  async function rounds(entrants: Entrant[]): Promise<void> {
    const racing = entrants.map(entrant => ({ ...entrant, last: entrant.first, times: [] as number[] }))
    for (let round = 0; round < runs; round++) {
      // 0 1 2, 2 1 0, 0 1 2, …
      for (const racer of round % 2 === 0 ? racing : [...racing].reverse()) {
        const { contender, spec, times } = racer
        onProgress(`${part}: ${shownName(spec)}, round ${round + 1} of ${runs}`)
        const taken: number[] = []
        do {
          racer.last = await contender.ask(`run ${inputs} ${output(spec)}`)
          taken.push(racer.last.ms)
        } while (taken.length < mostRunsOfTurn && taken.reduce((sum, ms) => sum + ms, 0) < turn)
        times.push(median(taken))
      }
    }
    if (runs === 0) return
    // Ours say how much arithmetic it is.
    const macs = Math.max(0, ...racing.map(({ last }) => Number(last.macs ?? 0)))
    for (const { spec, load, last, times } of racing)
      result.cases.push({
        suite, name: part, contender: spec.name, ...(typeof last.version === 'string' && { version: last.version }), dtype: spec.dtype,
        ours: spec.ours, ms: measured(times), macs, peakBytes: last.peakBytes, loadMs: load.ms,
      })
    for (const our of racing.filter(({ spec }) => spec.ours))
      for (const their of racing.filter(({ spec }) => !spec.ours))
        result.ratios.push({ name: `${part} ${our.spec.dtype} / ${shownName(their.spec)}`, value: pairedRatio(our.times, their.times) })
  }
}

interface Entrant { contender: Contender, spec: ContenderSpec, load: Answer, first: Answer }
