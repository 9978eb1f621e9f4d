import test from 'ava'
import type { Tensor } from '../../lib/base/tensor'
import { openUNet } from '../../lib/model/folder'
import { matchWeights } from '../../lib/model/weights'
import type { ForwardInputs, NativeModel, NativeModelOptions, RunStep } from '../../lib/native/binding'
import { loadAddon } from '../../lib/native/load'
import { fixture } from '../support/fixtures'
import { randomFloats } from '../support/op-runner'
import { forwardStep, passInputs, samplesOf, withValues } from '../support/passes'
import { alignment } from './support'

const shape = { batch: 2, height: 8, width: 8, length: 5 }

async function model(set: string, threads = 2, dtype: NativeModelOptions['dtype'] = 'fp32'): Promise<NativeModel> {
  const { config, weights } = await openUNet(fixture(set, 'unet'))
  const unet = loadAddon().createModel({ kind: 'unet', config }, { dtype, threads, cpu: 'auto' })
  await unet.load(matchWeights(unet.weights(), weights, set)).promise
  return unet
}

const textWidth = (set: string): number => ({ 'sd15-tiny': 48, 'sd21-tiny': 40, 'bk-sdm-tiny-tiny': 32 })[set]!

function inputs(set: string, seed: number, batch = shape.batch): ForwardInputs {
  return passInputs({
    sample: { shape: [batch, 4, 8, 8], data: randomFloats(batch * 4 * 64, seed) },
    timesteps: new Float32Array(batch).fill(500 + seed),
    encoderHiddenStates: { shape: [batch, 5, textWidth(set)], data: randomFloats(batch * 5 * textWidth(set), seed + 1) },
  })
}

const full: RunStep = { inherit: [], conditionalOnly: false }
const step = (inherit: RunStep['inherit'], conditionalOnly = false): RunStep => ({ inherit, conditionalOnly })
const same = (a: Float32Array, b: Float32Array): boolean =>
  Buffer.compare(Buffer.from(a.buffer, a.byteOffset, a.byteLength), Buffer.from(b.buffer, b.byteOffset, b.byteLength)) === 0

/** Prefixes of every level that the model has, each with the features it can give. */
function choices(unet: NativeModel): RunStep['inherit'] {
  const all: RunStep['inherit'] = []
  const names = unet.tapNames().filter(name => /^(down_block|up_block|mid_block|conv_norm_out|conv_out)/.test(name))
  for (const name of names) {
    all.push({ prefix: name, feature: 'output' })
    if (/(resnets\.\d+|attentions\.\d+|attn1|attn2|ff)$/.test(name)) all.push({ prefix: name, feature: 'branch' })
    const layer = /^((?:down|up)_blocks\.\d+)\.resnets\.(\d+)$/.exec(name)
    if (layer) all.push({ prefix: `${layer[1]}.${layer[2]}`, feature: 'output' })
  }
  return all
}

for (const set of ['sd15-tiny', 'sd21-tiny', 'bk-sdm-tiny-tiny']) {
  test(`${set}: a step repeated with the same inputs, inheriting any set, gives the same bits`, async t => {
    const unet = await model(set, 1)
    const given = inputs(set, 3)
    const plain = (await unet.forward(given).promise).sample.data
    const all = choices(unet)
    let state = 7
    const random = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 4294967296
    const sets = [
      ...all.filter((_, i) => i % 3 === 0).map(one => [one]),
      ...Array.from({ length: 16 }, () => all.filter(() => random() < [0.03, 0.2, 0.6][Math.floor(random() * 3)])),
    ]
    let saved = 0
    for (const inherit of sets) {
      const run = await unet.createRun(shape, [full, step(inherit)]).promise
      t.true(same((await forwardStep(run, 0, given)).sample.data, plain), 'the full step of a run is a plain pass')
      t.true(same((await forwardStep(run, 1, given)).sample.data, plain), JSON.stringify(inherit))
      if (run.info.steps[1].variants[0].macs < run.info.fullMacs[0]) saved++
      t.is(run.info.steps[0].variants[0].macs, run.info.fullMacs[0])
      run.dispose()
    }
    t.true(saved > sets.length / 2)
    unet.dispose()
  })
}

