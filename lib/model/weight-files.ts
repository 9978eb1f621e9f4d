import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { AsdmError, shown, throwIfAborted } from '../base/errors'
import { fileError, fileExists, shownPath } from '../files/files'
import { isJsonObject, readJsonObject } from '../files/json'
import { isPickleName, pickleError } from '../files/pickle'
import { readSafetensorsHeader } from '../files/safetensors'
import { maxTensors } from '../files/safetensors-header'
import { firstFew, type FoundTensor } from './weights'

/** Most shards an index may name. */
const maxShards = 1_000

interface FoundWeights {
  tensors: FoundTensor[]
  /** The variant that was read, `undefined` for the files without one. */
  variant: string | undefined
  /** The file, or the index of a sharded one. */
  file: string
}

/**
 * Finds the weights of a part in its folder and reads their headers: one file, or shards with an index; with a variant in the
 * name (`.fp16`) where one is asked for, or where there is no other.
 * @param base file name without extension: `diffusion_pytorch_model` for diffusers, `model` for transformers
 * @param mixed take the files without a variant where the one asked for does not exist
 * @throws AsdmError `FILE_NOT_FOUND`, `UNSUPPORTED_FORMAT` where there are only pickles, and whatever the files give
 */
export async function findWeights(
  folder: string, base: string, variant: string | undefined, mixed: boolean, signal?: AbortSignal,
): Promise<FoundWeights> {
  const names = await list(folder)
  const plain = pickWeightFile(names, base, undefined)
  const asked = variant === undefined ? plain : pickWeightFile(names, base, variant)
  if (asked !== undefined) return readFound(path.join(folder, asked), variant, signal)
  const variants = variantsIn(names, base)
  if (variant !== undefined) {
    if (mixed && plain !== undefined) return readFound(path.join(folder, plain), undefined, signal)
    if (plain === undefined && variants.length === 0) throw nothingFound(folder, base, names)
    throw new AsdmError('FILE_NOT_FOUND',
      `Expected weights of the variant ${shown(variant)} in ${shownPath(folder)} but it has only `
      + [...plain === undefined ? [] : ['those without a variant'], ...variants].join(', '))
  }
  if (variants.length > 1)
    throw new AsdmError('FILE_NOT_FOUND',
      `Expected ${base}.safetensors in ${shownPath(folder)} but it has only variants, name one of them as the variant: `
      + firstFew(variants))
  if (variants.length === 0) throw nothingFound(folder, base, names)
  return readFound(path.join(folder, pickWeightFile(names, base, variants[0])!), variants[0], signal)
}

/**
 * Checks the name of a variant, which becomes part of a file name.
 * @throws AsdmError `INVALID_ARGUMENT`
 */
export function checkVariant(variant: unknown): asserts variant is string | undefined {
  if (variant !== undefined && !(typeof variant === 'string' && /^[\w-][\w.-]{0,63}$/.test(variant)))
    throw new AsdmError('INVALID_ARGUMENT', `Expected variant to be a name such as "fp16" but received ${shown(variant)}`)
}

async function list(folder: string): Promise<Set<string>> {
  try {
    return new Set(await readdir(folder))
  } catch (error) {
    const problem = fileError(error, folder)
    throw problem.code === 'FILE_NOT_FOUND'
      ? new AsdmError('FILE_NOT_FOUND', `Expected a folder at ${shownPath(folder)} but there is none`, { cause: error })
      : problem
  }
}

/** The file of a part's weights, or of their index, among the names in its folder. */
export function pickWeightFile(names: ReadonlySet<string>, base: string, variant: string | undefined): string | undefined {
  // The second form is diffusers' and transformers' own, the third is found in the wild.
  const candidates = variant === undefined
    ? [`${base}.safetensors`, `${base}.safetensors.index.json`]
    : [`${base}.${variant}.safetensors`, `${base}.safetensors.index.${variant}.json`, `${base}.${variant}.safetensors.index.json`]
  return candidates.find(name => names.has(name))
}

/** The variants that a part's weights come in. */
export function variantsIn(names: ReadonlySet<string>, base: string): string[] {
  const found = new Set<string>()
  for (const name of names) {
    if (!name.startsWith(`${base}.`)) continue
    const rest = name.slice(base.length + 1)
    const variant = /^([\w.-]+)\.safetensors(?:\.index\.json)?$/.exec(rest)?.[1] ?? /^safetensors\.index\.([\w.-]+)\.json$/.exec(rest)?.[1]
    // `name.fp16-00001-of-00002.safetensors` is a shard, its index names the variant.
    if (variant !== undefined && !/-\d{5}-of-\d{5}/.test(variant) && !variant.startsWith('safetensors.index')) found.add(variant)
  }
  return [...found].sort()
}

function nothingFound(folder: string, base: string, names: ReadonlySet<string>): AsdmError {
  const pickles = [...names].filter(isPickleName).sort()
  const pickle = pickles.find(name => !name.includes('optimizer')) ?? pickles[0]
  if (pickle !== undefined) return pickleError(path.join(folder, pickle))
  return new AsdmError('FILE_NOT_FOUND', `Expected weights as ${base}.safetensors in ${shownPath(folder)} but there are none`)
}

async function readFound(file: string, variant: string | undefined, signal?: AbortSignal): Promise<FoundWeights> {
  throwIfAborted(signal)
  if (file.endsWith('.json')) return { tensors: await readShards(file, signal), variant, file }
  const { tensors } = await readSafetensorsHeader(file)
  return { tensors: [...tensors].map(([name, tensor]) => ({ name, file, ...tensor })), variant, file }
}

/** Reads the headers of all shards that an index names. */
async function readShards(index: string, signal?: AbortSignal): Promise<FoundTensor[]> {
  const json = await readJsonObject(index)
  const fail = (problem: string): AsdmError =>
    new AsdmError('BAD_JSON', `Expected ${shownPath(index)} to be an index of safetensors shards but ${problem}`)
  const map = json.weight_map
  if (!isJsonObject(map)) throw fail(`its weight_map is ${shown(map)}`)
  const listed = Object.entries(map)
  if (listed.length === 0 || listed.length > maxTensors) throw fail(`its weight_map has ${listed.length} entries`)
  const shards = new Map<string, Set<string>>()
  for (const [name, shard] of listed) {
    // A shard lies beside its index; any path could reach files that the checkpoint has no business with.
    if (typeof shard !== 'string' || !/^[^/\\:\u0000]+\.safetensors$/.test(shard) || shard.startsWith('..'))
      throw fail(`it places tensor ${shown(name)} in ${shown(shard)}, which is not the name of a .safetensors file beside it`)
    const inShard = shards.get(shard) ?? new Set()
    if (shards.set(shard, inShard.add(name)).size > maxShards) throw fail(`it names more than ${maxShards} shards`)
  }
  const found: FoundTensor[] = []
  for (const [shard, expected] of shards) {
    throwIfAborted(signal)
    const file = path.join(path.dirname(index), shard)
    if (!await fileExists(file))
      throw new AsdmError('FILE_NOT_FOUND', `Expected the shard ${shown(shard)} that ${shownPath(index)} names but there is no such file`)
    const { tensors } = await readSafetensorsHeader(file)
    const missing = [...expected].filter(name => !tensors.has(name))
    if (missing.length > 0)
      throw new AsdmError('TENSOR_MISSING',
        `Expected ${missing.length} more tensors in ${shownPath(file)}, where ${path.basename(index)} places them: ${firstFew(missing)}`)
    for (const [name, tensor] of tensors) found.push({ name, file, ...tensor })
  }
  return found
}
