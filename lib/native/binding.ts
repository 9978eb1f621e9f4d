/**
 * The native surface, typed, in one file. Only `lib/native/load.ts` imports the addon; everything else in `lib/` imports this.
 * Methods that do real work run on threads of the addon and give promises; a rejection is an `AsdmError` (made by the addon from
 * `{ code, message }`) or, after `cancel`, an `AbortError`.
 */
import type { Cancellable } from '../base/abort'
import type { Tensor } from '../base/tensor'
import type { TextEncoderConfig, UNetConfig, VAEConfig, WeightSource } from './configs'
import type { GraphInfo, WeightRequest } from './graph'
import type { InputValues } from './inputs'
import type { NativeTrainer, NativeTrainerOptions, NativeTrainerSpec } from './trainer'

export type { GraphInfo, GraphUnit, UnitAttributes, WeightRequest } from './graph'

/** The machine as the addon sees it. */
export interface CpuInfo {
  /** The CPU's name, '' if unknown. */
  brand: string
  /** Features found and enabled by the operating system: 'avx2', 'fma', 'avx512f', 'avx512bf16', 'avx512vnni', 'neon', ... */
  features: string[]
  /** Kernel sets compiled in, best first. */
  compiled: string[]
  /** Kernel sets that this machine can run, best first; the first one is the default. */
  usable: string[]
  /** Number formats for which the best usable set has instructions; the others of `dtype` work, by way of float32. */
  fast: string[]
  /** Logical cores the process may run on. */
  cores: number
}

/** One of the four graphs; configs are checked again natively, since the addon may be reached without the TypeScript layer. */
export type NativeModelSpec
  = | { kind: 'unet', config: UNetConfig }
    | { kind: 'vae_decoder', config: VAEConfig }
    | { kind: 'vae_encoder', config: VAEConfig }
    | { kind: 'text_encoder', config: TextEncoderConfig }

export interface NativeModelOptions {
  /** Format of activations and products. `int8`: activations in bf16, and weights in 8-bit integers but for those of `exact`. */
  dtype: 'fp32' | 'bf16' | 'int8'
  /** With `int8`: units that keep weights in bf16, each one or more whole parts of names, as `conv_in` or `attn2.to_k`. */
  exact?: readonly string[] | undefined
  /** With `bf16` and `int8`: units whose weights and products are float32, named likewise; such a name counts before `exact`. */
  wide?: readonly string[] | undefined
  /** Threads that compute, the caller's own included; 1 to 256. */
  threads: number
  /** A kernel set's name, or 'auto'. */
  cpu: string
  /** A device's name, as `devices()` has it; or 'auto', which also is what it is if left out. */
  device?: string | undefined
}

export interface LoadProgress {
  bytesDone: number
  bytesTotal: number
}

export interface LoadResult {
  /** Names of weights that hold NaN or infinity. */
  nonFinite: string[]
  /** Bytes held for packed weights. */
  weightBytes: number
  /**
   * What became of the packed cache: not asked for; read; there was none, or an unfit one, and now there is one; could not be written.
   */
  cache: 'off' | 'used' | 'written' | 'replaced' | 'unwritten'
  /** What was wrong with the file that was replaced, or why none was written; else ''. */
  cacheNote: string
}

/** One graph unit at a given input shape. */
export interface UnitRow {
  /** Diffusers prefix. */
  name: string
  /** What it computes, as `Conv2d`. */
  op: string
  /** Output shape as stored: [N, H, W, C] or [N, L, C]. */
  shape: number[]
  /** Numbers in its weights. */
  parameters: number
  /** Multiply-accumulates, attention products included. */
  macs: number
}

/** A forward pass, compiled for one shape. */
export interface ProgramInfo {
  /** What runs, in order. */
  units: UnitRow[]
  /** Numbers in the weights of these units. */
  parameters: number
  /** Multiply-accumulates of all units. */
  macs: number
  /** Bytes of the activation arena and of kernel scratch. */
  arenaBytes: number
  /** Bytes of kernel scratch, which one unit after the other uses. */
  scratchBytes: number
}

