import fs from 'node:fs'
import path from 'node:path'
import { setImmediate } from 'node:timers/promises'
import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import type { Tensor } from '../../lib/base/tensor'
import { restoreCheckpoint, lastCheckpoint, saveCheckpoint, type CheckpointState } from '../../lib/train/checkpoint'
import { Trainer } from '../../lib/train/trainer'
import type { TrainerOptions, TrainingBatch, UpdateOptions } from '../../lib/train/trainer-options'
import { aborts } from '../support/aborts'
import { fixture, loadExpected, maxAbsDiff } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

const expected = loadExpected('sd15-tiny-train')
const { adamw, timesteps, gradient_norms: gradientNorms } = expected.json
const folder = fixture('sd15-tiny', 'unet')
const batch: TrainingBatch = {
  sample: expected.tensor('noisy'), timesteps, encoderHiddenStates: expected.tensor('encoder_hidden_states'),
  targets: { task: expected.tensor('noise') },
}
const { lr: rate, betas: [beta1, beta2], eps, weight_decay: decay, clip, keep } = adamw
const update: UpdateOptions = { rate, beta1, beta2, eps, decay, clip, keep }
const load = (options: TrainerOptions = {}) => Trainer.load(folder, { threads: 2, ...options })
const mean = (values: Float32Array) => values.reduce((sum, value) => sum + value, 0) / values.length
const norm = (values: Float32Array) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0))

async function bits(trainer: Trainer) {
  const all: Record<string, string> = {}
  for (const kind of ['weight', 'average', 'first', 'second'] as const)
    for (const { name } of trainer.weights.filter(({ trained }) => trained)) all[`${kind} ${name}`] = Buffer.from((await trainer.read(kind, name)).buffer).toString('base64')
  return all
}

test('ten steps go where PyTorch goes', async t => {
  using trainer = await load({ average: true, textGradient: true })
  for (const [i, want] of (adamw.losses as number[]).entries()) {
    const { losses, textGradient } = await trainer.accumulate(batch)
    t.true(Math.abs(mean(losses.task!) / want - 1) <= 1e-5, `loss ${i}`)
    if (i === 0) {
      t.true(maxAbsDiff(textGradient!.data, expected.tensor('grad/encoder_hidden_states').data) <= 1e-4 * Math.max(...textGradient!.data.map(Math.abs)))
      for (const [name, value] of Object.entries(gradientNorms as Record<string, number>))
        t.true(Math.abs(norm(await trainer.read('gradient', name)) - value) <= 1e-4 * value + 1e-7 * adamw.norms[0], name)
    }
    t.true(Math.abs(await trainer.update(update) / adamw.norms[i] - 1) <= 1e-4, `norm ${i}`)
  }
  t.is(trainer.steps, 10)
  for (const name of expected.names.filter(each => each.startsWith('weight/')))
    t.true(maxAbsDiff(await trainer.read('weight', name.slice(7)), expected.tensor(name).data) <= 2e-5, name)
  for (const name of expected.names.filter(each => each.startsWith('average/')))
    t.true(maxAbsDiff(await trainer.read('average', name.slice(8)), expected.tensor(name).data) <= 2e-5, name)
  // The pass without gradients gives the same losses.
  t.deepEqual((await trainer.evaluate(batch)).losses, (await trainer.accumulate(batch)).losses)
})

const state = (step: number): CheckpointState =>
  ({ format: 'asdm-training', version: 1, step, stage: 0, stageSteps: step, options: {}, progress: {} })
const trained = ({ trained }: { trained: boolean }) => trained

test('a training that was stopped goes on to the same bits', async t => {
  const options = { average: true, train: ['up_blocks.3', 'conv_out'] }
  const at = temporaryFolder(t)
  using whole = await load(options)
  for (let i = 0; i < 4; i++) {
    await whole.accumulate(batch)
    await whole.update(update)
    if (i < 3) await saveCheckpoint(at, whole, state(i + 1), trained)
  }
  t.deepEqual(fs.readdirSync(at).sort(), ['step-00000002', 'step-00000003'])
  const found = (await lastCheckpoint(at))!
  t.is(found.state.step, 3)
  using rest = await load({ ...options, threads: 1 })
  await restoreCheckpoint(found.folder, rest, found.state, trained)
  t.is(rest.steps, 3)
  await rest.accumulate(batch)
  await rest.update(update)
  t.deepEqual(await bits(rest), await bits(whole))
})

test('a checkpoint that cannot be finished leaves the ones before it', async t => {
  const at = temporaryFolder(t)
  using trainer = await load({ average: true, train: ['conv_out'] })
  await saveCheckpoint(at, trainer, state(1), trained)
  const stop = new AbortController()
  const stopping = ({ name, trained: is }: { name: string, trained: boolean }) => {
    if (name === 'conv_out.bias') stop.abort()
    return is
  }
  await aborts(t, saveCheckpoint(at, trainer, state(2), stopping, stop.signal))
  t.deepEqual(fs.readdirSync(at), ['step-00000001'])
  // What a run that was killed leaves half-written is removed.
  fs.mkdirSync(path.join(at, 'step-00000009.1-abc.tmp'))
  t.is((await lastCheckpoint(at))!.state.step, 1)
  t.deepEqual(fs.readdirSync(at), ['step-00000001'])
  fs.rmSync(at, { recursive: true })
  fs.writeFileSync(at, 'in the way')
  await t.throwsAsync(saveCheckpoint(at, trainer, state(3), trained), { code: 'FILE_WRITE' })
})

