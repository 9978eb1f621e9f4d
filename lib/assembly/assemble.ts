import { createHash, randomBytes } from 'node:crypto'
import { copyFile, mkdir, readdir, realpath, rename, rm, writeFile, type FileHandle } from 'node:fs/promises'
import path from 'node:path'
import { AsdmError, shown, throwIfAborted } from '../base/errors'
import { abortSignal, callback, checkOptions, nearestOf, optional, path as checkPath } from '../base/options'
import { plain } from '../base/reading'
import { unetJson } from '../convert/configs'
import { convertModel } from '../convert/convert'
import { fileError, fileExists, isFile, isFileError, isFolder, openFile, shownPath, statTarget, writeError } from '../files/files'
import { makeFolders } from '../files/folders'
import { isJsonObject, readJsonObject, type JsonObject } from '../files/json'
import { writeSafetensors } from '../files/safetensors'
import { locateModel } from '../hub/locate-model'
import { openCheckpoint, type Part } from '../model/checkpoint'
import { openUNet } from '../model/folder'
import { parseUNetConfig } from '../model/unet-config'
import type { UNetConfig } from '../native/configs'
import { loadAddon } from '../native/load'
import { coverTarget, targetConfig, withSection } from './coverage'
import { conditionalConvs } from './experts'
import { madeDType, madePieces } from './pieces'
import { loadRecipe, parseRecipe, unitPlace, type Recipe } from './recipe'
import { recipeFile } from './shipped'

/** How a checkpoint is assembled. */
export interface AssembleOptions {
  /** Folder to make; nothing may be there yet. */
  out: string
  /** Models by their names in the recipe, as `StableDiffusion.load` takes them. These take precedence over the recipe's own paths. */
  checkpoints?: Readonly<Record<string, string>> | undefined
  /** Stops it; nothing is left behind. */
  signal?: AbortSignal | undefined
  /** Called as weights of the UNet are written. */
  onProgress?: ((progress: { weightsDone: number, weightsTotal: number }) => void) | undefined
}

/** What was assembled; also in `assembly.json` of the folder. */
export interface Assembly {
  /** Version of the format. */
  version: 1
  /** The recipe. */
  recipe: Recipe
  /** By checkpoint, the files that were read, by their path in it. */
  sources: Record<string, Record<string, { bytes: number, sha256: string }>>
}

const copiedParts = ['text_encoder', 'vae', 'tokenizer', 'scheduler']

/**
 * Makes a diffusers folder as a recipe says: the UNet is assembled, text encoder, VAE, tokenizer and scheduler are copied from
 * `recipe.target.from`; where that is a single file, they are converted as `convertModel` does. The folder appears whole or not at all.
 * @param recipe a recipe, the path of its JSON file, in whose folder its paths lie, or the name of a shipped one (`bk-base`, `bk-small`,
 * `bk-tiny`, `light`, `light-experts`)
 * @throws AsdmError `INVALID_ARGUMENT`, `TENSOR_MISSING`, `TENSOR_SHAPE`, `BAD_CONFIG`, naming the line of the recipe; what the checkpoints
 * give; `FILE_WRITE`; an `AbortError` when the signal fires
 */
