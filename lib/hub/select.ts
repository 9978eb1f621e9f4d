import { AsdmError, shown } from '../base/errors'
import { isJsonObject } from '../files/json'
import { isPickleName, pickleError } from '../files/pickle'
import { pickWeightFile, variantsIn } from '../model/weight-files'
import { firstFew, type PartName } from '../model/weights'

const parts: { name: PartName, base: string }[] = [
  { name: 'text_encoder', base: 'model' }, {
    name: 'unet', base: 'diffusion_pytorch_model',
  }, { name: 'vae', base: 'diffusion_pytorch_model' },
]

/** Small files that a pipeline reads; those that must be there first. */
const needed = ['model_index.json', 'scheduler/scheduler_config.json', ...parts.map(({ name }) => `${name}/config.json`)]
const wanted = ['tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json'].map(name => `tokenizer/${name}`)

/** The variant to get: a name; `false` for the files without one; `undefined` for `fp16` where there is one. */
export type VariantChoice = string | false | undefined

/** The files that a pipeline needs, of those that a repository has. */
export interface Selection {
  /** Configs, tokenizer, indexes of sharded weights: small, and known to be what is wanted before the weights are fetched. */
  small: string[]
  /** Weight files that need no index to be known. */
  weights: string[]
  /** Indexes, whose shards are weights too. */
  indexes: string[]
  /** The variant of the parts' weights where they have one; `undefined` for files without, or for different ones. */
  variant: string | undefined
}

/**
 * Chooses from the names of a repository's files: configs, scheduler, tokenizer, and for each part its weights as safetensors, in
 * one variant. As in diffusers, a part that lacks the variant is taken without it.
 * @throws AsdmError `UNSUPPORTED_FORMAT` where weights are only pickles or there is no diffusers folder, `FILE_NOT_FOUND` where files are
 * missing
 */
export function selectFiles(names: ReadonlySet<string>, choice: VariantChoice, repository: string): Selection {
  if (!names.has('model_index.json')) throw noFolder(names, repository)
  const missing = needed.filter(name => !names.has(name))
  if (missing.length > 0)
    throw new AsdmError('FILE_NOT_FOUND', `Expected a Stable Diffusion pipeline in ${repository} but it lacks ${firstFew(missing)}`)
  const tokenizer = names.has('tokenizer/vocab.json') ? ['vocab.json', 'merges.txt'] : ['tokenizer.json', 'merges.txt']
  const selection: Selection = {
    small: [...needed, ...[...tokenizer.map(name => `tokenizer/${name}`), ...wanted].filter(name => names.has(name))], weights: [], indexes: [], variant: undefined,
  }
  const variants = parts.map(({ name, base }) => {
    const { file, variant } = selectWeights(filesIn(names, name), base, choice, `${repository}/${name}`)
    selection[file.endsWith('.json') ? 'indexes' : 'weights'].push(`${name}/${file}`)
    return variant
  })
  if (typeof choice === 'string' && !variants.includes(choice))
    throw new AsdmError('FILE_NOT_FOUND', `Expected weights of the variant ${shown(choice)} in ${repository} but no part has any`)
  const found = new Set(variants.filter(variant => variant !== undefined))
  selection.variant = found.size === 1 ? [...found][0] : undefined
  selection.small.push(...selection.indexes)
  return selection
}

function filesIn(names: ReadonlySet<string>, folder: string): Set<string> {
  return new Set([...names].filter(name => name.startsWith(`${folder}/`)).map(name => name.slice(folder.length + 1)))
}

function selectWeights(
  names: ReadonlySet<string>, base: string, choice: VariantChoice, where: string,
): { file: string, variant: string | undefined } {
  for (const variant of choice === false ? [undefined] : [choice ?? 'fp16', undefined]) {
    const file = pickWeightFile(names, base, variant)
    if (file !== undefined) return { file, variant }
  }
  const variants = variantsIn(names, base)
  if (choice === undefined && variants.length === 1) return { file: pickWeightFile(names, base, variants[0])!, variant: variants[0] }
  if (variants.length > 0)
    throw new AsdmError('FILE_NOT_FOUND',
      `Expected weights ${typeof choice === 'string' ? `of the variant ${shown(choice)} or ` : ''}without a variant in ${where} but there `
      + `are only ${firstFew(variants)}; name one as the variant`)
  const pickles = [...names].filter(isPickleName).sort()
  if (pickles.length > 0) throw pickleError(`${where}/${pickles.find(name => !name.includes('optimizer')) ?? pickles[0]}`)
  throw new AsdmError('FILE_NOT_FOUND', `Expected weights as ${base}.safetensors in ${where} but there are none`)
}

function noFolder(names: ReadonlySet<string>, repository: string): AsdmError {
  const single = [...names].filter(name => !name.includes('/') && name.endsWith('.safetensors')).sort()
  const pickles = [...names].filter(name => !name.includes('/') && isPickleName(name)).sort()
  const found = single.length > 0 ? `; its ${firstFew(single)} may be whole models in one file, which are downloaded by hand and loaded by `
    + 'their path'
    : pickles.length > 0
      ? `; its ${firstFew(pickles)} are Python pickles, which are never read because opening a pickle can run any code it holds`
      : ''
  return new AsdmError('UNSUPPORTED_FORMAT', `Expected a diffusers folder (model_index.json) in ${repository} but it is none${found}`)
}

/**
 * The shards that an index names, as names of the repository's files.
 * @throws AsdmError `BAD_JSON`
 */
export function shardsOf(index: string, json: unknown, names: ReadonlySet<string>): string[] {
  const map = isJsonObject(json) ? json.weight_map : undefined
  const folder = index.slice(0, index.lastIndexOf('/') + 1)
  const shards = isJsonObject(map) ? [...new Set(Object.values(map))] : []
  const bad = shards.find(shard => typeof shard !== 'string' || !/^\w[\w.-]*\.safetensors$/.test(shard) || !names.has(folder + shard))
  if (shards.length === 0 || bad !== undefined)
    throw new AsdmError('BAD_JSON', `Expected ${index} to name shards that lie beside it but received ${shown(bad ?? map)}`)
  return shards.map(shard => folder + String(shard))
}
