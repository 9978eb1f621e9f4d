import fs from 'node:fs'
import path from 'node:path'
import { AsdmError } from '../base/errors'
import type { DType } from '../components/options'
import { decibels, meanSquaredError, type ImagePixels } from '../eval/likeness'
import { withAlpha } from '../image/pixels'
import { decodePng } from '../image/png/decode'
import type { SchedulerConfig } from '../samplers'
import { Contender, type Answer, type ContenderSpec } from './contender'
import type { BenchCheck, BenchPhases, BenchReport } from './report'
import { measured, pairedRatio } from './statistics'

/** What image is made. The latents begin with the noise that PyTorch's CPU generator gives for the seed. */
export interface ImageTask {
  prompt: string
  seed: number
  steps: number
  /** Pixels of a side. */
  size: number
  guidanceScale: number
  /** The checkpoint's own if left out. */
  sampler?: SchedulerConfig
}

/** An image by someone else. Exported for tests and scripts. */
export interface PeerImage {
  image: ImagePixels
  phases: BenchPhases
  loadMs: number
  /** 0 where it could not be measured. */
  peakBytes: number
}

/** A program that makes whole images only, each in a process of its own. */
export interface ImagePeer {
  name: string
  dtype: string
  version: string
  /** What the reader should know of its figures: a sentence. */
  note: string
  /**
   * Makes the image into a file.
   * @throws AsdmError `INTERNAL` where it fails; an `AbortError` when the signal fires
   */
  make(task: ImageTask, file: string, signal: AbortSignal | undefined): Promise<PeerImage>
}

/** Options of a scheduler config that tell about the network, whichever sampler runs it. */
const noiseOptions = ['num_train_timesteps', 'beta_start', 'beta_end', 'beta_schedule', 'prediction_type']

/**
 * The image of a benchmark. Of the shipped model one as users make them; of others two steps, since each takes seconds: Euler's method
 * over evenly spaced time steps, as all programs know it.
 */
export function imageTask(shape: string, size: number, scheduler: SchedulerConfig): ImageTask {
  const common = { prompt: 'a 3d emoji of red apple', seed: 7, size, guidanceScale: 7.5 }
  if (shape === 'emoji') return { ...common, steps: 20 }
  const kept = Object.entries(scheduler).filter(([option]) => noiseOptions.includes(option))
  return {
    ...common, steps: 2, sampler: { ...Object.fromEntries(kept), _class_name: 'EulerDiscreteScheduler', timestep_spacing: 'linspace' },
  }
}

/**
 * How far an image's levels may be from those of ours in fp32 (relative root mean square) before it counts as another image. Rounding of
 * one pass adds up over the steps, so this is wider than for a pass. With random weights another word in the prompt makes 0.1, guidance of
 * 7 instead of 7.5 makes 0.02; formats of other programs, which keep more digits than bf16, are 0.003 away.
 */
function imageLimit(dtype: string): number {
  return dtype === 'int8' ? 0.15 : dtype === 'bf16' ? 0.05 : 0.02
}

/**
 * Root mean square of the difference of the levels, relative to the reference's; NaN for other sizes, or where either image is of one
 * colour. Exported for tests and scripts.
 */
export function imageDifference(image: ImagePixels, reference: ImagePixels): number {
  if (image.width !== reference.width || image.height !== reference.height || isPlain(image) || isPlain(reference)) return NaN
  const black = { ...reference, rgba: new Uint8ClampedArray(reference.rgba.length) }
  return Math.sqrt(meanSquaredError(image, reference) / meanSquaredError(black, reference))
}

/** Decibels between images of one size that differ. */
function likeness(image: ImagePixels, reference: ImagePixels): { psnr?: number } {
  if (image.width !== reference.width || image.height !== reference.height) return {}
  const psnr = decibels(meanSquaredError(image, reference))
  return Number.isFinite(psnr) ? { psnr } : {}
}

