import { createRequire } from 'node:module'
import test, { type ExecutionContext } from 'ava'
import { AsdmError, type ErrorCode } from '../../lib/base/errors'
import type { NativeModel } from '../../lib/native/binding'
import { loadAddon, locateAddon } from '../../lib/native/load'
import { idInputs, withValues } from '../support/passes'
import { inputsOf, loaded, options, specs, textConfig, unetConfig, unetInputs, vaeConfig, writeWeights, zeros } from './support'

// The addon is called here without the public layer's checks, as any code can.
const addon = loadAddon()
const any = (value: unknown): any => value

function refuses(t: ExecutionContext, call: () => unknown, codes: ErrorCode | ErrorCode[], words: RegExp, what: string): void {
  const error = t.throws(call, { instanceOf: AsdmError }, what)
  t.true([codes].flat().includes(error?.code as ErrorCode), `${what}: ${error?.code}: ${error?.message}`)
  t.regex(error?.message ?? '', words, what)
}

const throwing = (): never => { throw new Error('from a getter') }
const strange: [string, unknown][] = [
  ['undefined', undefined], ['null', null], ['a number', 5], ['NaN', NaN], ['a string', 'text'], ['a boolean', true], ['a symbol', Symbol('s')],
  ['a bigint', 5n], ['a function', () => {}], ['an array', []], ['an empty object', {}], ['a null prototype', Object.create(null)],
  ['a throwing proxy', new Proxy({}, { get: throwing, has: throwing, ownKeys: throwing, getOwnPropertyDescriptor: throwing })],
  [
    'a proxy of an array', new Proxy([], {}),
  ], ['a revoked proxy', (() => { const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); return proxy })()],
  ['a date', new Date(0)], ['a buffer', new ArrayBuffer(8)], ['a Float64Array', new Float64Array(4)],
  [
    'an object with throwing getters',
    Object.defineProperties(
      {},
      Object.fromEntries([
        'kind', 'config', 'dtype', 'threads', 'cpu', 'batch', 'values', 'ids', 'sample', 'data', 'taps',
      ].map(key => [key, { get: throwing }])),
    ),
  ],
]

test('createModel refuses a strange spec', t => {
  for (const [name, value] of strange)
    refuses(t, () => addon.createModel(any(value), options), ['INVALID_ARGUMENT', 'BAD_CONFIG'], /^Expected spec/, name)
  for (const [name, value] of strange)
    refuses(t, () => addon.createModel({ kind: any(value), config: unetConfig }, options), 'INVALID_ARGUMENT', /^Expected spec\.kind/, name)
  for (const [name, value] of strange)
    refuses(
      t, () => addon.createModel({ kind: 'unet', config: any(value) }, options), ['BAD_CONFIG', 'INVALID_ARGUMENT'],
      /^Expected (spec\.)?config/, name,
    )
})

test('createModel refuses strange options', t => {
  for (const [name, value] of strange)
    refuses(t, () => addon.createModel(specs.unet, any(value)), 'INVALID_ARGUMENT', /^Expected options/, name)
  for (const key of ['dtype', 'threads', 'cpu'] as const)
    for (const [name, value] of strange.filter(([kind]) => kind !== 'a number' || key !== 'threads'))
      refuses(
        t, () => addon.createModel(specs.unet, { ...options, [key]: value }), ['INVALID_ARGUMENT', 'UNKNOWN_CPU'],
        key === 'cpu' ? /cpu/ : /^Expected options\./, `${key}: ${name}`,
      )
  for (const threads of [0, -1, 257, 1.5, Infinity, 2 ** 53])
    refuses(
      t, () => addon.createModel(specs.unet, { ...options, threads }), 'INVALID_ARGUMENT', /threads to be an integer from 1 to 256/,
      String(threads),
    )
  refuses(t, () => addon.createModel(specs.unet, { ...options, dtype: any('fp16') }), 'INVALID_ARGUMENT', /"fp16"/, 'fp16')
  for (const cpu of ['', 'sse9', 'AVX2', 'x'.repeat(1000)])
    refuses(t, () => addon.createModel(specs.unet, { ...options, cpu }), 'UNKNOWN_CPU', /cpu/, cpu)
  refuses(t, () => addon.createModel(specs.unet, { ...options, cpu: 'x'.repeat(1e7) }), 'INVALID_ARGUMENT', /at most 1024 bytes/, 'long')
})