export async function assemble(recipe: Recipe | string, options: AssembleOptions): Promise<Assembly> {
  const given = checkOptions(options, ['out', 'checkpoints', 'signal', 'onProgress'], 'assemble')
  const out = path.resolve(checkPath(given.out, 'out'))
  const signal = optional(given.signal, value => abortSignal(value, 'signal'))
  const onProgress = optional(given.onProgress, value => callback<NonNullable<AssembleOptions['onProgress']>>(value, 'onProgress'))
  const paths = plain(given.checkpoints ?? {}, 'checkpoints')
  if (!isJsonObject(paths)) throw new AsdmError('INVALID_ARGUMENT', `Expected checkpoints to be an object but received ${shown(given.checkpoints)}`)
  throwIfAborted(signal)
  const file = typeof recipe === 'string' ? await recipeFile(checkPath(recipe, 'recipe')) : undefined
  const parsed = file === undefined ? parseRecipe(recipe) : await loadRecipe(file)
  const places = await findCheckpoints(parsed, file === undefined ? undefined : path.dirname(path.resolve(file)), paths, signal)
  if (await statTarget(out) !== undefined)
    throw new AsdmError('INVALID_ARGUMENT',
      `Expected out to be a folder that does not exist yet but there is something at ${shownPath(out)}`)

  const parts = new Map<string, Part<UNetConfig>>()
  const jsons = new Map<string, JsonObject>()
  for (const [name, place] of places) {
    const { part, json } = await openPlace(place, signal)
    parts.set(name, part)
    jsons.set(name, json)
  }
  const base = places.get(parsed.target.from)!
  const aside = `${out}.${process.pid}-${randomBytes(6).toString('hex')}.tmp`
  const converted = `${aside}.base`
  const handles = new Map<string, FileHandle>()
  try {
    const folder = base.single ? converted : base.path
    const configFile = path.join(folder, 'unet', 'config.json')
    const plain = targetConfig(parsed, jsons.get(parsed.target.from)!, parts.get(parsed.target.from)!.config)
    const plainConfig = parseUNetConfig(plain, configFile)
    const conditional = conditionalConvs(parsed, targetWeights(parsed, plainConfig), parts)
    const json = withSection(plain, { ...plainConfig, conditional })
    const weights = coverTarget(parsed, targetWeights(parsed, parseUNetConfig(json, configFile)), parts)
    if (base.single) await convertModel(base.path, converted, { signal })

    await makeFolders(path.join(aside, 'unet'))
    const handleOf = async (file: string): Promise<FileHandle> => {
      const known = handles.get(file) ?? await openFile(file)
      handles.set(file, known)
      return known
    }
    let weightsDone = 0
    await writeSafetensors(path.join(aside, 'unet', 'diffusion_pytorch_model.safetensors'), weights.map(weight => ({
      name: weight.name, dtype: madeDType(weight), shape: weight.shape,
      data: async function * () {
        yield* madePieces(weight, handleOf)
        onProgress?.({ weightsDone: ++weightsDone, weightsTotal: weights.length })
      },
    })), { format: 'pt' }, { signal })
    await writeFile(path.join(aside, 'unet', 'config.json'), `${JSON.stringify(json, undefined, 2)}\n`)
    const read = new Map<string, string[]>([...places].map(([name, place]) => [name, [...new Set(
      weights.flatMap(({ from }) => from.map(({ source }) => source.file)).filter(file =>
        (place.single ? file === place.path : path.dirname(file) === path.join(place.path, 'unet'))),
    )]]))
    const copied = await copyParts(folder, aside, signal)
    const ofBase = read.get(parsed.target.from)!
    if (!base.single) ofBase.push(configFile, ...copied)
    else if (ofBase.length === 0) ofBase.push(base.path)
    const assembly: Assembly = { version: 1, recipe: parsed, sources: {} }
    for (const [name, files] of read) assembly.sources[name] = await hashes(places.get(name)!, files, signal)
    await writeFile(path.join(aside, 'assembly.json'), `${JSON.stringify(assembly, undefined, 2)}\n`)
    throwIfAborted(signal)
    await rename(aside, out)
    return assembly
  } catch (error) {
    await rm(aside, { recursive: true, force: true }).catch(() => {})
    throw isFileError(error) ? writeError(error, out) : error
  } finally {
    for (const handle of handles.values()) await handle.close().catch(() => {})
    await rm(converted, { recursive: true, force: true }).catch(() => {})
  }
}

/** A diffusers folder, or a single file. */
interface Place {
  path: string
  single: boolean
}

/** Where the checkpoints lie. Paths of the recipe stay in its folder, also after links are followed. */
async function findCheckpoints(
  recipe: Recipe, home: string | undefined, given: Record<string, unknown>, signal: AbortSignal | undefined,
): Promise<Map<string, Place>> {
  const names = Object.keys(recipe.checkpoints)
  for (const name of Object.keys(given))
    if (!names.includes(name))
      throw new AsdmError('INVALID_ARGUMENT',
        `Expected checkpoints to name those of the recipe but received ${shown(name)}; ${nearestOf(name, names)}`)
  const places = new Map<string, Place>()
  for (const name of names) {
    const own = recipe.checkpoints[name]
    let at: string
    if (Object.hasOwn(given, name)) {
      at = path.resolve((await locateModel(checkPath(given[name], `checkpoints.${name}`), { signal })).path)
    } else if (typeof own !== 'string' || home === undefined) {
      throw new AsdmError('INVALID_ARGUMENT',
        `Expected the path of the checkpoint ${shown(name)}, which the recipe leaves to the caller, but received none; give it as `
        + `checkpoints: { ${name}: path }, or --checkpoint ${name}=path`)
    } else {
      at = await insideOf(home, own, `recipe.checkpoints[${shown(name)}]`)
    }
    const single = await isFile(at)
    if (!single && !await isFolder(path.join(at, 'unet')))
      throw new AsdmError('FILE_NOT_FOUND',
        `Expected the checkpoint ${shown(name)} to be a diffusers folder with a unet folder, or a single file, at ${shownPath(at)} but `
        + 'there is none')
    places.set(name, { path: at, single })
  }
  return places
}

