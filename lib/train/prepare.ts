import os from 'node:os'
import path from 'node:path'
import { AsdmError, shown } from '../base/errors'
import { assemble } from '../assembly/assemble'
import { loadRecipe } from '../assembly/recipe'
import { recipeFile } from '../assembly/shipped'
import { UNet } from '../components/unet'
import type { Warning } from '../components/warnings'
import { formatBytes } from '../base/format'
import { sizes } from '../base/tensor'
import { isFolder, shownPath, statIfAny } from '../files/files'
import { readJsonObject } from '../files/json'
import { locateModel } from '../hub/locate-model'
import { openUNet } from '../model/folder'
import type { Part } from '../model/checkpoint'
import type { UNetConfig } from '../native/configs'
import { createSampler } from '../samplers'
import type { PredictionType } from '../samplers/prediction'
import { StableDiffusion } from '../stable-diffusion'
import { openDataset, readPromptFile } from './data'
import type { DistillSettings } from './distill-options'
import { LatentData, latentKey, sampleLatents, writeLatents } from './latents'
import { stageTerms, tapShapes, type TapShapes, type Term } from './objective'
import { Trainer } from './trainer'

/** What a distillation is prepared with. */
interface Preparation {
  settings: DistillSettings
  /** Folder of what goes on. */
  work: string
  signal: AbortSignal
  threads: number | undefined
  cpu: string | undefined
  tell(progress: { phase: 'assemble' | 'data', done: number, of: number }): void
  onWarning: ((warning: Warning) => void) | undefined
}

/** A distillation that can begin: everything fits. */
export interface Prepared {
  teacher: StableDiffusion
  /** The student's folder, and its UNet. */
  student: string
  unet: Part<UNetConfig>
  data: LatentData
  /** Of each stage, what is minimised. */
  terms: Term[][]
  alphasCumprod: Float32Array
  predictionType: PredictionType
  /** Pixels of a side. */
  size: number
}

/**
 * Loads the teacher, opens or assembles the student, computes latents and text features or finds them, and checks that all fit, memory
 * included.
 * @throws AsdmError naming what does not fit
 */
export async function prepare(preparation: Preparation): Promise<Prepared> {
  const { settings, signal, threads, cpu, onWarning } = preparation
  const teacher = await StableDiffusion.load(settings.teacher, { signal, threads, cpu, onWarning })
  let data: LatentData | undefined
  try {
    const sampler = createSampler(teacher.schedulerConfig)
    const size = settings.size ?? teacher.sizes.default
    const { multiple } = teacher.sizes
    if (size % multiple !== 0)
      throw new AsdmError('INVALID_ARGUMENT', `Expected size to be a multiple of ${multiple} for this model but received ${size}`)
    const student = await studentFolder(preparation)
    const unet = await openUNet(path.join(student, 'unet'), { signal })
    const found = {
      teacher, student, unet, size, alphasCumprod: sampler.alphasCumprod, predictionType: (sampler.config.prediction_type ?? 'epsilon') as PredictionType,
    }
    await compare(found)
    data = await latentData(preparation, teacher, size)
    const text = await data.text([0], [true])
    const pupil = await UNet.load(path.join(student, 'unet'), { signal, threads, cpu, onWarning })
    let shapes: TapShapes
    try {
      shapes = await tapShapes(teacher.unet, pupil, settings, data.shapes.latents[1]!, text, signal)
    } finally {
      await pupil.dispose()
    }
    const terms = settings.stages.map(({ losses, train }) =>
      stageTerms(losses, shapes, tap => Trainer.reaches(unet.config, train, tap)))
    const prepared = { ...found, data, terms }
    checkMemory(preparation, prepared, text.shape[1]!)
    return prepared
  } catch (error) {
    await data?.close()
    await teacher.dispose()
    throw error
  }
}

/** The one given, or assembled by the recipe from the teacher. */
async function studentFolder({ settings: { teacher, student, recipe }, work, signal, tell }: Preparation): Promise<string> {
  if (student !== undefined) {
    const { path: at } = await locateModel(student, { signal })
    if (!await isFolder(path.join(at, 'unet')))
      throw new AsdmError('INVALID_ARGUMENT', `Expected the student to be a diffusers folder but received ${shown(student)}; asdm convert makes one`)
    return path.resolve(at)
  }
  const made = path.join(work, 'student')
  if (await isFolder(made)) return made
  const { checkpoints } = await loadRecipe(await recipeFile(recipe!))
  const open = Object.keys(checkpoints).filter(name => checkpoints[name] === null)
  await assemble(recipe!, {
    out: made, checkpoints: Object.fromEntries(open.map(name => [name, teacher])), signal,
    onProgress: ({ weightsDone, weightsTotal }) => tell({ phase: 'assemble', done: weightsDone, of: weightsTotal }),
  })
  return made
}

