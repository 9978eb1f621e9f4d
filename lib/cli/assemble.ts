import path from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import { assemble } from '../assembly/assemble'
import { shippedRecipes } from '../assembly/shipped'
import { shownPath } from '../files/files'

interface Flags {
  out: string
  checkpoint: Record<string, string>
  json?: boolean
}

/** `asdm assemble <recipe>`: makes a checkpoint of others as a recipe says. */
export function assembleCommand(signal: AbortSignal): Command {
  return new Command('assemble')
    .description('make a model folder of one or more others, as a recipe says')
    .argument('<recipe>', `JSON file, or a shipped recipe: ${shippedRecipes.join(', ')}`)
    .requiredOption('-o, --out <folder>', 'folder to make')
    .option('-c, --checkpoint <name=path>', 'which model a checkpoint of the recipe is; may be repeated', addCheckpoint, {})
    .option('--json', 'print JSON: the folder, its number of weights, and what it was made of')
    .action(async (recipe: string, { out, checkpoint, json }: Flags) => {
      let weights = 0
      const assembly = await assemble(recipe, {
        out, checkpoints: checkpoint, signal, onProgress: ({ weightsTotal }) => { weights = weightsTotal },
      })
      process.stdout.write(json === true
        ? `${JSON.stringify({ path: path.resolve(out), weights, assembly }, undefined, 2)}\n`
        : `${shownPath(out)}: ${weights} weights in its UNet; assembly.json says what it was made of\n`)
    })
}

function addCheckpoint(text: string, before: Record<string, string>): Record<string, string> {
  const at = text.indexOf('=')
  const name = text.slice(0, at)
  if (at < 1 || at === text.length - 1 || name === '__proto__') throw new InvalidArgumentError('Expected name=path.')
  return { ...before, [name]: text.slice(at + 1) }
}
