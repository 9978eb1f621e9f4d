import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { StableDiffusion } from '../../lib'
import { AsdmError } from '../../lib/base/errors'
import { writeSafetensors, type TensorToWrite } from '../../lib/files/safetensors'
import { convert } from '../../lib/model/dtype'
import { encodeText } from '../../lib/text/encode'
import { FeatureCache } from '../../lib/text/feature-cache'
import { Tokenizer } from '../../lib/text/tokenizer'
import { fixture, repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

const base = fixture('sd15-tiny')
const width = 48
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'asdm-test-'))
test.after.always(() => fs.rmSync(folder, { recursive: true, force: true }))

type File = [name: string, rows: number, salt: number, dtype: 'F32' | 'F16', token: string | null]
const reference: { files: File[], cases: { prompt: string, added: number[], at: number[], values: number[] }[] }
  = JSON.parse(fs.readFileSync(repoPath('test', 'text', 'embeddings.json'), 'utf8'))

/** As embeddings.py makes them. */
function tensorOf([name, rows, salt, dtype]: File): TensorToWrite {
  const floats = Float32Array.from({ length: Math.max(1, rows) * width }, (_, i) => Math.sin(0.7 * i + 1.3 * salt) / 2)
  const { bytes } = convert(new Uint8Array(floats.buffer), 'F32', dtype)
  return { name, dtype, shape: rows === 0 ? [width] : [rows, width], data: bytes }
}

let files = 0
async function fileOf(tensors: readonly TensorToWrite[], name = `${files++}`): Promise<string> {
  const file = path.join(folder, `${name}.safetensors`)
  await writeSafetensors(file, tensors)
  return file
}

async function model(t: ExecutionContext): Promise<StableDiffusion> {
  const embeddings = await Promise.all(reference.files.map(async file =>
    ({ path: await fileOf([tensorOf(file)]), ...(file[4] !== null && { token: file[4] }) })))
  const sd = await StableDiffusion.load(base, { threads: 1, embeddings })
  t.teardown(() => sd.dispose())
  return sd
}

const zeros = (...shape: number[]): TensorToWrite =>
  ({ name: 'x', dtype: 'F32', shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) })

test('features of prompts with embeddings are diffusers\'', async t => {
  const sd = await model(t)
  t.is(sd.textEncoder.config.vocabSize, 2014 + 8)
  for (const { prompt, added, at, values } of reference.cases) {
    const ids = sd.tokenizer.encode(prompt)
    t.deepEqual([...ids.keys()].filter(i => ids[i] >= 2014), added, prompt)
    const { data } = await sd.textEncoder.encode(ids)
    at.forEach((index, i) => t.true(Math.abs(data[index] - values[i]) <= 5e-6, `${prompt}[${index}] ${data[index]} ${values[i]}`))
  }
})

test('they work in prompts, negative prompts, weighted and long ones; others do not change by a bit', async t => {
  const sd = await model(t)
  const plain = await StableDiffusion.load(base, { threads: 1 })
  t.teardown(() => plain.dispose())
  const rgba = async (from: StableDiffusion, prompt: string, negativePrompt: string): Promise<Buffer> => {
    const [image] = await from.generate({ prompt, negativePrompt, seed: 1, steps: 1, width: 64, height: 64, promptWeighting: true })
    return Buffer.from(image.rgba)
  }
  const same = await rgba(plain, 'a dog', 'blurry')
  t.deepEqual(await rgba(sd, 'a dog', 'blurry'), same)
  t.notDeepEqual(await rgba(sd, 'a <cat-toy>', 'blurry'), await rgba(plain, 'a <cat-toy>', 'blurry'))
  t.notDeepEqual(await rgba(sd, 'a dog', '(easynegative:1.3)'), await rgba(plain, 'a dog', '(easynegative:1.3)'))

  // Weights count for all vectors of a word, and a word may lie across two windows.
  const encode = async (prompt: string, more: object) => encodeText(sd.tokenizer, sd.textEncoder, new FeatureCache(),
    { prompts: [prompt], negativePrompts: undefined, clipSkip: 0, promptWeighting: true, ...more }, () => {}, undefined)
  const one = await encode('x easynegative', {})
  const heavy = await encode('x (easynegative:1.5)', {})
  const ratios = Array.from({ length: 8 }, (_, i) => heavy.data[i * width] / one.data[i * width] / (heavy.data[0] / one.data[0]))
  ratios.forEach((ratio, i) => t.true(Math.abs(ratio - (i >= 2 && i < 6 ? 1.5 : 1)) < 1e-5, `${i} ${ratio}`))
  const long = await encode('a '.repeat(73) + 'easynegative b', { longPrompts: true })
  t.deepEqual(long.shape, [1, 154, width])
})

