/**
 * What variants of a run cost in quality and bring in time: each against the true drawings and against the plain run, with the same prompts
 * and seeds. The measures are those of `asdm eval` (docs/eval.md).
 *
 *   npm run bench:quality -- [--model emoji] [--drawings build/emoji-data] [--count 96] [--guidance 3] [--threads 2] [--json] [variant ...]
 *
 * A variant is a text of settings that differ from the plain run: 'plan=deepcache:3,0', 'sampler=dpmpp-2m steps=10', 'dtype=fp32
 * guidance=2'.
 */
import path from 'node:path'
import { parseArgs } from 'node:util'
import { table } from '../lib/base/format'
import { Drawings } from '../lib/eval/drawings'
import { evaluate, type EvaluateOptions, type Evaluation } from '../lib/eval/evaluate'
import { StableDiffusion, type LoadOptions } from '../lib/stable-diffusion'

const defaultVariants = [
  'plan=deepcache:2,0', 'plan=deepcache:3,0', 'plan=deepcache:5,0', 'plan=guidance:0.6', 'steps=10', 'sampler=dpmpp-2m steps=10',
]

/** A variant's settings, apart by whether the model has to be loaded anew for them. */
function parseVariant(text: string): { load: LoadOptions, run: EvaluateOptions } {
  const load: LoadOptions = {}
  const run: EvaluateOptions = {}
  for (const word of text.split(/\s+/).filter(Boolean)) {
    const [key, value] = [word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1)]
    if (key === 'plan' || key === 'sampler') run[key] = value
    else if (key === 'steps' || key === 'eta') run[key] = Number(value)
    else if (key === 'guidance') run.guidanceScale = Number(value)
    else if (key === 'dtype') load.dtype = value as LoadOptions['dtype']
    else if (key === 'cpu') load.cpu = value
    else throw new Error(`Expected variants of plan, sampler, steps, eta, guidance, dtype and cpu but received ${JSON.stringify(word)}`)
  }
  return { load, run }
}

async function main(): Promise<void> {
  const root = path.dirname(require.resolve('../../../package.json'))
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      'model': { type: 'string', default: 'emoji' }, 'drawings': {
        type: 'string', default: path.join(root, 'build', 'emoji-data'),
      }, 'no-drawings': { type: 'boolean' },
      'count': {
        type: 'string', default: '96',
      }, 'guidance': { type: 'string', default: '3' }, 'threads': { type: 'string' }, 'json': { type: 'boolean' },
    },
  })
  const drawings = values['no-drawings'] === true ? undefined : await Drawings.open(values.drawings)
  const common: EvaluateOptions = { ...(drawings && { drawings }), count: Number(values.count), guidanceScale: Number(values.guidance) }
  const variants = (positionals.length > 0 ? positionals : defaultVariants).map(text => ({ text, ...parseVariant(text) }))
  const judge = await StableDiffusion.load(values.model)
  const run = async (text: string, load: LoadOptions, options: EvaluateOptions, reference?: Evaluation): Promise<Evaluation> => {
    const sd = await StableDiffusion.load(values.model, {
      ...load, ...(values.threads !== undefined && { threads: Number(values.threads) }),
    })
    try {
      // One judge for all, so that the encoder looks at the drawings once, and in the same number format.
      return await evaluate(sd, {
        ...common, ...options, judge: judge.vae, ...(reference && { reference }), about: { model: values.model, variant: text },
      })
    } finally {
      await sd.dispose()
    }
  }
  const plain = await run('plain', {}, {})
  const rows = [{ text: 'plain', report: plain.report }]
  for (const { text, load, run: options } of variants) {
    rows.push({ text, report: (await run(text, load, options, plain)).report })
    process.stderr.write(`${text} done\n`)
  }
  await judge.dispose()
  if (values.json === true) {
    console.log(JSON.stringify(rows.map(({ report: { images: _, ...rest } }) => rest), undefined, 1))
    return
  }
  const cell = (value: number | undefined, digits: number): string => value?.toFixed(digits) ?? ''
  const { msPerImage: { all: plainMs } } = plain.report.measured
  console.log(table([
    'variant', 'ms', 'times', 'PSNR', 'SSIM', 'seen top-1', 'top-5', 'held top-1', 'top-5', 'Fréchet', 'peak MiB',
  ], rows.map(({ text, report: { sets, measured } }) => {
    const all = sets.all ?? sets.prompts
    return [
      text, measured.msPerImage.all.toFixed(0), (plainMs / measured.msPerImage.all).toFixed(2), cell(all?.likeness?.psnr.mean, 2),
      cell(all?.likeness?.ssim.mean, 4), cell(sets.seen?.top1, 3), cell(sets.seen?.top5, 3),
      cell(sets.heldOut?.top1, 3), cell(sets.heldOut?.top5, 3), cell(all?.frechet, 3), (measured.peakBytes / 2 ** 20).toFixed(0),
    ]
  })))
}

void main()
