/** What a stage's losses are on: which values of teacher and student, and through which adapters. */
import { AsdmError } from '../base/errors'
import { nearestOf } from '../base/options'
import type { Tensor } from '../base/tensor'
import type { UNet } from '../components/unet'
import type { PredictionType } from '../samplers/prediction'
import type { DistillLosses, DistillSettings } from './distill-options'
import { minSnrWeight } from './noise'
import type { TrainerLoss } from './trainer-options'

/** A loss and where its target comes from. */
export interface Term {
  loss: TrainerLoss
  weight: number
  /** `task`: the noise; `output`: the teacher's output; else a value of the teacher. */
  target: 'task' | 'output' | { tap: string }
}

const block = /^(?:down_blocks\.\d+|mid_block|up_blocks\.\d+)$/
const crossAttention = /\.attn2$/

/** Shapes of values that teacher and student have, for one small input. */
export interface TapShapes {
  teacher: ReadonlyMap<string, readonly number[]>
  student: ReadonlyMap<string, readonly number[]>
}

/** Units that any of the losses is on, of those that the UNets have. */
function wantedUnits(settings: DistillSettings, teacher: readonly string[], student: readonly string[]): string[] {
  return [...new Set(settings.stages.flatMap(({ losses: { feature, semantic } }) => [
    ...feature.weight > 0 ? chosen('feature', feature.units, block, teacher, student) : [],
    ...semantic.weight > 0 ? chosen('semantic', semantic.units, crossAttention, teacher, student) : [],
  ]))]
}

function chosen(
  name: string, units: readonly string[] | undefined, standard: RegExp, teacher: readonly string[], student: readonly string[],
): string[] {
  if (units === undefined) return student.filter(tap => standard.test(tap) && teacher.includes(tap))
  for (const unit of units)
    for (const [whose, known] of [['teacher', teacher], ['student', student]] as const)
      if (!known.includes(unit))
        throw new AsdmError('INVALID_ARGUMENT',
          `Expected losses.${name}.units to name units that the ${whose} has but it has no ${JSON.stringify(unit)}; ${nearestOf(unit, known)}`)
  return [...units]
}

/**
 * The terms of a stage. Of units that nobody named, those are left out which nothing that the stage trains lies behind.
 * @param reaches does something that is trained lie behind a unit?
 * @throws AsdmError `INVALID_ARGUMENT` for a unit that is not there, `SHAPE_MISMATCH` for values whose heights or widths differ
 */
export function stageTerms(losses: DistillLosses, shapes: TapShapes, reaches: (unit: string) => boolean): Term[] {
  const [teacher, student] = [[...shapes.teacher.keys()], [...shapes.student.keys()]]
  const terms: Term[] = []
  if (losses.task.weight > 0) terms.push({ loss: { name: 'task', loss: 'squared' }, weight: losses.task.weight, target: 'task' })
  if (losses.output.weight > 0) terms.push({ loss: { name: 'output', loss: 'squared' }, weight: losses.output.weight, target: 'output' })
  for (const [name, standard] of [['feature', block], ['semantic', crossAttention]] as const) {
    const { weight, units, loss } = losses[name]
    if (weight === 0) continue
    const list = chosen(name, units, standard, teacher, student).filter(unit => units !== undefined || reaches(unit))
    if (list.length === 0)
      throw new AsdmError('INVALID_ARGUMENT',
        `Expected units that teacher and student share, and that the training reaches, for losses.${name} but there is none`)
    for (const unit of list) {
      const [from, to] = [shapes.student.get(unit)!, shapes.teacher.get(unit)!]
      // [N,C,H,W] or [N,L,C]
      const at = from.length === 4 ? 1 : from.length - 1
      if (from.length !== to.length || from.some((size, i) => i !== at && size !== to[i]))
        throw new AsdmError('SHAPE_MISMATCH', `Expected ${unit} of the teacher to have the student's size but they are [${to}] and [${from}]`)
      terms.push({
        loss: { name: `${name}.${unit}`, unit, loss, ...(from[at]! !== to[at]! && { adapter: { from: from[at]!, to: to[at]! } }) }, weight,
        target: { tap: unit },
      })
    }
  }
  return terms
}

/** Values of both UNets by name, and their shapes for one sample of this size. */
export async function tapShapes(
  teacher: UNet, student: UNet, settings: DistillSettings, side: number, text: Tensor, signal: AbortSignal,
): Promise<TapShapes> {
  const units = wantedUnits(settings, teacher.tapNames(), student.tapNames())
  const shapesOf = async (unet: UNet): Promise<ReadonlyMap<string, readonly number[]>> => {
    const sample = { data: new Float32Array(unet.config.inChannels * side * side), shape: [1, unet.config.inChannels, side, side] }
    const { taps } = await unet.forward({ sample, timestep: 0, encoderHiddenStates: text, taps: units, signal })
    return new Map(Object.entries(taps).map(([name, { shape }]) => [name, shape]))
  }
  return { teacher: await shapesOf(teacher), student: await shapesOf(student) }
}

/** Each sample's factor in a term: the term's weight, over all samples of a step; in the task loss times its min-SNR weight. */
export function termWeights(
  { target, weight }: Term, { task: { minSnr } }: DistillLosses, type: PredictionType, alphas: readonly number[], samples: number,
): Float32Array {
  return Float32Array.from(alphas, alpha => weight / samples * (target === 'task' && minSnr > 0 ? minSnrWeight(type, alpha, minSnr) : 1))
}
