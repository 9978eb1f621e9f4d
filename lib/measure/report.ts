import type { ProfileRow } from './profile'
import type { Peaks } from './roofline'
import type { Measured } from './statistics'

/** What can be measured. */
export const suites = ['ops', 'unet', 'pipeline', 'plans'] as const
export type Suite = typeof suites[number]

/** The parts of a model that suites measure by themselves. */
export type BenchPart = 'unet' | 'vae-decoder' | 'text-encoder'

/** Where and with what a report was made. */
interface BenchMachine {
  platform: string
  node: string
  /** The CPU's name. */
  cpu: string
  features: string[]
  /** The kernel set that was used. */
  set: string
  cores: number
  memoryBytes: number
  /** Processes that wanted to run when the benchmark began, averaged over a minute: much above 0 and the figures mean little. */
  load: number
}

/** One thing to run by one contender. */
export interface BenchCase {
  suite: Suite
  /** `unet`, `vae-decoder`, `generate`. */
  name: string
  /** `asdm`, or the peer. */
  contender: string
  version?: string
  dtype: string
  ours: boolean
  ms: Measured
  /** Multiply-accumulates, counted as direct convolutions, of one run. */
  macs: number
  /** The most memory that its process held; 0 where that is not known. */
  peakBytes: number
  /** Time to load the weights, once, from files that the system has in memory; 0 where it is not known. */
  loadMs: number
  /** Where a whole image's time went, medians. */
  phases?: BenchPhases
  /** How this was measured, where that is not as for the others: a sentence. */
  note?: string
}

/** Milliseconds of an image's parts. */
export interface BenchPhases {
  text: number
  /** All denoising steps. */
  denoise: number
  /** One of them: ours the mean; a peer's the last, so that what it does only once is not counted. */
  step: number
  decode: number
}

/** Loading our model against one thread's reading of its files, with files and free memory at hand; see `takeTurns`. Milliseconds. */
interface BenchLoading {
  dtype: string
  load: Measured
  /** Reading into new memory, as large as the files. */
  fresh: Measured
  /** Reading into one small buffer, over and over. */
  small: Measured
}

/** A result held against another before anything is timed. */
export interface BenchCheck {
  name: string
  /** What it was compared with. */
  against: string
  /** Relative root mean square of the difference, or 0 for equal bits. */
  difference: number
  /** Of images, in decibels. */
  psnr?: number
  limit: number
  ok: boolean
}

/** Ours over theirs, from rounds that alternate: below 1 is faster. */
export interface BenchRatio {
  name: string
  value: Measured
}

/** Something to reach. */
export interface BenchGoal {
  name: string
  value: number
  limit: number
  unit: 'ratio' | 'bytes' | 'difference'
  met: boolean
  /** Where a goal for the time of a pass is missed: which kernels miss it, the worst first. */
  missedBy?: BenchMiss
}

/** Time that must go for a goal to be met, and where it is. */
export interface BenchMiss {
  part: BenchPart
  dtype: string
  /** What the goal leaves of the pass's time, milliseconds. */
  allowedMs: number
  /** What the pass takes beyond it. */
  excessMs: number
  /**
   * Kernels by size. Each is allowed the same multiple of its least time by the roofline, so that all together just meet the goal; what
   * they take beyond that, and others less, adds up to `excessMs`.
   */
  ops: { name: string, dtype: string, ms: number, allowedMs: number }[]
}

/** Where the time of one pass goes. */
export interface BenchOps {
  part: BenchPart
  dtype: string
  passMs: number
  whole: ProfileRow
  kinds: ProfileRow[]
  blocks: ProfileRow[]
  layers: (ProfileRow & { kinds: Record<string, number> })[]
  /** By kernel and size; `dtype` is that of the products. */
  shapes: (ProfileRow & { kind: string, dtype: string })[]
}

/** What a plan brings and costs. */
export interface BenchPlan {
  plan: string
  /** Full run's time over the plan's, UNet only. */
  speedUp: number
  /** The same by multiply-accumulates. */
  counted: number
  fullMs: number
  keptBytes: number
  /** Of the shipped model's images, to those of the full run; absent where that model is not installed. */
  psnr?: number
  ssim?: number
}

/** All that a benchmark found; JSON. */
export interface BenchReport {
  format: 'asdm-bench'
  version: 1
  asdm: string
  commit?: string
  date: string
  shape: string
  /** Pixels of an image. */
  size: number
  threads: number
  runs: number
  dtypes: string[]
  suites: Suite[]
  machine: BenchMachine
  peaks: Peaks
  /** Others in the same run, or why they were not. */
  peers: { name: string, absent?: string }[]
  checks: BenchCheck[]
  cases: BenchCase[]
  ratios: BenchRatio[]
  goals: BenchGoal[]
  loading: BenchLoading[]
  ops: BenchOps[]
  plans: BenchPlan[]
  /** What the reader should know. */
  notes: string[]
  seconds: number
}
