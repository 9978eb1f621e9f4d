import { AsdmError, shown } from '../base/errors'
import { checkOptions, integer, number, oneOf, optional, path as checkPath, type Unchecked } from '../base/options'
import { listOf } from '../base/reading'
import { isJsonObject, type JsonObject } from '../files/json'

/** A loss on units of the UNet. */
export interface UnitLoss {
  /** Its factor in the sum; 0 leaves it out. */
  weight: number
  /** Units by their names (see `UNet.tapNames`), of both teacher and student. */
  units: string[] | undefined
  /** `squared`: mean squared error; `cosine`: mean over pixels or tokens of 1 - cosine. */
  loss: 'squared' | 'cosine'
}

/** What is minimised. Each is a mean over the batch. */
export interface DistillLosses {
  /**
   * Of the student's output against what the noise says (epsilon, v or the sample, as the scheduler does). `minSnr`: gamma, or 0 for none.
   */
  task: {
    /** Of the loss in the sum; 0 leaves it out. */
    weight: number
    /** Largest signal-to-noise ratio that weighs a sample (min-SNR, arXiv 2303.09556); 0: no weighting. */
    minSnr: number
  }
  /** Of the student's output against the teacher's: squared. */
  output: {
    /** Of the loss in the sum; 0 leaves it out. */
    weight: number
  }
  /** Of units' values against the teacher's: blocks where no units are named, as in BK-SDM (arXiv 2305.15798). */
  feature: UnitLoss
  /** Of what the text brings: the branches of cross-attention units, all that both have where none are named. */
  semantic: UnitLoss
}

/** A part of the training with weights and losses of its own. */
export interface DistillStage {
  /** Optimizer steps of the stage. */
  steps: number
  /** Prefixes of what is trained; undefined: all. */
  train: string[] | undefined
  /** Losses of the stage. */
  losses: DistillLosses
}

/** A distillation, complete: what `distillation.json` holds beside the result. */
export interface DistillSettings {
  /** Of this format. */
  version: 1
  /** The teacher: a model folder, file or name. */
  teacher: string
  /** A model folder, or undefined where a recipe assembles the student from the teacher. */
  student: string | undefined
  /** Recipe that assembles the student, instead of `student`. */
  recipe: string | undefined
  /** A folder of images, or undefined where the teacher draws them from prompts. */
  data: string | undefined
  /** A file of prompts, one a line. */
  prompts: string | undefined
  /** Of `npm run emoji:data`'s drawings: which styles. */
  styles: string[] | undefined
  /** One after the other, at least one. */
  stages: DistillStage[]
  /** Samples of a pass. */
  batch: number
  /** Batches that make up a step. */
  accumulate: number
  /** The highest learning rate. */
  rate: number
  /** Steps in which the learning rate rises to `rate`. */
  warmup: number
  /** AdamW's decoupled weight decay. */
  decay: number
  /** Most that the norm of all gradients may be; 0: any. */
  clip: number
  /** AdamW's decay of the first moment. */
  beta1: number
  /** AdamW's decay of the second moment. */
  beta2: number
  /** Share of the old in the moving average, at most. */
  average: number
  /** Share of samples that are trained without their caption, for guidance. */
  dropCaptions: number
  /** Of everything that is drawn. */
  seed: number
  /** Steps between checkpoints, validations and sheets; 0: none of the last two but at the end. */
  checkpointEvery: number
  /** Steps between two validations. */
  validateEvery: number
  /** Steps between two contact sheets. */
  sheetEvery: number
  /** Images held out for validation, where the data does not say which. */
  validation: number
  /** Latents that the teacher draws where there are only prompts, its steps and guidance for them. */
  samples: number
  /** Steps of the teacher's sampler, for latents and sheets. */
  sampleSteps: number
  /** The guidance scale of the teacher's sampler, for latents and sheets. */
  guidanceScale: number
  /** Prompts of contact sheets. */
  sheetPrompts: string[] | undefined
  /** Pixels of a side; undefined: the model's own. */
  size: number | undefined
  /** What the weights are stored as in the end. */
  dtype: 'fp16' | 'fp32'
}

