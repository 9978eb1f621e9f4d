/**
 * What plans cost and what they keep: image distance to the full run, beside "simply fewer steps" at no fewer multiply-accumulates.
 *
 *   npm run bench:plans -- [--model models/emoji] [--steps 20,10] [--prompts 64] [--guidance 3] [--sampler ddim,euler-ancestral] [--eta 0]
 *     [--threads 2] [plan ...]
 *
 * Without plans those of the presets, also where the presets back off. Images are compared on white, all with the same prompts and seeds:
 * PSNR in decibels and SSIM (Wang et al. 2004, on 8x8 windows of luminance), each the mean over the images. The last column says which
 * of the two is nearer.
 */
import path from 'node:path'
import { parseArgs } from 'node:util'
import { table } from '../lib/base/format'
import type { GeneratedImage } from '../lib/image/generated-image'
import type { PlanContext } from '../lib/plan/builders'
import { presetNames, presetPlan } from '../lib/plan/presets'
import type { RunStatistics } from '../lib/plan/report'
import type { PlanSource } from '../lib/plan/source'
import { StableDiffusion } from '../lib/stable-diffusion'

const things = [
  'red apple', 'rocket', 'octopus', 'pizza', 'crown', 'heart', 'tree', 'cat', 'dog', 'sun', 'moon', 'car', 'house', 'fish', 'flower',
  'grinning face',
  'banana', 'hat', 'guitar', 'bell', 'book', 'key', 'umbrella', 'penguin', 'strawberry', 'snowman', 'balloon', 'cake', 'shirt', 'bee',
  'star', 'mushroom',
]

interface Quality { psnr: number, ssim: number }

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      model: {
        type: 'string', default: path.join(path.dirname(require.resolve('../../../package.json')), 'models', 'emoji'),
      }, steps: { type: 'string', default: '20' },
      prompts: {
        type: 'string', default: '64',
      }, guidance: { type: 'string', default: '3' }, sampler: { type: 'string' }, threads: { type: 'string' }, eta: { type: 'string' },
    },
  })
  const prompts = [
    ...things.map(thing => `a 3d emoji of ${thing}`), ...things.map(thing => `a flat emoji of ${thing}`),
  ].slice(0, Number(values.prompts))
  const plans: { name: string, plan: PlanSource }[] = positionals.length > 0
    ? positionals.map(plan => ({ name: plan, plan }))
    : presetNames.map(name => ({ name, plan: (context: PlanContext) => presetPlan(name, context).plan(context) }))
  const sd = await StableDiffusion.load(values.model, values.threads === undefined ? {} : { threads: Number(values.threads) })
  const rows: string[][] = []
  for (const sampler of values.sampler?.split(',') ?? [undefined])
    for (const steps of values.steps.split(',').map(Number)) await compareWith(sampler, steps)
  await sd.dispose()
  console.log(`\nGuidance ${values.guidance}, ${prompts.length} images\n`)
  console.log(table(
    ['sampler', 'steps', 'plan', 'MACs %', 'counted', 'measured', 'kept MiB', 'PSNR', 'SSIM', 'fewer steps', 'PSNR', 'SSIM', 'plan'], rows,
  ))

  async function compareWith(sampler: string | undefined, steps: number): Promise<void> {
    async function run(count: number, plan?: PlanSource): Promise<{ images: GeneratedImage[], statistics: RunStatistics | undefined }> {
      const images: GeneratedImage[] = []
      let statistics: RunStatistics | undefined
      for (let i = 0; i < prompts.length; i += 8)
        images.push(...await sd.generate({
          prompt: prompts.slice(i, i + 8), guidanceScale: Number(values.guidance), steps: count, seed: 1000 + i,
          ...(plan !== undefined && { plan }),
          ...(sampler !== undefined && { sampler }), ...(values.eta !== undefined && { eta: Number(values.eta) }),
          onProgress: step => { if (step.phase === 'done' && step.statistics !== undefined) statistics = step.statistics },
        }))
      return { images, statistics }
    }

    const full = await run(steps)
    const compare = (images: GeneratedImage[]): Quality => mean(images.map((image, i) => quality(image, full.images[i])))
    const fewer = new Map<number, Quality>()
    const fewerSteps = async (count: number): Promise<Quality> => {
      const known = fewer.get(count) ?? compare((await run(count)).images)
      fewer.set(count, known)
      return known
    }
    for (const { name, plan } of plans) {
      const { images, statistics } = await run(steps, plan)
      const { share, speedUp, keptBytes } = statistics as RunStatistics
      const own = compare(images)
      const count = Math.min(steps, Math.max(1, Math.ceil(share * steps - 1e-9)))
      const other = await fewerSteps(count)
      const verdict = share === 1
        ? ''
        : own.psnr > other.psnr && own.ssim > other.ssim
          ? 'wins'
          : own.psnr < other.psnr && own.ssim < other.ssim
            ? 'loses'
            : 'even'
      rows.push([
        sampler ?? 'own', String(steps), name, (100 * share).toFixed(1), speedUp.counted.toFixed(2), speedUp.measured?.toFixed(2) ?? '',
        (keptBytes / 2 ** 20).toFixed(2), own.psnr.toFixed(2), own.ssim.toFixed(4), String(count), other.psnr.toFixed(2),
        other.ssim.toFixed(4), verdict,
      ])
      process.stderr.write(`${rows[rows.length - 1].join('  ')}\n`)
    }
  }
}

const mean = (list: Quality[]): Quality => ({
  psnr: list.reduce((sum, { psnr }) => sum + psnr, 0) / list.length, ssim: list.reduce((sum, { ssim }) => sum + ssim, 0) / list.length,
})

/** Equal images have an infinite PSNR; 100 keeps the mean finite. */
function quality({ rgba, width, height }: GeneratedImage, reference: GeneratedImage): Quality {
  let squares = 0
  for (let i = 0; i < rgba.length; i++) if (i % 4 !== 3) squares += (rgba[i] - reference.rgba[i]) ** 2
  const psnr = squares === 0 ? 100 : Math.min(100, 10 * Math.log10(255 ** 2 / (squares / (3 * width * height))))
  return { psnr, ssim: ssim(luminance(rgba), luminance(reference.rgba), width, height) }
}

function luminance(rgba: Uint8ClampedArray): Float64Array {
  return Float64Array.from({ length: rgba.length / 4 }, (_, i) => 0.299 * rgba[4 * i] + 0.587 * rgba[4 * i + 1] + 0.114 * rgba[4 * i + 2])
}

function ssim(a: Float64Array, b: Float64Array, width: number, height: number): number {
  const side = 8, count = side * side
  const [c1, c2] = [(0.01 * 255) ** 2, (0.03 * 255) ** 2]
  let sum = 0, windows = 0
  for (let y = 0; y + side <= height; y += 2) for (let x = 0; x + side <= width; x += 2) {
    let sa = 0, sb = 0, saa = 0, sbb = 0, sab = 0
    for (let j = 0; j < side; j++) for (let i = 0; i < side; i++) {
      const at = (y + j) * width + x + i
      sa += a[at]; sb += b[at]; saa += a[at] ** 2; sbb += b[at] ** 2; sab += a[at] * b[at]
    }
    const [ma, mb] = [sa / count, sb / count]
    const [va, vb, cov] = [saa / count - ma ** 2, sbb / count - mb ** 2, sab / count - ma * mb]
    sum += ((2 * ma * mb + c1) * (2 * cov + c2)) / ((ma ** 2 + mb ** 2 + c1) * (va + vb + c2))
    windows++
  }
  return sum / windows
}

void main()
