import test, { type ExecutionContext } from 'ava'
import { AsdmError } from '../../lib/base/errors'
import { parseUNetConfig } from '../../lib/model/unet-config'
import type { NativeModel } from '../../lib/native/binding'
import type { ConditionalConv, UNetConfig } from '../../lib/native/configs'
import { forwardStep, passInputs } from '../support/passes'
import { temporaryFolder } from '../support/temporary'
import { create, smallUNet, writeWeights } from './support'

const config: UNetConfig = { ...smallUNet, blockOutChannels: [8, 16], layersPerBlock: [2, 2] }
/** One of every kind of convolution: borders, both of a ResNet, its shortcut, both samplers, a transformer's projections. */
const places = [
  'conv_in', 'down_blocks.0.resnets.0.conv1', 'down_blocks.0.resnets.0.conv2', 'down_blocks.1.resnets.0.conv_shortcut', 'down_blocks.0.downsamplers.0.conv', 'mid_block.resnets.1.conv2',
  'up_blocks.0.upsamplers.0.conv', 'up_blocks.0.resnets.0.conv1', 'down_blocks.0.attentions.1.proj_in', 'mid_block.attentions.0.proj_out', 'conv_out',
]
const conditional = (router: ConditionalConv['router'] = 'sigmoid'): ConditionalConv[] =>
  places.map((prefix, i) => ({ prefix, experts: 1 + (i % 4), router }))
const inputs = (batch = 2, from = 0) => passInputs({
  sample: {
    data: Float32Array.from({ length: batch * 4 * 7 * 6 }, (_, i) => Math.sin((i + from * 4 * 7 * 6) * 0.37)), shape: [batch, 4, 7, 6],
  }, timesteps: new Float32Array(batch).fill(870),
  encoderHiddenStates: {
    data: Float32Array.from({ length: batch * 5 * 12 }, (_, i) => Math.cos((i + from * 5 * 12) * 0.11)), shape: [batch, 5, 12],
  },
})
const bits = ({ data }: { data: Float32Array }): string => Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('hex')

/** The numbers of the plain model, by place in a tensor. */
const number = (i: number, name: string): number => Math.sin(i * 1.7 + name.length * 3 + name.charCodeAt(name.length - 8)) / 4
const counts = (model: NativeModel): Map<string, number> =>
  new Map(model.weights().map(({ name, shape }) => [name, shape.reduce((a, b) => a * b, 1)]))

async function plain(t: ExecutionContext, more: object = {}): Promise<NativeModel> {
  const model = create({ kind: 'unet', config }, more)
  await model.load(writeWeights(temporaryFolder(t), model, number)).promise
  return model
}

/** Expert `chosen(experts)` holds the plain model's kernel, the others something else; the routers give it alone a rate. */
async function fixedAtOne(
  t: ExecutionContext, router: ConditionalConv['router'], chosen: (experts: number) => number, more: object = {},
): Promise<NativeModel> {
  const list = conditional(router)
  const model = create({ kind: 'unet', config: { ...config, conditional: list } }, more)
  const all = counts(model)
  await model.load(writeWeights(temporaryFolder(t), model, (i, name) => {
    const [, prefix, part] = /^(.*)\.(experts\.weight|experts\.bias|router\.weight|router\.bias)$/.exec(name) ?? []
    if (prefix === undefined) return number(i, name)
    const { experts } = list.find(conv => conv.prefix === prefix)!
    if (part === 'router.weight') return 0
    if (part === 'router.bias') return i === chosen(experts) ? 128 : -128
    const each = all.get(name)! / experts
    return Math.floor(i / each) === chosen(experts) ? number(i % each, `${prefix}.${part.slice('experts.'.length)}`) : NaN
  })).promise
  return model
}

