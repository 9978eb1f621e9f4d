import test from 'ava'
import type { ForwardInputs, NativeModel, PeakRequest } from '../../lib/native/binding'
import { addon, create, smallText, smallUNet, writeWeights } from '../graph/support'
import { forwardStep, idInputs, passInputs } from '../support/passes'
import { temporaryFolder } from '../support/temporary'

const floats = (count: number, seed: number): Float32Array => Float32Array.from({ length: count }, (_, i) => Math.sin(seed + i))
const inputs = (): ForwardInputs => passInputs({
  sample: {
    shape: [2, 4, 8, 6], data: floats(384, 1),
  }, timesteps: Float32Array.of(5, 5), encoderHiddenStates: { shape: [2, 3, 12], data: floats(72, 2) },
})

async function loaded(t: Parameters<typeof temporaryFolder>[0]): Promise<NativeModel> {
  const model = create({ kind: 'unet', config: smallUNet })
  t.teardown(() => model.dispose())
  await model.load(writeWeights(temporaryFolder(t), model)).promise
  return model
}

test('a profile has a row for each kernel call, adds up to what describe counts, and changes no bit', async t => {
  const model = await loaded(t)
  const plain = await model.forward(inputs()).promise
  t.deepEqual(plain.calls, [])
  const { calls, sample } = await model.forward({ ...inputs(), profile: true }).promise
  t.deepEqual(sample, plain.sample)
  const info = model.describe({ batch: 2, height: 8, width: 6, length: 3 })
  t.is(calls.reduce((sum, { macs }) => sum + macs, 0), info.macs)
  // Fused units have no call of their own; the ways in and out have one though they are no units.
  const units = new Set(info.units.map(({ name }) => name))
  const computed = calls.filter(({ op }) => !op.startsWith('ToChannels'))
  t.true(computed.every(({ name, result }) => units.has(name) && units.has(result)))
  t.is(new Set(computed.map(({ name }) => name)).size, computed.length)
  t.deepEqual([calls[0].op, calls[calls.length - 1].op], ['ToChannelsLast', 'ToChannelsFirst'])
  t.true(calls.every(({ ms }) => ms >= 0 && ms < 1000) && calls.some(({ ms }) => ms > 0))
  // conv_in reads [2,8,6,4] and writes [2,8,6,8], four bytes each; its weights are 8x4x3x3 and 8 numbers, packed with some padding.
  const conv = calls.find(({ name }) => name === 'conv_in')!
  t.deepEqual({ op: conv.op, input: conv.input, shape: conv.shape, macs: conv.macs, valueBytes: conv.valueBytes },
    { op: 'Conv2d', input: [2, 8, 6, 4], shape: [2, 8, 6, 8], macs: 2 * 8 * 6 * 8 * 36, valueBytes: 4 * 2 * 8 * 6 * 12 })
  t.true(conv.weightBytes >= 4 * (8 * 36 + 8) && conv.weightBytes <= 4 * (64 * 40 + 64))
  // The sum behind a product is part of its call: the residual is read too.
  const out = calls.find(({ name }) => name.endsWith('attn1.to_out.0'))!
  t.true(out.result.endsWith('attn1.add'), out.result)
  t.is(out.valueBytes, 4 * 3 * out.shape.reduce((a, b) => a * b, 1))
})

test('passes of a run are profiled too, and rows are those of the units that run', async t => {
  const model = await loaded(t)
  const run = await model.createRun(
    { batch: 2, height: 8, width: 6, length: 3 },
    [{ inherit: [], conditionalOnly: false }, { inherit: [{ prefix: 'mid_block', feature: 'output' }], conditionalOnly: false }],
  ).promise
  t.teardown(() => run.dispose())
  const macs: number[] = []
  for (const step of [0, 1]) {
    const { calls } = await forwardStep(run, step, { ...inputs(), profile: true })
    macs.push(calls.reduce((sum, call) => sum + call.macs, 0))
    t.is(calls.some(({ name }) => name.startsWith('mid_block')), step === 0)
  }
  // The first pass also computes what depends on the text alone.
  const [first, second] = run.info.steps.map(step => step.variants[0].macs)
  t.deepEqual(macs, [first + run.info.constants[0].macs, second])
})

test('a look-up reads the rows it was asked for', async t => {
  const model = create({ kind: 'text_encoder', config: { ...smallText, vocabSize: 5000 } })
  t.teardown(() => model.dispose())
  await model.load(writeWeights(temporaryFolder(t), model)).promise
  const { calls } = await model.forward({ ...idInputs(Int32Array.of(1, 2, 3), 1), profile: true }).promise
  const embed = calls.find(({ op }) => op === 'Embed')!
  t.is(embed.weightBytes, 4 * 2 * 3 * 8)
})

test('profile is true or false', async t => {
  const model = await loaded(t)
  t.throws(() => model.forward({ ...inputs(), profile: 1 as unknown as boolean }), { code: 'INVALID_ARGUMENT', message: /inputs\.profile/ })
})

test('what the machine does at most is something, and no more than processors can', t => {
  const measure = (request: Partial<PeakRequest>): number =>
    addon.measurePeak({ kind: 'fp32', cpu: 'auto', threads: 1, ms: 20, ...request })
  const fp32 = measure({})
  t.true(fp32 > 1e8 && fp32 < 1e13, String(fp32))
  const { usable, features } = addon.cpuInfo()
  for (const cpu of usable) t.true(measure({ cpu }) > 1e8, cpu)
  // Chains that a compiler saw through would be too fast by far: eight 512-bit units at 6 GHz are beyond every core, and so are two for
  // tiles.
  const wide = /^(amx|avx512)/.test(usable[0]), most = usable[0] === 'amx' ? 2 * 2 * 1024 : 8 * 2 * 64
  for (const kind of ['fp32', 'bf16', 'int8'] as const) t.true(measure({ kind }) < most * 6e9, kind)
  t.is(measure({ kind: 'bf16' }) > 0, wide && features.includes('avx512bf16'))
  t.is(measure({ kind: 'int8' }) > 0, wide && features.includes('avx512vnni'))
  const copy = (bytes: number): number => measure({ kind: 'copy', bytes })
  t.true(copy(2 ** 15) > 1e8 && copy(2 ** 26) > 1e8)
  t.true(copy(64) > 0)
})

test('measurePeak refuses what makes no sense', t => {
  const bad = (request: Record<string, unknown>): void =>
    void addon.measurePeak({ kind: 'fp32', cpu: 'auto', threads: 1, ms: 1, ...request } as unknown as PeakRequest)
  t.throws(() => bad({ kind: 'fp64' }), { code: 'INVALID_ARGUMENT', message: /request\.kind/ })
  t.throws(() => bad({ threads: 0 }), { code: 'INVALID_ARGUMENT', message: /request\.threads/ })
  t.throws(() => bad({ ms: 1e9 }), { code: 'INVALID_ARGUMENT', message: /request\.ms/ })
  t.throws(() => bad({ kind: 'copy' }), { code: 'INVALID_ARGUMENT', message: /request\.bytes/ })
  t.throws(() => bad({ kind: 'copy', bytes: 2 ** 40 }), { code: 'INVALID_ARGUMENT' })
  t.throws(() => bad({ kind: 'copy', bytes: 100, threads: 200 }), { code: 'INVALID_ARGUMENT' })
  t.throws(() => bad({ cpu: 'pentium' }), { code: 'UNKNOWN_CPU' })
  t.throws(() => addon.measurePeak(undefined as unknown as PeakRequest), { code: 'INVALID_ARGUMENT' })
})