test('createModel refuses each config field that is missing or of the wrong type', t => {
  const configs = { unet: unetConfig, vae_decoder: vaeConfig, vae_encoder: vaeConfig, text_encoder: textConfig }
  // Only the pipeline reads these; the graph has no use for them.
  const unread = ['sampleSize', 'scalingFactor', 'shiftFactor']
  for (const [kind, config] of Object.entries(configs))
    for (const key of Object.keys(config).filter(name => !unread.includes(name)))
      for (const [name, value] of strange.filter(([kind, value]) =>
        kind !== 'a number' && typeof value !== typeof any(config)[key] || Number.isNaN(value)))
        refuses(
          t, () => addon.createModel(any({ kind, config: { ...config, [key]: value } }), options),
          ['BAD_CONFIG', 'INVALID_ARGUMENT', 'UNSUPPORTED_CONFIG'], new RegExp(key), `${kind} ${key}: ${name}`,
        )
})

test('createModel refuses absurd configs', t => {
  const unets: [string, unknown][] = [
    ['blockOutChannels', []], ['blockOutChannels', [0, 64]], ['blockOutChannels', [-32, 64]], ['blockOutChannels', [32.5, 64]], ['blockOutChannels', [2 ** 31, 64]],
    ['blockOutChannels', Array(1e6).fill(32)], [
      'blockOutChannels', new Array(2 ** 32 - 1),
    ], ['layersPerBlock', [1e9, 1]], ['layersPerBlock', [1]],
    ['attentionHeads', [0, 1]], ['attentionHeads', [7, 4]], ['normNumGroups', 0], ['normNumGroups', 7], ['normEps', -1], ['normEps', Infinity], ['inChannels', 0], ['crossAttentionDim', 0],
    ['downCrossAttention', [true]], ['upCrossAttention', [true, false, true]], [
      'transformerLayersPerBlock', [2 ** 31 - 1, 1],
    ], ['inChannels', 2 ** 31 - 1], ['blockOutChannels', [2 ** 30, 2 ** 30]],
  ]
  for (const [key, value] of unets)
    refuses(
      t, () => addon.createModel({ kind: 'unet', config: { ...unetConfig, [key]: value } }, options),
      ['BAD_CONFIG', 'UNSUPPORTED_CONFIG', 'INVALID_ARGUMENT', 'OUT_OF_MEMORY'], /Expected/,
      `${key} ${Array.isArray(value) ? `array of ${value.length}` : String(value)}`,
    )
  refuses(
    t, () => addon.createModel({ kind: 'text_encoder', config: { ...textConfig, hiddenAct: any('relu') } }, options),
    ['BAD_CONFIG', 'UNSUPPORTED_CONFIG'], /relu/, 'relu',
  )
})

test('what a getter threw is the cause', t => {
  const own = new Error('mine')
  const error = t.throws(() => addon.createModel(any({ get kind(): string { throw own } }), options), { instanceOf: AsdmError })
  t.is(error?.code, 'INVALID_ARGUMENT')
  t.is(error?.cause, own)
})

test('methods refuse other objects and the class makes no models', t => {
  // The binary itself, without lib/native/wrap.ts.
  const raw = createRequire(__filename)(locateAddon().file) as typeof addon
  const model = raw.createModel(specs.unet, options)
  for (const newTarget of [model.constructor, Object, class {}]) t.throws(() => Reflect.construct(model.constructor, [], newTarget))
  t.throws(() => (model.constructor as () => void)())
  for (const method of ['weights', 'tapNames', 'describe', 'load', 'forward', 'createRun', 'trim', 'dispose'])
    for (const self of [
      undefined, null, 5, {}, [], new Map(), raw, Object.create(model), Object.create(Object.getPrototypeOf(model) as object),
      new Proxy(model, {}),
    ])
      t.throws(() => (any(model)[method] as () => void).call(self), undefined, method)
  t.throws(() => model.load([], undefined), { code: 'INVALID_ARGUMENT', message: /settle/ })
  for (const call of [-1, NaN, 'x', undefined, 2 ** 60]) t.throws(() => any(raw).cancel(call), { code: 'INVALID_ARGUMENT' })
  for (const call of [0, 1, 2 ** 53]) t.notThrows(() => any(raw).cancel(call))
  t.false(any(raw).feed())
  t.true(model.weights().length > 0)
  model.dispose()
})