for (const [set, dtype] of [['sd15-tiny', 'bf16'], ['bk-sdm-tiny-tiny', 'bf16'], ['sd21-tiny', 'int8']] as const) {
  test(`${set} in ${dtype}: what is handed on has its low part, so the step that inherits gives the bits of the one that kept`, async t => {
    const unet = await model(set, 1, dtype)
    const given = inputs(set, 3)
    const plain = (await unet.forward(given).promise).sample.data
    for (const inherit of choices(unet)) {
      const run = await unet.createRun(shape, [full, step([inherit])]).promise
      const keeps = (await forwardStep(run, 0, given)).sample.data
      t.true(same((await forwardStep(run, 1, given)).sample.data, keeps), JSON.stringify(inherit))
      // An output is where one call ends in any case; a branch that is kept is cut off from the sum behind it, and rounded once more.
      if (inherit.feature === 'output') t.true(same(keeps, plain), JSON.stringify(inherit))
      run.dispose()
    }
    unet.dispose()
  })
}

test('an inherited feature is the earlier one: the step differs from a full one, and what is fresh stays fresh', async t => {
  const set = 'sd15-tiny'
  const unet = await model(set)
  const run = await unet.createRun(shape, [full, step([{ prefix: 'up_blocks.2', feature: 'output' }]), full]).promise
  const [a, b] = [inputs(set, 1), inputs(set, 2)]
  await forwardStep(run, 0, a)
  const cached = (await forwardStep(run, 1, b)).sample.data
  const fresh = (await unet.forward(b).promise).sample.data
  t.false(same(cached, fresh))
  t.true(same((await forwardStep(run, 2, b)).sample.data, fresh))
  t.deepEqual(run.info.steps[1].variants[0].inherited.map(value => value.source), [0])
  // What runs is conv_in, the skips of the first block and the last up block: its counted share of the whole.
  const units = unet.describe(shape).units
  const runs = units.filter(unit =>
    !unit.name.endsWith('.to_kv') && /^(conv_|time_|up_blocks\.3|down_blocks\.0\.(resnets|attentions))/.test(unit.name))
  t.is(run.info.steps[1].variants[0].macs, runs.reduce((sum, unit) => sum + unit.macs, 0))
  t.is(run.info.steps[1].variants[0].units, runs.length)
  // One value of [2, 8, 8, 64] floats: the block's output after its upsampler.
  t.is(run.info.keptBytes, 2 * 8 * 8 * 64 * 4)
  run.dispose()
  unet.dispose()
})

test('what a call would take in, or is taken in, can be inherited by itself', async t => {
  const set = 'bk-sdm-tiny-tiny', ff = 'down_blocks.0.attentions.0.transformer_blocks.0.ff'
  const unet = await model(set)
  const given = inputs(set, 5)
  const { sample, calls } = await unet.forward({ ...given, profile: true }).promise
  t.is(calls.find(({ name }) => name === `${ff}.net.0.proj`)!.result, `${ff}.net.0.geglu`)
  for (const prefix of ['.net.0.proj', '.net.0.geglu', '.net.2']) {
    const run = await unet.createRun(shape, [full, step([{ prefix: ff + prefix, feature: 'output' }])]).promise
    for (const index of [0, 1]) t.true(same((await forwardStep(run, index, given)).sample.data, sample.data), `${prefix} ${index}`)
    t.true(run.info.steps[1].variants[0].macs < run.info.fullMacs[0])
    run.dispose()
  }
  unet.dispose()
})

