import fs from 'node:fs'
import test from 'ava'
import type { JsonObject } from '../../lib/files/json'
import { parseUNetConfig } from '../../lib/model/unet-config'
import { fixture, loadExpected, maxAbsDiff } from '../support/fixtures'
import { graphs, type TrainingBatch, type TrainingRun } from '../support/graph-runner'

const expected = loadExpected('sd15-tiny-train')
const json = expected.json
const file = fixture('sd15-tiny', 'unet', 'config.json')
const config = parseUNetConfig(JSON.parse(fs.readFileSync(file, 'utf8')) as JsonObject, file)

/** The UNet's weights, as floats by their names in the file. */
const weights = (() => {
  const bytes = fs.readFileSync(fixture('sd15-tiny', 'unet', 'diffusion_pytorch_model.safetensors')), start = 8 + Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.subarray(8, start).toString('utf8')) as Record<string, { dtype: 'F16' | 'F32' | 'BF16', data_offsets: [number, number] }>
  return Object.fromEntries(Object.entries(header).filter(([name]) => name !== '__metadata__').map(([name, { dtype, data_offsets: [from, to] }]) =>
    [name, graphs.convert(dtype, new Uint8Array(bytes.subarray(start + from, start + to)), 'portable').values]))
})()

const timesteps = { data: Float32Array.from(json.timesteps as number[]), shape: [2] }
const batch: TrainingBatch = {
  inputs: [expected.tensor('noisy'), timesteps, expected.tensor('encoder_hidden_states')], target: expected.tensor('noise'), weight: Float32Array.of(0.5, 0.5),
}
const { lr: rate, betas: [beta1, beta2], eps, weight_decay: decay, clip, keep } = json.adamw
const options = { config, weights, batches: [batch], threads: 2, rate, beta1, beta2, eps, decay, clip, keep, steps: 0 }
const run = (more: Partial<TrainingRun> = {}) => graphs.trainingRun({ ...options, set: graphs.sets()[0]!, ...more })

/** One batch with the samples of another from `first` on. */
function part({ inputs, target, weight }: TrainingBatch, first: number, count: number): TrainingBatch {
  const cut = ({ data, shape: [n, ...rest] }: { data: Float32Array, shape: readonly number[] }) =>
    ({ data: data.slice(first * data.length / n!, (first + count) * data.length / n!), shape: [count, ...rest] })
  return { inputs: inputs.map(cut), target: cut(target), weight: weight.slice(first, first + count) }
}

const norm = (values: Float32Array) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0))
const largest = (values: Float32Array) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
const lossOf = (losses: Float32Array[][], weight: Float32Array) => losses[0]![0]!.reduce((sum, loss, i) => sum + loss * weight[i]!, 0)
const bytes = (values: Record<string, Float32Array>) => Object.entries(values).map(([name, { buffer }]) => `${name} ${Buffer.from(buffer).toString('base64')}`).join()

for (const set of graphs.sets())
  test(`a UNet's loss and all its gradients equal PyTorch's on ${set}`, t => {
    const { losses, gradients, text } = run({ set, text: true })
    t.true(Math.abs(lossOf(losses[0]!, batch.weight) / json.loss - 1) <= 1e-6)
    t.deepEqual(Object.keys(gradients).sort(), Object.keys(json.gradient_norms as object).sort())
    // Some are sums of terms that nearly cancel, as those of biases before a norm: rounding shows in them, relative to the norm of all.
    const all = json.adamw.norms[0] as number
    for (const [name, want] of Object.entries(json.gradient_norms as Record<string, number>))
      t.true(Math.abs(norm(gradients[name]!) - want) <= 1e-4 * want + 1e-7 * all, `${name}: ${norm(gradients[name]!)}, expected ${want}`)
    for (const name of expected.names.filter(name => name.startsWith('grad/') && name !== 'grad/encoder_hidden_states')) {
      const want = expected.tensor(name).data
      t.true(maxAbsDiff(gradients[name.slice(5)]!, want) <= 1e-4 * largest(want), name)
    }
    const want = expected.tensor('grad/encoder_hidden_states').data
    t.true(maxAbsDiff(text!, want) <= 1e-4 * largest(want))
  })

test('ten steps of AdamW, clipped and averaged, go where PyTorch goes', t => {
  const { losses, norms, weights: end, average } = run({ steps: 10 })
  // PyTorch in float32 is itself off by up to 1.8e-6 (losses) and 2.6e-6 (weights) from float64.
  losses.forEach((step, i) => { t.true(Math.abs(lossOf(step, batch.weight) / json.adamw.losses[i] - 1) <= 1e-5, `loss ${i}`) })
  norms.forEach((value, i) => { t.true(Math.abs(value / json.adamw.norms[i] - 1) <= 1e-4, `norm ${i}`) })
  for (const name of expected.names.filter(name => name.startsWith('weight/')))
    t.true(maxAbsDiff(end[name.slice(7)]!, expected.tensor(name).data) <= 2e-5, name)
  for (const name of expected.names.filter(name => name.startsWith('average/')))
    t.true(maxAbsDiff(average[name.slice(8)]!, expected.tensor(name).data) <= 2e-5, name)
  for (const [name, want] of Object.entries(json.adamw.weight_norms as Record<string, number>))
    t.true(Math.abs(norm(end[name]!) - want) <= 1e-4 * Math.max(1, want), name)
})

