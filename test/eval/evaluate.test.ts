import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import { Drawings } from '../../lib/eval/drawings'
import { evaluate, type EvaluateProgress, type Evaluation } from '../../lib/eval/evaluate'
import { imageFeatures, rankOf } from '../../lib/eval/features'
import { loadEvaluation, saveEvaluation } from '../../lib/eval/files'
import { psnr, ssim } from '../../lib/eval/likeness'
import { contactSheet } from '../../lib/eval/sheet'
import { withAlpha } from '../../lib/image/pixels'
import { decodePng } from '../../lib/image/png/decode'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { aborts } from '../support/aborts'
import { fixture, maxAbsDiff, repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'
import { makeDrawings } from './support'

let sd: StableDiffusion
test.before(async () => { sd = await StableDiffusion.load(repoPath('models', 'emoji'), { threads: 2 }) })
test.after.always(() => sd?.dispose())

const options = { steps: 2, guidanceScale: 3 }

/** A report without what varies. */
const numbers = ({ report: { measured: _, ...rest } }: Evaluation): unknown => rest

test('drawings are their own nearest ones', async t => {
  const folder = temporaryFolder(t)
  makeDrawings(folder)
  const drawings = await Drawings.open(folder)
  const features = (await imageFeatures(sd.vae, await drawings.pixels(drawings.ofStyle('flat')), drawings)).map(({ near }) => near)
  t.deepEqual(features.map((feature, i) => rankOf(i, feature, features)), [1, 1, 1, 1, 1, 1])
  t.is(features[0].length, 4 * 8 * 8)
  // A batch of one, and RGBA, change nothing.
  const rgba = Uint8Array.from({ length: 4 * 64 * 64 }, (_, i) => (i % 4 === 3 ? 9 : 0))
  const [pixels] = await drawings.pixels([2])
  for (let i = 0; i < 64 * 64; i++) rgba.set(pixels.subarray(3 * i, 3 * i + 3), 4 * i)
  t.is(maxAbsDiff((await imageFeatures(sd.vae, [rgba], drawings))[0].near, features[2]), 0)
})

test('an evaluation against drawings says the same each time, and its images are what generate makes', async t => {
  const folder = temporaryFolder(t)
  makeDrawings(folder)
  const progress: EvaluateProgress[] = []
  const first = await evaluate(sd, {
    ...options, drawings: folder, count: 3, about: { model: 'emoji' }, onProgress: each => progress.push(each),
  })
  const { report } = first
  t.deepEqual(report.images.map(({ set, style, name, seed }) => [set, style, name, seed]), [
    ['seen', 'render', 'thing-4', 1000], ['seen', 'render', 'thing-3', 1001], ['seen', 'render', 'thing-1', 1002],
    ['heldOut', 'flat', 'thing-2', 1003], ['heldOut', 'flat', 'thing-5', 1004], ['heldOut', 'render', 'thing-2', 1005],
  ])
  t.deepEqual(Object.entries(report.sets).map(([name, set]) => [name, set.images]), [['seen', 3], ['heldOut', 3], ['all', 6]])
  t.deepEqual(report.drawings, { sha256: 'ab'.repeat(32), candidates: { render: 6, flat: 6 } })
  t.deepEqual(report.about, { model: 'emoji' })
  for (const [name, set] of Object.entries(report.sets)) {
    const ranks = report.images.filter(each => name === 'all' || each.set === name).map(({ rank }) => rank as number)
    t.true(ranks.every(rank => rank >= 1 && rank <= 6))
    t.is(set.top1, ranks.filter(rank => rank === 1).length / ranks.length)
    t.is(set.top5, ranks.filter(rank => rank <= 5).length / ranks.length)
    t.true(set.frechet! > 0 && set.psnrToDrawing! > 5 && set.psnrToDrawing! < 40)
    t.is(set.likeness, undefined)
  }
  for (const i of [0, 5]) {
    const { prompt, seed } = report.images[i]
    const [image] = await sd.generate({ ...options, prompt, seed })
    t.is(maxAbsDiff(image.rgba, first.images[i].rgba), 0)
  }
  const [drawing] = await (await Drawings.open(folder)).pixels([10])
  t.deepEqual([...first.drawings![0].rgba.slice(4 * 2080, 4 * 2080 + 4)], [...drawing.slice(3 * 2080, 3 * 2080 + 3), 255])
  t.deepEqual(progress.filter(each => each.phase === 'generate').map(each => each.done), [1, 2, 3, 4, 5, 6])
  t.deepEqual(progress[progress.length - 1], { phase: 'judge', done: 6, of: 6 })
  t.true(report.measured.msPerImage.all >= report.measured.msPerImage.denoise && report.measured.msPerImage.denoise > 0)
  t.true(report.measured.peakBytes > 50e6)
  t.true(report.memory.unet > 0 && report.memory.kept === 0)

  // Another instance, other threads, drawings opened before: the same numbers.
  const other = await StableDiffusion.load(repoPath('models', 'emoji'), { threads: 1 })
  t.teardown(() => other.dispose())
  t.deepEqual(
    numbers(await evaluate(other, { ...options, drawings: await Drawings.open(folder), count: 3, about: { model: 'emoji' } })),
    numbers(first),
  )
})

test('a judge other than the own VAE compares', async t => {
  const folder = temporaryFolder(t)
  makeDrawings(folder)
  const other = await StableDiffusion.load(repoPath('models', 'emoji'), { threads: 2 })
  t.teardown(() => other.dispose())
  const own = await evaluate(sd, { ...options, drawings: folder, count: 2 })
  t.deepEqual(numbers(await evaluate(sd, { ...options, drawings: folder, count: 2, judge: other.vae })), numbers(own))
})

test('a reference run: equal runs are equal, others are as far off as PSNR and SSIM say', async t => {
  const tiny = await StableDiffusion.load(fixture('sd15-tiny'), { threads: 2, onWarning: () => {} })
  t.teardown(() => tiny.dispose())
  const prompts = ['a red apple', 'a cat', 'a rocket']
  const reference = await evaluate(tiny, { prompts, steps: 4, seed: 5 })
  t.deepEqual(Object.keys(reference.report.sets), ['prompts'])
  t.is(reference.report.drawings, undefined)
  const again = await evaluate(tiny, { prompts, steps: 4, seed: 5, reference })
  t.deepEqual(again.report.sets.prompts?.likeness, { psnr: { mean: 100, least: 100, pooled: null }, ssim: { mean: 1, least: 1 }, equal: 3 })
  t.deepEqual(again.report.images.map(row => row.psnr), [null, null, null])
  const planned = await evaluate(tiny, { prompts, steps: 4, seed: 5, plan: 'deepcache:2,0', reference })
  const { likeness } = planned.report.sets.prompts!
  const expected = planned.images.map((image, i) =>
    ({ psnr: psnr(image, reference.images[i]), ssim: ssim(image, reference.images[i]) }))
  t.true(expected.every(each => each.psnr > 10 && each.psnr < 90))
  t.is(likeness!.psnr.least, Math.min(...expected.map(each => each.psnr)))
  t.is(likeness!.ssim.least, Math.min(...expected.map(each => each.ssim)))
  t.true(Math.abs(likeness!.psnr.mean - (expected[0].psnr + expected[1].psnr + expected[2].psnr) / 3) < 1e-9)
  t.true(
    Math.abs(
      255 ** 2 / 10 ** (likeness!.psnr.pooled! / 10) - expected.reduce((sum, each) => sum + 255 ** 2 / 10 ** (each.psnr / 10) / 3, 0),
    ) < 1e-6,
  )
  t.deepEqual(planned.report.images.map(row => row.ssim), expected.map(each => each.ssim))
  t.true(planned.report.memory.kept > 0)
  t.is(planned.report.settings.plan?.name, 'deepcache:2,0')
  t.is(planned.report.reference?.settings.plan, undefined)

  const refused = async (options: object): Promise<string | undefined> => {
    const error = await t.throwsAsync(evaluate(tiny, { prompts, steps: 1, seed: 5, reference, ...options }), { instanceOf: AsdmError })
    return error && `${error.code} ${error.message}`
  }
  t.regex((await refused({ seed: 6 }))!, /^INVALID_ARGUMENT .*seed 6 but it was made of "a red apple" with seed 5/)
  t.regex((await refused({ prompts: ['a red apple', 'a dog', 'a rocket'] }))!, /^INVALID_ARGUMENT .*image 1/)
  t.regex((await refused({ count: 2 }))!, /^INVALID_ARGUMENT .*2 images but it has 3/)
  t.regex((await refused({ width: 72 }))!, /^SHAPE_MISMATCH/)
  t.regex((await refused({ reference: { report: 5 } }))!, /^INVALID_ARGUMENT/)

  // Saved and read again it is the same.
  const folder = path.join(temporaryFolder(t), 'deep', 'run')
  t.is(await saveEvaluation(reference, folder), folder)
  t.deepEqual(fs.readdirSync(folder).sort(), ['images', 'report.json', 'sheet.png'])
  const loaded = await loadEvaluation(folder)
  t.deepEqual(loaded.report, JSON.parse(JSON.stringify(reference.report)))
  t.deepEqual(numbers(await evaluate(tiny, { prompts, steps: 4, seed: 5, plan: 'deepcache:2,0', reference: loaded })), numbers(planned))
  // One run is replaced by another; what is something else is not.
  await saveEvaluation(planned, folder, reference)
  t.is((await loadEvaluation(folder)).report.settings.plan?.name, 'deepcache:2,0')
  fs.rmSync(path.join(folder, 'report.json'))
  t.is((await t.throwsAsync(saveEvaluation(planned, folder), { instanceOf: AsdmError }))?.code, 'INVALID_ARGUMENT')
  t.true(fs.existsSync(path.join(folder, 'sheet.png')))
  t.deepEqual(fs.readdirSync(path.dirname(folder)), ['run'])
})

test('a broken run is no reference', async t => {
  const evaluation = await evaluate(sd, { ...options, prompts: ['x', 'y'], steps: 1 })
  const folder = await saveEvaluation(evaluation, path.join(temporaryFolder(t), 'run'))
  const report = JSON.parse(fs.readFileSync(path.join(folder, 'report.json'), 'utf8'))
  const refused = async (json: unknown): Promise<string | undefined> => {
    fs.writeFileSync(path.join(folder, 'report.json'), JSON.stringify(json))
    return (await t.throwsAsync(loadEvaluation(folder), { instanceOf: AsdmError }))?.code
  }
  for (const json of [
    {}, { ...report, version: 9 }, { ...report, images: [] }, { ...report, images: [null] },
    { ...report, images: [{ prompt: 'x', seed: 'y' }] }, { ...report, settings: { width: 65, height: 64 } },
    { ...report, settings: undefined },
  ])
    t.is(await refused(json), 'BAD_JSON', JSON.stringify(json).slice(0, 200))
  t.is(await refused({ ...report, images: [...report.images, ...report.images] }), 'FILE_NOT_FOUND')
  fs.truncateSync(path.join(folder, 'images', '00001.png'), 100)
  t.is(await refused(report), 'FILE_READ')
  t.is((await t.throwsAsync(loadEvaluation(path.join(folder, 'none')), { instanceOf: AsdmError }))?.code, 'FILE_NOT_FOUND')
})

test('the sheet shows every image, its mark, its drawing and its reference', async t => {
  const folder = temporaryFolder(t)
  makeDrawings(folder)
  const evaluation = await evaluate(sd, { ...options, drawings: folder, count: 2 })
  const sheet = async (reference?: Evaluation) =>
    withAlpha(await decodePng(await contactSheet(evaluation, reference), 'the sheet', () => {}))
  // Two groups of two images, each twice as large: a row of images, marks, a row of drawings.
  const { width, height, rgba } = await sheet()
  t.deepEqual([width, height], [2 * 132 + 4, 2 * (2 * 132 + 6 + 12) + 4])
  const at = (x: number, y: number): number[] => [...rgba.slice(4 * (y * width + x), 4 * (y * width + x) + 3)]
  const pixel = ({ rgba }: { rgba: ArrayLike<number> }, x: number, y: number): number[] => [0, 1, 2].map(c => rgba[4 * (64 * y + x) + c])
  for (const [x, y] of [[0, 0], [31, 20], [63, 63]]) for (const i of [0, 1, 2, 3]) {
    const [left, top] = [4 + (i % 2) * 132, 4 + Math.floor(i / 2) * 282]
    t.deepEqual(at(left + 2 * x + 1, top + 2 * y), pixel(evaluation.images[i], x, y))
    t.deepEqual(at(left + 2 * x, top + 138 + 2 * y + 1), pixel(evaluation.drawings![i], x, y))
  }
  const color = (rank: number): number[] => (rank === 1 ? [46, 158, 63] : rank <= 5 ? [224, 160, 0] : [208, 48, 48])
  t.deepEqual(at(10, 4 + 128 + 2), color(evaluation.report.images[0].rank!))
  t.is((await sheet(evaluation)).height, height + 2 * 132)
  // Large images are averaged down.
  const [large, small] = [512, 128]
  const image = {
    width: large, height: large, rgba: new Uint8ClampedArray(4 * large * large).map((_, i) => (Math.floor(i / 4) % 4 < 2 ? 200 : 100)),
  }
  const down = withAlpha(
    await decodePng(await contactSheet({
      report: { ...evaluation.report, images: [{ set: 'prompts', prompt: 'x', seed: 1 }] }, images: [image],
    }), 'the sheet', () => {}),
  )
  t.is(down.width, small + 8)
  t.is(down.rgba[4 * (20 * down.width + 20)], 150)
})

test('wrong arguments are refused; a signal stops it', async t => {
  const folder = temporaryFolder(t)
  makeDrawings(folder)
  const code = async (given: unknown, model: unknown = sd): Promise<string | undefined> =>
    (await t.throwsAsync(evaluate(model as StableDiffusion, given as object), { instanceOf: AsdmError }))?.code
  for (const given of [
    5, { colour: 1 }, { count: 0 }, { count: 1.5 }, { seed: -1 }, { seed: 2 ** 53 }, { prompts: 'x' }, { prompts: [] }, { prompts: [5] },
    { prompts: ['x'], drawings: folder }, { drawings: 5 }, { judge: {} }, { about: 5 }, { about: { x: {} } }, { onProgress: 5 },
    { signal: 5 }, { steps: 0 }, { sampler: 'none' },
  ])
    t.is(await code(given), 'INVALID_ARGUMENT', JSON.stringify(given))
  t.is(await code({}, {}), 'INVALID_ARGUMENT')
  // Before any image is made.
  let made = 0
  t.is(await code({ ...options, drawings: folder, width: 96, height: 96, count: 1, onProgress: () => made++ }), 'SHAPE_MISMATCH')
  t.is(made, 0)
  t.is(await code({ ...options, drawings: folder, width: 'x', count: 1 }), 'INVALID_ARGUMENT')
  t.is(await code({ drawings: path.join(folder, 'none') }), 'FILE_NOT_FOUND')
  await aborts(t, evaluate(sd, { ...options, signal: AbortSignal.abort() }))
  for (const phase of ['generate', 'drawings', 'judge']) {
    const controller = new AbortController()
    await aborts(
      t,
      evaluate(sd, { ...options, drawings: folder, count: 2, signal: controller.signal, onProgress: each => {
        if (each.phase === phase)
          controller.abort()
      } }),
      phase,
    )
  }
  t.is((await evaluate(sd, { ...options, steps: 1, prompts: ['x'] })).images.length, 1)
})