for (const [router, dtype] of [['sigmoid', 'fp32'], ['softmax', 'fp32'], ['sigmoid', 'bf16']] as const) {
  test(`${dtype}: routers fixed at one expert by ${router} give the plain model, bit for bit`, async t => {
    const one = await plain(t, { dtype })
    const wanted = await one.forward({ ...inputs(), taps: one.tapNames() }).promise
    t.true(wanted.sample.data.every(Number.isFinite))
    for (const chosen of [() => 0, (experts: number) => experts - 1]) {
      const model = await fixedAtOne(t, router, chosen, { dtype })
      t.deepEqual(model.tapNames(), one.tapNames())
      const got = await model.forward({ ...inputs(), taps: model.tapNames() }).promise
      t.is(bits(got.sample), bits(wanted.sample))
      for (const tap of one.tapNames()) t.is(bits(got.taps[tap]), bits(wanted.taps[tap]), tap)
      model.dispose()
    }
    one.dispose()
  })
}

async function routed(t: ExecutionContext, more: object = {}): Promise<NativeModel> {
  const model = create({ kind: 'unet', config: { ...config, conditional: conditional() } }, more)
  await model.load(writeWeights(
    temporaryFolder(t), model, (i, name) => number(i, name) * (name.endsWith('.router.weight') ? 8 : 1),
  )).promise
  return model
}

test('both halves of a batch are routed by themselves, with any number of threads', async t => {
  const model = await routed(t)
  const both = (await model.forward(inputs()).promise).sample
  t.true(both.data.every(Number.isFinite))
  const half = both.data.length / 2
  for (const from of [0, 1]) {
    const { sample } = await model.forward(inputs(1, from)).promise
    t.is(bits(sample), bits({ data: both.data.slice(from * half, (from + 1) * half) }))
  }
  for (const threads of [1, 5]) {
    const other = await routed(t, { threads })
    t.is(bits((await other.forward(inputs()).promise).sample), bits(both))
    other.dispose()
  }
  model.dispose()
})

test('int8 leaves them in bf16', async t => {
  const fp32 = await plain(t), model = await fixedAtOne(t, 'sigmoid', () => 0, { dtype: 'int8' })
  const wanted = (await fp32.forward(inputs()).promise).sample.data, { data } = (await model.forward(inputs()).promise).sample
  const size = Math.sqrt(wanted.reduce((sum, value) => sum + value * value, 0))
  const away = Math.sqrt(data.reduce((sum, value, i) => sum + (value - wanted[i]) ** 2, 0)) / size
  t.true(away > 1e-4 && away < 0.05, String(away))
  // Nothing else is left to be stored as integers: then int8 is bf16.
  const names = model.weights().map(({ name }) => name)
  const exact = await fixedAtOne(t, 'sigmoid', () => 0, { dtype: 'int8', exact: names.filter(name => !name.includes('.experts.')) })
  const half = await fixedAtOne(t, 'sigmoid', () => 0, { dtype: 'bf16' })
  t.is(bits((await exact.forward(inputs()).promise).sample), bits((await half.forward(inputs()).promise).sample))
  for (const each of [fp32, model, exact, half]) each.dispose()
})

test('plans take it as the convolution of its name', async t => {
  const model = await routed(t)
  const wanted = (await model.forward(inputs()).promise).sample
  for (const prefix of [
    'down_blocks.0.resnets.0', 'down_blocks.0.downsamplers.0', 'mid_block', 'up_blocks.0.resnets.0.conv1',
    'down_blocks.0.attentions.1.proj_in',
  ]) {
    const run = await model.createRun(
      { batch: 2, height: 7, width: 6, length: 5 },
      [{ inherit: [], conditionalOnly: false }, { inherit: [{ prefix, feature: 'output' }], conditionalOnly: false }],
    ).promise
    t.true(run.info.steps[1].variants[0].macs < run.info.steps[0].variants[0].macs)
    for (const step of [0, 1]) t.is(bits((await forwardStep(run, step, inputs())).sample), bits(wanted), prefix)
    run.dispose()
  }
  model.dispose()
})

test('weights are named under the convolution; parameters and multiply-accumulates are counted', t => {
  const model = create({
    kind: 'unet', config: { ...config, conditional: [{ prefix: 'down_blocks.1.resnets.0.conv1', experts: 3, router: 'softmax' }] },
  })
  const at = 'down_blocks.1.resnets.0.conv1'
  t.deepEqual(model.weights().filter(({ name }) => name.startsWith(at)), [
    {
      name: `${at}.experts.weight`, shape: [3, 16, 8, 3, 3],
    }, {
      name: `${at}.experts.bias`, shape: [3, 16],
    }, { name: `${at}.router.weight`, shape: [3, 8] }, { name: `${at}.router.bias`, shape: [3] },
  ])
  const row = model.describe({ batch: 2, height: 8, width: 8, length: 5 }).units.find(({ name }) => name === at)
  t.deepEqual(row, {
    name: at, op: 'CondConv', shape: [2, 4, 4, 16], parameters: 3 * (16 * 72 + 16 + 8 + 1),
    macs: 2 * 16 * 16 * 72 + 2 * 3 * 16 * 72 + 2 * 3 * 8,
  })
  model.dispose()
})

