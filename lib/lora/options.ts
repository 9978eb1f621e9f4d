import pathModule from 'node:path'
import { AsdmError, shown } from '../base/errors'
import { checkOptions, number, optional, path } from '../base/options'
import { listOf } from '../base/reading'
import type { LoraToMerge } from './open'

/** A LoRA (also LoCon, LoHa, LoKr, DoRA) and how much of it a model gets. */
export interface LoraOptions {
  /** Its `.safetensors` file; or `name`. */
  path?: string | undefined
  /** Its file in `loraFolder`, without `.safetensors`. */
  name?: string | undefined
  /** How much of it the UNet gets, from -10 to 10; 1 if left out. */
  weight?: number | undefined
  /** How much of it the text encoder gets; `weight` if left out. */
  textWeight?: number | undefined
}

/** Most LoRAs of one model. */
const mostLoras = 100

/**
 * The options `loras` and `loraFolder`.
 * @throws AsdmError `INVALID_ARGUMENT`
 */
export function parseLoras(value: unknown, loraFolder: unknown): LoraToMerge[] {
  const folder = optional(loraFolder, item => path(item, 'loraFolder'))
  if (value === undefined) return []
  return listOf(value, 'loras', mostLoras).map((item, i) => {
    const given = checkOptions(item, ['path', 'name', 'weight', 'textWeight'], `loras[${i}]`)
    const weight = optional(given.weight, each => number(each, `loras[${i}].weight`, -10, 10)) ?? 1
    return {
      path: fileOf(given, folder, i), weight,
      textWeight: optional(given.textWeight, each => number(each, `loras[${i}].textWeight`, -10, 10)) ?? weight,
    }
  })
}

function fileOf({ path: file, name }: Record<string, unknown>, folder: string | undefined, i: number): string {
  if ((file === undefined) === (name === undefined))
    throw new AsdmError('INVALID_ARGUMENT', `Expected either path or name in loras[${i}] but received ${file === undefined ? 'neither' : 'both'}`)
  if (file !== undefined) return pathModule.resolve(path(file, `loras[${i}].path`))
  if (folder === undefined) throw new AsdmError('INVALID_ARGUMENT', `Expected loraFolder beside loras[${i}].name but received none`)
  // A name stays in its folder.
  if (typeof name !== 'string' || !/^[^/\\:\0]{1,200}$/.test(name) || name.startsWith('.'))
    throw new AsdmError('INVALID_ARGUMENT', `Expected loras[${i}].name to be the name of a file in loraFolder but received ${shown(name)}`)
  return pathModule.resolve(folder, name.endsWith('.safetensors') ? name : `${name}.safetensors`)
}