/** Shape of one forward pass: `batch`, and height and width (latent pixels; image pixels for the VAE encoder) or length (tokens). */
export interface ForwardShape {
  batch: number
  height?: number
  width?: number
  /** Text tokens: of the encoder's input, or of a UNet's `encoder_hidden_states`. */
  length?: number
}

export interface ForwardInputs {
  /** All inputs of the graph. */
  values: InputValues
  /** Text encoder only: which final norm, as `final_layer_norm` after leaving out this many last layers. */
  clipSkip?: number
  /** Names of further values to give back, see `NativeModel.tapNames`. */
  taps?: string[]
  /** Time each kernel call. */
  profile?: boolean
}

/** What a pass of a run takes. */
export interface PassInputs {
  /** The inputs that differ from step to step: `sample` and `timesteps`. */
  values: InputValues
  /** Time each kernel call. */
  profile?: boolean
}

/** One kernel call of a pass, and how long it took. */
export interface CallRow {
  /** Diffusers prefix of the unit whose weights it uses. */
  name: string
  /** What it computes, as `Conv2d`. */
  op: string
  /** The unit whose value it gives: a later one where units were fused. */
  result: string
  /** Shape of the first value it reads, as stored; empty where that comes from outside. */
  input: number[]
  /** Shape of what it gives, as stored: [N, H, W, C] or [N, L, C]. */
  shape: number[]
  /** What its products are computed in: `fp32`, `bf16` or `int8`. */
  dtype: string
  /** Multiply-accumulates, attention products included. */
  macs: number
  /** Bytes of its weights, as packed. */
  weightBytes: number
  /** Bytes of the values it reads and writes, each once. */
  valueBytes: number
  /** Time on the clock. */
  ms: number
}

export interface ForwardOutputs {
  /** UNet: epsilon or v, [N,C,H,W]. VAE decoder: image. VAE encoder: moments [N,2C,H,W]. Text encoder: last hidden state [N,L,D]. */
  sample: Tensor
  taps: Record<string, Tensor>
  /** The kernel calls in order, where a profile was asked for; else empty. */
  calls: CallRow[]
}

/** A device that models may run on. */
export interface DeviceInfo {
  /** As option `device` takes it. */
  name: string
  /** What it is. */
  description: string
  /** Why it cannot be used; null where it can. */
  reason: string | null
}

/** What a machine is measured for, see `Addon.measurePeak`. */
export interface PeakRequest {
  /** A number format, for multiply-accumulates; or copying memory. */
  kind: 'fp32' | 'bf16' | 'int8' | 'copy'
  /** A kernel set's name, or 'auto'; not looked at for `copy`. */
  cpu: string
  /** 1 to 256. */
  threads: number
  /** How long to measure, 1 to 2000 ms. */
  ms: number
  /** For `copy`: bytes of source and target together, 64 to 2^31. */
  bytes?: number
}

/** A call under way on a thread of the addon. */
export type NativeCall<T> = Cancellable<T>

/**
 * One inherited feature. The prefix is cut at dots: a block (`up_blocks.2`), a layer (`up_blocks.2.1`: `resnets.1` and `attentions.1` of
 * the block) or a unit (`….resnets.0`, `….attentions.0`, `….attn1`, `….attn2`, `….ff`).
 */
export interface InheritedFeature {
  /** Diffusers module path. */
  prefix: string
  /**
   * `output`: every value made under the prefix that is read outside it (of a block also its skips and resampled output).
   * `branch`, for residual units only: what the unit adds to the stream, before the sum; the stream stays fresh.
   */
  feature: 'output' | 'branch'
}

/** One forward pass of a run. */
export interface RunStep {
  /** What is taken over of earlier steps, in any case. */
  inherit: InheritedFeature[]
  /** At most four more sets, each of which is taken over too, or not, as is said when the step comes. */
  choices?: InheritedFeature[][]
  /** Only the second half of the batch, the conditional one, runs: guidance is off at this step. */
  conditionalOnly: boolean
  /** The step begins with the probes of its UNet. What they compute is fresh, also where the step inherits it. */
  probe?: boolean
  /** Which of the run's UNets: 0, the model itself, if left out. */
  unet?: number
}

