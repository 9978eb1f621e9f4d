import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import { goalsOf } from '../../lib/measure/goals'
import { imageContest, imageDifference, imageTask, type PeerImage, type ImagePeer } from '../../lib/measure/images'
import type { BenchReport } from '../../lib/measure/report'
import type { ImagePixels } from '../../lib/eval/likeness'
import { encodePng } from '../../lib/image/png/encode'
import { aborts } from '../support/aborts'
import { temporaryFolder } from '../support/temporary'

const size = 8

/** An image of levels that vary; `shift` makes another. */
const imageOf = (shift = 0, side = size): ImagePixels =>
  ({
    width: side, height: side,
    rgba: Uint8ClampedArray.from({ length: 4 * side * side }, (_, i) => (i % 4 === 3 ? 255 : 60 + ((i * 37) % 100) + shift)),
  })
const plain: ImagePixels = { width: size, height: size, rgba: new Uint8ClampedArray(4 * size * size).fill(255) }

test('an image\'s difference is relative to the reference\'s levels; what shows nothing is like nothing', t => {
  t.is(imageDifference(imageOf(), imageOf()), 0)
  const black = { ...imageOf(), rgba: imageOf().rgba.map((value, i) => (i % 4 === 3 || i < 4 ? value : 0)) }
  t.true(imageDifference(black, imageOf()) > 0.9 && imageDifference(black, imageOf()) < 1)
  for (const [a, b] of [[plain, imageOf()], [imageOf(), plain], [plain, plain], [imageOf(0, 16), imageOf()]])
    t.true(Number.isNaN(imageDifference(a, b)))
})

/** Ours: a worker that gives an image by number format, and notes its turns. */
async function ours(folder: string, images: Record<string, ImagePixels>, { unsure = false } = {}) {
  for (const [dtype, { rgba, width, height }] of Object.entries(images))
    fs.writeFileSync(path.join(folder, `${dtype}.png`), await encodePng(rgba as Uint8ClampedArray, width, height))
  const file = path.join(folder, 'ours.js')
  fs.writeFileSync(file, `
    const fs = require('node:fs')
    let count = 0
    require('node:readline').createInterface({ input: process.stdin }).on('line', line => {
      const [command, to] = line.split(' '), dtype = process.argv[2]
      if (command === 'quit') process.exit(0)
      if (command === 'generate') {
        fs.appendFileSync('log', dtype + ' ')
        fs.copyFileSync(dtype + '.png', to)
        count++
      }
      console.log(JSON.stringify({ ms: 10 * count, peakBytes: 1000 + count, hash: ${unsure ? 'count' : '1'}, phases: { text: 1, denoise: 4 * count, step: 2 * count, decode: 3 * count } }))
    })`)
  return (dtype: string) => ({ name: 'asdm', dtype, ours: true, command: process.execPath, args: [file, dtype] })
}

function peerOf(folder: string, name: string, made: () => ImagePixels): ImagePeer {
  return {
    name, dtype: 'f16', version: '1', note: 'it is slow.',
    make: async (_task, file, signal): Promise<PeerImage> => {
      signal?.throwIfAborted()
      fs.appendFileSync(path.join(folder, 'log'), `${name} `)
      if (!fs.existsSync(path.dirname(file))) throw new Error('no folder for the image')
      return { image: made(), phases: { text: 5, denoise: 40, step: 20, decode: 30 }, loadMs: 7, peakBytes: 0 }
    },
  }
}

const emptyReport = (): BenchReport =>
  ({ shape: 'sd15', checks: [], cases: [], ratios: [], notes: [], loading: [], ops: [] }) as unknown as BenchReport

async function hold(
  folder: string, worker: Awaited<ReturnType<typeof ours>>, peers: ImagePeer[], dtypes: ('fp32' | 'bf16' | 'int8')[],
  signal?: AbortSignal,
) {
  const report = emptyReport()
  await imageContest({
    report, task: imageTask('sd15', size, {}), worker, dtypes, peers, macs: { unet: 100, decoder: 10 }, work: folder, runs: 2, signal,
    onProgress: () => {},
  })
  return { report, log: fs.readFileSync(path.join(folder, 'log'), 'utf8').trim().split(' ') }
}

