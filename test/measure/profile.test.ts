import test from 'ava'
import { blockOf, kindOf, layerOf, mergePasses, rollUp, shapeOf, unitOf, wholeOf, type ProfileRow } from '../../lib/measure/profile'
import type { PartProfile } from '../../lib/measure/profile-model'
import { arithmeticPeak, bandwidth, callBound, measurePeaks, type Peaks } from '../../lib/measure/roofline'
import { UNet } from '../../lib/components/unet'
import type { CallRow } from '../../lib/native/binding'
import { unetFacts } from '../../lib/plan/names'
import { fixture, root } from '../support/fixtures'
import { addon } from '../graph/support'
import { asdm } from './support'

const peaks: Peaks = {
  arithmetic: { fp32: 1e11, bf16: 2e11 }, copy: [{ bytes: 1000, perSecond: 8e10 }, { bytes: 100_000, perSecond: 2e10 }],
}
const call = (more: Partial<CallRow>): CallRow =>
  ({
    name: 'a.b', op: 'Linear', result: 'a.b', input: [2, 10], shape: [2, 5], dtype: 'fp32', macs: 100, weightBytes: 200, valueBytes: 120,
    ms: 1, ...more,
  })

test('bandwidth is that of the size: between measured ones by logarithms, at the ends the nearest', t => {
  t.is(bandwidth(peaks, 1), 8e10)
  t.is(bandwidth(peaks, 1000), 8e10)
  t.true(Math.abs(bandwidth(peaks, 10_000) / 4e10 - 1) < 1e-12)
  t.is(bandwidth(peaks, 1e12), 2e10)
})

test('the bound is the longer of arithmetic and memory; a format without instructions counts as fp32', t => {
  t.is(arithmeticPeak(peaks, 'int8'), 1e11)
  t.deepEqual(callBound(call({ macs: 1e9 }), peaks, 200), { ms: 20, by: 'arithmetic' })
  t.deepEqual(callBound(call({ macs: 1e9, dtype: 'bf16' }), peaks, 200), { ms: 10, by: 'arithmetic' })
  // 120 bytes at 80 GB/s; 200 bytes of weights at 20 GB/s, since all weights together are too many for a cache.
  const { ms, by } = callBound(call({ macs: 1 }), peaks, 1e9)
  t.is(by, 'memory')
  t.true(Math.abs(ms - (120 / 8e7 + 200 / 2e7)) < 1e-15)
})

test('passes become one by medians, rows add up', t => {
  const passes = [[3, 1], [1, 9], [2, 2]].map(([a, b]) =>
    [call({ name: 'x.1', ms: a, macs: 1e6 }), call({ name: 'x.2', ms: b, op: 'Add', macs: 0 })])
  const calls = mergePasses(passes, peaks)
  t.deepEqual(calls.map(({ ms }) => ms), [2, 2])
  const whole = wholeOf(calls)
  t.like(whole, { calls: 2, ms: 4, share: 1, macs: 1e6, gflops: 0.5, bytes: 640 })
  const rows = rollUp(calls, ({ op }) => op)
  t.deepEqual(
    rows.map(({ name, ms, share }) => ({ name, ms, share })), [{ name: 'Linear', ms: 2, share: 0.5 }, { name: 'Add', ms: 2, share: 0.5 }],
  )
  t.true(Math.abs(rows[0].boundMs + rows[1].boundMs - whole.boundMs) < 1e-15)
  t.is(rows[0].ofRoofline, rows[0].boundMs / 2)
})