test('methods of a run refuse other objects, and a run is of no use once it or its model is gone', async t => {
  const raw = createRequire(__filename)(locateAddon().file)
  const model = raw.createModel(specs.unet, options)
  const create = () => new Promise<any>((resolve, reject) => {
    model.createRun({ batch: 1, height: 8, width: 8, length: 5 }, [{ inherit: [], conditionalOnly: false }], undefined, [],
      (code: string | null, run: unknown) => (code === null ? resolve(run) : reject(new Error(`${code}: ${String(run)}`))))
  })
  const [run, other] = [await create(), await create()]
  for (const method of ['condition', 'probe', 'forward', 'dispose'])
    for (const self of [undefined, null, 5, {}, model, raw, Object.create(run), new Proxy(run, {})])
      t.throws(() => run[method].call(self, 0, 0, {}, () => {}), undefined, method)
  t.throws(() => model.forward.call(run, {}, () => {}))
  t.throws(() => run.condition({}), { code: 'INVALID_ARGUMENT', message: /settle/ })
  for (const step of [-1, 0.5, NaN, 'x', 2 ** 60]) t.throws(() => run.forward(step, 0, unetInputs(), () => {}), { code: 'INVALID_ARGUMENT' })
  run.dispose()
  run.dispose()
  t.throws(() => run.forward(0, 0, unetInputs(), () => {}), { code: 'DISPOSED' })
  t.throws(() => run.condition({}, () => {}), { code: 'DISPOSED' })
  model.dispose()
  t.throws(() => other.condition({}, () => {}), { code: 'DISPOSED' })
  other.dispose()
  t.throws(() => model.createRun({}, [], undefined, [], () => {}), undefined)
})

test('describe refuses strange shapes', t => {
  const model = addon.createModel(specs.unet, options)
  for (const [name, value] of strange) refuses(t, () => model.describe(any(value)), 'INVALID_ARGUMENT', /^Expected shape/, name)
  for (const key of ['batch', 'height', 'width', 'length'])
    for (const [name, value] of [
      ...strange.filter(([name]) => name !== 'undefined' && name !== 'a number'), ['zero', 0], ['half', 0.5], ['2^31', 2 ** 31], ['-1', -1],
    ] as [string, unknown][])
      refuses(
        t, () => model.describe({ batch: 1, height: 8, width: 8, length: 5, [key]: value }), 'INVALID_ARGUMENT',
        new RegExp(`shape\\.${key}`), `${key} ${name}`,
      )
  for (const [name, value] of strange.filter(([name]) => name !== 'undefined' && name !== 'an array'))
    refuses(t, () => model.describe({ batch: 1, height: 8, width: 8, length: 5 }, any(value)), 'INVALID_ARGUMENT', /^Expected taps/, name)
  refuses(t, () => model.describe({ batch: 1, height: 8, width: 8, length: 5 }, ['nowhere']), 'INVALID_ARGUMENT', /nowhere/, 'unknown tap')
  t.true(model.describe({ batch: 1, height: 8, width: 8, length: 5 }).macs > 0)
  model.dispose()
})

test('load refuses strange sources', t => {
  const model = addon.createModel(specs.unet, options)
  const sources = writeWeights(model)
  for (const [name, value] of strange.filter(([name]) => name !== 'an array'))
    refuses(t, () => model.load(any(value)), 'INVALID_ARGUMENT', /^Expected sources/, name)
  for (const [name, value] of strange) refuses(t, () => model.load([any(value)]), 'INVALID_ARGUMENT', /^Expected sources\[0\]/, name)
  for (const key of ['name', 'file', 'dtype', 'shape', 'begin', 'end'])
    for (const [name, value] of strange.filter(([, value]) => typeof value !== typeof any(sources[0])[key] || Number.isNaN(value)))
      refuses(
        t, () => model.load([{ ...sources[0], [key]: value }]), ['INVALID_ARGUMENT', 'TENSOR_DTYPE'], new RegExp(`sources\\[0\\]\\.${key}`),
        `${key} ${name}`,
      )
  refuses(t, () => model.load([{ ...sources[0], dtype: any('I64') }]), 'TENSOR_DTYPE', /"I64"/, 'I64')
  refuses(t, () => model.load([{ ...sources[0], file: 'a\0b' }]), 'INVALID_ARGUMENT', /NUL/, 'NUL')
  for (const [name, value] of strange.filter(([name]) => name !== 'undefined' && name !== 'a function'))
    refuses(t, () => model.load(sources, any(value)), 'INVALID_ARGUMENT', /^Expected onProgress/, name)
  model.dispose()
})

