import { Command, InvalidArgumentError } from 'commander'
import { assemble } from '../assembly/assemble'
import { shownPath } from '../assembly/files'

interface Flags {
  out: string
  checkpoint: Record<string, string>
}

/** `asdm assemble <recipe>`: makes a checkpoint of others as a recipe says. */
export function assembleCommand(signal: AbortSignal): Command {
  return new Command('assemble')
    .description('make a model folder of one or more others, as a recipe says')
    .argument('<recipe>', 'JSON file')
    .requiredOption('-o, --out <folder>', 'folder to make')
    .option('-c, --checkpoint <name=path>', 'where a checkpoint of the recipe lies; may be repeated', addCheckpoint, {})
    .action(async (recipe: string, { out, checkpoint }: Flags) => {
      let weights = 0
      await assemble(recipe, { out, checkpoints: checkpoint, signal, onProgress: ({ weightsTotal }) => { weights = weightsTotal } })
      process.stdout.write(`${shownPath(out)}: ${weights} weights in its UNet; assembly.json says what it was made of\n`)
    })
}

function addCheckpoint(text: string, before: Record<string, string>): Record<string, string> {
  const at = text.indexOf('=')
  const name = text.slice(0, at)
  if (at < 1 || at === text.length - 1 || name === '__proto__') throw new InvalidArgumentError('Expected name=path.')
  return { ...before, [name]: text.slice(at + 1) }
}