/** Keys of {@link DistillSettings} as a caller may give them. */
export const distillKeys = [
  '$schema', 'version', 'teacher', 'student', 'recipe', 'data', 'prompts', 'styles', 'stages', 'steps', 'train', 'losses', 'batch', 'accumulate',
  'rate', 'warmup', 'decay', 'clip', 'beta1', 'beta2', 'average', 'dropCaptions', 'seed', 'checkpointEvery', 'validateEvery', 'sheetEvery',
  'validation', 'samples', 'sampleSteps', 'guidanceScale', 'sheetPrompts', 'size', 'dtype',
] as const

const most = 1e9

function names(value: unknown, name: string): string[] {
  const list = listOf(value, name, 65_536)
  if (list.length === 0 || !list.every(item => typeof item === 'string' && item !== '' && item.length <= 1000))
    throw new AsdmError('INVALID_ARGUMENT', `Expected ${name} to be a list of texts but received ${shown(list)}`)
  return list as string[]
}

const weightOf = (given: Unchecked, where: string, standard: number): number =>
  optional(given.weight, value => number(value, `${where}.weight`, 0, most)) ?? standard

function unitLoss(value: unknown, where: string, standard: UnitLoss): UnitLoss {
  const given = checkOptions(value, ['weight', 'units', 'loss'], where)
  return {
    weight: weightOf(given, where, standard.weight),
    units: optional(given.units, item => names(item, `${where}.units`)) ?? standard.units,
    loss: optional(given.loss, item => oneOf(item, `${where}.loss`, ['squared', 'cosine'])) ?? standard.loss,
  }
}

/** Task, output and feature loss as BK-SDM weights them (1 each); the semantic loss is off. */
const standardLosses: DistillLosses = {
  task: { weight: 1, minSnr: 0 }, output: { weight: 1 }, feature: { weight: 1, units: undefined, loss: 'squared' },
  semantic: { weight: 0, units: undefined, loss: 'cosine' },
}

function losses(value: unknown, where: string, standard: DistillLosses): DistillLosses {
  const given = checkOptions(value, ['task', 'output', 'feature', 'semantic'], where)
  const task = checkOptions(given.task, ['weight', 'minSnr'], `${where}.task`)
  const output = checkOptions(given.output, ['weight'], `${where}.output`)
  const parsed: DistillLosses = {
    task: {
      weight: weightOf(task, `${where}.task`, standard.task.weight),
      minSnr: optional(task.minSnr, item => number(item, `${where}.task.minSnr`, 0, most)) ?? standard.task.minSnr,
    },
    output: { weight: weightOf(output, `${where}.output`, standard.output.weight) },
    feature: unitLoss(given.feature, `${where}.feature`, standard.feature),
    semantic: unitLoss(given.semantic, `${where}.semantic`, standard.semantic),
  }
  if (Object.values(parsed).every(({ weight }) => weight === 0))
    throw new AsdmError('INVALID_ARGUMENT', `Expected a loss of ${where} to have a weight above 0 but none has`)
  return parsed
}

/**
 * Checks and completes a distillation's settings, from a caller's options or a file.
 * @throws AsdmError `INVALID_ARGUMENT`, naming the option
 */
