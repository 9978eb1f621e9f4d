import { AsdmError } from '../base/errors'
import { Slices } from '../base/slices'
import { tileSliced, type Tensor } from '../base/tensor'
import type { Conditioning } from '../components/conditioning'
import type { UNet, UNetRun } from '../components/unet'
import type { InheritedFeature, RunInfo, RunMap, RunStep } from '../native/binding'
import { guide } from '../samplers/guidance'
import type { ExpandedStep } from './expand'
import { gridOf, type GridRow } from './grid'
import { mapEdges, type MapEdge } from './maps'
import { mainUNet, type Plan } from './plan'
import type { PlanReport, RunStatistics } from './report'

interface Shape { images: number, height: number, width: number, length: number, guided: boolean }

/** Steps without a plan: the main UNet in full at each. */
export function plainSteps(count: number): ExpandedStep[] {
  return Array.from({ length: count }, () => ({ unet: mainUNet, inherit: [], guidance: 'full' as const }))
}

/** The UNet's part of a request: runs each step as the plan says and keeps its features and guidance directions. */
export class PlannedRun {
  readonly report: PlanReport
  readonly #steps: readonly ExpandedStep[]
  readonly #run: UNetRun
  readonly #guided: boolean
  /** Of a full pass of the main UNet, and of its text's keys and values. */
  readonly #fullMacs: number
  readonly #fullTextMacs: number
  /** Steps that begin with a probe, and for each UNet the rules that its probes belong to. */
  readonly #probed: readonly boolean[]
  readonly #rules: ReadonlyMap<string, readonly number[]>
  /** Of adaptive rules: steps in a row that inherited. */
  readonly #inRow = new Map<number, number>()
  readonly #chosen: number[] = []
  readonly #stepMs: number[] = []
  #direction: Float32Array | undefined

  private constructor(
    run: UNetRun, steps: readonly ExpandedStep[], guided: boolean, main: { fullMacs: number, textMacs: number },
    rules: ReadonlyMap<string, readonly number[]>,
  ) {
    this.#run = run
    this.#steps = steps
    this.#guided = guided
    this.#fullMacs = main.fullMacs
    this.#fullTextMacs = main.textMacs
    this.#rules = rules
    this.#probed = probedSteps(steps)
    const { constants, keptBytes } = run.info
    const least = this.#count(greedy(steps))
    const textBytes = constants.reduce((sum, { bytes }) => sum + bytes, 0)
    this.report = {
      ...this.#count(steps.map(() => 0)), keptBytes, textBytes,
      ...(rules.size > 0 && { least: { macs: least.macs, share: least.share, stepShares: least.stepShares } }),
    }
  }

  /**
   * Compiles the steps.
   * @param shape latents, text tokens, and whether the batch has an unconditional half
   * @param plan where the steps come from: its maps, whether features are extrapolated, and whether it is one of rules, which inherit
   * only what an earlier step computed
   * @throws AsdmError `INVALID_ARGUMENT` where a listed step inherits what no earlier step computed, or a map joins what does not fit,
   * `SHAPE_MISMATCH`, `OUT_OF_MEMORY`; an `AbortError` when the signal fires
   */
  static async compile(
    unets: Readonly<Record<string, UNet>>, steps: readonly ExpandedStep[], { images, guided, ...size }: Shape,
    plan?: Plan, signal?: AbortSignal,
  ): Promise<PlannedRun> {
    const { maps = [], extrapolate = 0 } = plan ?? {}
    const shape = { batch: guided ? 2 * images : images, ...size }
    const names = [...new Set(steps.map(({ unet }) => unet))]
    const adaptive = adaptiveRules(steps)
    const rules = new Map([...adaptive].map(([unet, found]) => [unet, [...found.keys()]]))
    const probed = probedSteps(steps)
    const number = (unet: string): number => names.indexOf(unet)
    const native = steps.map(({ unet, inherit, guidance, choices }, i): RunStep => ({
      unet: number(unet), inherit, conditionalOnly: guidance !== 'full', probe: probed[i]!, ...(choices !== undefined && {
        choices: choices.map(choice => choice.inherit),
      }),
    }))
    const probes = names.map(unet =>
      [...(adaptive.get(unet)?.values() ?? [])].map((prefix): InheritedFeature => ({ prefix, feature: 'output' })))
    const [joined, idle] = partition(mapEdges(maps), ({ from, to }) => names.includes(from.unet) && names.includes(to.unet))
    for (const edge of idle) await checkMap(unets, edge, shape, signal)
    const [first, ...others] = names.map(name => unets[name]!)
    const run = await first!.createRun(shape, native, {
      probes, extrapolate, maps: joined.map(edge => runMap(edge, number)), computeMissing: plan !== undefined && 'rules' in plan,
    }, others, { signal })
    try {
      const [info, index] = names.includes(mainUNet) ? [run.info, number(mainUNet)] : [await infoOf(unets[mainUNet]!, shape, signal), 0]
      return new PlannedRun(run, steps, guided, { fullMacs: info.fullMacs[index]!, textMacs: info.constants[index]!.fullMacs }, rules)
    } catch (error) {
      run.dispose()
      throw error
    }
  }

