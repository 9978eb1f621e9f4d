import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { convertModel, StableDiffusion } from '../../lib'
import { AsdmError } from '../../lib/base/errors'
import { writeSafetensors, type TensorToWrite } from '../../lib/files/safetensors'
import { mergeLoras } from '../../lib/lora/merge'
import { openCheckpoint, type Checkpoint } from '../../lib/model/checkpoint'
import { readConverted } from '../../lib/model/dtype'
import { fixture, repoPath } from '../support/fixtures'

const base = fixture('sd15-tiny')
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'asdm-lora-test-'))
// Scratch files of other tests lie elsewhere.
process.env.TMPDIR = folder
test.after.always(() => fs.rmSync(folder, { recursive: true, force: true }))
/** Only what runs at the time may leave files behind, so tests that look are serial. */
const scratch = (): string[] => fs.readdirSync(os.tmpdir()).filter(name => /^asdm-lora-(?!test)/.test(name))

type Row = [name: string, shape: number[], salt: number, offset?: number]
interface Case {
  name: string
  files: { tensors: Row[], metadata?: Record<string, string> }[]
  amounts: number[]
  expected: Record<'unet' | 'text_encoder', Record<string, { at: number[], values: number[] }>>
}
const cases: Case[] = JSON.parse(fs.readFileSync(repoPath('test', 'lora', 'reference.json'), 'utf8'))

/** As reference.py makes them. */
function tensorOf([name, shape, salt, offset = 0]: Row): TensorToWrite {
  const count = shape.reduce((product, size) => product * size, 1)
  const data = name.endsWith('.alpha')
    ? Float32Array.of(salt)
    : Float32Array.from({ length: count }, (_, i) => Math.sin(0.7 * i + 1.3 * salt) / 20 + offset)
  return { name, dtype: 'F32', shape, data }
}

let files = 0
async function fileOf(tensors: readonly TensorToWrite[], metadata?: Record<string, string>): Promise<string> {
  const file = path.join(folder, `${files++}.safetensors`)
  await writeSafetensors(file, tensors, metadata)
  return file
}

async function weight(checkpoint: Checkpoint, part: string, name: string): Promise<Float32Array> {
  const source = (part === 'unet' ? checkpoint.unet : checkpoint.textEncoder).weights.find(each => each.name === name)!
  const pieces: Uint8Array[] = []
  for await (const piece of readConverted([source], 'F32', name, undefined)) pieces.push(piece.slice())
  return new Float32Array(Uint8Array.from(Buffer.concat(pieces)).buffer)
}

async function fails(t: ExecutionContext, code: string, message: RegExp, tensors: readonly TensorToWrite[]): Promise<void> {
  const checkpoint = await openCheckpoint(base)
  await t.throwsAsync(mergeLoras(checkpoint, [{ path: await fileOf(tensors), weight: 1, textWeight: 1 }]), { code, message } as object)
}

for (const { name, files: described, amounts, expected } of cases) {
  test(`${name}: merged as the reference does`, async t => {
    const checkpoint = await openCheckpoint(base)
    const loras = await Promise.all(described.map(async ({ tensors, metadata }, i) =>
      ({ path: await fileOf(tensors.map(tensorOf), metadata), weight: amounts[i], textWeight: amounts[i] })))
    const merged = await mergeLoras(checkpoint, loras)
    t.deepEqual(merged.warnings, [])
    const changed = [...merged.checkpoint.unet.weights, ...merged.checkpoint.textEncoder.weights].filter(source => source.merged)
    t.deepEqual(changed.map(source => source.name).sort(), Object.values(expected).flatMap(Object.keys).sort())
    for (const [part, weights] of Object.entries(expected))
      for (const [key, { at, values }] of Object.entries(weights)) {
        const found = await weight(merged.checkpoint, part, key)
        const largest = Math.max(...found.map(Math.abs))
        // Float32 rounding of a sum of a few terms.
        at.forEach((index, i) => t.true(Math.abs(found[index] - values[i]) <= 4e-7 * largest, `${key}[${index}] ${found[index]} ${values[i]}`))
      }
    await merged.dispose()
    await merged.dispose()
  })
}

