import type { UNet } from '../components/unet'
import { AsdmError } from '../errors'
import type { Checkpoint } from '../model/checkpoint'
import type { NativeRunInfo } from '../native/binding'
import { expandPlan } from '../plan/expand'
import { unetFacts } from '../plan/names'
import { mainUNet } from '../plan/plan'
import { resolvePlan, type PlanSource } from '../plan/source'
import { TorchGenerator } from '../random/torch-generator'
import { createSampler } from '../samplers'
import type { Tensor } from '../tensor'
import { median } from './statistics'

/** How much faster a plan makes the UNet's part of a request, measured kind of step by kind of step. */
export interface PlanSpeed {
  /** Time of the full run over that of the plan's. */
  speedUp: number
  /** The same by multiply-accumulates: what kernels that are equally fast everywhere would give. */
  counted: number
  /** Time of a full pass. */
  fullMs: number
  keptBytes: number
}

const half = ({ data, shape: [batch, ...rest] }: Tensor): Tensor => ({ data: data.slice(data.length / 2), shape: [batch / 2, ...rest] })

/**
 * A plan has few distinct passes and all steps of one kind do the same work, so each kind is timed `runs` times, in turn with a full pass,
 * and the run's time is the sum of medians. Before, each kind's result on the same input is compared with the full pass's, bit for bit.
 * What adaptive rules would decide while they run is full. One picture with guidance, at the model's own size.
 * @throws AsdmError `INVALID_ARGUMENT` for a plan that does not fit; `INTERNAL` where results differ
 */
export async function planSpeed(unet: UNet, { schedulerConfig, textEncoder }: Checkpoint, plan: PlanSource, { steps: asked, runs }: { steps: number, runs: number }): Promise<PlanSpeed> {
  const sampler = createSampler(schedulerConfig)
  sampler.setTimesteps(asked)
  const steps = sampler.timesteps.length
  const stochastic = sampler.timesteps.some((_, i) => sampler.needsNoise(i, { eta: 0 }))
  const context = { unets: { [mainUNet]: unetFacts(unet.config, unet.tapNames()) }, steps, stochastic }
  const expanded = expandPlan(resolvePlan(plan, context), steps, true).map(({ inherit, guidance }) => ({ inherit, conditionalOnly: guidance !== 'full' }))
  const size = unet.config.sampleSize, length = textEncoder.config.maxPositionEmbeddings
  const shape = { batch: 2, height: size, width: size, length }
  const random = new TorchGenerator(1)
  const inputs = { sample: random.randn([2, unet.config.inChannels, size, size]), timestep: 501, encoderHiddenStates: random.randn([2, length, unet.config.crossAttentionDim]) }
  const halves = { ...inputs, sample: half(inputs.sample), encoderHiddenStates: half(inputs.encoderHiddenStates) }
  // As a run too, since what depends on the text alone is computed once a request, with or without a plan.
  const plain = unet.createRun(shape, Array.from({ length: runs + 1 }, () => ({ inherit: [], conditionalOnly: false })))
  try {
    return await compare()
  } finally {
    plain.dispose()
  }

  async function compare(): Promise<PlanSpeed> {
    const full = await plain.forward(0, inputs)
    const times: number[] = []
    const kinds = new Map<number, number[]>()
    let info: NativeRunInfo | undefined
    const timed = async (call: () => Promise<Tensor>): Promise<{ result: Tensor, ms: number }> => {
      const start = performance.now()
      return { result: await call(), ms: performance.now() - start }
    }
    for (let round = 0; round < runs; round++) {
      times.push((await timed(() => plain.forward(round + 1, inputs))).ms)
      const run = unet.createRun(shape, expanded)
      try {
        info = run.info
        // Steps come in order, so those whose kind is known by now are run only as far as the last new kind.
        const last = Math.max(...[...new Set(info.steps.map(({ variants: [{ program }] }) => program))].map(program => info!.steps.findIndex(step => step.variants[0].program === program)))
        for (let i = 0; i <= last; i++) {
          const conditionalOnly = expanded[i].conditionalOnly
          const { result, ms } = await timed(() => run.forward(i, conditionalOnly ? halves : inputs))
          const wanted = conditionalOnly ? half(full) : full
          if (result.data.some((value, k) => !Object.is(value, wanted.data[k])))
            throw new AsdmError('INTERNAL', `Expected step ${i} of the plan ${String(plan)} to give the full pass's result on the same input but it differs`)
          const { program } = info.steps[i].variants[0]
          kinds.set(program, [...kinds.get(program) ?? [], ms])
        }
      } finally {
        run.dispose()
      }
    }
    const told = info!.steps
    const planMs = told.reduce((sum, { variants: [{ program }] }) => sum + median(kinds.get(program)!), 0)
    return {
      speedUp: (median(times) * steps) / planMs, counted: (info!.fullMacs[0] * steps) / told.reduce((sum, { variants: [{ macs }] }) => sum + macs, 0),
      fullMs: median(times), keptBytes: info!.keptBytes,
    }
  }
}
