import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import type { LoadProgress, NativeModel } from '../../lib/native/binding'
import type { WeightSource } from '../../lib/native/configs'
import { aborts } from '../support/aborts'
import { idInputs } from '../support/passes'
import { temporaryFolder } from '../support/temporary'
import { create, smallText, smallUNet, writeWeights } from './support'

const text = (): NativeModel => create({ kind: 'text_encoder', config: smallText })
const ids = Int32Array.of(1, 2, 3)
const failsWith = async (t: {
  throwsAsync: Function
  regex: Function
}, model: NativeModel, sources: WeightSource[], code: string, message: RegExp): Promise<void> => {
  const error = await t.throwsAsync(model.load(sources).promise, { code })
  t.regex(error.message, message)
  await t.throwsAsync(model.forward(idInputs(ids, 1)).promise, { code: 'INVALID_ARGUMENT' }, 'no weights are held')
}

test('wrong sources are refused by name, and the model can be loaded afterwards', async t => {
  const folder = temporaryFolder(t)
  const model = text()
  const good = writeWeights(folder, model)
  const change = (index: number, changes: Partial<WeightSource>): WeightSource[] =>
    good.map((source, i) => (i === index ? { ...source, ...changes } : source))
  const { name, begin, end } = good[2]
  const escaped = new RegExp(name.replaceAll('.', '\\.'))
  await failsWith(t, model, [], 'TENSOR_MISSING', /and \d+ more/)
  await failsWith(t, model, good.filter((_, i) => i !== 2), 'TENSOR_MISSING', escaped)
  await failsWith(t, model, [...good, { ...good[0], name: 'stranger.weight' }], 'TENSOR_EXTRA', /stranger\.weight/)
  await failsWith(t, model, [...good, good[2]], 'TENSOR_EXTRA', new RegExp(`twice: ${escaped.source}`))
  await failsWith(t, model, change(2, { shape: [7, 8] }), 'TENSOR_SHAPE', escaped)
  await failsWith(t, model, change(2, { end: end - 4 }), 'TENSOR_SHAPE', escaped)
  await failsWith(t, model, change(2, { begin: end, end: begin }), 'TENSOR_SHAPE', escaped)
  await failsWith(t, model, change(2, { dtype: 'F16' }), 'TENSOR_SHAPE', escaped)
  await failsWith(t, model, change(2, { begin: 2 ** 52, end: 2 ** 52 + end - begin }), 'FILE_READ', escaped)
  await failsWith(t, model, change(2, { file: path.join(folder, 'absent') }), 'FILE_NOT_FOUND', /absent/)
  await failsWith(t, model, change(2, { file: folder }), 'FILE_READ', /not a regular file|fails with/)
  await model.load(good).promise
  t.is((await model.forward(idInputs(ids, 1)).promise).sample.shape[2], smallText.hiddenSize)
  await failsWith(t, model, [], 'TENSOR_MISSING', /received none/)
  model.dispose()
})

test('a file that has become shorter is an error', async t => {
  const folder = temporaryFolder(t)
  const model = text()
  const good = writeWeights(folder, model)
  fs.truncateSync(good[0].file, good.at(-1)!.end - 1)
  await failsWith(t, model, good, 'FILE_READ', /ends at/)
  model.dispose()
})

test('NaN and infinity are reported, and are no failure', async t => {
  const folder = temporaryFolder(t)
  const model = text()
  const { nonFinite, weightBytes } = await model.load(writeWeights(
    folder, model,
    (i, name) => (name === 'final_layer_norm.bias' && i === 3
      ? NaN
      : name.endsWith('layers.1.mlp.fc1.weight') && i === 100
        ? -Infinity
        : 0.1),
  )).promise
  t.deepEqual(nonFinite, ['encoder.layers.1.mlp.fc1.weight', 'final_layer_norm.bias'])
  t.true(weightBytes > 0)
  model.dispose()
})

test('progress runs to the end', async t => {
  const folder = temporaryFolder(t)
  const model = create({ kind: 'unet', config: { ...smallUNet, blockOutChannels: [64, 128] } })
  const sources = writeWeights(folder, model)
  const seen: LoadProgress[] = []
  await model.load(sources, progress => seen.push(progress)).promise
  const total = sources.reduce((sum, { begin, end }) => sum + end - begin, 0)
  t.true(seen.length > 1)
  for (const { bytesTotal } of seen) t.is(bytesTotal, total)
  t.is(seen.at(-1)!.bytesDone, total)
  t.deepEqual(seen.map(({ bytesDone }) => bytesDone), seen.map(({ bytesDone }) => bytesDone).sort((a, b) => a - b))
  model.dispose()
})

test('a cancelled load leaves no weights, and the model loads again', async t => {
  const folder = temporaryFolder(t)
  const model = text()
  const sources = writeWeights(folder, model)
  const call = model.load(sources)
  call.cancel()
  await aborts(t, call.promise)
  await t.throwsAsync(model.forward(idInputs(ids, 1)).promise, { code: 'INVALID_ARGUMENT' })
  await model.load(sources).promise
  await model.forward(idInputs(ids, 1)).promise
  model.dispose()
})

test('a load that is cancelled between its end and the news of it leaves no weights either', async t => {
  const folder = temporaryFolder(t)
  const model = text()
  const sources = writeWeights(folder, model)
  const untilEnded = (): unknown =>
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300) // the event loop hears of nothing meanwhile
  const call = model.load(sources)
  untilEnded()
  call.cancel()
  await aborts(t, call.promise)
  await t.throwsAsync(model.forward(idInputs(ids, 1)).promise, { code: 'INVALID_ARGUMENT' })
  // Those of a load behind it stay.
  const first = model.load(sources), second = model.load(sources)
  untilEnded()
  first.cancel()
  await aborts(t, first.promise)
  await second.promise
  await model.forward(idInputs(ids, 1)).promise
  model.dispose()
})
