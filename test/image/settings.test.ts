import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import zlib from 'node:zlib'
import test from 'ava'
import fc from 'fast-check'
import { AsdmError } from '../../lib/base/errors'
import { GeneratedImage } from '../../lib/image/generated-image'
import { formatParameters, parseParameters } from '../../lib/image/parameters'
import { readTexts } from '../../lib/image/png/text'
import type { GenerationSettings } from '../../lib/image/generation-settings'
import { readSettings } from '../../lib/image/settings'
import { samplerNames } from '../../lib/samplers'
import { chunk, end, header, imageData, png } from './png-support'

const settings: GenerationSettings = {
  prompt: 'a cat', negativePrompt: '', guidanceScale: 7.5, steps: 20, sampler: 'euler-ancestral', eta: 0, seed: 1,
  width: 512, height: 768, count: 1, index: 0, clipSkip: 0, promptWeighting: false,
}

/** A PNG with these chunks before the image data. */
const withChunks = (...chunks: Buffer[]): Buffer => png(header(1, 1), ...chunks, imageData(new Uint8Array(4)), end)
const tEXt = (keyword: string, text: string): Buffer => chunk('tEXt', Buffer.from(`${keyword}\0${text}`, 'latin1'))
const zTXt = (keyword: string, text: string): Buffer =>
  chunk('zTXt', Buffer.concat([Buffer.from(`${keyword}\0\0`), zlib.deflateSync(Buffer.from(text, 'latin1'))]))
const iTXt = (keyword: string, text: string, packed: boolean): Buffer =>
  chunk(
    'iTXt',
    Buffer.concat([
      Buffer.from(`${keyword}\0${packed ? '\x01' : '\0'}\0en\0Schlüssel\0`),
      packed ? zlib.deflateSync(Buffer.from(text)) : Buffer.from(text),
    ]),
  )

// As the web UI writes it (its create_infotext, version 1.9).
const published = `a photo of (a cat:1.2), 8k, <lora:detail:0.5>
second line: with a colon
Negative prompt: blurry, lowres
bad
Steps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 3068342014, Size: 512x768, Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, Denoising strength: 0.7, Clip skip: 2, Lora hashes: "detail: 1a2b, other: 3c", Version: v1.9.4`
const meant = {
  prompt: 'a photo of (a cat:1.2), 8k, <lora:detail:0.5>\nsecond line: '
    + 'with a colon', negativePrompt: 'blurry, lowres\nbad', steps: 28, sampler: 'dpmpp-2m-karras', guidanceScale: 6.5,
  seed: 3068342014, width: 512, height: 768, strength: 0.7, clipSkip: 1,
}

test('settings of AUTOMATIC1111 are read from every kind of text chunk', async t => {
  for (const made of [
    tEXt('parameters', published), zTXt('parameters', published), iTXt('parameters', published, false), iTXt('parameters', published, true),
  ])
    t.deepEqual(await readSettings(withChunks(made)), meant)
  t.is(
    (await readSettings(withChunks(iTXt('parameters', published.replace('cat', '猫'), true))))!.prompt!.slice(0, 19), 'a photo of (a 猫:1.2',
  )
  // Older versions put the schedule into the sampler's name; other samplers stay text.
  t.like(
    await readSettings(withChunks(tEXt('parameters', 'x\nSteps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 1, Size: 64x64'))),
    { sampler: 'dpmpp-2m-karras', negativePrompt: '' },
  )
  t.like(
    await readSettings(withChunks(tEXt('parameters', 'x\nSteps: 20, Sampler: DPM++ SDE Karras, CFG scale: 7, Seed: 18446744073709551615'))),
    { sampler: 'dpmpp-sde-karras', seed: 2n ** 64n - 1n },
  )
  t.is(await readSettings(withChunks(tEXt('parameters', 'no settings here'))), undefined)
  t.is(await readSettings(withChunks(tEXt('Title', published))), undefined)
})

test('asdm\'s own chunk counts before AUTOMATIC1111\'s, in any kind of chunk', async t => {
  const json = JSON.stringify(settings)
  for (const own of [tEXt('asdm', json), zTXt('asdm', json), iTXt('asdm', json, true)])
    t.deepEqual(await readSettings(withChunks(tEXt('parameters', published), own)), settings)
  for (const bad of ['{', '5', 'null', '[]'])
    t.is((await t.throwsAsync(readSettings(withChunks(tEXt('asdm', bad))), { instanceOf: AsdmError })).code, 'BAD_JSON')
})

