/**
 * The time that DeepCache plans and the presets save on a UNet of a published size, beside the bound that multiply-accumulates give.
 *
 *   npm run bench:plan-speed -- [--shape sd15] [--size 64] [--steps 20] [--runs 3] [--threads 2] [--dtype fp32] [plan ...]
 *
 * A plan has few distinct passes (a full one that keeps features, one that inherits them), and all steps of one kind do the same work:
 * each kind is timed `runs` times, in turn with a full pass that keeps nothing, and the run's time is the sum of medians. A run's first
 * pass, which also computes what depends on the text alone, is not timed where another of its kind comes. Before any time is reported
 * the inheriting pass is compared bit for bit with the full one on the same input. Text encoder and VAE are left out. Presets are
 * those of samplers that draw noise; what a plan saves does not depend on the sampler.
 */
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import type { LoadOptions } from '../lib/stable-diffusion'
import { table } from '../lib/cli/options'
import { UNet } from '../lib/components/unet'
import type { NativeRunInfo } from '../lib/native/binding'
import { expandPlan } from '../lib/plan/expand'
import { unetFacts } from '../lib/plan/names'
import { presetNames } from '../lib/plan/presets'
import { resolvePlan } from '../lib/plan/source'
import { TorchGenerator } from '../lib/random/torch-generator'
import { randomModel } from '../lib/bench/random-model'

/** What the measured speed-up is to be of the bound. */
const target = 0.92

const median = (values: number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]

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
  const unet = await UNet.load(path.join(folder, 'unet'), { threads: Number(values.threads), dtype: values.dtype as LoadOptions['dtype'], ...(values.model === undefined && { variant: 'fp16' }) })
  const [size, steps, runs] = [values.size, values.steps, values.runs].map(Number)
  const shape = { batch: 2, height: size, width: size, length: 77 }
  const random = new TorchGenerator(1)
  const inputs = { sample: random.randn([2, unet.config.inChannels, size, size]), timestep: 501, encoderHiddenStates: random.randn([2, 77, unet.config.crossAttentionDim]) }
  const plans: readonly string[] = positionals.length > 0 ? positionals : [...[2, 3, 4, 5].flatMap(interval => [0, 1, 2].map(branch => `deepcache:${interval},${branch}`)), ...presetNames]
  const context = { unets: { full: unetFacts(unet.config, unet.tapNames()) }, steps, stochastic: true }
  async function timed<T>(call: () => Promise<T>): Promise<{ result: T, ms: number }> {
    const begin = performance.now()
    const result = await call()
    return { result, ms: performance.now() - begin }
  }

  const full = (await unet.forward(inputs)).sample
  const rows: string[][] = []
  for (const plan of plans) {
    const expanded = expandPlan(resolvePlan(plan, context), steps, true).map(({ inherit, guidance }) => ({ inherit, conditionalOnly: guidance !== 'full' }))
    const plain: number[] = []
    const kinds = new Map<number, number[]>()
    let info: NativeRunInfo | undefined
    for (let round = 0; round < runs; round++) {
      const whole = unet.createRun(shape, [0, 1].map(() => ({ inherit: [], conditionalOnly: false })))
      await whole.forward(0, inputs)
      plain.push((await timed(() => whole.forward(1, inputs))).ms)
      whole.dispose()
      const run = unet.createRun(shape, expanded)
      info = run.info
      const programs = info.steps.map(({ variants: [{ program }] }) => program)
      // Steps come in order: as far as the last new kind, and the first step's kind once more.
      const again = programs.indexOf(programs[0], 1)
      const last = Math.max(again, ...new Set(programs.map(program => programs.indexOf(program))))
      for (let i = 0; i <= last; i++) {
        const given = expanded[i].conditionalOnly ? { ...inputs, sample: half(inputs.sample), encoderHiddenStates: half(inputs.encoderHiddenStates) } : inputs
        const { result, ms } = await timed(() => run.forward(i, given))
        const wanted = expanded[i].conditionalOnly ? half(full) : full
        if (result.data.some((value, k) => !Object.is(value, wanted.data[k]))) throw new Error(`${plan}: step ${i} differs from the full pass on the same input`)
        const kind = kinds.get(info.steps[i].variants[0].program) ?? []
        kinds.set(info.steps[i].variants[0].program, kind)
        if (i > 0 || again < 0) kind.push(ms)
      }
      run.dispose()
    }
    const { steps: told, fullMacs, keptBytes } = info!
    const bound = (fullMacs[0] * steps) / told.reduce((sum, { variants: [{ macs }] }) => sum + macs, 0)
    const kindOf = (step: number): number => median(kinds.get(told[step].variants[0].program)!)
    const speedUp = (median(plain) * steps) / told.reduce((sum, _, i) => sum + kindOf(i), 0)
    rows.push([plan, median(plain).toFixed(0), ...[0, 1].map(step => kindOf(step).toFixed(0)), bound.toFixed(3), speedUp.toFixed(3), `${((100 * speedUp) / bound).toFixed(1)} %`, speedUp >= target * bound ? 'yes' : 'no',
      (keptBytes / 2 ** 20).toFixed(1), (process.resourceUsage().maxRSS / 2 ** 10).toFixed(0)])
    process.stderr.write(`${rows[rows.length - 1].join('  ')}\n`)
  }
  console.log(`${values.model ?? values.shape}, latents ${size}x${size} for one picture with guidance, ${steps} steps, ${values.threads} threads, ${unet.part.cpu}, ${os.cpus()[0]?.model ?? 'unknown processor'}\n`)
  console.log(table(['plan', 'full ms', 'step 0 ms', 'step 1 ms', 'bound', 'measured', 'of the bound', `${100 * target} %`, 'kept MiB', 'peak MiB'], rows))
  await unet.dispose()
}

function half({ data, shape: [batch, ...rest] }: { data: Float32Array, shape: number[] }) {
  return { data: data.slice(data.length / 2), shape: [batch / 2, ...rest] }
}

void main()
