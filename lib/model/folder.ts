import path from 'node:path'
import { AsdmError, shown, throwIfAborted } from '../base/errors'
import { fileExists, isFolder, shownPath } from '../files/files'
import { readJsonObject, type JsonObject } from '../files/json'
import type { TextEncoderConfig, UNetConfig, VAEConfig } from '../native/configs'
import { parseDefaults, schedulerDefaults, type ModelDefaults } from './defaults'
import type { Checkpoint, GivenParts, OpenOptions, Part } from './part'
import { correctedScheduler } from './scheduler-config'
import { parseTextEncoderConfig } from './text-encoder-config'
import { parseUNetConfig } from './unet-config'
import { parseVAEConfig } from './vae-config'
import { checkVariant, findWeights } from './weight-files'
import { toWeightSources, type PartName } from './weights'

interface PartKind<Config> {
  name: PartName
  /** Weight files' name without extension. */
  base: string
  parse(json: JsonObject, file: string): Config
}

const unetKind: PartKind<UNetConfig> = { name: 'unet', base: 'diffusion_pytorch_model', parse: parseUNetConfig }
const vaeKind: PartKind<VAEConfig> = { name: 'vae', base: 'diffusion_pytorch_model', parse: parseVAEConfig }
const textEncoderKind: PartKind<TextEncoderConfig> = { name: 'text_encoder', base: 'model', parse: parseTextEncoderConfig }

/**
 * Pipelines of Stable Diffusion 1 and 2 whose parts are those of {@link Checkpoint}: the model is the same, whatever the pipeline does with
 * it, and diffusers' `StableDiffusionPipeline.from_pretrained` loads it.
 */
const pipelines = [
  'StableDiffusionPipeline', 'StableDiffusionImg2ImgPipeline', 'StableDiffusionInpaintPipeline', 'StableDiffusionInpaintPipelineLegacy',
  'LatentConsistencyModelPipeline', 'LatentConsistencyModelImg2ImgPipeline', 'FlaxStableDiffusionPipeline',
  'StableDiffusionControlNetPipeline', 'StableDiffusionControlNetImg2ImgPipeline', 'StableDiffusionControlNetInpaintPipeline',
  'StableDiffusionAdapterPipeline', 'StableDiffusionPAGPipeline', 'StableDiffusionSAGPipeline', 'StableDiffusionAttendAndExcitePipeline',
  'StableDiffusionPanoramaPipeline', 'StableDiffusionParadigmsPipeline', 'StableDiffusionDiffEditPipeline', 'CycleDiffusionPipeline',
  'SemanticStableDiffusionPipeline', 'LEditsPPPipelineStableDiffusion', 'StableDiffusionPipelineSafe',
]

/** What a `model_index.json` may name. `undefined`: not used here, whatever it is. */
const components: Record<string, string[] | undefined> = {
  unet: ['UNet2DConditionModel'],
  vae: ['AutoencoderKL', 'AutoencoderTiny'],
  text_encoder: ['CLIPTextModel'],
  tokenizer: ['CLIPTokenizer', 'CLIPTokenizerFast', 'TokenizersBackend', 'PreTrainedTokenizerFast'],
  scheduler: undefined,
  safety_checker: undefined,
  feature_extractor: undefined,
  image_encoder: undefined,
  requires_safety_checker: undefined,
  safety_text_concept: undefined,
  inverse_scheduler: undefined,
}

/** Parts that steer some pipelines' UNet from beside; without them it is the model that `StableDiffusionPipeline` loads. */
const passedOver: readonly string[] = ['controlnet', 'adapter']

export interface PartOptions {
  variant?: string | undefined
  signal?: AbortSignal | undefined
}

/**
 * Opens a UNet on its own: a folder with `config.json` and weights.
 * @throws AsdmError as {@link openCheckpoint}
 */
export async function openUNet(folder: string, options: PartOptions = {}): Promise<Part<UNetConfig>> {
  return (await openPart(unetKind, folder, options)).part
}

/** Opens a VAE on its own, as {@link openUNet}. */
export async function openVAE(folder: string, options: PartOptions = {}): Promise<Part<VAEConfig>> {
  return (await openPart(vaeKind, folder, options)).part
}

/** Opens a text encoder on its own, as {@link openUNet}. */
export async function openTextEncoder(folder: string, options: PartOptions = {}): Promise<Part<TextEncoderConfig>> {
  return (await openPart(textEncoderKind, folder, options)).part
}