test('what is no convolution, or is named twice, is refused by name', t => {
  const make = (...list: unknown[]) => create({ kind: 'unet', config: { ...config, conditional: list as ConditionalConv[] } })
  const good = { prefix: 'conv_in', experts: 2, router: 'sigmoid' }
  for (const prefix of [
    'conv_inn', '', 'down_blocks.0', 'down_blocks.0.resnets.0', 'time_embedding.linear_1', 'down_blocks.0.resnets.0.norm1',
    'down_blocks.0.resnets.0.conv_shortcut', 'conv_in.weight', 'x'.repeat(900),
  ])
    t.is(
      (t.throws(
        () => make({ ...good, prefix }), { message: new RegExp(`config\\.conditional .*"${prefix.slice(0, 100)}`) },
      ) as AsdmError).code,
      'BAD_CONFIG',
    )
  t.throws(() => make(good, good), { message: /each once, but received "conv_in"/ })
  t.throws(
    () => create({
      kind: 'unet',
      config: { ...config, removed: ['mid_block.0'], conditional: [{ ...good, prefix: 'mid_block.resnets.0.conv1' }] as ConditionalConv[] },
    }),
    { message: /"mid_block\.resnets\.0\.conv1"/ },
  )
  t.throws(
    () => create({
      kind: 'unet',
      config: {
        ...config, useLinearProjection: true, conditional: [{ ...good, prefix: 'mid_block.attentions.0.proj_in' }] as ConditionalConv[],
      },
    }),
    { message: /proj_in"/ },
  )
  for (const experts of [0, 17, -1, 1.5, NaN, 1e9, '2', null])
    t.throws(() => make({ ...good, experts }), { message: /config\.conditional.*experts/ })
  for (const router of ['relu', '', null, 1, undefined])
    t.throws(() => make({ ...good, router }), { message: /config\.conditional.*router/ })
  for (const list of [1, 'conv_in', {}, [1], [null], [[]], new Array(5000).fill(good)])
    t.throws(() => create({ kind: 'unet', config: { ...config, conditional: list as never } }), { message: /config\.conditional/ })
})

test('the asdm section names them, and what is wrong in it is told', t => {
  const read = (list: unknown) => parseUNetConfig({ asdm: { version: 1, conditional: list } } as never, 'config.json').conditional
  t.deepEqual(
    read([{ prefix: 'conv_in', experts: 4 }, { prefix: 'conv_out', experts: 1, router: 'softmax' }]),
    [{ prefix: 'conv_in', experts: 4, router: 'sigmoid' }, { prefix: 'conv_out', experts: 1, router: 'softmax' }],
  )
  t.is(read([]), undefined)
  for (const [list, place] of [
    [1, /asdm\.conditional in/], [
      new Array(2000).fill({}), /asdm\.conditional in/,
    ], [[1], /asdm\.conditional\[0\] in/], [
      [{ prefix: 'a', experts: 2 }, {}], /asdm\.conditional\[1\]\.prefix/,
    ], [[{ prefix: '../a', experts: 2 }], /\[0\]\.prefix/],
    [
      [{ prefix: 'a', experts: 17 }], /\[0\]\.experts/,
    ], [
      [{ prefix: 'a', experts: '2' }], /\[0\]\.experts/,
    ], [[{ prefix: 'a' }], /\[0\]\.experts/], [
      [{ prefix: 'a', experts: 2, router: 'relu' }], /\[0\]\.router/,
    ], [[{ prefix: 'a', experts: 2, k: 1 }], /"k"/],
  ] as [unknown, RegExp][]) t.throws(() => read(list), { instanceOf: AsdmError, message: place })
})
