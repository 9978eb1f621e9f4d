import { Command, Option } from 'commander'
import { shownPath } from '../files/files'
import { exportOnnx, type ExportOnnxOptions } from '../onnx/export'
import { onnxParts } from '../onnx/parts'
import { formatBytes } from '../base/format'
import { parseNumber } from './options'
import { BytesBar } from './progress-bar'

interface Flags extends Omit<ExportOnnxOptions, 'signal' | 'onProgress'> {
  model: string
  out: string
  json?: boolean
  quiet?: boolean
}

/** `asdm export-onnx`: one graph of a model as an ONNX file. */
export function exportOnnxCommand(signal: AbortSignal): Command {
  return new Command('export-onnx')
    .description('write the UNet, the text encoder or half of the VAE as an ONNX file')
    .requiredOption(
      '-m, --model <path>', "diffusers folder, .safetensors file, owner/name on the Hugging Face hub, emoji, or one part's folder",
    )
    .addOption(new Option('--part <part>', 'which graph').choices(onnxParts).makeOptionMandatory())
    .requiredOption('-o, --out <file>', 'the file to write')
    .option('-b, --batch <number>', 'samples in a pass (left open, as each size)', parseNumber)
    .option('-H, --height <number>', 'height of the input: latent pixels, of the VAE encoder pixels', parseNumber)
    .option('-W, --width <number>', 'width of the input', parseNumber)
    .option('-l, --length <number>', 'tokens of the text', parseNumber)
    .option('--clip-skip <layers>', 'last layers of the text encoder to leave out', parseNumber)
    .addOption(new Option('--dtype <dtype>', 'number format of the weights in the file (fp32)').choices(['fp32', 'fp16', 'bf16']))
    .option('--external-data', 'weights in a file of their own even where one file could hold them')
    .option('--variant <name>', 'variant of the weight files, as fp16')
    .option('--config <folder>', "configs to use instead of the checkpoint's")
    .option('--overwrite', 'replace files that are there')
    .option('-q, --quiet', 'print nothing but where the files are')
    .option('--json', 'print JSON')
    .action(async (flags: Flags) => run(flags, signal))
}

async function run({ model, out, json, quiet, ...options }: Flags, signal: AbortSignal): Promise<void> {
  const bar = new BytesBar(quiet === true || json === true)
  try {
    const written = await exportOnnx(model, out, {
      ...options, signal, onProgress: ({ bytesDone, bytesTotal }) => bar.set('writing', bytesDone, bytesTotal),
    })
    bar.stop()
    if (json === true) {
      process.stdout.write(`${JSON.stringify(written, undefined, 2)}\n`)
      return
    }
    process.stdout.write([
      written.path, ...written.dataPath === undefined ? [] : [written.dataPath],
    ].map(file => `${shownPath(file)}\n`).join(''))
    if (quiet === true) return
    const port = ({ name, shape }: { name: string, shape: (number | string)[] }): string => `${name} [${shape.join(', ')}]`
    process.stderr.write(
      `${written.nodes} nodes, weights ${formatBytes(written.weightBytes)}; ${written.inputs.map(port).join(', ')} -> `
      + `${port(written.output)}\n`,
    )
  } finally {
    bar.stop()
  }
}