/** A UNet and its `config.json`: for a single file the one that it would be converted to. */
async function openPlace(
  { path: at, single }: Place, signal: AbortSignal | undefined,
): Promise<{ part: Part<UNetConfig>, json: JsonObject }> {
  if (!single)
    return { part: await openUNet(path.join(at, 'unet'), { signal }), json: await readJsonObject(path.join(at, 'unet', 'config.json')) }
  const { unet, textEncoder } = await openCheckpoint(at, { signal })
  return { part: unet, json: unetJson(unet.config, textEncoder.config.hiddenAct === 'gelu') }
}

async function insideOf(home: string, own: string, where: string): Promise<string> {
  const folder = path.resolve(home, own)
  try {
    const relative = path.relative(await realpath(home), await realpath(folder))
    if (relative === '..' || relative.startsWith(`..${path.sep}`) || path.isAbsolute(relative))
      throw new AsdmError('INVALID_ARGUMENT',
        `Expected ${where} to be a folder or file below the recipe's own folder but ${shownPath(own)} leads out of it`)
  } catch (error) {
    throw isFileError(error) ? fileError(error, folder) : error
  }
  return folder
}

/** What the graph of a config asks for. No weights are read. */
export function requestedWeights(config: UNetConfig) {
  const model = loadAddon().createModel({ kind: 'unet', config }, { dtype: 'fp32', threads: 1, cpu: 'auto' })
  try {
    return model.weights()
  } finally {
    model.dispose()
  }
}

/** As {@link requestedWeights}, naming the line of the recipe that drops what cannot be dropped. */
function targetWeights(recipe: Recipe, config: UNetConfig) {
  try {
    return requestedWeights(config)
  } catch (error) {
    for (const [prefix, line] of Object.entries(recipe.units)) {
      if (!('drop' in line) || prefix === 'mid_block') continue
      try {
        requestedWeights({ ...config, removed: [prefix] })
      } catch (cause) {
        if (cause instanceof AsdmError && cause.code === 'BAD_CONFIG')
          throw new AsdmError('BAD_CONFIG', `Expected ${unitPlace(prefix)} to drop what a UNet can do without: ${cause.message}`, { cause })
      }
    }
    throw error
  }
}

/** Copies the other parts and the index. @returns the files that were read */
async function copyParts(from: string, to: string, signal: AbortSignal | undefined): Promise<string[]> {
  const copied: string[] = []
  for (const part of copiedParts) {
    if (!await isFolder(path.join(from, part))) continue
    await mkdir(path.join(to, part))
    for (const name of (await readdir(path.join(from, part))).sort()) {
      const file = path.join(from, part, name)
      if (!/\.(?:json|txt|safetensors)$/.test(name) || !await isFile(file)) continue
      throwIfAborted(signal)
      await copyFile(file, path.join(to, part, name))
      copied.push(file)
    }
  }
  const index = path.join(from, 'model_index.json')
  if (await fileExists(index)) {
    const json: JsonObject = await readJsonObject(index)
    // Parts that are not copied, and that making images does not need.
    for (const part of ['safety_checker', 'feature_extractor', 'image_encoder']) if (json[part] !== undefined) json[part] = [null, null]
    if (json.requires_safety_checker !== undefined) json.requires_safety_checker = false
    await writeFile(path.join(to, 'model_index.json'), `${JSON.stringify(json, undefined, 2)}\n`)
    copied.push(index)
  }
  return copied
}

async function hashes(
  { path: from, single }: Place, files: readonly string[], signal: AbortSignal | undefined,
): Promise<Record<string, { bytes: number, sha256: string }>> {
  const out: Record<string, { bytes: number, sha256: string }> = {}
  for (const file of files) {
    const hash = createHash('sha256')
    let bytes = 0
    const stream = (await openFile(file)).createReadStream({ highWaterMark: 1 << 20 })
    for await (const piece of stream as AsyncIterable<Buffer>) {
      throwIfAborted(signal)
      hash.update(piece)
      bytes += piece.byteLength
    }
    out[path.relative(single ? path.dirname(from) : from, file).split(path.sep).join('/')] = { bytes, sha256: hash.digest('hex') }
  }
  return out
}
