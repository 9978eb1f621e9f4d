import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import { Drawings } from '../../lib/eval/drawings'
import { halve, rankOf, toGrid } from '../../lib/eval/features'
import { temporaryFolder } from '../support/temporary'
import { makeDrawings, writeManifest } from './support'

test('a folder of drawings is read', async t => {
  const folder = temporaryFolder(t)
  const manifest = makeDrawings(folder)
  const drawings = await Drawings.open(folder)
  t.deepEqual([drawings.width, drawings.height, drawings.drawings.length], [64, 64, 12])
  t.deepEqual(drawings.evaluation, manifest.evaluation)
  t.deepEqual(drawings.ofStyle('render'), [6, 7, 8, 9, 10, 11])
  t.deepEqual(drawings.drawings[8], { style: 'render', name: 'thing-2', caption: 'a 3d emoji of red apple', heldOut: true })
  const bytes = fs.readFileSync(path.join(folder, 'drawings.bin'))
  const [last, first] = await drawings.pixels([11, 0])
  t.is(Buffer.compare(last, bytes.subarray(11 * 12288)), 0)
  t.is(Buffer.compare(first, bytes.subarray(0, 12288)), 0)
})

test('what is no folder of drawings is refused with the reason', async t => {
  const folder = temporaryFolder(t)
  const refused = async (at: string = folder): Promise<[string | undefined, string]> => {
    const error = await t.throwsAsync(Drawings.open(at), { instanceOf: AsdmError })
    return [error?.code, error?.message ?? '']
  }
  const [absent, none] = [await refused(path.join(folder, 'none')), await refused()]
  t.is(absent[0], 'FILE_NOT_FOUND')
  t.regex(absent[1], /there is no such folder.*npm run emoji:data/)
  t.is(none[0], 'FILE_NOT_FOUND')
  t.regex(none[1], /no drawings\.json.*npm run emoji:data/)

  const manifest = makeDrawings(folder)
  const bad: [string, unknown][] = [
    ['format', { ...manifest, format: 'x' }], ['version', { ...manifest, version: 2 }], ['width', { ...manifest, width: 0 }], [
      'width', { ...manifest, width: 2 ** 40 },
    ], ['height', { ...manifest, height: '64' }],
    [
      'drawings', { ...manifest, drawings: [] },
    ], ['drawings', { ...manifest, drawings: 'x' }], ['drawings\\[1\\]', { ...manifest, drawings: [manifest.drawings[0], 5] }],
    ['heldOut', { ...manifest, drawings: manifest.drawings.map((each: object) => ({ ...each, heldOut: 'yes' })) }],
    ['caption', { ...manifest, drawings: manifest.drawings.map((each: object) => ({ ...each, caption: undefined })) }],
    ['two drawings of one name', { ...manifest, drawings: manifest.drawings.map((each: object) => ({ ...each, name: 'same' })) }],
    [
      'evaluation.seen', { ...manifest, evaluation: undefined },
    ], ['evaluation.seen holds 99', { ...manifest, evaluation: { ...manifest.evaluation, seen: [99] } }],
    [
      'not the number of a held-out', { ...manifest, evaluation: { ...manifest.evaluation, heldOut: [0] } },
    ], ['evaluation.seen holds 0.5', { ...manifest, evaluation: { ...manifest.evaluation, seen: [0.5] } }],
    ['a number twice', { ...manifest, evaluation: { ...manifest.evaluation, seen: [0, 0] } }],
    [
      'pixels.file', { ...manifest, pixels: { ...manifest.pixels, file: '../../etc/passwd' } },
    ], ['pixels.sha256', { ...manifest, pixels: { ...manifest.pixels, sha256: 7 } }],
  ]
  for (const [problem, json] of bad) {
    writeManifest(folder, json)
    const [code, message] = await refused()
    t.is(code, 'BAD_JSON', problem)
    t.regex(message, new RegExp(problem))
  }
  writeManifest(folder, { ...manifest, width: 63 })
  t.is((await refused())[0], 'FILE_READ')
  writeManifest(folder, { ...manifest, pixels: { ...manifest.pixels, file: 'other.bin' } })
  t.is((await refused())[0], 'FILE_NOT_FOUND')
  t.is((await t.throwsAsync(Drawings.open(5 as never), { instanceOf: AsdmError }))?.code, 'INVALID_ARGUMENT')
})

test('a file of pixels that shrinks after it was opened is an error', async t => {
  const folder = temporaryFolder(t)
  makeDrawings(folder)
  const drawings = await Drawings.open(folder)
  fs.truncateSync(path.join(folder, 'drawings.bin'), 12288)
  t.is((await t.throwsAsync(drawings.pixels([3]), { instanceOf: AsdmError }))?.code, 'FILE_READ')
})

test('latents are pooled in twos and to a grid', t => {
  const grid = (height: number, width: number, value: (y: number, x: number) => number) =>
    ({
      data: Float32Array.from({ length: height * width }, (_, i) => value(Math.floor(i / width), i % width)), shape: [1, 1, height, width],
    })
  t.deepEqual([...halve(grid(4, 6, (y, x) => 10 * y + x))], [5.5, 7.5, 9.5, 25.5, 27.5, 29.5])
  t.deepEqual([...halve(grid(3, 3, (y, x) => 10 * y + x))], [5.5])
  t.deepEqual([...toGrid(grid(8, 4, (y, x) => 10 * y + x))], [0, 1, 2, 3].flatMap(row => [0, 1, 2, 3].map(column => 20 * row + 5 + column)))
  // Five into four: the cells are 0-1, 1-2, 2-3 and 3-4.
  t.deepEqual([...toGrid(grid(4, 5, (_, x) => x))], [0, 1, 2, 3].flatMap(() => [0.5, 1.5, 2.5, 3.5]))
  const channels = { data: Float32Array.from({ length: 32 }, (_, i) => i), shape: [1, 2, 4, 4] }
  t.deepEqual([...toGrid(channels)], [...channels.data])
  t.deepEqual([...halve(channels)], [2.5, 4.5, 10.5, 12.5, 18.5, 20.5, 26.5, 28.5])
})

test('ranks count nearer ones; of equally near ones the first is the nearest', t => {
  const candidates = [[0, 0], [3, 0], [0, 1], [1, 0], [-1, 0]].map(vector => Float32Array.from(vector))
  const ranks = (vector: number[]): number[] => candidates.map((_, i) => rankOf(i, Float32Array.from(vector), candidates))
  t.deepEqual(ranks([0, 0]), [1, 5, 2, 3, 4])
  t.deepEqual(ranks([3, 0]), [3, 1, 4, 2, 5])
})