const peft = cases[0].files[0].tensors

test('names with and without their prefixes mean the same', async t => {
  const checkpoint = await openCheckpoint(base)
  const read = async (rename: (name: string) => string): Promise<Float32Array[]> => {
    const path = await fileOf(peft.map(tensorOf).map(tensor => ({ ...tensor, name: rename(tensor.name) })))
    const merged = await mergeLoras(checkpoint, [{ path, weight: 1, textWeight: 1 }])
    const all = await Promise.all([...merged.checkpoint.unet.weights, ...merged.checkpoint.textEncoder.weights]
      .filter(source => source.merged).map(async ({ name }) => weight(merged.checkpoint, name.startsWith('encoder') ? 'text_encoder' : 'unet', name)))
    await merged.dispose()
    return all
  }
  const plain = await read(name => name)
  t.is(plain.length, 6)
  for (const rename of [
    (name: string) => name.replace(/^unet\./, ''),
    (name: string) => name.replace(/^unet\./, 'base_model.model.'),
    (name: string) => name.replace('text_model.', ''),
    (name: string) => name.replace('.lora_A.weight', '.lora_A.default.weight'),
    (name: string) => name.replace('.lora_A.', '.lora.down.').replace('.lora_B.', '.lora.up.'),
  ]) t.deepEqual(await read(rename), plain)
})

test('text encoder and UNet have weights of their own, and 0 changes nothing', async t => {
  const checkpoint = await openCheckpoint(base)
  const file = await fileOf(peft.map(tensorOf))
  const none = await mergeLoras(checkpoint, [{ path: file, weight: 0, textWeight: 0 }])
  t.is(none.checkpoint, checkpoint)
  const text = await mergeLoras(checkpoint, [{ path: file, weight: 0, textWeight: 1 }])
  t.is(text.checkpoint.unet.weights.filter(source => source.merged).length, 0)
  t.is(text.checkpoint.textEncoder.weights.filter(source => source.merged).length, 2)
  await text.dispose()
})

