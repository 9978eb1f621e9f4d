import { AsdmError, throwIfAborted } from '../base/errors'
import { integer } from '../base/options'
import type { Tensor } from '../base/tensor'
import { guidanceEmbedding } from '../components/conditioning'
import type { NativePart } from '../components/part'
import { TextEncoder } from '../components/text-encoder'
import { UNet } from '../components/unet'
import { VAE } from '../components/vae'
import type { Checkpoint } from '../model/checkpoint'
import type { Addon, CallRow, ForwardInputs, ForwardShape, NativeModelOptions } from '../native/binding'
import type { InputTensor, InputValues } from '../native/inputs'
import { expandPlan } from '../plan/expand'
import { unetFacts } from '../plan/names'
import { mainUNet } from '../plan/plan'
import { resolvePlan, type PlanSource } from '../plan/source'
import { TorchGenerator } from '../random/torch-generator'
import { createSampler } from '../samplers'
import { blockOf, kindOf, layerOf, mergePasses, rollUp, unitOf, wholeOf, type ProfiledCall, type ProfileRow } from './profile'
import { measurePeaks, type Peaks } from './roofline'
import { median } from './statistics'

/** The parts of a model that can be profiled. */
export const profileParts = ['unet', 'vae-decoder', 'vae-encoder', 'text-encoder'] as const
export type ProfilePart = typeof profileParts[number]

interface ProfileOptions {
  /** The UNet if left out. */
  part?: ProfilePart | undefined
  /** Pixels; the model's own size if left out. */
  width?: number | undefined
  height?: number | undefined
  /** Latents, images or texts in a pass; 2 for UNet and text encoder (one image with guidance), else 1. */
  batch?: number | undefined
  /** Passes that are measured after one that is not; 3 if left out. */
  runs?: number | undefined
  /** UNet only: each kind of step of this plan is profiled. */
  plan?: PlanSource | undefined
  /** Steps that the plan is for; if left out the model's own default, else 20. */
  steps?: number | undefined
  /** Known peaks; measured if left out. */
  peaks?: Peaks | undefined
  signal?: AbortSignal | undefined
}

/** Steps that do the same work. */
export interface ProfiledStep {
  /**
   * Which steps of the plan these are; one that stands for all without a plan. With adaptive rules, those that are so whatever the rules
   * decide.
   */
  steps: number[]
  /** Of a plan with adaptive rules: the steps that are so where no rule inherits, and those that are where every rule that may does. */
  adaptive?: { full: number[], inheriting: number[] }
  /** Median time of a pass, copies in and out included. */
  passMs: number
  whole: ProfileRow
  /** Rows by block, by layer, by the units that plans and recipes name, by kind of arithmetic. Each list adds up to `whole`. */
  blocks: ProfileRow[]
  layers: ProfileRow[]
  units: ProfileRow[]
  kinds: ProfileRow[]
  /** Kernel call by kernel call, in order. */
  calls: ProfiledCall[]
}

export interface PartProfile {
  part: ProfilePart
  dtype: string
  /** The kernel set. */
  cpu: string
  threads: number
  /** What one pass takes. */
  input: ForwardShape
  runs: number
  peaks: Peaks
  steps: ProfiledStep[]
}

/** Values as latents and text features have them; which ones does not change the time. */
export function randomInputs(part: ProfilePart, input: ForwardShape, { unet, vae, textEncoder }: Checkpoint): InputValues {
  const random = new TorchGenerator(1)
  const { batch } = input
  const size = (name: 'height' | 'width' | 'length'): number => {
    const value = input[name]
    if (value === undefined) throw new AsdmError('INTERNAL', `Expected a ${name} for the ${part}`)
    return value
  }
  const map = (channels: number): Tensor => random.randn([batch, channels, size('height'), size('width')])
  switch (part) {
    case 'unet': return {
      sample: map(unet.config.inChannels), timesteps: { data: new Float32Array(batch).fill(501), shape: [batch] },
      encoder_hidden_states: random.randn([batch, size('length'), unet.config.crossAttentionDim]),
      ...(unet.config.timeCondDim !== undefined && { timestep_cond: guidanceEmbedding(7.5, unet.config.timeCondDim, batch) }),
    }
    case 'vae-decoder': return { sample: map(vae.config.latentChannels) }
    case 'vae-encoder': return { sample: map(vae.config.inChannels) }
    case 'text-encoder': return {
      ids: {
        data: Int32Array.from({ length: batch * size('length') }, (_, i) => (i * 7919) % textEncoder.config.vocabSize),
        shape: [batch, size('length')],
      },
    }
  }
}

