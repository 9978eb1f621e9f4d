import { Command } from 'commander'
import { shownPath } from '../files/files'
import { pullModel } from '../hub/pull'
import { formatBytes } from '../base/format'
import { BytesBar } from './progress-bar'

interface Flags {
  revision?: string
  /** `true` where neither `--variant` nor `--no-variant` is given. */
  variant: string | boolean
  verify?: boolean
  json?: boolean
  quiet?: boolean
}

/** `asdm pull <owner/name>`: gets a diffusers model from the Hugging Face hub and says where it is. */
export function pullCommand(signal: AbortSignal): Command {
  return new Command('pull')
    .description('get a model from the Hugging Face hub into the cache that its tools share')
    .argument('<repository>', 'owner/name of a diffusers model')
    .option('--revision <name>', 'branch, tag or commit (main)')
    .option('--variant <name>', 'variant of the weight files (fp16 where there is one)')
    .option('--no-variant', 'the weight files without a variant')
    .option('--verify', 'compare files that are in the cache already, too')
    .option('-q, --quiet', 'print nothing but where the model is')
    .option('--json', 'print JSON')
    .addHelpText(
      'after', '\nThe environment variables of the hub\'s own tools count: HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE.',
    )
    .action(async (repository: string, flags: Flags) => pull(repository, flags, signal))
}

async function pull(repository: string, flags: Flags, signal: AbortSignal): Promise<void> {
  const bar = new BytesBar(flags.quiet === true || flags.json === true)
  try {
    const model = await pullModel(repository, {
      ...(flags.revision !== undefined && { revision: flags.revision }),
      ...(flags.variant !== true && { variant: flags.variant }),
      ...(flags.verify === true && { verify: true }),
      signal,
      onProgress: ({ phase, file, bytesDone, bytesTotal }) =>
        bar.set(phase === 'verify' ? 'comparing' : 'downloading', bytesDone, bytesTotal, file),
    })
    bar.stop()
    if (flags.json === true) {
      process.stdout.write(`${JSON.stringify(model, undefined, 2)}\n`)
      return
    }
    process.stdout.write(`${shownPath(model.path)}\n`)
    if (flags.quiet !== true)
      process.stderr.write(
        `${model.repository} at ${model.commit}${model.variant === undefined ? '' : `, ${model.variant}`}: ${formatBytes(model.bytes)}, `
        + `${model.bytesFetched === 0 ? 'all of it here before' : `${formatBytes(model.bytesFetched)} fetched`}\n`,
      )
  } finally {
    bar.stop()
  }
}