export function parseDistillation(options: unknown): DistillSettings {
  const given = checkOptions(options, distillKeys, 'distill')
  const whole = (key: string, standard: number, least: number): number =>
    optional(given[key], value => integer(value, key, least, 2 ** 31)) ?? standard
  const real = (key: string, standard: number, largest: number): number =>
    optional(given[key], value => number(value, key, 0, largest)) ?? standard
  const place = (key: string): string | undefined => optional(given[key], value => checkPath(value, key))
  if (given.version !== undefined && given.version !== 1)
    throw new AsdmError('INVALID_ARGUMENT', `Expected version 1 of distillations but received ${shown(given.version)}`)
  const [student, recipe, data, prompts] = ['student', 'recipe', 'data', 'prompts'].map(place)
  if ((student === undefined) === (recipe === undefined))
    throw new AsdmError('INVALID_ARGUMENT', `Expected either a student or a recipe but received ${student === undefined ? 'neither' : 'both'}`)
  if ((data === undefined) === (prompts === undefined))
    throw new AsdmError('INVALID_ARGUMENT', `Expected either data or prompts but received ${data === undefined ? 'neither' : 'both'}`)
  const shared = losses(given.losses, 'losses', standardLosses)
  const train = optional(given.train, value => names(value, 'train'))
  if (given.stages !== undefined && given.steps !== undefined)
    throw new AsdmError('INVALID_ARGUMENT', 'Expected either steps or stages, which have their own, but received both')
  const stages = given.stages === undefined
    ? [{ steps: whole('steps', 1000, 1), train, losses: shared }]
    : stageList(given.stages, train, shared)
  const steps = stages.reduce((sum, stage) => sum + stage.steps, 0)
  return {
    version: 1, teacher: checkPath(given.teacher, 'teacher'), student, recipe, data, prompts,
    styles: optional(given.styles, value => names(value, 'styles')), stages, batch: whole('batch', 8, 1), accumulate: whole('accumulate', 1, 1),
    rate: real('rate', 1e-4, 1), warmup: whole('warmup', Math.min(100, Math.floor(steps / 10)), 0), decay: real('decay', 0.01, 10),
    clip: real('clip', 1, 1e9), beta1: real('beta1', 0.9, 0.999_999), beta2: real('beta2', 0.99, 0.999_999_999),
    average: real('average', 0.999, 1), dropCaptions: real('dropCaptions', 0.1, 1),
    seed: optional(given.seed, value => integer(value, 'seed', 0, 2 ** 53)) ?? 0, checkpointEvery: whole('checkpointEvery', 100, 1),
    validateEvery: whole('validateEvery', 100, 0), sheetEvery: whole('sheetEvery', 500, 0), validation: whole('validation', 32, 0),
    samples: whole('samples', 512, 1), sampleSteps: whole('sampleSteps', 20, 1), guidanceScale: real('guidanceScale', 7.5, 100),
    sheetPrompts: optional(given.sheetPrompts, value => names(value, 'sheetPrompts')),
    size: optional(given.size, value => integer(value, 'size', 8, 8192)),
    dtype: optional(given.dtype, value => oneOf<'fp16' | 'fp32'>(value, 'dtype', ['fp16', 'fp32'])) ?? 'fp16',
  }
}

function stageList(value: unknown, train: string[] | undefined, shared: DistillLosses): DistillStage[] {
  const list = listOf(value, 'stages', 100)
  if (list.length === 0) throw new AsdmError('INVALID_ARGUMENT', 'Expected stages to be a list of up to 100 stages but received an empty one')
  return list.map((item, i) => {
    const where = `stages[${i}]`
    const given = checkOptions(item, ['steps', 'train', 'losses'], where)
    return {
      steps: integer(given.steps, `${where}.steps`, 1, 2 ** 31), train: optional(given.train, list => names(list, `${where}.train`)) ?? train,
      losses: losses(given.losses, `${where}.losses`, shared),
    }
  })
}

/** What must not change between a training and its continuation: all but how often something is written. */
export function fixedSettings(settings: DistillSettings): JsonObject {
  const { checkpointEvery: _c, validateEvery: _v, sheetEvery: _s, sheetPrompts: _p, ...rest } = settings
  return JSON.parse(JSON.stringify(rest)) as JsonObject
}

/** Names of the settings in which two trainings differ. */
export function differingSettings(a: JsonObject, b: JsonObject): string[] {
  const text = (value: unknown): string => JSON.stringify(value, (_key, inner: unknown) =>
    (isJsonObject(inner) ? Object.fromEntries(Object.entries(inner).sort(([x], [y]) => (x < y ? -1 : 1))) : inner)) ?? 'undefined'
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].filter(key => text(a[key]) !== text(b[key]))
}