test('files carry both chunks, and what one says the other says', async t => {
  const rgba = new Uint8ClampedArray(4 * 4 * 4)
  for (const sampler of [...samplerNames, 'dpmpp-2m-karras', 'heun-sgm-uniform', 'euler-ancestral-align-your-steps'] as const)
    for (const change of [
      {}, { negativePrompt: 'bad, worse', clipSkip: 1, strength: 0.5, from: 'image' as const },
      { prompt: 'größer, "x"\n猫', seed: 2n ** 64n - 1n }, { count: 3, index: 4 },
    ]) {
      const all = { ...settings, sampler, ...change }
      const bytes = await new GeneratedImage(rgba, 4, 4, all).png()
      t.deepEqual(await readSettings(bytes), all)
      const text = (await readTexts(bytes, ['parameters'])).get('parameters')!
      const read = parseParameters(text)!
      for (const key of ['prompt', 'negativePrompt', 'steps', 'guidanceScale', 'sampler', 'seed', 'width', 'height', 'clipSkip'] as const)
        t.is(read[key], all[key], `${key} in ${text}`)
      t.is(read.strength, (all as GenerationSettings).strength)
    }
  t.is(formatParameters({ ...settings, negativePrompt: 'dog', sampler: 'dpmpp-2m-karras', clipSkip: 1, strength: 0.6 }),
    'a cat\nNegative prompt: dog\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 1, Size: 512x768, Denoising '
    + 'strength: 0.6, Clip skip: 2, Version: asdm')
  const config = { _class_name: 'DPMSolverMultistepScheduler', algorithm_type: 'dpmsolver++', solver_order: 2, use_karras_sigmas: true }
  t.regex(formatParameters({ ...settings, sampler: config }), /Sampler: DPM\+\+ 2M, Schedule type: Karras,/)
})

test('compressed texts are unpacked within bounds, and damaged ones passed over', async t => {
  const bomb = zlib.deflateSync(Buffer.alloc(64 * 2 ** 20, 0x20))
  const broken = [
    chunk(
      'zTXt', Buffer.concat([Buffer.from('parameters\0\0'), bomb]),
    ), chunk('iTXt', Buffer.concat([Buffer.from('parameters\0\x01\0\0\0'), bomb])),
    chunk(
      'zTXt', Buffer.from('parameters\0\0garbage'),
    ), chunk('zTXt', Buffer.from('parameters\0\x05')), chunk('zTXt', Buffer.from('parameters\0')),
    chunk(
      'iTXt', Buffer.from('parameters\0\x02\0\0\0x'),
    ), chunk('iTXt', Buffer.from('parameters\0\0')), chunk('tEXt', Buffer.from('parameters')), chunk('tEXt', Buffer.alloc(5)),
  ]
  t.is(await readSettings(withChunks(...broken)), undefined)
  t.deepEqual(await readSettings(withChunks(...broken, tEXt('parameters', published))), meant)
})

test('no text breaks the reader, and long ones take time in proportion', t => {
  t.is(parseParameters('a'.repeat(2 ** 21)), undefined)
  for (const text of [
    'Steps: ', '\nSteps', 'a b '.repeat(200_000), '"'.repeat(500_000), `Steps: "${'\\'.repeat(500_000)}`, ':,'.repeat(400_000),
    '\n'.repeat(900_000),
  ]) parseParameters(text)
  fc.assert(fc.property(fc.array(
    fc.constantFrom('Steps', ': ', '20', ', ', '"', '\\', '\n', 'Negative prompt:', 'Seed', 'Size', '1x1', 'CFG scale', 'é'),
    { maxLength: 30 },
  ), parts => {
    const read = parseParameters(parts.join(''))
    return read === undefined || typeof read.prompt === 'string'
  }), { seed: 14, numRuns: 2000 })
})

test('devices, named pipes, folders and huge files are refused at once', async t => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'asdm-settings-'))
  t.teardown(() => fs.rmSync(folder, { recursive: true }))
  const huge = path.join(folder, 'huge.png')
  fs.writeFileSync(huge, '')
  fs.truncateSync(huge, 2 ** 32)
  const refused = [folder, huge]
  if (process.platform !== 'win32') {
    const { execFileSync } = await import('node:child_process')
    execFileSync('mkfifo', [path.join(folder, 'pipe.png')])
    refused.push(path.join(folder, 'pipe.png'), '/dev/zero')
  }
  for (const file of refused) t.is((await t.throwsAsync(readSettings(file), { instanceOf: AsdmError })).code, 'FILE_READ', file)
})