test('what does not fit is named', async t => {
  const tensors = peft.map(tensorOf)
  await fails(t, 'TENSOR_MISSING', /none of its 6 layers is one of the model's: /, tensors.map(each => ({ ...each, name: `x.${each.name}` })))
  await fails(t, 'TENSOR_MISSING', /matrices of one kind of LoRA for .*to_q .*only up/, tensors.slice(1))
  await fails(t, 'TENSOR_MISSING', /only hada_w1_a, down, up/, [...tensors, {
    ...tensors[0], name: tensors[0].name.replace('lora_A.weight', 'hada_w1_a'),
  }])
  await fails(t, 'TENSOR_SHAPE', /to be a matrix \[2,32\] for down_blocks.0.*another base model/, [
    { ...tensors[0], shape: [2, 31], data: new Float32Array(62) }, ...tensors.slice(1),
  ])
  await fails(t, 'TENSOR_DTYPE', /stored as F32, F16 or BF16 but received "I32"/, [{ ...tensors[0], dtype: 'I32' }, ...tensors.slice(1)])
  const checkpoint = await openCheckpoint(base)
  const file = await fileOf([...tensors, { name: 'unet.up_blocks.9.attn.to_q.lora_A.weight', dtype: 'F32', shape: [1], data: new Float32Array(1) }])
  const merged = await mergeLoras(checkpoint, [{ path: file, weight: 1, textWeight: 1 }])
  t.regex(merged.warnings[0], /Of the 7 layers .*, 6 fitted this model; not used: unet.up_blocks.9.attn.to_q/)
  await merged.dispose()
})

test('any shapes and numbers of matrices give weights or an AsdmError', async t => {
  const checkpoint = await openCheckpoint(base)
  // For a matrix [32,32].
  const pieces: Record<string, number[]> = {
    'lora_down.weight': [2, 32], 'lora_up.weight': [32, 2], 'lora_mid.weight': [2, 2], 'hada_w1_a': [32, 2], 'hada_w1_b': [2, 32],
    'hada_w2_a': [32, 2], 'hada_w2_b': [2, 32], 'hada_t1': [2, 2], 'hada_t2': [2, 2], 'lokr_w1': [4, 8], 'lokr_w1_a': [4, 2], 'lokr_w1_b': [2, 8],
    'lokr_w2': [8, 4], 'lokr_w2_a': [8, 2], 'lokr_w2_b': [2, 4], 'lokr_t2': [2, 2], 'diff': [32, 32], 'diff_b': [32], 'alpha': [], 'dora_scale': [32],
  }
  const names = Object.keys(pieces)
  const groups = [
    [0, 1], [0, 1, 2], [3, 4, 5, 6], [3, 4, 5, 6, 7, 8], [9, 12], [9, 13, 14], [10, 11, 13, 14], [10, 11, 13, 14, 15], [16], [16, 17], [17],
  ]
  const odd = fc.array(fc.constantFrom<number>(0, 1, 2, 3, 8, 31, 32, 64), { maxLength: 4 })
  const file = fc.tuple(
    fc.constantFrom('down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q', 'down_blocks_1_resnets_0_conv1', 'conv_norm_out'),
    fc.constantFrom(...groups), fc.subarray([18, 19]),
    fc.array(fc.option(odd, { nil: undefined, freq: 1 }), { minLength: 8, maxLength: 8 }),
  )
  let merges = 0
  await fc.assert(fc.asyncProperty(file, async ([layer, group, extra, shapes]) => {
    const tensors = [...group, ...extra].map((piece, i) => {
      const shape = i % 3 === 0 ? shapes[i] ?? pieces[names[piece]] : pieces[names[piece]]
      return {
        name: `lora_unet_${layer}.${names[piece]}`, dtype: 'F32', shape,
        data: new Float32Array(shape.reduce((product, size) => product * size, 1)).fill(0.01),
      }
    })
    try {
      const merged = await mergeLoras(checkpoint, [{ path: await fileOf(tensors), weight: 1, textWeight: 1 }])
      merges++
      await merged.dispose()
    } catch (error) {
      if (!(error instanceof AsdmError)) throw error
    }
  }), { seed: 1801, numRuns: 200 })
  t.true(merges > 10, `${merges} merged`)
})

test.serial('a model loads with LoRAs, as one they are baked into does, and leaves no file behind', async t => {
  const before = scratch()
  const file = await fileOf(peft.map(tensorOf))
  const request = { prompt: 'x', steps: 2, width: 64, height: 64, seed: 3, sampler: 'euler' }
  const rgba = async (model: string, loras?: object[]): Promise<Uint8ClampedArray> => {
    const sd = await StableDiffusion.load(model, { threads: 2, ...(loras && { loras, loraFolder: folder }) })
    const [image] = await sd.generate(request)
    await sd.dispose()
    return image.rgba
  }
  const plain = await rgba(base)
  const changed = await rgba(base, [{ path: file, weight: 4 }])
  t.notDeepEqual(changed, plain)
  t.deepEqual(await rgba(base, [{ name: path.basename(file), weight: 4 }]), changed)
  t.deepEqual(await rgba(base, [{ path: file, weight: 0 }]), plain)
  const baked = path.join(folder, 'baked')
  await convertModel(base, baked, { dtype: 'fp32', loras: [{ path: file, weight: 4 }] })
  t.deepEqual(await rgba(baked), changed)
  t.deepEqual(scratch(), before)
  for (const [loras, message] of [
    [{}, /array of at most 100/], [[{}], /either path or name in loras\[0\] but received neither/], [[{ path: 'a', name: 'b' }], /both/],
    [[{ name: '../x' }], /name of a file in loraFolder/], [[{ path: 'a', weight: 11 }], /from -10 to 10/], [[{ path: 'a', wait: 1 }], /weight/],
  ] as const) await t.throwsAsync(StableDiffusion.load(base, { loras, loraFolder: folder } as object), { code: 'INVALID_ARGUMENT', message })
  await t.throwsAsync(StableDiffusion.load(base, { loras: [{ name: 'x' }] }), { code: 'INVALID_ARGUMENT', message: /loraFolder beside/ })
})