test('without guidance only the conditional half runs, with its own features', async t => {
  const set = 'sd15-tiny'
  const unet = await model(set)
  const inherit: RunStep['inherit'] = [
    { prefix: 'mid_block', feature: 'output' }, { prefix: 'up_blocks.1.1', feature: 'output' },
    { prefix: 'down_blocks.0.attentions.0.transformer_blocks.0.attn2', feature: 'branch' },
  ]
  const [a, b] = [inputs(set, 1), inputs(set, 2)]
  const run = await unet.createRun(shape, [full, step(inherit, true), step([], true), step(inherit)]).promise
  await forwardStep(run, 0, a)
  const half = (await forwardStep(run, 1, samplesOf(b, 1, 2))).sample
  t.deepEqual(half.shape, [1, 4, 8, 8])
  // The same step with both halves: its conditional half must be what the half alone gave.
  const both = await unet.createRun(shape, [full, step(inherit)]).promise
  await forwardStep(both, 0, a)
  const whole = (await forwardStep(both, 1, b)).sample.data
  t.true(same(half.data, whole.slice(whole.length / 2)))
  // After a conditional-only full step, the unconditional half still has the features of step 0, the conditional one those of step 2.
  await forwardStep(run, 2, samplesOf(b, 1, 2))
  const mixed = (await forwardStep(run, 3, b)).sample.data
  t.true(same(mixed.slice(0, mixed.length / 2), whole.slice(0, whole.length / 2)))
  const plain = (await unet.forward(b).promise).sample.data
  t.true(same(mixed.slice(mixed.length / 2), plain.slice(plain.length / 2)))
  t.deepEqual(new Set(run.info.steps[3].variants[0].inherited.map(value => value.source)), new Set([2]))
  t.true(run.info.steps[2].variants[0].macs * 2 === run.info.fullMacs[0])
  run.dispose()
  both.dispose()
  unet.dispose()
})

test('what is made of the text alone is computed once, and again where the text changes', async t => {
  for (const [set, dtype] of [['sd15-tiny', 'fp32'], ['sd21-tiny', 'fp32'], ['sd15-tiny', 'bf16']] as const) {
    const unet = await model(set, 2, dtype)
    const units = unet.describe(shape).units
    const made = units.filter(unit => unit.name.endsWith('.to_kv'))
    t.true(made.length > 4)
    const macs = made.reduce((sum, unit) => sum + unit.macs, 0)
    const run = await unet.createRun(shape, [full, full, step([], true), full, full, step([], true), full]).promise
    const { constants: [constants], fullMacs: [fullMacs], steps } = run.info
    t.is(constants.fullMacs, macs)
    t.is(constants.macs, macs)
    t.is(fullMacs + macs, unet.describe(shape).macs)
    t.is(steps[1].variants[0].macs, fullMacs)
    t.is(
      constants.bytes,
      made.reduce((sum, unit) => sum + Math.ceil(unit.shape.reduce((a, b) => a * b, dtype === 'bf16' ? 2 : 4) / alignment) * alignment, 0),
    )
    // Two texts in turn; every pass gives what a pass by itself gives.
    const [a, b] = [inputs(set, 1), inputs(set, 2)]
    const withText = (given: typeof a, text: typeof a, seed: number) =>
      withValues(inputs(set, seed), {
        timesteps: given.values.timesteps.data as Float32Array, encoderHiddenStates: text.values.encoder_hidden_states as Tensor,
      })
    const passes = [
      withText(a, a, 3), withText(b, a, 4), samplesOf(withText(a, a, 5), 1, 2), withText(a, b, 6), withText(a, b, 7),
      samplesOf(withText(b, a, 8), 1, 2), withText(a, b, 9),
    ]
    const counts: number[] = []
    for (const [i, pass] of passes.entries()) {
      const { sample, calls } = await forwardStep(run, i, { ...pass, profile: true })
      t.true(same(sample.data, (await unet.forward(pass).promise).sample.data), `${set} ${dtype} step ${i}`)
      counts.push(calls.filter(call => call.name.endsWith('.to_kv')).length)
    }
    t.deepEqual(counts, [1, 0, 0, 1, 0, 1, 1].map(times => times * made.length))
    run.dispose()
    // Half the batch first: the whole then has them computed anew.
    t.is((await unet.createRun(shape, [step([], true), step([], true)]).promise).info.constants[0].macs, macs / 2)
    t.is((await unet.createRun(shape, [step([], true), full]).promise).info.constants[0].macs, 1.5 * macs)
    unet.dispose()
  }
})

test('equal steps share a program; a later full step refreshes', async t => {
  const unet = await model('sd15-tiny')
  const inherit: RunStep['inherit'] = [{ prefix: 'up_blocks.2', feature: 'output' }]
  const run = await unet.createRun(shape, [full, step(inherit), step(inherit), full, step(inherit)]).promise
  t.deepEqual(run.info.steps.map(one => one.variants[0].program), [0, 1, 1, 0, 1])
  t.deepEqual(run.info.steps.map(one => one.variants[0].inherited.map(value => value.source)), [[], [0], [0], [], [3]])
  run.dispose()
  unet.dispose()
})