test('names: block, layer, unit', t => {
  const names = new Set(['up_blocks.1', 'up_blocks.1.attentions.0', 'up_blocks.1.attentions.0.transformer_blocks.0.attn1'])
  const name = 'up_blocks.1.attentions.0.transformer_blocks.0.attn1.to_qkv'
  t.deepEqual(
    [blockOf(name), layerOf(name), unitOf(name, names)],
    ['up_blocks.1', 'up_blocks.1.0', 'up_blocks.1.attentions.0.transformer_blocks.0.attn1'],
  )
  t.is(unitOf('up_blocks.1.attentions.0.proj_in', names), 'up_blocks.1.attentions.0')
  t.is(unitOf('up_blocks.10.resnets.0.conv1', names), 'up_blocks.10.resnets.0.conv1')
  t.is(layerOf('down_blocks.0.downsamplers.0.conv'), 'down_blocks.0.downsamplers.0')
  t.is(layerOf('mid_block.resnets.1.conv1'), 'mid_block.1')
  t.is(layerOf('conv_norm_out'), 'conv_norm_out')
  t.deepEqual(
    [blockOf('decoder.up_blocks.3.resnets.0.conv1'), blockOf('encoder.layers.3.mlp.fc1')], ['decoder.up_blocks.3', 'encoder.layers.3'],
  )
})

test('kinds and shapes', t => {
  const conv = call({ op: 'Conv2d', input: [2, 8, 6, 4], shape: [2, 8, 6, 8], macs: 2 * 8 * 6 * 8 * 36 })
  t.is(shapeOf(conv), 'conv 3x3 2x8x6x4 -> 8')
  t.is(shapeOf({ ...conv, shape: [2, 4, 3, 8], macs: 2 * 4 * 3 * 8 * 36 }), 'conv 3x3 2x8x6x4 -> 2x4x3x8')
  t.is(kindOf(call({ op: 'GroupNorm' })), 'group norm')
  t.is(shapeOf(call({ op: 'GroupNorm', input: [2, 8, 6, 4], shape: [2, 8, 6, 4], macs: 0 })), 'group norm 2x8x6x4')
  t.is(shapeOf(call({ op: 'Timestep', input: [], shape: [2, 8], macs: 0 })), 'timestep 2x8')
})

test('the machine is measured once for each format and size', t => {
  const measured = measurePeaks(addon, 1, 'auto', 2)
  t.true(measured.arithmetic.fp32 > 0)
  t.true(
    measured.copy.length >= 5
    && measured.copy.every(({ perSecond }, i, all) => perSecond > 0 && (i === 0 || all[i].bytes > all[i - 1].bytes)),
  )
})

const sum = (rows: readonly ProfileRow[], key: 'ms' | 'macs' | 'calls' | 'share'): number =>
  rows.reduce((total, row) => total + row[key], 0)

test('asdm profile: rows add up to the whole and name what plans name', async t => {
  const { stdout, stderr, code } = await asdm(
    root, 'profile', '--model', fixture('sd15-tiny'), '--runs', '2', '--threads', '1', '-W', '64', '-H', '48', '--json',
  )
  t.is(code, 0, stderr)
  const report = JSON.parse(stdout) as PartProfile
  t.like(report, { part: 'unet', dtype: 'fp32', threads: 1, runs: 2 })
  const [step] = report.steps
  t.is(report.steps.length, 1)
  const unet = await UNet.load(fixture('sd15-tiny', 'unet'), { threads: 1 })
  t.teardown(() => unet.dispose())
  t.is(step.whole.macs, unet.describe(report.input as { batch: number, height: number, width: number, length: number }).macs)
  t.true(step.whole.ms > 0 && step.passMs >= 0.5 * step.whole.ms)
  for (const rows of [step.blocks, step.layers, step.units, step.kinds]) {
    t.is(new Set(rows.map(({ name }) => name)).size, rows.length)
    t.is(sum(rows, 'macs'), step.whole.macs)
    t.is(sum(rows, 'calls'), step.whole.calls)
    t.true(Math.abs(sum(rows, 'ms') / step.whole.ms - 1) < 1e-9)
    t.true(Math.abs(sum(rows, 'share') - 1) < 1e-9)
  }
  const { prefixes } = unetFacts(unet.config, unet.tapNames())
  const inside = step.units.map(({ name }) => name).filter(name => /block/.test(name))
  t.true(inside.length > 20)
  for (const name of inside) t.true(prefixes.has(name), name)
  const layers = step.layers.map(({ name }) => name).filter(name => /^(down|up)_blocks/.test(name))
  for (const name of layers) t.true(prefixes.has(name), name)
})

