import { writeFile } from 'node:fs/promises'
import { SingleBar } from 'cli-progress'
import { Command } from 'commander'
import { AsdmError } from '../base/errors'
import { writeError, shownPath } from '../files/files'
import { dropRecipe } from '../score/recipe'
import { scoreUnits, type ScoreOptions, type ScoreReport } from '../score/score'
import { addModelFlags, loadOptions, modelHelp, type ModelFlags } from './model-flags'
import { formatCount, table } from '../base/format'
import { given, parseNumber } from './options'

interface Flags extends ModelFlags {
  model: string
  prompt?: string[]
  count?: number
  seed?: number
  steps?: number
  guidance?: number
  sampler?: string
  unit?: string[]
  out?: string
  recipe?: string
  share?: number
  quiet?: boolean
  json?: boolean
}

const collect = (text: string, before: string[] = []): string[] => [...before, text]

/** `asdm score`: which units of a UNet are cheap to do without. */
export function scoreCommand(signal: AbortSignal): Command {
  const command = new Command('score')
    .description('rank units by how much the latents change when each is left out, against the multiply-accumulates it takes')
    .requiredOption('-m, --model <path>', modelHelp)
    .option('-p, --prompt <text>', 'a prompt; may be repeated (a built-in list of 8)', collect)
    .option('-c, --count <number>', 'latents for each prompt (1)', parseNumber)
    .option('--seed <number>', 'seed of the first latents; the next have the next one (1000)', parseNumber)
    .option('-s, --steps <number>', 'denoising steps (10)', parseNumber)
    .option('-g, --guidance <number>', "how much the prompt counts (the model's own, else 7.5); 1 turns guidance off", parseNumber)
    .option('--sampler <name>', "sampler (the checkpoint's own)")
    .option('-u, --unit <prefix>', 'a unit, layer or block to score; may be repeated (all that can be left out)', collect)
    .option('-o, --out <file>', 'write the scores as JSON')
    .option('-r, --recipe <file>', 'write a recipe for asdm assemble that drops the cheapest, --share of the multiply-accumulates')
    .option('--share <fraction>', 'for --recipe: what the dropped units take at least, of a pass (0.2)', parseNumber)
  return addModelFlags(command, 'threads', 'cpu', 'dtype', 'variant')
    .option('-q, --quiet', 'show no progress')
    .option('--json', 'print the scores as JSON')
    .action(async (flags: Flags) => run(flags, signal))
}

async function run(flags: Flags, signal: AbortSignal): Promise<void> {
  const { prompt, count, seed, steps, guidance, sampler, unit } = flags
  if (flags.share !== undefined && flags.recipe === undefined)
    throw new AsdmError('INVALID_ARGUMENT', 'Expected --share only with --recipe')
  if (flags.share !== undefined && !(flags.share > 0 && flags.share < 1))
    throw new AsdmError('INVALID_ARGUMENT', `Expected --share above 0 and below 1 but received ${flags.share}`)
  const show = process.stderr.isTTY && flags.quiet !== true && flags.json !== true
  const bar = show
    ? new SingleBar({
        format: 'scoring {bar} {percentage} % {note}', barsize: 30, hideCursor: true, clearOnComplete: true, stream: process.stderr,
      })
    : undefined
  let report: ScoreReport
  try {
    bar?.start(1, 0, { note: '' })
    const onProgress: ScoreOptions['onProgress'] = ({ prefix, done, of }) => {
      bar?.setTotal(of)
      bar?.update(done, { note: prefix ?? 'the whole UNet' })
    }
    report = await scoreUnits(flags.model, {
      ...loadOptions(flags), ...given({ prompts: prompt, count, seed, steps, guidanceScale: guidance, sampler, units: unit }), signal,
      onProgress,
    })
  } finally {
    bar?.stop()
  }
  if (flags.out !== undefined) await write(flags.out, report)
  if (flags.recipe !== undefined) await write(flags.recipe, dropRecipe(report, flags.share ?? 0.2))
  process.stdout.write(flags.json === true ? `${JSON.stringify(report, undefined, 2)}\n` : `${asText(report)}\n`)
}

async function write(file: string, value: unknown): Promise<void> {
  await writeFile(file, `${JSON.stringify(value, undefined, 2)}\n`).catch((error: unknown) => { throw writeError(error, file) })
}

function asText({ settings, full, units }: ScoreReport): string {
  const rows = units.map(({ prefix, score, mean, spread, distance, macs, share, passMs, perShare }) => [
    prefix, score.toFixed(3), mean.toFixed(3), spread.toFixed(3), distance.toFixed(3), formatCount(macs), `${(100 * share).toFixed(2)} %`, passMs.toFixed(1), perShare.toFixed(2),
  ])
  return `${shownPath(settings.model)}: ${settings.prompts.length * settings.count} latents of ${settings.steps} steps with `
    + `${settings.sampler}, guidance ${settings.guidanceScale}; `
    + `a whole pass: ${formatCount(full.macs)} multiply-accumulates, ${full.passMs.toFixed(1)} ms\n\n`
    + table(['without', 'score', 'mean', 'spread', 'distance', 'MACs', 'share', 'pass ms', 'score / share'], rows)
}
