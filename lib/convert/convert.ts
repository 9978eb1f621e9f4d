import { randomBytes } from 'node:crypto'
import { copyFile, mkdir, readdir, rename, rm, rmdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { AsdmError, shown, throwIfAborted } from '../base/errors'
import { abortSignal, boolean, callback, checkOptions, oneOf, optional, path as checkPath } from '../base/options'
import { fileExists, isFileError, shownPath, statTarget, writeError } from '../files/files'
import { makeFolders } from '../files/folders'
import { readJsonObject, type JsonObject } from '../files/json'
import { writeSafetensors } from '../files/safetensors'
import { locateModel } from '../hub/locate-model'
import { mergeLoras, type MergedCheckpoint } from '../lora/merge'
import { parseLoras, type LoraOptions } from '../lora/options'
import { openCheckpoint, type Checkpoint } from '../model/checkpoint'
import { matchWeights, splitVAEWeights, type PartName } from '../model/weights'
import type { NativeModelSpec, WeightRequest } from '../native/binding'
import type { StoredDType } from '../native/configs'
import { loadAddon } from '../native/load'
import { writePackagedTokenizer } from '../text/packaged-tokenizer'
import { modelIndexJson, textEncoderJson, unetJson, vaeJson } from './configs'
import { unusedTensors, type DroppedTensor } from './coverage'
import { folderTensors, outputBytes, singleFileTensors, toWrite, type ModelWeights, type OutputTensor } from './output'

/** How a model is converted. */
export interface ConvertOptions {
  /**
   * `folder`: a diffusers folder; `file`: one file with the original names. Left out: `file` where the target's name ends in
   * `.safetensors`.
   */
  to?: 'folder' | 'file' | undefined
  /** Number format of the new weights; each keeps its own if left out. Numbers are rounded to the nearest, ties to even. */
  dtype?: 'fp32' | 'fp16' | 'bf16' | undefined
  /** Which variant of the source's weight files: `fp16` for `diffusion_pytorch_model.fp16.safetensors`. */
  variant?: string | undefined
  /** A diffusers folder whose configs are used instead of the source's own, or of those inferred for a single file. */
  config?: string | undefined
  /** A folder whose tokenizer goes into a diffusers folder instead of the source's. */
  tokenizer?: string | undefined
  /** LoRAs that are baked into the new weights. */
  loras?: readonly LoraOptions[] | undefined
  /** Where LoRAs lie that `loras` call by `name`. */
  loraFolder?: string | undefined
  /** Replace a file that is there. A folder that is there, and not empty, is never replaced. */
  overwrite?: boolean | undefined
  /** Stops the conversion, which then rejects with an `AbortError` and leaves nothing behind. */
  signal?: AbortSignal | undefined
  /** Called as weights are written. */
  onProgress?: ((progress: { bytesDone: number, bytesTotal: number }) => void) | undefined
}

/** What a conversion gave. */
export interface ConvertedModel {
  /** The folder or file that was written. */
  path: string
  /** A diffusers folder, or one file with the original names. */
  kind: 'folder' | 'single-file'
  /** Tensors that were written. */
  tensors: number
  /** Bytes of the tensors. */
  bytes: number
  /** Tensors of the source that the new model does not have. */
  dropped: DroppedTensor[]
  /** What the user should know: sentences. */
  warnings: string[]
}

const convertKeys = [
  'to', 'dtype', 'variant', 'config', 'tokenizer', 'loras', 'loraFolder', 'overwrite', 'signal', 'onProgress',
] as const satisfies readonly (keyof ConvertOptions)[]
const storedDTypes: Record<NonNullable<ConvertOptions['dtype']>, StoredDType> = { fp32: 'F32', fp16: 'F16', bf16: 'BF16' }
const torchDTypes: Record<StoredDType, string> = {
  F32: 'float32', F16: 'float16', BF16: 'bfloat16', F64: 'float64', F8_E4M3: 'float8_e4m3fn', F8_E5M2: 'float8_e5m2',
}
const partNames = ['text_encoder', 'unet', 'vae'] as const satisfies readonly PartName[]
const weightFiles: Record<PartName, string> = {
  text_encoder: 'model.safetensors', unet: 'diffusion_pytorch_model.safetensors', vae: 'diffusion_pytorch_model.safetensors',
}
const tokenizerFiles = [
  'vocab.json', 'merges.txt', 'tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json', 'tokenizer.json',
]

/**
 * Converts a Stable Diffusion 1.x or 2.x model: a diffusers folder to one file with the original names, or back, or to another
 * number format, or with LoRAs baked in. Weights are read, converted and written piece by piece. Every weight that the model's graphs
 * ask for is there once and in its shape, or nothing is written; what is written is opened and compared again before it gets its name.
 *
 * One file has no place for configs: where reading it back infers others than the model has, `warnings` says so.
 * @param source a diffusers folder, a single file, or `owner/name` on the hub @param target where to; its folder is made where there is
 * none
 * @throws AsdmError as `StableDiffusion.load`; `TENSOR_DTYPE` for a number that the new format cannot hold, `UNSUPPORTED_CONFIG`
 * for a model that the original names cannot tell, `FILE_WRITE`; an `AbortError` when the signal fires
 */
export async function convertModel(source: string, target: string, options?: ConvertOptions): Promise<ConvertedModel> {
  const given = checkOptions(options, convertKeys, 'convertModel')
  checkPath(source, 'the path of a checkpoint')
  const to = optional(given.to, value => oneOf<'folder' | 'file'>(value, 'to', ['folder', 'file']))
    ?? (checkPath(target, 'the target').toLowerCase().endsWith('.safetensors') ? 'file' : 'folder')
  const job = {
    target: path.resolve(checkPath(target, 'the target')),
    dtype: optional(given.dtype, value => storedDTypes[oneOf(value, 'dtype', ['fp32', 'fp16', 'bf16'])]),
    overwrite: optional(given.overwrite, value => boolean(value, 'overwrite')) ?? false,
    config: optional(given.config, value => path.resolve(checkPath(value, 'config'))),
    signal: optional(given.signal, value => abortSignal(value, 'signal')),
    onProgress: optional(given.onProgress, value => callback<NonNullable<ConvertOptions['onProgress']>>(value, 'onProgress')),
  }
  const [variant, tokenizer] = (['variant', 'tokenizer'] as const).map(key => optional(given[key], value => checkPath(value, key)))
  const { signal, config } = job
  if (to === 'file' && !job.target.toLowerCase().endsWith('.safetensors'))
    throw new AsdmError('INVALID_ARGUMENT', `Expected the target of a single file to end in .safetensors but received ${shown(target)}`)
  const loras = parseLoras(given.loras, given.loraFolder)
  await checkTarget(job.target, to, job.overwrite)
  const found = await locateModel(source, { variant, signal })
  const opened = await openCheckpoint(found.path, { variant: found.variant, config, tokenizer, signal })
  const merged = await mergeLoras(opened, loras, { stored: job.dtype === undefined, signal })
  try {
    return await writeModel(to, job, opened, merged)
  } finally {
    await merged.dispose()
  }
}

async function writeModel(
  to: 'folder' | 'file', job: Omit<Job, 'temporary' | 'checkpoint' | 'requests' | 'weights'>, opened: Checkpoint,
  { checkpoint, warnings }: MergedCheckpoint,
): Promise<ConvertedModel> {
  const { signal } = job
  const requests = weightRequests(checkpoint)
  const weights = matchAll(checkpoint, requests)
  const dropped = await unusedTensors(Object.values(matchAll(opened, requests)).flat())
  throwIfAborted(signal)
  const temporary = `${job.target}.${process.pid}-${randomBytes(6).toString('hex')}.tmp${to === 'file' ? '.safetensors' : ''}`
  try {
    await makeFolders(path.dirname(job.target))
    const written = await (to === 'file' ? writeFileOf : writeFolderOf)({ ...job, temporary, checkpoint, requests, weights })
    throwIfAborted(signal)
    // An empty folder gives way; one that has been filled meanwhile does not.
    if (to === 'folder') await rmdir(job.target).catch(() => {})
    await rename(temporary, job.target)
    return {
      path: job.target, kind: to === 'file' ? 'single-file' : 'folder', ...written, dropped,
      warnings: [...checkpoint.warnings, ...warnings, ...written.warnings],
    }
  } catch (error) {
    await rm(temporary, { recursive: true, force: true }).catch(() => {})
    throw isFileError(error) ? writeError(error, job.target) : error
  }
}

interface Job {
  target: string
  temporary: string
  dtype: StoredDType | undefined
  config: string | undefined
  signal: AbortSignal | undefined
  onProgress: ConvertOptions['onProgress']
  checkpoint: Checkpoint
  requests: Requests
  weights: ModelWeights
}

type Written = Pick<ConvertedModel, 'tensors' | 'bytes' | 'warnings'>

/** What each part's graphs ask for; a VAE is two graphs. */
type Requests = Record<'unet' | 'text_encoder' | 'decoder' | 'encoder', WeightRequest[]>

async function checkTarget(target: string, to: 'folder' | 'file', overwrite: boolean): Promise<void> {
  const found = await statTarget(target)
  if (found === undefined) return
  if (to === 'folder' && found.isDirectory() && (await readdir(target)).length === 0) return
  if (to === 'file' && found.isFile() && overwrite) return
  const hint = to === 'file' && found.isFile() ? '; give overwrite to replace it' : ''
  throw new AsdmError('INVALID_ARGUMENT',
    `Expected nothing at the target ${shownPath(target)} but there is a ${found.isDirectory() ? 'folder' : 'file'}${hint}`)
}

/** Asks the graphs which weights they have. None is loaded. */
function weightRequests({ unet, vae, textEncoder }: Checkpoint): Requests {
  const addon = loadAddon()
  const ask = (spec: NativeModelSpec): WeightRequest[] => {
    const model = addon.createModel(spec, { dtype: 'fp32', threads: 1, cpu: 'auto' })
    try {
      return model.weights()
    } finally {
      model.dispose()
    }
  }
  return {
    unet: ask({ kind: 'unet', config: unet.config }),
    text_encoder: ask({ kind: 'text_encoder', config: textEncoder.config }),
    decoder: ask({ kind: 'vae_decoder', config: vae.config }),
    encoder: ask({ kind: 'vae_encoder', config: vae.config }),
  }
}

/** Every weight once, in its shape; others are left out. @throws AsdmError `TENSOR_MISSING`, `TENSOR_SHAPE`, `TENSOR_DTYPE` */
function matchAll({ unet, vae, textEncoder }: Checkpoint, requests: Requests): ModelWeights {
  const halves = splitVAEWeights(vae.weights)
  return {
    text_encoder: matchWeights(requests.text_encoder, textEncoder.weights, textEncoder.path),
    unet: matchWeights(requests.unet, unet.weights, unet.path),
    vae: [...matchWeights(requests.encoder, halves.encoder, vae.path), ...matchWeights(requests.decoder, halves.decoder, vae.path)],
  }
}

/** Counts bytes of all files together. */
function counter(tensors: readonly OutputTensor[], onProgress: ConvertOptions['onProgress']): (bytes: number) => void {
  const bytesTotal = tensors.reduce((sum, tensor) => sum + outputBytes(tensor), 0)
  let bytesDone = 0
  return bytes => {
    bytesDone += bytes
    onProgress?.({ bytesDone, bytesTotal })
  }
}

const total = (tensors: readonly OutputTensor[]): { tensors: number, bytes: number } =>
  ({ tensors: tensors.length, bytes: tensors.reduce((sum, tensor) => sum + outputBytes(tensor), 0) })

async function writeFileOf({ temporary, dtype, config, signal, onProgress, checkpoint, requests, weights }: Job): Promise<Written> {
  const tensors = singleFileTensors(weights, checkpoint.textEncoder.config, dtype)
  const prediction = checkpoint.schedulerConfig.prediction_type ?? 'epsilon'
  const metadata = {
    format: 'pt',
    ...(prediction === 'epsilon' || prediction === 'v_prediction'
      ? { 'modelspec.prediction_type': prediction === 'epsilon' ? 'epsilon' : 'v' }
      : {}),
  }
  await writeSafetensors(temporary, toWrite(tensors, signal, counter(tensors, onProgress)), metadata, { signal })
  // With the configs that it comes from it must give the same model; without them it may not.
  const own = config ?? (checkpoint.kind === 'folder' ? checkpoint.path : undefined)
  compare(matchAll(await openCheckpoint(temporary, { config: own, signal }), requests), weights, dtype)
  return { ...total(tensors), warnings: await inferenceWarnings(temporary, checkpoint) }
}

/** What reading the file without configs would get wrong. */
async function inferenceWarnings(file: string, { unet, vae, textEncoder, schedulerConfig }: Checkpoint): Promise<string[]> {
  const hint = 'load it with { config: folder } (--config) and a diffusers folder that has them'
  let inferred: Checkpoint
  try {
    inferred = await openCheckpoint(file)
  } catch (error) {
    if (!(error instanceof AsdmError)) throw error
    return [`A single file has no place for configs, and this model's are not those of Stable Diffusion 1.5 or 2.1; ${hint}.`]
  }
  const differing: string[] = []
  for (const [name, ours, theirs] of [
    ['unet', unet.config, inferred.unet.config], ['vae', vae.config, inferred.vae.config],
    ['text_encoder', textEncoder.config, inferred.textEncoder.config],
  ] as const)
    for (const [key, value] of Object.entries(ours))
      if (!isDeepStrictEqual(value, (theirs as unknown as Record<string, unknown>)[key])) differing.push(`${name}.${key}`)
  for (const key of ['prediction_type', 'beta_start', 'beta_end', 'beta_schedule', 'rescale_betas_zero_snr'] as const) {
    const plain: JsonObject = { prediction_type: 'epsilon', rescale_betas_zero_snr: false }
    if (!isDeepStrictEqual(schedulerConfig[key] ?? plain[key], inferred.schedulerConfig[key] ?? plain[key]))
      differing.push(`scheduler.${key}`)
  }
  return differing.length === 0
    ? []
    : [`A single file has no place for configs, and some of this model's cannot be seen from its weights (${differing.join(', ')}); `
      + `${hint}.`]
}

async function writeFolderOf({ temporary, dtype, config, signal, onProgress, checkpoint, requests, weights }: Job): Promise<Written> {
  const parts = partNames.map(name => ({ name, tensors: folderTensors(name, weights[name], dtype) }))
  const tensors = parts.flatMap(part => part.tensors)
  const count = counter(tensors, onProgress)
  await mkdir(temporary)
  await writeConfigs(temporary, checkpoint, config, dtype ?? weights.text_encoder[0]!.dtype)
  for (const part of parts)
    await writeSafetensors(
      path.join(temporary, part.name, weightFiles[part.name]), toWrite(part.tensors, signal, count), { format: 'pt' }, { signal },
    )
  const written = await openCheckpoint(temporary, { signal })
  compare(matchAll(written, requests), weights, dtype)
  for (const part of ['unet', 'vae', 'textEncoder'] as const)
    if (!isDeepStrictEqual(written[part].config, checkpoint[part].config))
      throw new AsdmError('INTERNAL', `Expected the ${part} config that was written to be the one that was read`)
  return { ...total(tensors), warnings: [] }
}

/** The written weights must be the read ones: the same names, shapes and dtypes. */
function compare(written: ModelWeights, read: ModelWeights, dtype: StoredDType | undefined): void {
  for (const part of partNames) {
    const same = written[part].length === read[part].length && written[part].every((source, i) =>
      source.name === read[part][i]?.name && isDeepStrictEqual(source.shape, read[part][i]?.shape)
      && (dtype === undefined || source.dtype === dtype))
    if (!same) throw new AsdmError('INTERNAL', `Expected the weights of ${part} that were written to be those that were read`)
  }
}

/** Configs, scheduler and tokenizer: the source's own files where it has any, else such as give the same. */
async function writeConfigs(folder: string, checkpoint: Checkpoint, override: string | undefined, textDType: StoredDType): Promise<void> {
  const { unet, vae, textEncoder, schedulerConfig } = checkpoint
  const from = [override, checkpoint.kind === 'folder' ? checkpoint.path : undefined].filter(place => place !== undefined)
  const existing = async (name: string): Promise<string | undefined> => {
    for (const place of from) if (await fileExists(path.join(place, name))) return path.join(place, name)
    return undefined
  }
  const give = async (name: string, json: JsonObject): Promise<void> => {
    await makeFolders(path.dirname(path.join(folder, name)))
    const found = await existing(name)
    // The bytes as they are: JSON written by Python may hold numbers that JSON has not.
    if (found !== undefined) await copyFile(found, path.join(folder, name))
    else await writeJson(path.join(folder, name), json)
  }
  const pixels = unet.config.sampleSize * 2 ** (vae.config.blockOutChannels.length - 1)
  await give('unet/config.json', unetJson(unet.config, textEncoder.config.hiddenAct === 'gelu'))
  await give('vae/config.json', vaeJson(vae.config, pixels))
  await give('scheduler/scheduler_config.json', { _diffusers_version: '0.30.0', ...schedulerConfig })
  await give('text_encoder/config.json', textEncoderJson(textEncoder.config, torchDTypes[textDType]))
  await updateDType(path.join(folder, 'text_encoder', 'config.json'), torchDTypes[textDType])
  const index = from.length > 0 && checkpoint.kind === 'folder' && await fileExists(path.join(checkpoint.path, 'model_index.json'))
    ? await readJsonObject(path.join(checkpoint.path, 'model_index.json'))
    : {}
  const className = index._class_name as string | undefined
  await writeJson(path.join(folder, 'model_index.json'), {
    ...modelIndexJson(className, unet.config.inChannels, vae.config.latentChannels, schedulerConfig._class_name),
    ...(index._asdm !== undefined && { _asdm: index._asdm }),
  })
  await writeTokenizer(path.join(folder, 'tokenizer'), checkpoint)
}

/** transformers notes the dtype of the weights, under one of two names. */
async function updateDType(file: string, dtype: string): Promise<void> {
  const json = await readJsonObject(file)
  const key = ['dtype', 'torch_dtype'].find(name => name in json)
  if (key !== undefined && json[key] !== dtype) await writeJson(file, { ...json, [key]: dtype })
}

async function writeTokenizer(folder: string, { tokenizerFolder, padToken }: Checkpoint): Promise<void> {
  if (tokenizerFolder === undefined) return writePackagedTokenizer(folder, padToken)
  await mkdir(folder)
  for (const name of tokenizerFiles)
    if (await fileExists(path.join(tokenizerFolder, name))) await copyFile(path.join(tokenizerFolder, name), path.join(folder, name))
}

async function writeJson(file: string, json: JsonObject): Promise<void> {
  await writeFile(file, `${JSON.stringify(json, undefined, 2)}\n`)
}
