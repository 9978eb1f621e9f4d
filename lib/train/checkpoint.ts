import { randomBytes } from 'node:crypto'
import { readdir, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { AsdmError, shown } from '../base/errors'
import { isFileError, isFolder, shownPath, writeError } from '../files/files'
import { makeFolders } from '../files/folders'
import { isJsonObject, readJsonObject, type JsonObject } from '../files/json'
import { writeSafetensors } from '../files/safetensors'
import { writeWhole } from '../files/write'
import type { TrainedWeight } from '../native/trainer'
import type { Trainer } from './trainer'

/** What of a training is no tensor. */
export interface CheckpointState {
  format: 'asdm-training'
  version: 1
  /** Steps of the whole training that were taken. */
  step: number
  /** Number of the stage, and steps of AdamW in it. */
  stage: number
  stageSteps: number
  /** What the training was begun with. */
  options: JsonObject
  /** Whatever else goes on: the curves up to here. */
  progress: JsonObject
}

const stateFile = 'training.json'
const files = { weight: 'weights.safetensors', average: 'average.safetensors', moments: 'moments.safetensors' } as const
const folderName = (step: number): string => `step-${String(step).padStart(8, '0')}`
const kept = 2

/**
 * Writes a checkpoint as a folder of its own, whole or not at all, and removes all but the last two. What was there before stays where
 * writing fails, as on a full disk.
 * @param weights those whose values are not the student's own any more: trained now or in an earlier stage
 * @throws AsdmError `FILE_WRITE`; an `AbortError` when the signal fires
 */
export async function saveCheckpoint(
  folder: string, trainer: Trainer, state: CheckpointState, weights: (weight: TrainedWeight) => boolean, signal?: AbortSignal,
): Promise<string> {
  const target = path.join(folder, folderName(state.step))
  const temporary = path.join(folder, `${folderName(state.step)}.${process.pid}-${randomBytes(6).toString('hex')}.tmp`)
  try {
    await makeFolders(temporary)
    const trained = ({ trained }: TrainedWeight): boolean => trained
    await writeSafetensors(path.join(temporary, files.weight), trainer.tensors('weight', '', weights), { format: 'pt' }, { signal })
    await writeSafetensors(path.join(temporary, files.average), trainer.tensors('average', '', trained), { format: 'pt' }, { signal })
    await writeSafetensors(path.join(temporary, files.moments), [...trainer.tensors('first', 'first.'), ...trainer.tensors('second', 'second.')], {}, { signal })
    await writeWhole(path.join(temporary, stateFile), Buffer.from(`${JSON.stringify(state, undefined, 1)}\n`))
    // One of the same step is there where a training was resumed from the checkpoint before it.
    await rm(target, { recursive: true, force: true })
    await rename(temporary, target)
  } catch (error) {
    await rm(temporary, { recursive: true, force: true }).catch(() => {})
    throw isFileError(error) ? writeError(error, target) : error
  }
  for (const name of (await checkpoints(folder)).slice(0, -kept)) await rm(path.join(folder, name), { recursive: true, force: true })
  return target
}

/** Names of the checkpoints in a folder, oldest first. What a killed training left half-written is none of them, and is removed. */
async function checkpoints(folder: string): Promise<string[]> {
  if (!await isFolder(folder)) return []
  const names = await readdir(folder)
  for (const name of names.filter(each => /^step-\d{8}\..*\.tmp$/.test(each))) await rm(path.join(folder, name), { recursive: true, force: true })
  return names.filter(name => /^step-\d{8}$/.test(name)).sort()
}

/** The last checkpoint of a folder, if there is one. @throws AsdmError `FILE_READ`, `BAD_JSON` */
export async function lastCheckpoint(folder: string): Promise<{ folder: string, state: CheckpointState } | undefined> {
  const name = (await checkpoints(folder)).at(-1)
  if (name === undefined) return undefined
  const file = path.join(folder, name, stateFile)
  const json = await readJsonObject(file, 2 ** 28)
  const whole = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0
  if (json.format !== 'asdm-training' || json.version !== 1 || ![json.step, json.stage, json.stageSteps].every(whole)
    || !isJsonObject(json.options) || !isJsonObject(json.progress))
    throw new AsdmError('BAD_JSON', `Expected ${shownPath(file)} to be the state of a training but its format is ${shown(json.format)}`)
  return { folder: path.join(folder, name), state: json as unknown as CheckpointState }
}

/** Takes weights, as they were, from a checkpoint of an earlier stage. */
export async function restoreWeights(
  folder: string, trainer: Trainer, weights: (weight: TrainedWeight) => boolean, signal?: AbortSignal,
): Promise<void> {
  await trainer.restore('weight', path.join(folder, files.weight), '', weights, signal)
}

/** Brings a trainer to where a checkpoint of the same stage left it. */
export async function restoreCheckpoint(
  folder: string, trainer: Trainer, state: CheckpointState, weights: (weight: TrainedWeight) => boolean, signal?: AbortSignal,
): Promise<void> {
  const trained = ({ trained }: TrainedWeight): boolean => trained
  await restoreWeights(folder, trainer, weights, signal)
  await trainer.restore('average', path.join(folder, files.average), '', trained, signal)
  await trainer.restore('first', path.join(folder, files.moments), 'first.', trained, signal)
  await trainer.restore('second', path.join(folder, files.moments), 'second.', trained, signal)
  await trainer.resume(state.stageSteps, signal)
}
