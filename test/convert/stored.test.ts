import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import { UNet } from '../../lib/components/unet'
import { convert, elementBytes, readConverted } from '../../lib/model/dtype'
import { convertModel } from '../../lib/convert/convert'
import type { Warning } from '../../lib/components/warnings'
import { writeSafetensors, type TensorToWrite } from '../../lib/files/safetensors'
import { openCheckpoint } from '../../lib/model/checkpoint'
import type { StoredDType } from '../../lib/native/configs'
import { fixture, repoPath } from '../support/fixtures'
import { graphs } from '../support/graph-runner'
import { temporaryFolder } from '../support/temporary'
import { copyCheckpoint, tensorsIn } from '../model/checkpoints'

// 8-bit and 64-bit floats, which kernels do not read themselves. stored.py has PyTorch convert them.
const reference = JSON.parse(fs.readFileSync(repoPath('test', 'convert', 'stored.json'), 'utf8')) as {
  F8_E4M3: string[], F8_E5M2: string[], F64: { from: string[], to: string[] }
}
const words = (hex: readonly string[]): number[] => hex.map(text => parseInt(text, 16))
const codes = Uint8Array.from({ length: 256 }, (_, i) => i)
const doubles = new Uint8Array(new BigUint64Array(reference.F64.from.map(text => BigInt(`0x${text}`))).buffer)
const cases: [StoredDType, Uint8Array, number[]][] = [
  ['F8_E4M3', codes, words(reference.F8_E4M3)], ['F8_E5M2', codes, words(reference.F8_E5M2)], ['F64', doubles, words(reference.F64.to)],
]
const bitsOf = (bytes: Uint8Array): number[] => [...new Uint32Array(new Uint8Array(bytes).buffer)]
const isNaNBits = (bits: number): boolean => (bits & 0x7fff_ffff) > 0x7f80_0000

test('every 8-bit code and the odd float64 numbers become the float32 that PyTorch makes of them', t => {
  for (const [dtype, bytes, expected] of cases) {
    t.true(expected.some(isNaNBits))
    // The payload of a float64 NaN is the processor's business.
    const same = (bits: number, i: number): boolean => bits === expected[i] || dtype === 'F64' && isNaNBits(bits) && isNaNBits(expected[i]!)
    for (const shift of [0, 1]) {
      const moved = new Uint8Array(bytes.length + shift).subarray(shift)
      moved.set(bytes)
      const found = bitsOf(convert(moved, dtype, 'F32').bytes)
      t.is(found.length, expected.length)
      t.deepEqual(found.filter((bits, i) => !same(bits, i)), [], dtype)
    }
    for (const set of graphs.sets()) {
      const { values, finite } = graphs.convert(dtype, bytes, set)
      t.deepEqual(bitsOf(new Uint8Array(values.buffer)).filter((bits, i) => !same(bits, i)), [], `${dtype}, ${set}`)
      t.false(finite)
    }
  }
})

test('float16 and bfloat16 hold what 8 bits can say, and come from it without rounding', t => {
  for (const dtype of ['F8_E4M3', 'F8_E5M2'] as const)
    for (const to of ['F16', 'BF16'] as const) {
      const { bytes, overflow } = convert(codes, dtype, to)
      t.is(overflow, undefined)
      const back = bitsOf(convert(bytes, to, 'F32').bytes)
      t.deepEqual(back.filter((bits, i) => bits !== words(reference[dtype])[i] && !isNaNBits(bits)), [])
    }
})

test('a float64 number beyond the new format is refused, with its place', async t => {
  const file = path.join(temporaryFolder(t), 'x')
  const read = async (values: number[], to: StoredDType): Promise<Buffer> => {
    fs.writeFileSync(file, new Uint8Array(Float64Array.from(values).buffer))
    const pieces: Uint8Array[] = []
    const source = { name: 'w', file, dtype: 'F64' as const, shape: [values.length], begin: 0, end: 8 * values.length }
    for await (const piece of readConverted([source], to, 'w', undefined)) pieces.push(piece)
    return Buffer.concat(pieces)
  }
  const many = new Array<number>(200_000).fill(1)
  for (const [value, to] of [[1e39, 'F32'], [-1e39, 'F16'], [65_520, 'F16'], [1e300, 'BF16']] as const) {
    const error = await t.throwsAsync(read([...many, value], to), { instanceOf: AsdmError, code: 'TENSOR_DTYPE' })
    t.true(error!.message.includes(`element 200000 is ${value}`), error!.message)
  }
  t.deepEqual(bitsOf(await read([Infinity, -Infinity, 0.1], 'F32')), [0x7f80_0000, 0xff80_0000, 0x3dcc_cccd])
  t.is((await read([1, 2], 'F64')).length, 16)
})