test('experts, their biases and routers learn as in PyTorch', t => {
  const { conditional, losses: want, norms: wantNorms, gradient_norms: first } = json.experts
  const start = expected.names.filter(name => name.startsWith('experts/start/')).map(name => [name.slice(14), expected.tensor(name).data] as const)
  const all = { ...weights, ...Object.fromEntries(start) }
  const once = run({ config: { ...config, conditional }, weights: all })
  for (const [name, value] of Object.entries(first as Record<string, number>))
    t.true(Math.abs(norm(once.gradients[name]!) - value) <= 1e-4 * value + 1e-7 * wantNorms[0], `${name}: ${norm(once.gradients[name]!)}, expected ${value}`)
  const { losses, norms, weights: end } = run({ config: { ...config, conditional }, weights: all, steps: 10 })
  losses.forEach((step, i) => { t.true(Math.abs(lossOf(step, batch.weight) / want[i] - 1) <= 1e-5, `loss ${i}: ${lossOf(step, batch.weight)}, expected ${want[i]}`) })
  norms.forEach((value, i) => { t.true(Math.abs(value / wantNorms[i] - 1) <= 1e-4, `norm ${i}`) })
  for (const [name] of start) t.true(maxAbsDiff(end[name]!, expected.tensor(`experts/end/${name}`).data) <= 2e-5, name)
})

test('threads change no bit of gradients, moments, averages and weights', t => {
  const one = run({ threads: 1, steps: 2 })
  for (const threads of [2, 3]) {
    const several = run({ threads, steps: 2 })
    for (const kind of ['gradients', 'weights', 'first', 'second', 'average'] as const) t.is(bytes(several[kind]), bytes(one[kind]), `${kind}, ${threads} threads`)
    t.deepEqual(several.losses, one.losses)
  }
})

test('a device whose memory the host cannot address trains to the CPU\'s bits', t => {
  const options = { set: 'auto', steps: 2, text: true, taps: [], trained: ['up_blocks', 'conv_out'] }
  const cpu = run(options), other = run({ ...options, handles: true })
  for (const kind of ['gradients', 'weights', 'first', 'second', 'average'] as const) t.is(bytes(other[kind]), bytes(cpu[kind]), kind)
  t.deepEqual([other.losses, other.norms, other.text], [cpu.losses, cpu.norms, cpu.text])
})

test('a batch equals its samples accumulated, to rounding', t => {
  const whole = run(), parts = run({ batches: [part(batch, 0, 1), part(batch, 1, 1)] })
  for (const [name, want] of Object.entries(whole.gradients))
    t.true(maxAbsDiff(parts.gradients[name]!, want) <= 1e-5 * largest(want) + 1e-6, name)
})

test('only what is trained has gradients, and nothing before it is differentiated', t => {
  const all = run(), some = run({ trained: ['up_blocks.3', 'conv_out.bias'] })
  const names = Object.keys(all.gradients).filter(name => name.startsWith('up_blocks.3.') || name === 'conv_out.bias')
  t.deepEqual(Object.keys(some.gradients).sort(), names.sort())
  for (const name of names) t.is(bytes({ name: some.gradients[name]! }), bytes({ name: all.gradients[name]! }), name)
  t.true(some.bytes < all.bytes)
  t.throws(() => run({ trained: ['up_blocks.9'] }), { message: /prefix of the model's weights to train but received "up_blocks.9"/ })
})

test('losses on features: their gradients add up with the output\'s', t => {
  const zero = (name: string) => { const { shape } = loadExpected('sd15-tiny').tensor(`unet/case0/hooks/${name}`); return { data: new Float32Array(2 * shape.slice(1).reduce((a, b) => a * b)).fill(0.1), shape: [2, ...shape.slice(1)] } }
  const taps = [{ name: 'down_blocks.1', cosine: false }, { name: 'mid_block', cosine: true }]
  const { losses, gradients } = run({ taps, batches: [{ ...batch, taps: taps.map(({ name }) => zero(name)) }] })
  t.is(losses[0]![0]!.length, 3)
  t.true(losses[0]![0]![2]!.every(loss => loss > 0 && loss < 2))
  // Behind the taps nothing has changed.
  const plain = run()
  t.is(bytes({ g: gradients['conv_out.weight']! }), bytes({ g: plain.gradients['conv_out.weight']! }))
  t.not(bytes({ g: gradients['conv_in.weight']! }), bytes({ g: plain.gradients['conv_in.weight']! }))
  t.throws(() => run({ taps, batches: [{ ...batch, taps: [zero('mid_block'), zero('mid_block')] }] }), { message: /^Expected .* for loss.down_blocks.1 but received/ })
})

test('a gradient that is no number is refused with its step and weight, and changes nothing', t => {
  const broken = { ...batch, target: { ...batch.target, data: batch.target.data.map((value, i) => (i === 7 ? NaN : value)) } }
  t.throws(() => run({ batches: [broken], steps: 1 }), { message: /^Expected finite gradients at step 1 but that of .* is not$/ })
})