test('everyone makes the image, results are compared, then all take turns', async t => {
  const folder = temporaryFolder(t)
  const worker = await ours(folder, { fp32: imageOf(), bf16: imageOf(1), int8: imageOf(2) })
  const { report, log } = await hold(folder, worker, [peerOf(folder, 'them', () => imageOf(1))], ['fp32', 'bf16', 'int8'])
  // Twice each; fp32's rounds alone; then those that round, the peer's first image being its first round's.
  t.deepEqual(log, ['fp32', 'fp32', 'fp32', 'fp32', 'bf16', 'bf16', 'int8', 'int8', 'them', 'bf16', 'int8', 'them', 'int8', 'bf16'])
  t.deepEqual(report.checks.map(({ name, against, ok }) => [name, against, ok]), [
    [
      'image asdm fp32', 'the same seed again', true,
    ], ['image asdm bf16', 'the same seed again', true], ['image asdm bf16', 'asdm fp32', true],
    ['image asdm int8', 'the same seed again', true], ['image asdm int8', 'asdm fp32', true], ['image them f16', 'asdm fp32', true],
  ])
  t.true(Math.abs(report.checks[5].psnr! - 20 * Math.log10(255 / 1)) < 1e-6)
  t.deepEqual(report.notes, ['them: it is slow.'])
  t.deepEqual(report.cases.map(({ name, contender, dtype, ms, macs }) => [name, contender, dtype, ms.median, macs]), [
    ['generate', 'asdm', 'fp32', 35, 210], ['generate', 'asdm', 'bf16', 35, 210], ['generate', 'asdm', 'int8', 35, 210],
    ['generate', 'them', 'f16', 75, 210], ['unet', 'them', 'f16', 20, 100], ['vae-decoder', 'them', 'f16', 30, 10],
  ])
  t.deepEqual(report.cases[1].phases, { text: 1, denoise: 14, step: 7, decode: 10.5 })
  t.like(report.cases[4], { version: '1', note: 'it is slow.', loadMs: 0, peakBytes: 0, ours: false })
  t.deepEqual(report.ratios.map(({ name, value }) => [name, value.values]), [
    [
      'unet bf16 / them f16', [6 / 20, 8 / 20],
    ], [
      'vae-decoder bf16 / them f16', [9 / 30, 12 / 30],
    ], ['unet int8 / them f16', [6 / 20, 8 / 20]], ['vae-decoder int8 / them f16', [9 / 30, 12 / 30]],
  ])
})

test('who makes another image has no time; who fails is told', async t => {
  const folder = temporaryFolder(t)
  const worker = await ours(folder, { fp32: imageOf(), bf16: imageOf(90) })
  const broken: ImagePeer = { ...peerOf(folder, 'broken', () => plain), make: async () => { throw new AsdmError('INTERNAL', 'no luck') } }
  const { report } = await hold(
    folder, worker,
    [
      peerOf(folder, 'other', () => imageOf(90)), peerOf(folder, 'plain', () => plain), peerOf(folder, 'large', () => imageOf(0, 16)),
      broken,
    ],
    ['bf16'],
  )
  t.deepEqual(report.cases, [])
  t.deepEqual(report.checks.map(({ name, ok }) => [name, ok]), [
    ['image asdm fp32', true], ['image asdm bf16', true], ['image asdm bf16', false], ['image other f16', false], ['image plain f16', false], ['image large f16', false],
  ])
  t.deepEqual(report.notes.map(note => note.split(',')[0]), [
    'The image of other f16 differs from ours in fp32 by more '
    + 'than allowed', 'The image of plain f16 differs from ours in fp32 by more '
    + 'than allowed', 'The image of large f16 differs from ours in fp32 by more than allowed', 'broken f16 failed: no luck',
  ])
  t.deepEqual(goalsOf(report), [])
})

test('ours: another image from the same seed, or one of one colour, has no time', async t => {
  const folder = temporaryFolder(t)
  const unsure = await hold(folder, await ours(folder, { fp32: imageOf() }, { unsure: true }), [], ['fp32'])
  t.deepEqual([unsure.report.cases.length, unsure.report.checks.map(({ ok }) => ok)], [0, [false]])
  const blank = await hold(folder, await ours(folder, { fp32: plain }), [], ['fp32'])
  t.deepEqual([blank.report.cases.length, blank.report.checks.map(({ ok }) => ok)], [0, [true, false]])
  const controller = new AbortController()
  controller.abort()
  await aborts(t, hold(folder, await ours(folder, { fp32: imageOf() }), [], ['fp32'], controller.signal))
})
