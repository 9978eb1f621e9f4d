/**
 * The time that DeepCache plans and the presets save on a UNet of a published size, beside the bound that multiply-accumulates give.
 *
 *   npm run bench:plan-speed -- [--shape sd15] [--size 64] [--steps 20] [--runs 3] [--threads 2] [--dtype fp32] [plan ...]
 *
 * How they are timed, and compared bit for bit with full passes: lib/measure/plan-speed.ts, as in `asdm bench`. Text encoder and VAE are
 * left out. Presets are those of samplers that draw noise; what a plan saves does not depend on the sampler.
 */
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { timePlan } from '../lib/measure/plan-speed'
import { randomModel } from '../lib/measure/random-model'
import { table } from '../lib/base/format'
import { UNet } from '../lib/components/unet'
import { presetNames } from '../lib/plan/presets'
import type { LoadOptions } from '../lib/stable-diffusion'

/** What the measured speed-up is to be of the bound. */
const target = 0.92

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      shape: { type: 'string', default: 'sd15' }, model: { type: 'string' }, size: { type: 'string', default: '64' }, steps: { type: 'string', default: '20' }, runs: { type: 'string', default: '3' },
      threads: { type: 'string', default: String(os.availableParallelism()) }, dtype: { type: 'string', default: 'fp32' },
    },
  })
  const root = path.dirname(require.resolve('../../../package.json'))
  const folder = values.model ?? await randomModel(values.shape, path.join(root, 'build', 'bench', values.shape))
  const unet = await UNet.load(path.join(folder, 'unet'), {
    threads: Number(values.threads), dtype: values.dtype as LoadOptions['dtype'], ...(values.model === undefined && { variant: 'fp16' }),
  })
  const [size, steps, runs] = [values.size, values.steps, values.runs].map(Number)
  const plans: readonly string[] = positionals.length > 0
    ? positionals
    : [...[2, 3, 4, 5].flatMap(interval => [0, 1, 2].map(branch => `deepcache:${interval},${branch}`)), ...presetNames]
  const rows: string[][] = []
  for (const plan of plans) {
    const { speedUp, counted, fullMs, stepMs, keptBytes } = await timePlan(unet, plan, { size, length: 77, steps, stochastic: true }, runs)
    rows.push([plan, ...[fullMs, ...stepMs.slice(0, 2)].map(ms => ms.toFixed(0)), counted.toFixed(3), speedUp.toFixed(3), `${((100 * speedUp) / counted).toFixed(1)} %`, speedUp >= target * counted ? 'yes' : 'no',
      (keptBytes / 2 ** 20).toFixed(1), (process.resourceUsage().maxRSS / 2 ** 10).toFixed(0)])
    process.stderr.write(`${rows[rows.length - 1].join('  ')}\n`)
  }
  console.log(
    `${values.model ?? values.shape}, latents ${size}x${size} for one image with guidance, ${steps} steps, ${values.threads} threads, `
    + `${unet.part.cpu}, ${os.cpus()[0]?.model ?? 'unknown processor'}\n`,
  )
  console.log(table(
    ['plan', 'full ms', 'step 0 ms', 'step 1 ms', 'bound', 'measured', 'of the bound', `${100 * target} %`, 'kept MiB', 'peak MiB'], rows,
  ))
  await unet.dispose()
}

void main()