/** Features of one UNet that another may take over: where a step of `to.unet` inherits `to`, it takes what either UNet computed last. */
export interface RunMap {
  /** Of the UNet that gives them. */
  from: InheritedFeature & { unet: number }
  /** Of the UNet that takes them; as many values, of the same shapes. */
  to: InheritedFeature & { unet: number }
  /** What messages call it, `maps[number]`; its place in the list if left out. */
  number?: number
}

/** What a run has besides its steps. */
export interface RunParts {
  /** For each UNet features that are computed first at steps with `probe`, and whose change is measured. */
  probes?: InheritedFeature[][] | undefined
  /** Features that cross UNets. */
  maps?: RunMap[] | undefined
  /**
   * Inherited features go on along the line through their last two computed values, over time steps (each step's is its first sample's):
   * this factor of its slope, 0 to 2. They stand still if left out or 0.
   */
  extrapolate?: number | undefined
  /** A step computes what it would inherit but no earlier step computed for sure; an error if left out. */
  computeMissing?: boolean | undefined
}

/** What a run's pass does, known before it starts. */
export interface RunPassInfo {
  /** Passes with the same number run the same program. */
  program: number
  /** Multiply-accumulates that are computed, those of the probes included. */
  macs: number
  /** Number of units that run; a residual sum counts as part of its unit. */
  units: number
  /**
   * Values read from an earlier step: the unit that gives the value, the step that computed it, and that step's UNet. Where this depends
   * on choices, it is the last step that computes it whatever is chosen; a later one may, too.
   */
  inherited: { name: string, source: number, unet: number }[]
}

/** What a run's step does. */
export interface RunStepInfo {
  /** Which of the run's UNets. */
  unet: number
  /** One for each choice: bit i of the index is whether `choices[i]` is inherited. */
  variants: RunPassInfo[]
  /** The program of its probes, where it begins with them; its multiply-accumulates and units count with each variant. */
  probe?: number
}

/** What a UNet computes of the text alone: with its first step, and again only where the text changes. */
export interface RunConstants {
  /** Bytes held besides `keptBytes`. */
  bytes: number
  /** Multiply-accumulates that the steps of the run need. */
  macs: number
  /** Multiply-accumulates for the whole batch, once. */
  fullMacs: number
}

/** What the steps of a run do, known before the first. */
export interface RunInfo {
  /** In order. */
  steps: RunStepInfo[]
  /** The units that each program runs. */
  programs: string[][]
  /** The units of one full pass, for each UNet, without those of `constants`. */
  units: string[][]
  /** Multiply-accumulates of one full pass of the whole batch, for each UNet, without those of `constants`. */
  fullMacs: number[]
  /** For each UNet what depends on the text alone, the keys and values of cross-attention. It counts in no step. */
  constants: RunConstants[]
  /** Bytes held between steps for inherited values. */
  keptBytes: number
}

/** Forward passes of one shape, in order, that hand features on; what a plan compiles to. Features live in it alone. */
export interface NativeRun {
  readonly info: RunInfo
  /**
   * What the passes after it are conditioned by, as text: values of the inputs that are the same at every step. Those of the whole batch,
   * the unconditional half first, also where a step runs only the other half; those of that half alone will do where all steps do.
   */
  condition(values: InputValues): NativeCall<undefined>
  /**
   * The first part of a step with `probe`.
   * @param renew numbers of probes whose values at this UNet's last step are what is compared with from now on
   * @returns for each probe of the UNet how far it is from what it is compared with: the sum of absolute differences over the sum of
   * absolute values, of the conditional half where some step runs only that; infinite where there is nothing to compare with
   */
  probe(step: number, renew: number[], inputs: PassInputs): NativeCall<number[]>
  /**
   * Pass number `step`; steps run in order, each once, after their probe and with its inputs. A conditional-only step takes and
   * gives half the batch.
   * @param chosen bit i: whether `choices[i]` is inherited; 0 if left out
   */
  forward(step: number, inputs: PassInputs, chosen?: number): NativeCall<ForwardOutputs>
  /** Frees the features once a running call is done. Idempotent. */
  dispose(): void
}