/** The size of one pass of a part, with the defaults filled in. */
function inputSize(part: ProfilePart, { unet, vae, textEncoder }: Checkpoint, options: ProfileOptions): ForwardShape {
  const factor = 2 ** (vae.config.blockOutChannels.length - 1)
  const latentSide = (side: 'width' | 'height'): number =>
    Math.ceil(integer(options[side] ?? unet.config.sampleSize * factor, side, factor, 8192) / factor)
  const latent = { height: latentSide('height'), width: latentSide('width') }
  const length = textEncoder.config.maxPositionEmbeddings
  const batch = integer(options.batch ?? (part === 'unet' || part === 'text-encoder' ? 2 : 1), 'batch', 1, 256)
  switch (part) {
    case 'unet': return { batch, ...latent, length }
    case 'vae-decoder': return { batch, ...latent }
    case 'vae-encoder': return { batch, height: latent.height * factor, width: latent.width * factor }
    case 'text-encoder': return { batch, length }
  }
}

/** A component and its native part, of which only the weights that this part needs are read. */
async function loadPart(
  addon: Addon, part: ProfilePart, checkpoint: Checkpoint, native: NativeModelOptions, signal: AbortSignal | undefined,
): Promise<{ component: UNet | VAE | TextEncoder, part: NativePart }> {
  const component = part === 'unet'
    ? new UNet(addon, checkpoint.unet, native)
    : part === 'text-encoder'
      ? new TextEncoder(addon, checkpoint.textEncoder, native)
      : new VAE(addon, checkpoint.vae, native)
  const made = component instanceof VAE ? (part === 'vae-encoder' ? component.encoderPart : component.decoderPart) : component.part
  try {
    await made.load({ signal })
  } catch (error) {
    await component.dispose()
    throw error
  }
  return { component, part: made }
}

/**
 * Times each kernel call of a part of a model and holds it against what the machine can do at most.
 * @throws AsdmError `INVALID_ARGUMENT` and what loading throws; an `AbortError` when the signal fires
 */
export async function profilePart(
  addon: Addon, checkpoint: Checkpoint, native: NativeModelOptions, options: ProfileOptions = {},
): Promise<PartProfile> {
  const kind = options.part ?? 'unet'
  const input = inputSize(kind, checkpoint, options)
  const runs = integer(options.runs ?? 3, 'runs', 1, 1000)
  const { component, part } = await loadPart(addon, kind, checkpoint, native, options.signal)
  try {
    const peaks = options.peaks ?? measurePeaks(addon, native.threads, native.cpu)
    const names = component instanceof UNet ? unetFacts(component.config, part.tapNames()).prefixes : new Set(part.tapNames())
    const inputs: ForwardInputs = { values: randomInputs(kind, input, checkpoint), profile: true }
    const kinds = options.plan === undefined || !(component instanceof UNet)
      ? [{ steps: [0], adaptive: undefined, ...await repeat(runs, () => part.forward(inputs, options.signal)) }]
      : await profilePlan(component, checkpoint, input, runs, options)
    const steps = kinds.map(({ steps: which, adaptive, passMs, passes }): ProfiledStep => {
      const calls = mergePasses(passes, peaks)
      return {
        steps: which, ...(adaptive && { adaptive }), passMs, whole: wholeOf(calls), blocks: rollUp(
          calls, ({ name }) => blockOf(name),
        ), layers: rollUp(calls, ({ name }) => layerOf(name)),
        units: rollUp(calls, ({ name }) => unitOf(name, names)), kinds: rollUp(calls, kindOf), calls,
      }
    })
    return { part: kind, dtype: native.dtype, cpu: part.cpu, threads: native.threads, input, runs, peaks, steps }
  } finally {
    await component.dispose()
  }
}

interface Passes { passMs: number, passes: CallRow[][] }

