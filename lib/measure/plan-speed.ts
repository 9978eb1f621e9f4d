import { AsdmError } from '../base/errors'
import type { Tensor } from '../base/tensor'
import { guidanceEmbedding, type Conditioning } from '../components/conditioning'
import type { UNet } from '../components/unet'
import type { Checkpoint } from '../model/checkpoint'
import type { RunInfo } from '../native/binding'
import { expandPlan } from '../plan/expand'
import { unetFacts } from '../plan/names'
import { mainUNet } from '../plan/plan'
import { resolvePlan, type PlanSource } from '../plan/source'
import { TorchGenerator } from '../random/torch-generator'
import { createSampler } from '../samplers'
import { median } from './statistics'

/** How much faster a plan makes the UNet's part of a request, measured kind of step by kind of step. */
interface PlanSpeed {
  /** Time of the full run over that of the plan's. */
  speedUp: number
  /** The same by multiply-accumulates: what kernels that are equally fast everywhere would give. */
  counted: number
  /** Time of a full pass. */
  fullMs: number
  /** Time of each step. */
  stepMs: number[]
  keptBytes: number
}

/** The request that is timed: one image with guidance. */
interface PlanSpeedRequest {
  /** Height and width in latent pixels. */
  size: number
  /** The text's length in tokens. */
  length: number
  steps: number
  /** Whether the sampler draws noise between steps, by which presets choose; what a plan saves does not depend on it. */
  stochastic: boolean
}

const half = ({ data, shape }: Tensor): Tensor => ({ data: data.slice(data.length / 2), shape: [shape[0]! / 2, ...shape.slice(1)] })

/** What a step runs when no adaptive rule inherits. */
const passOf = ({ variants }: RunInfo['steps'][number]) => variants[0]!

async function timed(call: () => Promise<Tensor>): Promise<{ result: Tensor, ms: number }> {
  const start = performance.now()
  return { result: await call(), ms: performance.now() - start }
}

/**
 * A plan has few distinct passes (a full one that keeps features, one that inherits them) and all steps of one kind do the same work: each
 * kind is timed `runs` times, in turn with a full pass that keeps nothing, and the run's time is the sum of medians. A run's first pass,
 * which also computes what depends on the text alone, is not timed where another of its kind comes. Each kind's result is compared with the
 * full pass's on the same input, bit for bit. What adaptive rules would decide while they run is full. Exported for tests and scripts.
 * @throws AsdmError `INVALID_ARGUMENT` for a plan that does not fit; `INTERNAL` where results differ
 */
export async function timePlan(
  unet: UNet, plan: PlanSource, { size, length, steps, stochastic }: PlanSpeedRequest, runs: number,
): Promise<PlanSpeed> {
  const context = { unets: { [mainUNet]: unetFacts(unet.config, unet.tapNames()) }, steps, stochastic }
  const resolved = resolvePlan(plan, context)
  const expanded = expandPlan(resolved, steps, true).map(({ inherit, guidance }) => ({ inherit, conditionalOnly: guidance !== 'full' }))
  const shape = { batch: 2, height: size, width: size, length }
  const random = new TorchGenerator(1)
  const { inChannels, crossAttentionDim, timeCondDim } = unet.config
  const sample = random.randn([2, inChannels, size, size])
  const conditioning: Conditioning = {
    encoderHiddenStates: random.randn([2, length, crossAttentionDim]),
    ...(timeCondDim !== undefined && { timestepCond: guidanceEmbedding(7.5, timeCondDim, 2) }),
  }
  const inputs = { sample, timestep: 501 }
  const halves = { sample: half(sample), timestep: 501 }
  const plain = await unet.createRun(shape, Array.from({ length: runs + 1 }, () => ({ inherit: [], conditionalOnly: false })))
  try {
    return await compare()
  } finally {
    plain.dispose()
  }

  async function compare(): Promise<PlanSpeed> {
    await plain.condition(conditioning)
    const full = await plain.forward(0, inputs)
    const times: number[] = []
    const kinds = new Map<number, number[]>()
    let info: RunInfo | undefined
    for (let round = 0; round < runs; round++) {
      times.push((await timed(() => plain.forward(round + 1, inputs))).ms)
      const run = await unet.createRun(shape, expanded, { extrapolate: resolved.extrapolate })
      try {
        await run.condition(conditioning)
        info = run.info
        const programs = info.steps.map(step => passOf(step).program)
        // Steps come in order: as far as the last new kind, the first step's kind once more, and then a step whose features are continued.
        const again = programs.indexOf(programs[0]!, 1)
        const last = Math.max(
          Math.min(again < 0 ? 0 : again + 1, steps - 1), ...new Set(programs.map(program => programs.indexOf(program))),
        )
        for (const [i, { conditionalOnly }] of expanded.slice(0, last + 1).entries()) {
          const { result, ms } = await timed(() => run.forward(i, conditionalOnly ? halves : inputs))
          const wanted = conditionalOnly ? half(full) : full
          if (result.data.some((value, k) => !Object.is(value, wanted.data[k])))
            throw new AsdmError('INTERNAL',
              `Expected step ${i} of the plan ${typeof plan === 'string' ? plan : ''} to give the full pass's result on the same input but `
              + 'it differs')
          const program = programs[i]!
          if (i > 0 || again < 0) kinds.set(program, [...kinds.get(program) ?? [], ms])
        }
      } finally {
        run.dispose()
      }
    }
    const { steps: told, fullMacs, keptBytes } = info!
    const stepMs = told.map(step => median(kinds.get(passOf(step).program)!))
    return {
      speedUp: (median(times) * steps) / stepMs.reduce((a, b) => a + b),
      counted: (fullMacs[0]! * steps) / told.reduce((sum, step) => sum + passOf(step).macs, 0),
      fullMs: median(times), stepMs, keptBytes,
    }
  }
}

/** {@link timePlan} at the model's own size and with its own sampler, of about this many steps. */
export async function timePlanOf(
  unet: UNet, { schedulerConfig, textEncoder }: Checkpoint, plan: PlanSource, { steps: asked, runs }: { steps: number, runs: number },
): Promise<PlanSpeed> {
  const sampler = createSampler(schedulerConfig)
  sampler.setTimesteps(asked)
  const stochastic = sampler.timesteps.some((_, i) => sampler.needsNoise(i, { eta: 0 }))
  return timePlan(
    unet, plan,
    { size: unet.config.sampleSize, length: textEncoder.config.maxPositionEmbeddings, steps: sampler.timesteps.length, stochastic }, runs,
  )
}