/** Is it of one colour? */
function isPlain({ rgba }: ImagePixels): boolean {
  for (let i = 4; i < rgba.length; i++) if (rgba[i] !== rgba[i - 4]) return false
  return true
}

/** The pixels of a PNG file. Exported for tests and scripts. */
export async function readImage(file: string): Promise<ImagePixels> {
  return withAlpha(await decodePng(fs.readFileSync(file), path.basename(file), () => {}))
}

interface ImageContest {
  report: BenchReport
  task: ImageTask
  /** Ours, the first in fp32: its image is the reference, and it is timed where `dtypes` has fp32. */
  worker: (dtype: DType) => ContenderSpec
  dtypes: readonly DType[]
  peers: readonly ImagePeer[]
  /** Multiply-accumulates of a pass of the UNet and of the decoder. */
  macs: { unet: number, decoder: number }
  /** The folder for images. */
  work: string
  runs: number
  signal?: AbortSignal | undefined
  onProgress: (what: string) => void
}

type Made = Answer & { phases: BenchPhases, hash: number }

/** One of those who take turns. */
interface Entrant {
  name: string
  dtype: string
  ours: boolean
  version?: string
  note?: string
  loadMs: number
  peakBytes: number
  make: () => Promise<{ ms: number, phases: BenchPhases, peakBytes: number }>
  ms: number[]
  phases: BenchPhases[]
}

/**
 * Everyone makes the same image: first ours, twice, which must be equal; then those that make theirs like ours in rounds, each round in
 * the opposite order. Who starts a new process for each image has no warm-up: the image that is checked is its first round's.
 */
export async function imageContest(
  { report, task, worker, dtypes, peers, macs, work, runs, signal, onProgress }: ImageContest,
): Promise<void> {
  const fileOf = (name: string, dtype: string): string => path.join(work, `image-${name}-${dtype}.png`)
  const check = (name: string, against: string, difference: number, limit: number, more: Partial<BenchCheck> = {}): boolean => {
    const ok = difference <= limit // false for NaN
    report.checks.push({ name, against, difference, limit, ok, ...more })
    return ok
  }
  let reference: ImagePixels | undefined
  const like = (name: string, dtype: string, image: ImagePixels): boolean =>
    check(`image ${name} ${dtype}`, 'asdm fp32', imageDifference(image, reference!), imageLimit(dtype),
      likeness(image, reference!))

  /** Ours, with its first two images made; no entrant where they are wrong. */
  const open = async (dtype: DType): Promise<{ contender: Contender, entrant?: Entrant }> => {
    onProgress(`images: asdm ${dtype} loads`)
    const contender = new Contender(worker(dtype), work, signal)
    const file = fileOf('asdm', dtype)
    const make = async (): Promise<Made> => await contender.ask(`generate ${path.basename(file)}`) as Made
    try {
      const load = await contender.ask('load')
      onProgress(`images: asdm ${dtype}, the first`)
      const [first, again] = [await make(), await make()]
      const same = check(`image asdm ${dtype}`, 'the same seed again', first.hash === again.hash ? 0 : 1, 0)
      const image = await readImage(file)
      reference ??= image
      const right = dtype === 'fp32'
        ? !isPlain(image) || check('image asdm fp32', 'an image of more than one colour', NaN, 0)
        : like('asdm', dtype, image)
      if (!same || !right) return { contender }
      return {
        contender, entrant: { name: 'asdm', dtype, ours: true, loadMs: load.ms, peakBytes: again.peakBytes, make, ms: [], phases: [] },
      }
    } catch (error) {
      await contender.quit()
      throw error
    }
  }
  /** A peer's first image; `undefined` where it fails or makes another. */
  const enter = async (peer: ImagePeer): Promise<Entrant | undefined> => {
    const file = fileOf(peer.name, peer.dtype)
    const make = async (): Promise<PeerImage & { ms: number }> => {
      const made = await peer.make(task, file, signal)
      return { ...made, ms: made.phases.text + made.phases.denoise + made.phases.decode }
    }
    try {
      onProgress(`images: ${peer.name} ${peer.dtype}, the first`)
      const first = await make()
      if (like(peer.name, peer.dtype, first.image)) {
        report.notes.push(`${peer.name}: ${peer.note}`)
        return { ...peer, ours: false, loadMs: first.loadMs, peakBytes: first.peakBytes, make, ms: [first.ms], phases: [first.phases] }
      }
      report.notes.push(`The image of ${peer.name} ${peer.dtype} differs from ours in fp32 by more than allowed, so it was not timed.`)
    } catch (error) {
      if (!(error instanceof AsdmError)) throw error
      report.notes.push(`${peer.name} ${peer.dtype} failed: ${error.message}`)
    }
    return undefined
  }

  if (!dtypes.includes('fp32')) await (await open('fp32')).contender.quit()
  // fp32 by itself: its weights are larger than those of the others together. Peers that round are beside ours that round.
  const groups = [dtypes.filter(dtype => dtype === 'fp32'), dtypes.filter(dtype => dtype !== 'fp32')].filter(({ length }) => length > 0)
  for (const [g, group] of groups.entries()) {
    const contenders: Contender[] = []
    const entrants: Entrant[] = []
    try {
      for (const dtype of group) {
        const { contender, entrant } = await open(dtype)
        contenders.push(contender)
        if (entrant !== undefined) entrants.push(entrant)
      }
      if (g === groups.length - 1)
        for (const peer of peers) {
          const entrant = await enter(peer)
          if (entrant !== undefined) entrants.push(entrant)
        }
      for (let round = 0; round < runs; round++) {
        for (const entrant of round % 2 === 0 ? entrants : [...entrants].reverse()) {
          if (entrant.ms.length > round) continue // the image that was checked
          onProgress(`images: ${entrant.name} ${entrant.dtype}, round ${round + 1} of ${runs}`)
          const made = await entrant.make()
          entrant.ms.push(made.ms)
          entrant.phases.push(made.phases)
          entrant.peakBytes = Math.max(entrant.peakBytes, made.peakBytes)
        }
      }
    } finally {
      for (const contender of contenders) await contender.quit()
    }
    tell(report, task, entrants, macs)
  }
}