test('what cannot run is refused, naming prefix and step', async t => {
  const unet = await model('sd15-tiny')
  const refused = async (steps: RunStep[], pattern: RegExp, changed = {}) => {
    await t.throwsAsync(async () => unet.createRun({ ...shape, ...changed }, steps).promise, { name: 'AsdmError', message: pattern })
  }
  await refused([step([{ prefix: 'mid_block', feature: 'output' }])], /step 0 inherits by "mid_block".*none did/)
  await refused([full, step([{ prefix: 'up_blocks.9', feature: 'output' }])], /"up_blocks.9" at step 1/)
  await refused([full, step([{ prefix: 'mid_block', feature: 'branch' }])], /residual unit.*"mid_block" at step 1/)
  await refused([step([], true), step([{ prefix: 'mid_block', feature: 'output' }])], /unconditional half/)
  await refused([full, step([], true)], /even batch/, { batch: 3 })
  await refused([full], /batch/, { batch: 2 ** 30 })
  // A step that skipped a unit did not compute it: only the first step is a source for the third.
  const run = await unet.createRun(
    shape, [full, step([{ prefix: 'up_blocks.2', feature: 'output' }]), step([{ prefix: 'mid_block', feature: 'output' }])],
  ).promise
  t.is(run.info.steps[2].variants[0].inherited[0].source, 0)
  const given = inputs('sd15-tiny', 1)
  await t.throwsAsync(forwardStep(run, 1, given), { message: /step 0 of 3 to come next/ })
  await forwardStep(run, 0, given)
  await t.throwsAsync(forwardStep(run, 1, samplesOf(given, 0, 1)), { code: 'SHAPE_MISMATCH' })
  await t.throwsAsync(forwardStep(run, 1, { ...given, taps: ['mid_block'] }), { message: /no taps/ })
  run.dispose()
  run.dispose()
  await t.throwsAsync(forwardStep(run, 1, given), { code: 'DISPOSED' })
  for (const wrong of [
    null, 5, [null], [{ inherit: 5, conditionalOnly: false }], [{ inherit: [], conditionalOnly: 1 }],
    [{ inherit: [{ prefix: 3, feature: 'output' }], conditionalOnly: false }],
    [{ inherit: [{ prefix: 'mid_block', feature: 'x' }], conditionalOnly: false }],
  ])
    await t.throwsAsync(async () => unet.createRun(shape, wrong as never).promise, { code: 'INVALID_ARGUMENT' })
  unet.dispose()
  await t.throwsAsync(async () => unet.createRun(shape, [full]).promise, { code: 'DISPOSED' })
})

test('an aborted pass breaks its run and nothing else', async t => {
  const unet = await model('sd15-tiny')
  const given = inputs('sd15-tiny', 1)
  const run = await unet.createRun(shape, [full, step([{ prefix: 'mid_block', feature: 'output' }])]).promise
  const { sample, timesteps, ...text } = given.values
  await run.condition(text).promise
  const call = run.forward(0, { values: { sample, timesteps } })
  call.cancel()
  await t.throwsAsync(call.promise.catch(error => { throw new Error(error.name) }), { message: 'AbortError' })
  const plain = (await unet.forward(given).promise).sample.data
  const again = await unet.createRun(shape, [full]).promise
  t.true(same((await forwardStep(again, 0, given)).sample.data, plain))
  run.dispose()
  again.dispose()
  unet.dispose()
})

test('threads change nothing', async t => {
  const inherit: RunStep['inherit'] = [
    { prefix: 'up_blocks.1', feature: 'output' }, { prefix: 'up_blocks.3.attentions.1.transformer_blocks.0.ff', feature: 'branch' },
  ]
  const results: Float32Array[] = []
  for (const threads of [1, 2, 5]) {
    const unet = await model('sd15-tiny', threads)
    const run = await unet.createRun(shape, [full, step(inherit)]).promise
    await forwardStep(run, 0, inputs('sd15-tiny', 1))
    results.push((await forwardStep(run, 1, inputs('sd15-tiny', 2))).sample.data)
    run.dispose()
    unet.dispose()
  }
  t.true(same(results[0], results[1]))
  t.true(same(results[0], results[2]))
})