test('load rejects sources that do not fit, and works after each', async t => {
  const model = addon.createModel(specs.unet, options)
  const sources = writeWeights(model)
  const [first, ...rest] = sources
  const cases: [string, ErrorCode, unknown[]][] = [
    ['missing', 'TENSOR_MISSING', rest],
    ['extra', 'TENSOR_EXTRA', [...sources, { ...first, name: 'extra.weight' }]],
    ['twice', 'TENSOR_EXTRA', [...sources, first]],
    ['shape', 'TENSOR_SHAPE', [{ ...first, shape: [...first.shape, 2] }, ...rest]],
    ['no file', 'FILE_NOT_FOUND', [{ ...first, file: '/nowhere/at/all' }, ...rest]],
    ['a long name', 'FILE_READ', [{ ...first, file: `/${'\u{1f34e}'.repeat(5000)}` }, ...rest]],
    ['a folder', 'FILE_READ', [{ ...first, file: '/' }, ...rest]],
    ['past the end', 'FILE_READ', [{ ...first, begin: 2 ** 40, end: 2 ** 40 + first.end - first.begin }, ...rest]],
    ['end before begin', 'TENSOR_SHAPE', [{ ...first, begin: first.end, end: first.begin }, ...rest]],
    ['too few bytes', 'TENSOR_SHAPE', [{ ...first, end: first.end - 4 }, ...rest]],
  ]
  for (const [name, code, list] of cases) {
    const error = await t.throwsAsync(model.load(any(list)).promise, { instanceOf: AsdmError }, name)
    // Some faults may be told in more than one way; what matters is that it is an error with a code and the model lives.
    const several = ['end before begin', 'too few bytes', 'past the end', 'twice', ...process.platform === 'win32' ? ['a long name'] : []]
    if (several.includes(name)) t.true(error instanceof AsdmError && error.code !== 'INTERNAL', `${name}: ${error?.code}`)
    else t.is(error?.code, code, `${name}: ${error?.message}`)
    t.true(error!.message.length < 2000 && !error!.message.includes('\ufffd'), name)
  }
  const unloaded = await t.throwsAsync(model.forward(unetInputs()).promise, { instanceOf: AsdmError })
  t.true(unloaded instanceof AsdmError && unloaded.code !== 'INTERNAL', String(unloaded))
  t.true((await model.load(sources).promise).weightBytes > 0)
  t.is((await model.forward(unetInputs()).promise).sample.data.length, 256)
  model.dispose()
})

async function forwardRefuses(t: ExecutionContext, model: NativeModel, inputs: unknown, codes: ErrorCode[], what: string): Promise<void> {
  let error: unknown
  try {
    await model.forward(any(inputs)).promise
  } catch (caught) {
    error = caught
  }
  t.true(error instanceof AsdmError, `${what}: ${String(error)}`)
  t.true(codes.includes((error as AsdmError).code), `${what}: ${(error as AsdmError).code}: ${(error as AsdmError).message}`)
}

test('forward refuses strange inputs of every kind of model', async t => {
  for (const kind of Object.keys(specs)) {
    const model = await loaded(kind)
    const good = inputsOf[kind]()
    for (const [name, value] of strange) await forwardRefuses(t, model, value, ['INVALID_ARGUMENT'], `${kind}: ${name}`)
    for (const [name, value] of strange) {
      await forwardRefuses(t, model, { ...good, values: value }, ['INVALID_ARGUMENT'], `${kind}.values: ${name}`)
      for (const key of Object.keys(good.values))
        await forwardRefuses(t, model, { values: { ...good.values, [key]: value } }, ['INVALID_ARGUMENT', 'SHAPE_MISMATCH'], `${kind}.${key}: ${name}`)
    }
    for (const [name, value] of strange.filter(([name]) => name !== 'undefined' && name !== 'an array'))
      await forwardRefuses(t, model, { ...good, taps: value }, ['INVALID_ARGUMENT'], `${kind}.taps: ${name}`)
    await forwardRefuses(t, model, { ...good, taps: ['nowhere'] }, ['INVALID_ARGUMENT'], `${kind}: unknown tap`)
    t.true((await model.forward(good).promise).sample.data.length > 0, kind)
    model.dispose()
  }
})