test('an aborted pass rejects at once and adds nothing; an update cut short asks for a checkpoint', async t => {
  const at = temporaryFolder(t)
  using trainer = await load({ average: true, train: ['up_blocks.3', 'conv_out'] })
  await saveCheckpoint(at, trainer, state(0), trained)
  const before = await bits(trainer)
  const stop = new AbortController()
  const pass = trainer.accumulate(batch, { signal: stop.signal })
  await setImmediate()
  stop.abort()
  await aborts(t, pass)
  t.is(norm(await trainer.read('gradient', 'conv_out.weight')), 0)
  t.deepEqual(await bits(trainer), before)
  // Cut the update at many places: it has changed nothing, or says that a checkpoint is needed.
  for (let turns = 0; turns < 6; turns++) {
    await trainer.accumulate(batch)
    const controller = new AbortController()
    const step = trainer.update({ ...update, signal: controller.signal })
    for (let i = 0; i < turns; i++) await setImmediate()
    controller.abort()
    const outcome = await step.then(() => 'done', (error: unknown) => (error as Error).name)
    if (outcome === 'AbortError') {
      const next = await trainer.accumulate(batch).then(() => '', (error: unknown) => (error as Error).message)
      t.true(next === '' || next.startsWith('Expected a trainer in use but its last update was aborted halfway'), next)
    }
    await restoreCheckpoint(path.join(at, 'step-00000000'), trainer, state(0), trained)
    t.deepEqual(await bits(trainer), before)
  }
})

test('a number that is none is named with the unit where it begins', async t => {
  using trainer = await load()
  t.is(await trainer.firstNonFinite(batch), undefined)
  const weights = await trainer.read('weight', 'mid_block.attentions.0.proj_in.weight')
  weights[3] = NaN
  await trainer.write('weight', 'mid_block.attentions.0.proj_in.weight', weights)
  t.is(await trainer.firstNonFinite(batch), 'mid_block.attentions.0.proj_in')
  await trainer.accumulate(batch)
  await t.throwsAsync(trainer.update(update), { code: 'INVALID_ARGUMENT', message: /^Expected finite gradients at step 1 but that of / })
})

test('losses on units, through an adapter where channels differ', async t => {
  const [unit, to] = ['down_blocks.1', 5]
  const shape = [2, to, ...loadExpected('sd15-tiny').tensor(`unet/case0/hooks/${unit}`).shape.slice(2)]
  const from = loadExpected('sd15-tiny').tensor(`unet/case0/hooks/${unit}`).shape[1]!
  const target: Tensor = { data: new Float32Array(shape.reduce((a, b) => a * b)).fill(0.5), shape }
  using trainer = await load({ train: ['conv_in'], losses: [{ name: 'near', unit, loss: 'squared', adapter: { from, to } }] })
  t.deepEqual(trainer.weights.filter(({ adapter }) => adapter).map(({ name, shape: own, trained: is }) => [name, own, is]), [
    ['adapters.near.weight', [to, from], true], ['adapters.near.bias', [to], true],
  ])
  await trainer.write('weight', 'adapters.near.weight', new Float32Array(to * from).fill(0.01))
  const { losses: first } = await trainer.accumulate({ ...batch, targets: { near: target } })
  for (let i = 0; i < 5; i++) {
    await trainer.update({ rate: 1e-2 })
    await trainer.accumulate({ ...batch, targets: { near: target } })
  }
  t.true(mean((await trainer.evaluate({ ...batch, targets: { near: target } })).losses.near!) < mean(first.near!))
})

test('what does not fit is refused by name', async t => {
  await t.throwsAsync(load({ train: ['up_blocks.9'] }), { code: 'INVALID_ARGUMENT', message: /received "up_blocks.9"/ })
  await t.throwsAsync(load({ losses: [{ name: 'x', unit: 'nowhere', loss: 'squared' }] }), { code: 'INVALID_ARGUMENT', message: /nowhere/ })
  await t.throwsAsync(load({ losses: [{ name: 'x', loss: 'square' as 'squared' }] }), { code: 'INVALID_ARGUMENT', message: /losses\[0\].loss/ })
  await t.throwsAsync(load({ losses: [{ name: 'x', loss: 'cosine' }, { name: 'x', loss: 'squared' }] }), { code: 'INVALID_ARGUMENT', message: /"x" twice/ })
  const trainer = await load({ train: ['conv_out'] })
  const odd = { data: new Float32Array(8), shape: [2, 4, 1, 1] }
  await t.throwsAsync(trainer.accumulate({ ...batch, targets: { task: odd } }), { code: 'SHAPE_MISMATCH', message: /for task but received/ })
  await t.throwsAsync(trainer.accumulate({ ...batch, targets: { task: batch.targets.task!, other: odd } }), { code: 'INVALID_ARGUMENT', message: /"other"/ })
  await t.throwsAsync(trainer.accumulate({ ...batch, weights: { task: [1] } }), { code: 'SHAPE_MISMATCH', message: /weight of the loss task/ })
  await t.throwsAsync(trainer.read('first', 'conv_in.weight'), { code: 'INVALID_ARGUMENT', message: /conv_in.weight is not trained/ })
  t.true(trainer.memory({ batch: 2, height: 16, width: 16, length: 8 }).activationBytes > 0)
  const pass = trainer.accumulate(batch)
  trainer.dispose()
  trainer.dispose()
  await aborts(t, pass)
  await t.throwsAsync(trainer.accumulate(batch), { code: 'DISPOSED', instanceOf: AsdmError })
})
