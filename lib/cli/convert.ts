import { Command, Option } from 'commander'
import { convertModel, type ConvertOptions } from '../convert/convert'
import { shownPath } from '../files/files'
import { formatBytes } from '../base/format'
import { addModelFlags, type ModelFlags } from './model-flags'
import { given } from './options'
import { BytesBar } from './progress-bar'

interface Flags extends Pick<ConvertOptions, 'to' | 'dtype' | 'variant' | 'config' | 'tokenizer' | 'overwrite'>, Pick<ModelFlags, 'lora'> {
  json?: boolean
  quiet?: boolean
}

/** `asdm convert <source> <target>`: a diffusers folder to a single file, or back, or to another number format. */
export function convertCommand(signal: AbortSignal): Command {
  const command = new Command('convert')
    .description('turn a diffusers folder into a single file, or back, or change the number format, or bake LoRAs in')
    .argument('<source>', 'diffusers folder, .safetensors file, owner/name on the Hugging Face hub, or emoji')
    .argument('<target>', 'what to write: a single file if it ends in .safetensors, else a folder')
    .addOption(new Option('--to <kind>', 'folder or file, whatever the target is called').choices(['folder', 'file']))
    .addOption(new Option('--dtype <dtype>', 'number format of the weights (each its own)').choices(['fp32', 'fp16', 'bf16']))
    .option('--variant <name>', "variant of the source's weight files, as fp16")
    .option('--config <folder>', "configs to use instead of the source's")
    .option('--tokenizer <folder>', "tokenizer to use instead of the source's")
    .option('--overwrite', 'replace a file that is there')
  return addModelFlags(command, 'lora')
    .option('-q, --quiet', 'print nothing but where the model is')
    .option('--json', 'print JSON')
    .action(async (source: string, target: string, flags: Flags) => convert(source, target, flags, signal))
}

async function convert(source: string, target: string, { json, quiet, lora, ...options }: Flags, signal: AbortSignal): Promise<void> {
  const bar = new BytesBar(quiet === true || json === true)
  try {
    const model = await convertModel(source, target, {
      ...options, ...given({ loras: lora }), signal, onProgress: ({ bytesDone, bytesTotal }) => bar.set('converting', bytesDone, bytesTotal),
    })
    bar.stop()
    for (const warning of model.warnings) process.stderr.write(`Warning: ${warning}\n`)
    if (json === true) {
      process.stdout.write(`${JSON.stringify(model, undefined, 2)}\n`)
      return
    }
    process.stdout.write(`${shownPath(model.path)}\n`)
    if (quiet === true) return
    process.stderr.write(`${model.tensors} tensors, ${formatBytes(model.bytes)}\n`)
    const reasons = new Map<string, number>()
    for (const { reason } of model.dropped) reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
    for (const [reason, count] of reasons) process.stderr.write(`Left out: ${count} ${count === 1 ? 'tensor' : 'tensors'}: ${reason}\n`)
  } finally {
    bar.stop()
  }
}