/** Cases and ratios of one group. A peer's step and decoding also stand beside those who run these parts by themselves. */
function tell(report: BenchReport, { steps }: ImageTask, entrants: readonly Entrant[], macs: ImageContest['macs']): void {
  const over = (phase: keyof BenchPhases, { phases }: Entrant): number[] => phases.map(each => each[phase])
  for (const entrant of entrants) {
    const { name: contender, dtype, ours, version, note, ms, peakBytes, loadMs } = entrant
    const common = {
      contender, ...(version !== undefined && { version }), dtype, ours, peakBytes, loadMs, ...(note !== undefined && { note }),
    }
    const phases = Object.fromEntries((['text', 'denoise', 'step', 'decode'] as const).map(phase =>
      [phase, measured(over(phase, entrant)).median])) as unknown as BenchPhases
    report.cases.push({ suite: 'pipeline', name: 'generate', ...common, ms: measured(ms), macs: steps * macs.unet + macs.decoder, phases })
    // Memory and loading are those of the whole.
    const part = { ...common, peakBytes: 0, loadMs: 0 }
    if (!ours) report.cases.push(
      { suite: 'pipeline', name: 'unet', ...part, ms: measured(over('step', entrant)), macs: macs.unet },
      { suite: 'pipeline', name: 'vae-decoder', ...part, ms: measured(over('decode', entrant)), macs: macs.decoder },
    )
  }
  for (const our of entrants) if (our.ours) for (const their of entrants) if (!their.ours)
    for (const [part, phase] of [['unet', 'step'], ['vae-decoder', 'decode']] as const)
      report.ratios.push({
        name: `${part} ${our.dtype} / ${their.name} ${their.dtype}`, value: pairedRatio(over(phase, our), over(phase, their)),
      })
}