test('asdm profile: what adaptive rules decide is profiled both ways', async t => {
  const args = [
    'profile', '--model', fixture('sd15-tiny'), '--runs', '1', '--threads', '1', '-W', '64', '-H', '48', '--plan',
    'adaptive:0.5,2,up_blocks.0+mid_block', '--steps', '4',
  ]
  const [json, text] = await Promise.all([asdm(root, ...args, '--json'), asdm(root, ...args, '--by', 'block')])
  t.is(json.code, 0, json.stderr)
  const { steps } = JSON.parse(json.stdout) as PartProfile
  // The model's sampler takes a step more; after the last nothing is kept, which is another program.
  t.deepEqual(
    steps.map(({ steps: which, adaptive }) => [which, adaptive]),
    [[[0], { full: [1, 2, 3], inheriting: [] }], [[], { full: [4], inheriting: [] }], [[], { full: [], inheriting: [1, 2, 3, 4] }]],
  )
  t.true(steps[2].whole.macs < steps[0].whole.macs && steps[2].passMs > 0)
  t.true(steps[2].blocks.every(({ name }) => name !== 'mid_block' && name !== 'up_blocks.0'))
  t.regex(
    text.stdout,
    /\nStep 0; steps 1, 2, 3 where no adaptive rule inherits:\n[^]*\nStep 4 where no adaptive rule inherits:\n[^]*\nSteps 1, 2, 3, 4 where adaptive rules inherit:\n/,
  )
})

test('asdm profile: tables; each kind of step of a plan; other parts', async t => {
  const args = ['profile', '--model', fixture('sd15-tiny'), '--runs', '1', '--threads', '1', '-W', '32', '-H', '32']
  const [plain, planned, layers, text, half] = await Promise.all([
    asdm(root, ...args), asdm(root, ...args, '--plan', 'deepcache:3,0', '--steps', '6', '--json'), asdm(root, ...args, '--by', 'layer'),
    asdm(
      root, ...args, '--part', 'text-encoder', '--by', 'block',
    ), asdm(root, ...args, '--plan', 'guidance:0.5', '--steps', '4', '--by', 'op'),
  ])
  t.is(plain.code, 0, plain.stderr)
  for (const title of ['op', 'block', 'unit'])
    t.regex(plain.stdout, new RegExp(`^${title} +calls +ms +share +MACs +GFLOP/s +memory +of roofline$`, 'm'))
  t.regex(plain.stdout, /^The machine does at most \d+ GFLOP\/s in fp32.*, and copies [\d.]+ GB\/s/m)
  t.regex(layers.stdout, /^up_blocks\.1\.0 +\d+ /m)
  t.regex(layers.stdout, /^all +\d+ +[\d.]+ +100\.0 %/m)
  t.regex(text.stdout, /^encoder\.layers\.0 +\d+ /m)
  const { steps } = JSON.parse(planned.stdout) as PartProfile
  t.deepEqual(steps.map(step => step.steps), [[0, 3], [1, 2, 4, 5], [6]]) // the last one, full, has nothing to keep: a program of its own
  t.true(steps[1].whole.macs < steps[0].whole.macs && steps[1].calls.length < steps[0].calls.length)
  t.regex(half.stdout, /^Steps 0, 1, 2:\n[^]*^Steps 3, 4:\n/m)
})

test('asdm profile: what makes no sense is refused', async t => {
  const bad = async (...args: string[]): Promise<string> => {
    const { code, stderr } = await asdm(root, 'profile', '--model', fixture('sd15-tiny'), ...args)
    t.true(code > 0)
    return stderr
  }
  t.regex(await bad('--part', 'vae-decoder', '--plan', 'deepcache:2,0'), /Expected --plan with the UNet.*INVALID_ARGUMENT/)
  t.regex(await bad('--runs', '0'), /Expected runs/)
  t.regex(await bad('--part', 'nose'), /Allowed choices are unet/)
  t.regex(await bad('--dtype', 'fp7'), /Expected dtype/)
})