/** A graph with its weights, thread pool and arena. Calls on one model queue in order. Garbage collection frees it too. */
export interface NativeModel {
  /** The kernel set it runs on. */
  readonly cpu: string
  /** Weights the graph asks for, in graph order. */
  weights(): WeightRequest[]
  tapNames(): string[]
  /** The graph itself, whatever the sizes. */
  graph(): GraphInfo
  /** Compiles (without running) for a shape: units, multiply-accumulates, memory. */
  describe(shape: ForwardShape, taps?: string[]): ProgramInfo
  /**
   * Compiles a run (UNets only), in the queue of calls: which units run at each step and which values are kept for later ones.
   * @param others further UNets that steps may name, as numbers 1, 2, …
   * @throws AsdmError as rejections: `INVALID_ARGUMENT`, naming prefix and step, for an unknown prefix or a value that no earlier step
   * computed, or the map (`maps[2]`) that joins what does not fit; `SHAPE_MISMATCH`, naming it, where shapes differ
   */
  createRun(shape: ForwardShape, steps: RunStep[], parts?: RunParts, others?: readonly NativeModel[]): NativeCall<NativeRun>
  /**
   * Reads and packs all weights; every requested name exactly once.
   * @param cache a file with the weights as packed before, which is read if it is of these weights, kernels and formats, and else written
   */
  load(sources: WeightSource[], onProgress?: (progress: LoadProgress) => void, cache?: string): NativeCall<LoadResult>
  /**
   * Reads and packs some weights again, in the queue of calls. After a failure or abort they are as they were.
   * @returns names of those that hold NaN or infinity
   * @throws AsdmError as rejections: `INVALID_ARGUMENT` where none are loaded, or another model shares them; as `load`
   */
  change(sources: WeightSource[]): NativeCall<string[]>
  /**
   * Instead of `load`: uses the weights of another model, which has to have all of this one's, in the same format for the same kernel set.
   * They stay until the last of both is disposed of; only the one that loaded them counts their bytes.
   * @throws AsdmError `INVALID_ARGUMENT`, at once, where the other has none loaded; as a rejection naming the weight that it lacks
   */
  share(other: NativeModel): NativeCall<LoadResult>
  /**
   * Copies its inputs before it returns, but for those beyond 4 MiB: these are read in pieces between other events, and have to stay as
   * they are until the promise settles. (One that is detached or resized meanwhile fails the call with `INVALID_ARGUMENT`.)
   */
  forward(inputs: ForwardInputs): NativeCall<ForwardOutputs>
  /** Frees the activation arena once the running calls are done (it grows again when needed). */
  trim(): void
  /** Cancels calls under way, waits for none; frees everything once they have stopped. Any later call throws `DISPOSED`. Idempotent. */
  dispose(): void
}

export interface Addon {
  /** Version of the native surface; the loader refuses a binary whose version differs from its own. */
  readonly abi: number
  cpuInfo(): CpuInfo
  /** Every device known, usable or not, the CPU first. */
  devices(): DeviceInfo[]
  /**
   * Adds the devices of a plugin (native/backend/plugin.h), whether they can be used or not. A path counts once.
   * @throws AsdmError `UNKNOWN_DEVICE` where the file is no plugin for this version
   */
  loadDevices(path: string): void
  createModel(spec: NativeModelSpec, options: NativeModelOptions): NativeModel
  /** A UNet to train, in fp32. Its memory is allocated by its first call. */
  createTrainer(spec: NativeTrainerSpec, options: NativeTrainerOptions): NativeTrainer
  /**
   * What the machine does at most: operations per second on registers (two for each multiply-accumulate), or bytes per second read
   * and written by copying. 0 where it has no instruction for products of this format. Blocks the caller's thread for `ms`.
   */
  measurePeak(request: PeakRequest): number
}

/** The `abi` that this TypeScript layer speaks. */
export const ABI = 17