test('words are found in any letter case, and only whole where they are letters', async t => {
  const tokenizer = (await Tokenizer.load(path.join(base, 'tokenizer'))).withEmbeddings(
    [{ word: 'Bad', ids: [3000, 3001] }, { word: 'bad_hands', ids: [3002] }, { word: '<s>', ids: [3003] }, { word: 'é1', ids: [3004] }],
  )
  const found = (text: string): number[] => tokenizer.tokenize(text).filter(id => id >= 3000)
  t.deepEqual(found('bad BAD, bad.'), [3000, 3001, 3000, 3001, 3000, 3001])
  t.deepEqual(found('badly forbad bad2 bad_art _bad'), [])
  t.deepEqual(found('bad-bad'), [3000, 3001, 3000, 3001])
  t.deepEqual(found('bad_hands bad_hands5 BAD_HANDS'), [3002, 3002])
  t.deepEqual(found('a<s>b<S>'), [3003, 3003])
  t.deepEqual(found('e\u03011 É1 é12'), [3004, 3004])
  t.is(tokenizer.decode([3000, 3001, 3003, 3004]), 'Bad Bad_1 <s> é1')
  t.is(tokenizer.vocabSize, 3005)
  const { truncated, ids } = tokenizer.encodeWithDetails('a '.repeat(74) + 'Bad end')
  t.is(truncated, 'Bad end')
  t.deepEqual([...ids.slice(74)], [tokenizer.tokenize('a')[0]!, 3000, tokenizer.eos])
})

test('the word is the file\'s own, else the file\'s name, else what the caller says', async t => {
  const loaded = async (embeddings: { path: string, token?: string }[]): Promise<StableDiffusion> => {
    const sd = await StableDiffusion.load(base, { threads: 1, embeddings })
    t.teardown(() => sd.dispose())
    return sd
  }
  const sd = await loaded([
    { path: await fileOf([{ ...zeros(2, width), name: 'emb_params' }], 'bad.v2') },
    { path: await fileOf([{ ...zeros(1, width), name: '<own>' }]) },
    { path: await fileOf([{ ...zeros(width), name: '<other>' }]), token: 'mine' },
  ])
  t.deepEqual(sd.tokenizer.tokenize('bad.v2<own>mine').filter(id => id >= 2014), [2014, 2015, 2016, 2017])
  t.deepEqual(sd.tokenizer.tokenize('<own> mine <other>').filter(id => id >= 2014), [2016, 2017])
})

// Only what runs at the time may leave files behind.
test.serial('files and words that cannot be are named, and nothing stays behind', async t => {
  const fails = async (code: string, message: RegExp, ...embeddings: unknown[]): Promise<void> => {
    await t.throwsAsync(StableDiffusion.load(base, { threads: 1, embeddings: embeddings as [] }), { code, message } as object)
  }
  const good = await fileOf([{ ...zeros(2, width), name: 'good' }])
  await fails('TENSOR_SHAPE', /vectors 48 wide.*received \[2,64\]/, { path: await fileOf([zeros(2, 64)]) })
  await fails('TENSOR_SHAPE', /received \[1,1,48\]/, { path: await fileOf([zeros(1, 1, width)]) })
  await fails('TENSOR_SHAPE', /received \[0,48\]/, { path: await fileOf([zeros(0, width)]) })
  await fails('TENSOR_DTYPE', /I64/, { path: await fileOf([{ ...zeros(width), dtype: 'I64', data: new BigInt64Array(width) }]) })
  await fails('UNSUPPORTED_FORMAT', /holds 2: clip_g, clip_l/,
    { path: await fileOf([{ ...zeros(1, width), name: 'clip_l' }, { ...zeros(1, width), name: 'clip_g' }]) })
  await fails('UNSUPPORTED_FORMAT', /holds none/, { path: await fileOf([]) })
  await fails('INVALID_ARGUMENT', /"good" is taken/, { path: good }, { path: good })
  await fails('INVALID_ARGUMENT', /<\|ENDoftext\|>" is taken/, { path: good, token: '<|ENDoftext|>' })
  await fails('INVALID_ARGUMENT', /received "two words"; give { token }/,
    { path: await fileOf([{ ...zeros(1, width), name: '*' }], 'two words') })
  await fails('INVALID_ARGUMENT', /embeddings\[0\].token/, { path: good, token: 'a b' })
  await fails('INVALID_ARGUMENT', /embeddings\[0\].path/, { token: 'x' })
  await fails('FILE_NOT_FOUND', /none/, { path: path.join(folder, 'none.safetensors') })
  const left = fs.readdirSync(os.tmpdir()).filter(name => name.startsWith('asdm-embeddings-'))
  t.deepEqual(left, [])
})

test('any bytes of a file give an error or an embedding', async t => {
  const scratch = temporaryFolder(t)
  const file = path.join(scratch, 'x.safetensors')
  const good = fs.readFileSync(await fileOf([{ ...zeros(2, width), name: 'good' }]))
  const changed = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 })
  await fc.assert(fc.asyncProperty(changed, async changes => {
    const bytes = Buffer.from(good)
    for (const [at, value] of changes) bytes[at] = value
    fs.writeFileSync(file, bytes)
    try {
      const sd = await StableDiffusion.load(base, { threads: 1, embeddings: [{ path: file }], onWarning: () => {} })
      await sd.dispose()
    } catch (error) {
      t.true(error instanceof AsdmError, String(error))
    }
  }), { seed: 18, numRuns: 60 })
})
