import type { DType } from '../../lib/components/options'
import type { StoredDType, UNetConfig } from '../../lib/native/configs'
import { repoPath } from './fixtures'

/** A value of a program: alive from step `first` to step `last`; `takesOver`: index of the value whose memory it continues, or -1. */
export interface Lifetime {
  first: number
  last: number
  bytes: number
  takesOver: number
}

/** How a random graph is to be run; see native/testing/graph_properties.cpp. */
export interface RandomRun {
  seed: number
  set: string
  threads: number
  fuse: boolean
  poison: boolean
  taps: boolean
  cancel?: boolean
  /** On the device whose memory the host cannot address; then the set is 'auto'. */
  handles?: boolean
  dtype?: DType
}

/** A tensor in PyTorch's order. */
interface Given {
  data: Float32Array
  shape: readonly number[]
}

/** What a UNet is trained on at once: its inputs, the target, each sample's weight, and targets of the taps. */
export interface TrainingBatch {
  inputs: Given[]
  target: Given
  weight: Float32Array
  taps?: Given[]
}

/** How a UNet is to be trained; see native/testing/training_run.cpp. */
export interface TrainingRun {
  config: UNetConfig
  set: string
  threads: number
  /** On the device whose memory the host cannot address; then the set is 'auto'. */
  handles?: boolean
  weights: Record<string, Float32Array>
  batches: TrainingBatch[]
  taps?: { name: string, cosine: boolean }[]
  trained?: string[]
  text?: boolean
  steps: number
  rate: number
  beta1: number
  beta2: number
  eps: number
  decay: number
  clip: number
  keep: number
}

/** The graph part of the testing addon. */
export interface GraphRunner {
  sets(dtype?: DType): string[]
  reach(inputs: number[][], outputs: number[], inherited: number[]): { run: boolean[], read: boolean[] }
  /** What all devices of that kind did in this process, and how many of their buffers are alive. */
  deviceCounts(): { uploads: number, uploadedBytes: number, downloads: number, downloadedBytes: number, buffers: number }
  place(values: Lifetime[]): { offsets: number[], bytes: number }
  convert(dtype: StoredDType, bytes: Uint8Array, set: string): { values: Float32Array, finite: boolean }
  trainingRun(run: TrainingRun): {
    /** Of each step, of each batch: each term's losses by sample. */
    losses: Float32Array[][][]
    norms: number[]
    text?: Float32Array
    bytes: number
  } & Record<'gradients' | 'weights' | 'first' | 'second' | 'average', Record<string, Float32Array>>
  randomGraph(run: RandomRun): {
    outputs: Record<string, Float32Array>, units: number, fused: number, gated: number, inPlace: number,
    lifetimes: (Lifetime & { offset: number })[], arenaBytes: number
  }
}

export const graphs: GraphRunner = require(process.env.ASDM_TESTING_BINARY ?? repoPath('build', 'Release', 'asdm_testing.node'))

/**
 * What is wrong with a placement: values that live at the same time and share memory (taking over is allowed from one step on),
 * offsets that are not aligned, values beyond the end. Empty when all is well.
 */
export function placementFaults(values: readonly Lifetime[], offsets: readonly number[], bytes: number): string[] {
  const faults: string[] = []
  values.forEach((a, i) => {
    if (offsets[i] % 64 !== 0) faults.push(`value ${i} is not aligned`)
    if (offsets[i] + a.bytes > bytes) faults.push(`value ${i} ends beyond the arena`)
    if (a.takesOver >= 0 && offsets[i] !== offsets[a.takesOver]) faults.push(`value ${i} does not lie where value ${a.takesOver} lay`)
    for (let j = 0; j < i; j++) {
      const b = values[j]
      const together = Math.min(a.last, b.last) - Math.max(a.first, b.first)
      if (together < 0 || offsets[i] >= offsets[j] + b.bytes || offsets[j] >= offsets[i] + a.bytes) continue
      if (a.takesOver === j && b.last === a.first) continue
      faults.push(`values ${j} and ${i} share memory`)
    }
  })
  return faults
}
