import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import type { ForwardInputs, InheritedFeature, NativeModel, NativeModelOptions, NativeModelSpec, NativeRun } from '../../lib/native/binding'
import { aborts } from '../support/aborts'
import { graphs } from '../support/graph-runner'
import { repoPath } from '../support/fixtures'
import { randomFloats } from '../support/op-runner'
import { forwardStep, idInputs, passInputs, probeStep } from '../support/passes'
import { temporaryFolder } from '../support/temporary'
import { addon, create, smallText, smallUNet, smallVAE, writeWeights } from './support'

// A device of the testing addon, whose memory the host cannot address and whose kernels are the CPU's, loaded as a plugin is. The CPU is
// the reference: each result has to have its bits.
const plugin = process.env.ASDM_TESTING_BINARY ?? repoPath('build', 'Release', 'asdm_testing.node')
addon.loadDevices(plugin)
const device = 'handles'

const unet: NativeModelSpec = {
  kind: 'unet',
  config: { ...smallUNet, layersPerBlock: [2, 2], conditional: [{ prefix: 'mid_block.resnets.0.conv1', experts: 3, router: 'softmax' }] },
}
const bytes = ({ data }: { data: Float32Array }): Buffer => Buffer.from(data.buffer, data.byteOffset, data.byteLength)

function inputs(seed: number, time: number, batch = 2): ForwardInputs {
  return passInputs({
    sample: { shape: [batch, 4, 7, 6], data: randomFloats(batch * 4 * 42, seed) }, timesteps: new Float32Array(batch).fill(time),
    encoderHiddenStates: { shape: [batch, 5, 12], data: randomFloats(batch * 5 * 12, 3) },
  })
}

/** The same model on the CPU and on the other device. */
async function both(
  folder: string, spec: NativeModelSpec, dtype: NativeModelOptions['dtype'] = 'fp32',
): Promise<[NativeModel, NativeModel]> {
  const models = [create(spec, { dtype, device: 'cpu' }), create(spec, { dtype, device })] as const
  const sources = writeWeights(folder, models[0], (i, name) => Math.sin(i * 1.7 + name.length) / 4)
  for (const model of models) await model.load(sources).promise
  return [...models]
}

test.serial('devices are known by name, unusable ones with the reason', t => {
  addon.loadDevices(plugin)
  t.deepEqual(addon.devices().slice(1), [
    { name: 'handles', description: 'memory that the host cannot address', reason: null },
    { name: 'handles:1', description: 'broken', reason: 'it is there to be refused' },
  ])
  t.like(addon.devices()[0], { name: 'cpu', reason: null })
  t.throws(() => create(unet, { device: 'handles:1' }), { code: 'UNKNOWN_DEVICE', message: /handles:1.*it is there to be refused/ })
  t.throws(() => create(unet, { device: 'handles:7' }), { code: 'UNKNOWN_DEVICE', message: /it has 2 such devices/ })
  t.throws(() => create(unet, { device: 'cuda' }), { code: 'UNKNOWN_DEVICE', message: /plugin is not installed/ })
  t.throws(() => create(unet, { device: 'tpu' }), { code: 'UNKNOWN_DEVICE', message: /auto, cpu, handles/ })
  for (const file of [repoPath('package.json'), repoPath('build', 'Release', 'asdm.node'), '', 'nowhere'])
    t.throws(() => {
      addon.loadDevices(file)
    }, { code: 'UNKNOWN_DEVICE' }, file)
})

const specs: Record<string, [NativeModelSpec, ForwardInputs]> = {
  unet: [unet, inputs(1, 870)],
  vae_decoder: [{ kind: 'vae_decoder', config: smallVAE }, { values: { sample: { shape: [1, 4, 5, 3], data: randomFloats(60, 4) } } }],
  vae_encoder: [{ kind: 'vae_encoder', config: smallVAE }, { values: { sample: { shape: [1, 3, 10, 6], data: randomFloats(180, 5) } } }],
  text_encoder: [{ kind: 'text_encoder', config: smallText }, idInputs(Int32Array.from({ length: 14 }, (_, i) => i * 3), 2, 1)],
}

for (const [kind, [spec, given]] of Object.entries(specs))
  test.serial(`${kind}: the CPU's bits, with taps and a profile, and no more copies than inputs and outputs`, async t => {
    for (const dtype of ['fp32', 'bf16', 'int8'] as const) {
      const before = graphs.deviceCounts()
      const [cpu, other] = await both(temporaryFolder(t), spec, dtype)
      const taps = cpu.tapNames()
      const wanted = await cpu.forward({ ...given, taps }).promise, got = await other.forward({ ...given, taps, profile: true }).promise
      t.true(bytes(got.sample).equals(bytes(wanted.sample)), dtype)
      t.true(taps.every(tap => bytes(got.taps[tap]).equals(bytes(wanted.taps[tap]))), dtype)
      t.true(got.calls.length > 0 && got.calls.every(({ ms }) => ms >= 0))
      // Without taps more is fused, which in bf16 rounds less often.
      const plain = bytes((await cpu.forward(given).promise).sample)
      const loaded = graphs.deviceCounts()
      t.true(bytes((await other.forward(given).promise).sample).equals(plain), dtype)
      const after = graphs.deviceCounts()
      t.is(after.uploads - loaded.uploads, kind === 'unet' ? 3 : 1)
      t.is(after.downloads - loaded.downloads, 1)
      t.is(after.downloadedBytes - loaded.downloadedBytes, wanted.sample.data.byteLength)
      other.trim()
      t.true(bytes((await other.forward(given).promise).sample).equals(plain), 'after a trim')
      cpu.dispose()
      other.dispose()
      while (graphs.deviceCounts().buffers > before.buffers) await new Promise(resolve => setTimeout(resolve, 5))
    }
    t.pass('all of the device\'s memory is given back')
  })