async function openPart<Config>(kind: PartKind<Config>, folder: string, options: PartOptions, mixed = false, config?: Config) {
  if (typeof folder !== 'string' || folder === '' || folder.includes('\0'))
    throw new AsdmError('INVALID_ARGUMENT', `Expected the path of a ${kind.name} folder but received ${shown(folder)}`)
  checkVariant(options.variant)
  throwIfAborted(options.signal)
  // Absolute, since the weights are read later, when the working directory may have changed.
  folder = path.resolve(folder)
  if (!await isFolder(folder)) throw new AsdmError('FILE_NOT_FOUND', `Expected a folder at ${shownPath(folder)} but there is none`)
  config ??= await readConfig(kind, folder)
  throwIfAborted(options.signal)
  const { tensors, variant, file } = await findWeights(folder, kind.base, options.variant, mixed, options.signal)
  const part: Part<Config> = { config, weights: toWeightSources(kind.name, tensors, file), path: file }
  return { name: kind.name, part, variant }
}

async function readConfig<Config>(kind: PartKind<Config>, folder: string): Promise<Config> {
  const file = path.join(folder, 'config.json')
  return kind.parse(await readJsonObject(file), file)
}

/** Configs found in a diffusers folder; a part that has none there is `undefined`. */
interface ConfigSet {
  unet: UNetConfig | undefined
  vae: VAEConfig | undefined
  textEncoder: TextEncoderConfig | undefined
  scheduler: JsonObject | undefined
  tokenizerFolder: string | undefined
}

/**
 * Reads the configs of a diffusers folder without its weights, for `{ config: folder }`.
 * @throws AsdmError `FILE_NOT_FOUND` when it has none at all, and what the configs give
 */
export async function readConfigSet(folder: string): Promise<ConfigSet> {
  const read = async <Config>(kind: PartKind<Config>): Promise<Config | undefined> =>
    (await fileExists(path.join(folder, kind.name, 'config.json')) ? readConfig(kind, path.join(folder, kind.name)) : undefined)
  const set: ConfigSet = {
    unet: await read(unetKind), vae: await read(vaeKind), textEncoder: await read(textEncoderKind),
    scheduler: await readScheduler(folder), tokenizerFolder: await findTokenizer(folder),
  }
  if (Object.values(set).every(config => config === undefined))
    throw new AsdmError('FILE_NOT_FOUND',
      `Expected a diffusers folder with configs (unet/config.json and others) at ${shownPath(folder)} but it has none`)
  return set
}

async function readScheduler(folder: string): Promise<JsonObject | undefined> {
  const file = path.join(folder, 'scheduler', 'scheduler_config.json')
  return await fileExists(file) ? readJsonObject(file) : undefined
}

async function findTokenizer(folder: string): Promise<string | undefined> {
  const tokenizer = path.join(folder, 'tokenizer')
  for (const name of ['vocab.json', 'tokenizer.json', 'merges.txt', 'merges.txt.br'])
    if (await fileExists(path.join(tokenizer, name))) return tokenizer
  return undefined
}

/** Opens a diffusers folder; see {@link openCheckpoint}, which also checks the arguments. */
export async function openFolder(folder: string, options: OpenOptions, given: GivenParts): Promise<Checkpoint> {
  const { signal } = options
  const warnings: string[] = []
  const { pipeline, recommended } = await checkIndex(folder, warnings, given)
  const override = options.config === undefined ? undefined : await readConfigSet(options.config)

  // As in diffusers, a part that lacks the variant asked for is read without it.
  const open = <Config>(kind: PartKind<Config>, config: Config | undefined) =>
    openPart(kind, path.join(folder, kind.name), options, true, config)
  const unet = await open(unetKind, override?.unet)
  unet.part.config = await correctedUNet(
    unet.part.config, path.join(override?.unet === undefined ? folder : options.config!, 'unet', 'config.json'), pipeline, warnings,
  )
  const vae = given.vae === undefined ? await open(vaeKind, override?.vae) : undefined
  const textEncoder = given.textEncoder === undefined ? await open(textEncoderKind, override?.textEncoder) : undefined
  const parts = [unet, vae, textEncoder].filter(part => part !== undefined)
  // Each is given or was opened just now.
  const [vaePart, textPart] = [(given.vae ?? vae?.part)!, (given.textEncoder ?? textEncoder?.part)!]
  if (options.variant !== undefined) {
    if (parts.every(({ variant }) => variant === undefined))
      throw new AsdmError('FILE_NOT_FOUND',
        `Expected weights of the variant ${shown(options.variant)} in ${shownPath(folder)} but no part has any`)
    const without = parts.filter(({ variant }) => variant === undefined).map(({ name }) => name)
    if (without.length > 0)
      warnings.push(
        `The variant ${shown(options.variant)} does not exist for ${without.join(' and ')}; the weights without a variant are used there.`,
      )
  } else {
    for (const { name, variant } of parts)
      if (variant !== undefined) warnings.push(`The only weights of ${name} are those of the variant ${shown(variant)}; they are used.`)
  }

  throwIfAborted(signal)
  const published = override?.scheduler ?? await readScheduler(folder)
  if (published === undefined)
    throw new AsdmError('FILE_NOT_FOUND', `Expected scheduler/scheduler_config.json in ${shownPath(folder)} but there is none`)
  const schedulerConfig = correctedScheduler(published, pipeline, warnings)
  const tokenizerFolder = options.tokenizer ?? await findTokenizer(folder) ?? override?.tokenizerFolder
  if (tokenizerFolder === undefined) warnings.push(`There is no tokenizer in ${shownPath(folder)}; CLIP's is used.`)
  // Of the two published text encoders, SD 2's (gelu) was trained with the window filled with "!".
  const padToken = textPart.config.hiddenAct === 'gelu' ? '!' : undefined
  return {
    kind: 'folder', path: folder, unet: unet.part, vae: vaePart, textEncoder: textPart, tokenizerFolder, padToken, schedulerConfig,
    defaults: { ...schedulerDefaults(schedulerConfig, unet.part.config.timeCondDim !== undefined), ...recommended }, warnings,
  }
}