async function repeat(runs: number, pass: () => Promise<{ calls: CallRow[] }>): Promise<Passes> {
  await pass() // lays out memory
  const passes: CallRow[][] = [], times: number[] = []
  for (let run = 0; run < runs; run++) {
    const start = performance.now()
    passes.push((await pass()).calls)
    times.push(performance.now() - start)
  }
  return { passMs: median(times), passes }
}

interface PlannedKind {
  steps: number[]
  adaptive: { full: number[], inheriting: number[] }
  /** Where it is timed: at which step, and whether adaptive rules inherit in that run. */
  at: number
  inheriting: boolean
  times: number[]
  passes: CallRow[][]
}

/**
 * Each distinct kind of step of a plan, in the order in which they first come. A plan with adaptive rules is run twice, once with none
 * inheriting and once with all that may; without their probes, which compute an early part of what the step computes anyway.
 */
async function profilePlan(
  unet: UNet, checkpoint: Checkpoint, shape: ForwardShape, runs: number, { plan, steps: asked, signal }: ProfileOptions,
): Promise<(Pick<ProfiledStep, 'steps' | 'adaptive'> & Passes)[]> {
  const sampler = createSampler(checkpoint.schedulerConfig)
  sampler.setTimesteps(asked ?? checkpoint.defaults.steps)
  const count = sampler.timesteps.length
  const stochastic = sampler.timesteps.some((_, i) => sampler.needsNoise(i, { eta: 0 }))
  const guided = shape.batch % 2 === 0
  const resolved = resolvePlan(plan, { unets: { [mainUNet]: unetFacts(unet.config, unet.tapNames()) }, steps: count, stochastic })
  const steps = expandPlan(resolved, count, guided)
    .map(({ inherit, guidance, choices = [] }) =>
      ({ inherit, choices: choices.map(choice => choice.inherit), conditionalOnly: guided && guidance !== 'full' }))
  const rules = steps.some(({ choices }) => choices.length > 0)
  const chosen = (i: number, inheriting: boolean): number => (inheriting ? 2 ** steps[i]!.choices.length - 1 : 0)
  const { sample, timesteps, ...conditions } = randomInputs('unet', shape, checkpoint)
  const whole = { values: { sample: sample!, timesteps: timesteps! }, profile: true }
  const second = ({ data, shape: [batch, ...rest] }: InputTensor): InputTensor =>
    ({ data: data.slice(data.length / 2), shape: [batch! / 2, ...rest] })
  const half = { values: { sample: second(sample!), timesteps: second(timesteps!) }, profile: true }
  const found = new Map<number, PlannedKind>()
  for (let round = 0; round <= runs; round++) {
    for (const inheriting of rules ? [false, true] : [false]) {
      const run = await unet.part.createRun(shape, steps, { extrapolate: resolved.extrapolate }, [], signal)
      const programOf = (i: number): number => run.info.steps[i]!.variants[chosen(i, inheriting)]!.program
      try {
        await run.condition(conditions, signal)
        if (round === 0) steps.forEach(({ choices }, i) => {
          if (inheriting && choices.length === 0) return
          const kind = found.get(programOf(i))
            ?? { steps: [], adaptive: { full: [], inheriting: [] }, at: i, inheriting, times: [], passes: [] }
          found.set(programOf(i), kind)
          const list = choices.length === 0 ? kind.steps : inheriting ? kind.adaptive.inheriting : kind.adaptive.full
          list.push(i)
        })
        // Steps come in order, so those of a known kind are run too, as far as the last kind.
        const last = Math.max(-1, ...[...found.values()].filter(kind => kind.inheriting === inheriting).map(kind => kind.at))
        for (let i = 0; i <= last; i++) {
          throwIfAborted(signal)
          const start = performance.now()
          const { calls } = await run.forward(i, steps[i]!.conditionalOnly ? half : whole, chosen(i, inheriting), signal)
          const kind = found.get(programOf(i))!
          if (round === 0 || kind.at !== i || kind.inheriting !== inheriting) continue
          kind.passes.push(calls)
          kind.times.push(performance.now() - start)
        }
      } finally {
        run.dispose()
      }
    }
  }
  return [...found.values()].map(({ steps: which, adaptive, times, passes }) =>
    ({ steps: which, ...(rules && { adaptive }), passMs: median(times), passes }))
}