const output = (prefix: string): InheritedFeature => ({ prefix, feature: 'output' })

for (const dtype of ['fp32', 'bf16'] as const)
  test.serial(`${dtype}: runs of two UNets with probes, choices, lines and steps without guidance, bit for bit`, async t => {
    const folders = [temporaryFolder(t), temporaryFolder(t)]
    const pairs = [await both(folders[0], unet, dtype), await both(folders[1], unet, dtype)]
    const late = [output('up_blocks.1'), output('up_blocks.0')], early = output('down_blocks.0.resnets.0')
    const full = { inherit: [], conditionalOnly: false }
    const steps = [
      { ...full, probe: true }, { ...full, unet: 1 }, { ...full, choices: [[late[0]]], probe: true },
      { inherit: [late[1]], conditionalOnly: true, probe: true },
      { ...full, inherit: [late[0]], unet: 1 }, { ...full, choices: [late], probe: true },
    ]
    const parts = {
      probes: [[early, output('conv_in')]], extrapolate: 0.75, maps: [{ from: { ...late[0], unet: 0 }, to: { ...late[0], unet: 1 } }],
    }
    const shape = { batch: 2, height: 7, width: 6, length: 5 }
    const runs = await Promise.all([0, 1].map(d => pairs[0][d].createRun(shape, steps, parts, [pairs[1][d]]).promise))
    const results = await Promise.all(runs.map(async run => await play(run)))
    t.deepEqual(results[1], results[0])
    t.true(results[0].some(text => Number(text) > 0 && Number(text) < 10), 'changes were measured')
    runs.forEach(run => {
      run.dispose()
    })
    pairs.flat().forEach(model => {
      model.dispose()
    })

    async function play(run: NativeRun): Promise<string[]> {
      const seen: string[] = []
      for (const [i, step] of steps.entries()) {
        const given = inputs(i + 10, 900 - 100 * i, step.conditionalOnly ? 1 : 2)
        if (step.probe === true) seen.push(...(await probeStep(run, i, i === 0 ? [] : [0, 1].slice(0, i), given)).map(String))
        const { sample } = await forwardStep(run, i, given, 'choices' in step ? 1 : 0)
        seen.push(bytes(sample).toString('hex'))
      }
      return seen
    }
  })

test.serial('a packed cache is written and read by way of copies; it belongs to the device\'s layout', async t => {
  const folder = temporaryFolder(t), cache = path.join(folder, 'packed')
  const models = [create(unet, { device: 'cpu' }), create(unet, { device })] as const
  const sources = writeWeights(folder, models[0])
  await models[0].load(sources).promise
  const wanted = bytes((await models[0].forward(inputs(1, 500)).promise).sample)
  for (const outcome of ['written', 'used', 'used'] as const) {
    t.is((await models[1].load(sources, undefined, cache).promise).cache, outcome)
    t.true(bytes((await models[1].forward(inputs(1, 500)).promise).sample).equals(wanted), outcome)
  }
  t.true(fs.statSync(cache).size > 4096)
  t.is((await models[0].load(sources, undefined, cache).promise).cache, 'replaced')
  models.forEach(model => {
    model.dispose()
  })
})

test.serial('weights are shared on one device, and runs are on one; aborted calls leave the model usable', async t => {
  const [cpu, other] = await both(temporaryFolder(t), unet)
  const given = inputs(1, 500), wanted = bytes((await cpu.forward(given).promise).sample)
  const sharing = create(unet, { device }), stranger = create(unet, { device: 'cpu' })
  await sharing.share(other).promise
  await t.throwsAsync(stranger.share(other).promise, { code: 'INVALID_ARGUMENT' })
  const shape = { batch: 2, height: 7, width: 6, length: 5 }
  await t.throwsAsync(async () => cpu.createRun(shape, [{ inherit: [], conditionalOnly: false }], {}, [other]).promise, {
    code: 'INVALID_ARGUMENT', message: /on cpu but one is on handles/,
  })
  const call = other.forward(given)
  call.cancel()
  await aborts(t, call.promise)
  other.dispose()
  t.true(bytes((await sharing.forward(given).promise).sample).equals(wanted))
  for (const model of [cpu, sharing, stranger]) model.dispose()
})

test.serial('random graphs on poisoned memory: the CPU\'s bits', t => {
  for (let seed = 1; seed <= 25; seed++)
    for (const dtype of ['fp32', 'bf16'] as const) {
      const run = { seed, set: 'auto', threads: 2, fuse: true, poison: true, taps: seed % 2 === 0, dtype }
      t.deepEqual(graphs.randomGraph({ ...run, handles: true }).outputs, graphs.randomGraph(run).outputs, `seed ${seed}, ${dtype}`)
    }
})