/** A student of its own has its own VAE and scheduler, which have to be the teacher's. */
async function compare({ teacher, student, unet, predictionType, alphasCumprod }: Omit<Prepared, 'data' | 'terms'>): Promise<void> {
  const [a, b] = [teacher.unet.config, unet.config]
  for (const key of ['inChannels', 'outChannels', 'crossAttentionDim'] as const)
    if (a[key] !== b[key])
      throw new AsdmError('SHAPE_MISMATCH',
        `Expected a student of the teacher's latent space and text features but ${key} of the teacher is ${a[key]} and of the student ${b[key]}`)
  if (a.timeCondDim !== undefined || b.timeCondDim !== undefined || a.inChannels !== teacher.vae.config.latentChannels)
    throw new AsdmError('UNSUPPORTED_CONFIG', 'Expected a plain text-to-image UNet to distil but received one for inpainting or with time_cond_proj_dim')
  const scheduler = path.join(student, 'scheduler', 'scheduler_config.json'), vae = path.join(student, 'vae', 'config.json')
  if (await statIfAny(scheduler) !== undefined) {
    const own = createSampler(await readJsonObject(scheduler))
    if ((own.config.prediction_type ?? 'epsilon') !== predictionType || !own.alphasCumprod.every((alpha, t) => alpha === alphasCumprod[t]))
      throw new AsdmError('BAD_CONFIG', `Expected a student with the teacher's prediction type and noise schedule but ${shownPath(scheduler)} has others`)
  }
  if (await statIfAny(vae) !== undefined) {
    const { scaling_factor: scale = 0.18215 } = await readJsonObject(vae)
    if (scale !== teacher.vae.config.scalingFactor)
      throw new AsdmError('BAD_CONFIG',
        `Expected a student of the teacher's latent space, scaled by ${teacher.vae.config.scalingFactor}, but scaling_factor of `
        + `${shownPath(vae)} is ${shown(scale)}`)
  }
}

async function latentData({ settings, work, signal, tell }: Preparation, teacher: StableDiffusion, size: number): Promise<LatentData> {
  const file = path.join(work, 'latents.safetensors')
  const onProgress = (done: number, of: number): void => tell({ phase: 'data', done, of })
  const { data, prompts, samples, sampleSteps, guidanceScale, seed, validation, styles } = settings
  const dataset = data === undefined ? undefined : await openDataset(data, styles)
  const list = prompts === undefined ? undefined : await readPromptFile(prompts)
  const key = latentKey({
    version: 1, teacher: settings.teacher, size, validation,
    ...(dataset && { examples: dataset.examples.map(({ name, caption, heldOut }) => [name, caption, heldOut]) }),
    ...(list && { list, samples, sampleSteps, guidanceScale, seed }),
  })
  const known = await LatentData.open(file, key)
  if (known !== undefined) return known
  if (dataset !== undefined) {
    await writeLatents(file, teacher, dataset, size, validation, { key, signal, onProgress })
  } else {
    const options = { count: samples, seed, steps: sampleSteps, guidanceScale, validation, size }
    await sampleLatents(file, teacher, list!, options, { key, signal, onProgress })
  }
  const made = await LatentData.open(file, key)
  if (made === undefined) throw new AsdmError('INTERNAL', `Expected ${shownPath(file)} to be as it was written but it is not`)
  if (made.train.length > 0) return made
  await made.close()
  throw new AsdmError('INVALID_ARGUMENT', 'Expected an example to train on but all are held out')
}

/** What the largest stage needs, beside the teacher. */
function checkMemory({ settings, threads, cpu }: Preparation, { unet, data, terms }: Prepared, length: number): void {
  const [, height, width] = sizes(data.shapes.latents, 3)
  for (const [i, stage] of settings.stages.entries()) {
    const losses = terms[i]!.map(({ loss }) => loss)
    const { activationBytes, stateBytes } = Trainer.measure(unet.config, { losses, train: stage.train, average: true, threads, cpu }, {
      batch: settings.batch, height, width, length,
    })
    const needed = activationBytes + stateBytes
    if (needed > os.totalmem())
      throw new AsdmError('OUT_OF_MEMORY',
        `Expected memory for training with a batch of ${settings.batch}, ${formatBytes(needed)}, but this machine has ${formatBytes(os.totalmem())}; `
        + 'a smaller batch with accumulate, or fewer prefixes in train, take less')
  }
}
