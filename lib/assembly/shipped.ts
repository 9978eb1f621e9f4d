import path from 'node:path'
import { AsdmError, shown } from '../base/errors'
import { nearestOf } from '../base/options'
import { isFile, statIfAny } from '../files/files'
import { packageRoot } from '../files/package-root'

/** The recipes in this package's `recipes/`. */
export const shippedRecipes = ['bk-base', 'bk-small', 'bk-tiny', 'light', 'light-experts'] as const

/**
 * The file of a recipe: what lies at the path, else the shipped recipe of this name.
 * @throws AsdmError `FILE_NOT_FOUND` for a bare name that is neither
 */
export async function recipeFile(recipe: string): Promise<string> {
  if (!/^[a-z][a-z0-9-]*$/i.test(recipe) || await statIfAny(recipe) !== undefined) return recipe
  const root = packageRoot()
  const file = root && path.join(root, 'recipes', `${recipe}.json`)
  if ((shippedRecipes as readonly string[]).includes(recipe) && file !== undefined && await isFile(file)) return file
  throw new AsdmError('FILE_NOT_FOUND',
    `Expected a file, or the name of a shipped recipe, but received ${shown(recipe)}; ${nearestOf(recipe, shippedRecipes)}`)
}