/** Latent pixels that Stable Diffusion 1 was trained at; less in an old config is a conversion's mistake. */
const leastOldSampleSize = 64

/**
 * The UNet's config as diffusers' pipelines correct it: before 0.9 they converted models of 512 pixels with a `sample_size` of 32
 * (huggingface/diffusers#1408).
 */
async function correctedUNet(config: UNetConfig, file: string, pipeline: unknown, warnings: string[]): Promise<UNetConfig> {
  if (config.sampleSize >= leastOldSampleSize || typeof pipeline === 'string' && pipeline.startsWith('LatentConsistency')) return config
  const { _diffusers_version: version, sample_size: size } = await readJsonObject(file)
  const [, major, minor] = typeof version === 'string' ? /^(\d+)\.(\d+)/.exec(version) ?? [] : []
  if (minor === undefined || typeof size !== 'number' || Number(major) > 0 || Number(minor) >= 9) return config
  warnings.push(
    `The UNet's config says sample_size ${size} and was written by diffusers ${String(version).slice(0, 20)}; ${leastOldSampleSize} is `
    + 'used, as in diffusers.',
  )
  return { ...config, sampleSize: leastOldSampleSize }
}

/**
 * Reads `model_index.json`: is this a pipeline that asdm runs, made of parts that it knows?
 * @param warnings takes what the user should know @param given parts that need not be there
 * @returns the pipeline's class name, `undefined` where there is no index, and what the model recommends
 * @throws AsdmError `FILE_NOT_FOUND`, `BAD_JSON`, `BAD_CONFIG`, `UNSUPPORTED_CONFIG`
 */
export async function checkIndex(
  folder: string, warnings: string[], given?: GivenParts,
): Promise<{ pipeline: string | undefined, recommended: Partial<ModelDefaults> }> {
  const file = path.join(folder, 'model_index.json')
  if (!await fileExists(file)) {
    if (!await isFolder(path.join(folder, 'unet'))) {
      const hint = await fileExists(path.join(folder, 'config.json'))
        ? '; it looks like one part, which is opened on its own (UNet, VAE, TextEncoder)'
        : ''
      throw new AsdmError('FILE_NOT_FOUND',
        `Expected a diffusers folder with model_index.json at ${shownPath(folder)} but it has none${hint}`)
    }
    warnings.push(`There is no model_index.json in ${shownPath(folder)}; its folders are taken as a Stable Diffusion pipeline's.`)
    return { pipeline: undefined, recommended: {} }
  }
  const index = await readJsonObject(file)
  if (!pipelines.includes(index._class_name as string))
    throw new AsdmError('UNSUPPORTED_CONFIG',
      `Expected ${shownPath(file)} to name a pipeline of Stable Diffusion 1 or 2 (${pipelines.join(', ')}) but received _class_name `
      + shown(index._class_name))
  for (const [name, value] of Object.entries(index)) {
    const empty = value === null || value === false || Array.isArray(value) && value.every(item => item === null)
    const known = Object.hasOwn(components, name)
    if (passedOver.includes(name) && !empty) warnings.push(`The ${name} of ${shownPath(folder)} is not used.`)
    if (passedOver.includes(name) || name === 'vae' && given?.vae !== undefined || name === 'text_encoder' && given?.textEncoder !== undefined)
      continue
    if (name.startsWith('_') || known && components[name] === undefined || empty && !known) continue
    if (!known)
      throw new AsdmError('UNSUPPORTED_CONFIG',
        `Expected only the parts of a Stable Diffusion pipeline in ${shownPath(file)} but received ${shown(name)}: `
        + (JSON.stringify(value)?.slice(0, 80)))
    const type: unknown = Array.isArray(value) ? value[1] : value
    if (!components[name]!.includes(type as string))
      throw new AsdmError('UNSUPPORTED_CONFIG',
        `Expected ${name} in ${shownPath(file)} to be a ${components[name]!.join(' or ')} but received ${shown(type)}`)
  }
  return { pipeline: index._class_name as string, recommended: parseDefaults(index, file) }
}