test('forward refuses tensors whose parts disagree', async t => {
  const model = await loaded()
  const good = unetInputs()
  const { sample } = good.values
  const detached = new Float32Array(256)
  structuredClone(detached, { transfer: [detached.buffer] })
  const shrunk = new (any(ArrayBuffer))(1024, { maxByteLength: 1024 }) as ArrayBuffer & { resize(size: number): void }
  const resizable = new Float32Array(shrunk, 0, 256)
  shrunk.resize(16)
  const cases: [string, unknown][] = [
    ['too few values', { data: new Float32Array(255), shape: sample.shape }], ['detached', { data: detached, shape: sample.shape }],
    [
      'shrunk', { data: resizable, shape: sample.shape },
    ], ['rank 3', { data: sample.data, shape: [4, 8, 8] }], ['rank 5', { data: sample.data, shape: [1, 1, 4, 8, 8] }],
    [
      'rank 0', { data: new Float32Array(1), shape: [] },
    ], ['channels', { data: sample.data, shape: [1, 2, 8, 16] }], ['zero', { data: new Float32Array(0), shape: [0, 4, 8, 8] }],
    [
      'negative', { data: sample.data, shape: [-1, -4, 8, 8] },
    ], [
      'fraction', { data: sample.data, shape: [0.5, 8, 8, 8] },
    ], ['overflowing', { data: sample.data, shape: [2 ** 31 - 1, 2 ** 31 - 1, 2 ** 31 - 1, 2 ** 31 - 1] }],
    [
      'holes', { data: sample.data, shape: new Array(4) },
    ], ['endless', { data: sample.data, shape: new Array(2 ** 32 - 1) }], ['odd size', zeros(1, 4, 7, 9)],
  ]
  for (const [name, value] of cases) {
    if (name === 'odd size') { // fits the model's downsampling or is refused; never anything else
      await model.forward(withValues(good, { sample: any(value) })).promise.then(
        out => t.deepEqual(out.sample.shape, [1, 4, 7, 9]), error => t.is((error as AsdmError).code, 'SHAPE_MISMATCH'),
      )
      continue
    }
    await forwardRefuses(t, model, withValues(good, { sample: any(value) }), ['SHAPE_MISMATCH', 'INVALID_ARGUMENT'], name)
  }
  await forwardRefuses(t, model, withValues(good, { timesteps: [0, 0] }), ['SHAPE_MISMATCH', 'INVALID_ARGUMENT'], 'timesteps')
  await forwardRefuses(t, model, withValues(good, { encoderHiddenStates: zeros(1, 5, 15) }), ['SHAPE_MISMATCH'], 'text width')
  await forwardRefuses(t, model, withValues(good, { encoderHiddenStates: zeros(2, 5, 16) }), ['SHAPE_MISMATCH'], 'text batch')
  const shared = withValues(good, { sample: { data: new Float32Array(new SharedArrayBuffer(1024)), shape: [1, 4, 8, 8] } })
  t.is((await model.forward(shared).promise).sample.data.length, 256)
  model.dispose()
})

test('text encoder inputs are checked', async t => {
  const model = await loaded('text_encoder')
  const ids = (...list: number[]): Int32Array => Int32Array.from(list)
  const codes: ErrorCode[] = ['SHAPE_MISMATCH', 'INVALID_ARGUMENT']
  await forwardRefuses(t, model, idInputs(ids(), 1), codes, 'no ids')
  await forwardRefuses(t, model, idInputs(ids(1, 2, 3), 2), codes, 'uneven')
  await forwardRefuses(t, model, idInputs(new Int32Array(13), 1), codes, 'longer than the window')
  await forwardRefuses(t, model, idInputs(ids(50), 1), codes, 'outside the vocabulary')
  await forwardRefuses(t, model, idInputs(ids(-1), 1), codes, 'negative')
  await forwardRefuses(t, model, idInputs(new Int32Array(12), 1, 5), codes, 'skips more layers than there are')
  await forwardRefuses(t, model, idInputs(new Int32Array(12), 1, -1), codes, 'negative skip')
  await forwardRefuses(t, model, { values: { ids: { data: new Int32Array(12), shape: [2 ** 31 - 1, 1] } } }, codes, 'huge batch')
  model.dispose()
})