  /**
   * What all steps are conditioned by.
   * @param conditioning of 2N samples, the unconditional half first, or of N without guidance
   */
  condition(conditioning: Conditioning, signal: AbortSignal): Promise<void> {
    return this.#run.condition(conditioning, { signal })
  }

  /** What each block does at each step. */
  grid(): GridRow[] {
    return gridOf(this.#run.info)
  }

  /** @param chosen for each step the choices that are inherited, as bits */
  #count(chosen: readonly number[]): Pick<PlanReport, 'macs' | 'fullMacs' | 'share' | 'stepShares' | 'textMacs'> {
    const { steps, constants } = this.#run.info
    const macs = steps.map(({ variants }, i) => variants[chosen[i]!]!.macs)
    const textMacs = constants.reduce((total, each) => total + each.macs, 0)
    const [sum, full] = [macs.reduce((total, each) => total + each, textMacs), this.#fullMacs * macs.length + this.#fullTextMacs]
    return { macs: sum, fullMacs: full, share: sum / full, stepShares: macs.map(each => each / this.#fullMacs), textMacs }
  }

  /**
   * The guided prediction of one step; steps come in order, each once, after {@link condition}.
   * @param sample [N,C,H,W]
   * @returns [N,C,H,W]
   */
  async step(i: number, sample: Tensor, timestep: number, scale: number, signal: AbortSignal): Promise<Tensor> {
    const { guidance } = this.#steps[i]!
    const begin = performance.now()
    const half = this.#guided && guidance !== 'full'
    const inputs = { sample: this.#guided && !half ? await tileSliced(sample, 2, new Slices(signal)) : sample, timestep, signal }
    this.#chosen[i] = this.#probed[i] ? await this.#choose(i, renew => this.#run.probe(i, renew, inputs)) : 0
    const predicted = await this.#run.forward(i, inputs, this.#chosen[i])
    this.#stepMs.push(performance.now() - begin)
    if (!this.#guided) return predicted
    if (!half) {
      if (this.#steps.some(step => step.guidance === 'inherit')) this.#direction = directionOf(predicted)
      return guide(predicted, scale)
    }
    if (guidance === 'conditional') return predicted
    if (this.#direction === undefined) throw new AsdmError('INTERNAL', `Expected a guided step before step ${i}`)
    return alongDirection(predicted, this.#direction, scale)
  }

  /** Which choices of a step are inherited, as bits. */
  async #choose(i: number, probe: (renew: number[]) => Promise<number[]>): Promise<number> {
    const { unet, choices = [] } = this.#steps[i]!
    const rules = this.#rules.get(unet) ?? []
    const before = this.#steps.findLastIndex((step, k) => k < i && step.unet === unet)
    // Rules whose last step was full measure by that one from now on.
    const changes = await probe(before < 0 ? [] : rules.flatMap((rule, number) => ((this.#inRow.get(rule) ?? 0) === 0 ? [number] : [])))
    let chosen = 0
    choices.forEach(({ rule, threshold, most }, bit) => {
      if (changes[rules.indexOf(rule)]! <= threshold && (this.#inRow.get(rule) ?? 0) < most) chosen += 2 ** bit
    })
    for (const rule of rules) {
      const bit = choices.findIndex(choice => choice.rule === rule)
      this.#inRow.set(rule, bit >= 0 && (chosen >> bit) % 2 === 1 ? (this.#inRow.get(rule) ?? 0) + 1 : 0)
    }
    return chosen
  }

  /** To be asked for after the last step. */
  statistics(): RunStatistics {
    const counts = this.#count(this.#chosen)
    const { steps } = this.#run.info
    const isFull = (i: number): boolean =>
      this.#steps[i]!.unet === mainUNet && steps[i]!.variants[this.#chosen[i]!]!.macs === this.#fullMacs
    const fullMs = this.#stepMs.filter((_, i) => isFull(i))
    const counted = fullMs.length > 1 && isFull(0) ? fullMs.slice(1) : fullMs
    const total = this.#stepMs.reduce((sum, ms) => sum + ms, 0)
    const median = [...counted].sort((a, b) => a - b)[counted.length >> 1]
    return {
      ...this.report, ...counts, stepMs: [...this.#stepMs],
      ...(this.report.least !== undefined && {
        inheriting: this.#steps.map(({ choices = [] }, i) =>
          choices.flatMap(({ rule }, bit) => ((this.#chosen[i]! >> bit) % 2 === 1 ? [rule] : []))),
      }),
      speedUp: {
        counted: counts.fullMacs / counts.macs,
        measured: median === undefined || total === 0 ? undefined : (median * this.#stepMs.length) / total,
      },
    }
  }

  /** Frees the features. Twice is fine. */
  dispose(): void {
    this.#run.dispose()
    this.#direction = undefined
  }
}

function partition<Item>(items: readonly Item[], test: (item: Item) => boolean): [yes: Item[], no: Item[]] {
  return [items.filter(test), items.filter(item => !test(item))]
}

function runMap({ map, from, to }: MapEdge, number: (unet: string) => number): RunMap {
  return { from: { ...from, unet: number(from.unet) }, to: { ...to, unet: number(to.unet) }, number: map }
}

/** A map must fit also where one of its UNets happens not to run, or it would fail with another number of steps. */
async function checkMap(
  unets: Readonly<Record<string, UNet>>, edge: MapEdge, shape: Parameters<UNet['createRun']>[0], signal: AbortSignal | undefined,
): Promise<void> {
  const maps = [runMap(edge, unet => (unet === edge.from.unet ? 0 : 1))]
  const steps = [{ inherit: [], conditionalOnly: false }]
  const run = await unets[edge.from.unet]!.createRun(shape, steps, { maps }, [unets[edge.to.unet]!], { signal })
  run.dispose()
}

/** What a full pass of a UNet costs that no step runs. */
async function infoOf(unet: UNet, shape: Parameters<UNet['createRun']>[0], signal: AbortSignal | undefined): Promise<RunInfo> {
  const run = await unet.createRun(shape, [{ inherit: [], conditionalOnly: false }], {}, [], { signal })
  run.dispose()
  return run.info
}

/** Does each step begin with a probe? It does as long as choices of its UNet are to come. */
function probedSteps(steps: readonly ExpandedStep[]): boolean[] {
  return steps.map(({ unet }, i) => steps.slice(i).some(step => step.unet === unet && step.choices !== undefined))
}

/** For each UNet with adaptive rules: their numbers, and what each measures. */
function adaptiveRules(steps: readonly ExpandedStep[]): Map<string, Map<number, string>> {
  const all = new Map<string, Map<number, string>>()
  for (const { unet, choices = [] } of steps) for (const { rule, probe } of choices) {
    const rules = all.get(unet) ?? new Map<number, string>()
    all.set(unet, rules.set(rule, probe))
  }
  return all
}

/** The choices where every rule inherits whenever it may, as bits. */
function greedy(steps: readonly ExpandedStep[]): number[] {
  const inRow = new Map<number, number>()
  const rulesOf = adaptiveRules(steps)
  return steps.map(({ unet, choices = [] }) => {
    let chosen = 0
    for (const rule of rulesOf.get(unet)?.keys() ?? []) {
      const choice = choices.find(each => each.rule === rule)
      const inherits = choice !== undefined && (inRow.get(rule) ?? 0) < choice.most
      if (inherits) chosen += 2 ** choices.indexOf(choice)
      inRow.set(rule, inherits ? (inRow.get(rule) ?? 0) + 1 : 0)
    }
    return chosen
  })
}

/** Conditional minus unconditional output. */
function directionOf({ data }: Tensor): Float32Array {
  const half = data.length / 2
  return Float32Array.from({ length: half }, (_, i) => data[half + i]! - data[i]!)
}

/** What `guide` gives for the direction, solved for the conditional output: cond + (scale - 1) * direction. */
function alongDirection({ data, shape }: Tensor, direction: Float32Array, scale: number): Tensor {
  const factor = Math.fround(scale - 1)
  return { data: data.map((value, i) => value + Math.fround(factor * direction[i]!)), shape }
}
