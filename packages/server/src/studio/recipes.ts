import fs from 'node:fs/promises'
import { createRequire } from 'node:module'
import path from 'node:path'
import { assemble, parseRecipe, shippedRecipes, type Recipe } from 'asdm'
import { ServerError } from '../errors'
import { bad } from '../images'
import type { ModelStore } from '../models/store'

/** What `POST /api/recipes/assemble` takes. */
export interface AssembleBody {
  recipe: Recipe
  /** Models by the recipe's names for checkpoints. */
  checkpoints: Record<string, string>
  /** What the model is called then. */
  name: string
}

/** The recipes that asdm ships. */
export async function recipesOfAsdm(): Promise<Recipe[]> {
  const folder = path.join(path.dirname(createRequire(__filename).resolve('asdm/package.json')), 'recipes')
  return Promise.all(shippedRecipes.map(async name => {
    const { $schema: _schema, ...recipe } = JSON.parse(await fs.readFile(path.join(folder, `${name}.json`), 'utf8')) as Recipe & { $schema?: string }
    return recipe
  }))
}

/**
 * Assembles a model into the folder that is served.
 * @param folder the folder; `undefined` where none is
 * @returns the model's name
 * @throws ServerError `FORBIDDEN`, `CONFLICT`; AsdmError as `assemble`
 */
export async function assembleInto(
  folder: string | undefined, models: ModelStore, { recipe, checkpoints, name }: AssembleBody, signal: AbortSignal,
): Promise<string> {
  if (folder === undefined)
    throw new ServerError('FORBIDDEN', 'Expected a folder of models to assemble into but none is served; start with --models FOLDER --assemble')
  const parsed = parseRecipe(recipe)
  const own = Object.entries(parsed.checkpoints).find(([, place]) => place !== null)
  if (own !== undefined) throw bad('recipe.checkpoints to leave paths to the server (null)', JSON.stringify(own[1]))
  if ((await models.list()).some(each => each.name === name)) throw new ServerError('CONFLICT', `Expected a new name for the model but received ${JSON.stringify(name)}, which exists`)
  const sources: Record<string, string> = {}
  for (const [key, model] of Object.entries(checkpoints)) sources[key] = (await models.find(model)).source
  await assemble(parsed, { out: path.join(folder, name), checkpoints: sources, signal })
  return name
}