/** E4M3's code nearest to the number that an E5M2 code means. */
const nearest = (() => {
  const numbers = (dtype: 'F8_E4M3' | 'F8_E5M2') => new Float32Array(Uint32Array.from(words(reference[dtype])).buffer)
  const [from, to] = [numbers('F8_E5M2'), numbers('F8_E4M3')]
  return Uint8Array.from(from, value => {
    let best = 0
    for (let code = 0; code < 256; code++) if (Math.abs(to[code]! - value) < Math.abs(to[best]! - value)) best = code
    return best
  })
})()

/** The tensors of the tiny UNet in another format, and the same numbers as F32. */
async function retyped(dtype: 'F8_E4M3' | 'F8_E5M2' | 'F64'): Promise<{ stored: TensorToWrite[], floats: TensorToWrite[] }> {
  const stored: TensorToWrite[] = []
  const floats: TensorToWrite[] = []
  for (const { name, shape, data } of await tensorsIn(fixture('sd15-tiny/unet/diffusion_pytorch_model.safetensors'))) {
    const halves = new Uint16Array(new Uint8Array(data as Buffer).buffer)
    const values = new Float32Array(convert(new Uint8Array(halves.buffer), 'F16', 'F32').bytes.slice().buffer)
    const bytes = dtype === 'F64'
      ? new Uint8Array(Float64Array.from(values, value => value * (1 + 2 ** -30)).buffer)
      : Uint8Array.from(halves, bits => (dtype === 'F8_E5M2' ? bits >> 8 : nearest[bits >> 8]!))
    stored.push({ name, shape, dtype, data: bytes })
    floats.push({ name, shape, dtype: 'F32', data: convert(bytes, dtype, 'F32').bytes })
  }
  return { stored, floats }
}

async function forward(folder: string): Promise<Float32Array> {
  const unet = await UNet.load(folder, { threads: 1 })
  const sample = Float32Array.from({ length: 4 * 8 * 8 }, (_, i) => Math.sin(i))
  const shape = [1, 7, unet.config.crossAttentionDim]
  const text = Float32Array.from({ length: 7 * unet.config.crossAttentionDim }, (_, i) => Math.cos(i))
  const out = await unet.forward({
    sample: { data: sample, shape: [1, 4, 8, 8] }, timestep: 500, encoderHiddenStates: { data: text, shape },
  })
  await unet.dispose()
  return out.sample.data
}

for (const dtype of ['F8_E4M3', 'F8_E5M2', 'F64'] as const)
  test(`a UNet stored as ${dtype} computes what the same numbers compute as F32, and converts to them`, async t => {
    const folder = copyCheckpoint('sd15-tiny', temporaryFolder(t))
    const file = path.join(folder, 'unet/diffusion_pytorch_model.safetensors')
    const { stored, floats } = await retyped(dtype)
    await writeSafetensors(file, floats)
    const expected = await forward(path.join(folder, 'unet'))
    t.true(expected.every(Number.isFinite))
    await writeSafetensors(file, stored)
    t.deepEqual(await forward(path.join(folder, 'unet')), expected)

    const converted = path.join(folder, 'converted')
    await convertModel(folder, converted, { dtype: 'fp32' })
    t.deepEqual(await forward(path.join(converted, 'unet')), expected)
    const kept = path.join(folder, 'kept')
    await convertModel(folder, kept)
    t.true((await openCheckpoint(kept)).unet.weights.every(weight => weight.dtype === dtype))
  })

test('NaN and what overflows are told of', async t => {
  for (const [dtype, bad] of [['F8_E4M3', [0x7f]], ['F8_E5M2', [0x7c]], ['F64', [...new Uint8Array(Float64Array.of(1e39).buffer)]]] as const) {
    const folder = copyCheckpoint('sd15-tiny', temporaryFolder(t))
    const { stored } = await retyped(dtype)
    const bias = stored.find(({ name }) => name === 'conv_out.bias')!
    const data = new Uint8Array(bias.data as Uint8Array)
    data.set(bad, elementBytes[dtype])
    await writeSafetensors(
      path.join(folder, 'unet/diffusion_pytorch_model.safetensors'), stored.map(tensor => (tensor === bias ? { ...tensor, data } : tensor)),
    )
    const warnings: Warning[] = []
    await (await UNet.load(path.join(folder, 'unet'), { threads: 1, onWarning: warning => warnings.push(warning) })).dispose()
    t.deepEqual(warnings.map(({ code }) => code), ['NON_FINITE_WEIGHTS'], dtype)
    t.deepEqual(warnings[0]!.weights, ['conv_out.bias'])
  }
})
