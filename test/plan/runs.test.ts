import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import type { Tensor } from '../../lib/base/tensor'
import type { Conditioning } from '../../lib/components/conditioning'
import { UNet } from '../../lib/components/unet'
import { expandPlan, type ExpandedStep } from '../../lib/plan/expand'
import { gridOf } from '../../lib/plan/grid'
import { defaultFeature, unetFacts } from '../../lib/plan/names'
import { resolvePlan } from '../../lib/plan/source'
import { TorchGenerator } from '../../lib/random/torch-generator'
import { fixture, repoPath } from '../support/fixtures'
import { rounds, seeded, seedOf } from '../support/random'

const shape = { batch: 2, height: 8, width: 8, length: 5 }
const folders: Record<string, string> = {
  'emoji': repoPath('models', 'emoji', 'unet'), 'sd15-tiny': fixture('sd15-tiny', 'unet'),
  'bk-sdm-tiny-tiny': fixture('bk-sdm-tiny-tiny', 'unet'),
}

type Given = Conditioning & { sample: Tensor, timestep: number }
const textOf = ({ encoderHiddenStates }: Given): Conditioning => ({ encoderHiddenStates })
const stepOf = ({ sample, timestep }: Given) => ({ sample, timestep })

for (const [name, folder] of Object.entries(folders)) {
  let unet: UNet
  test.before(async () => { unet = await UNet.load(folder, { threads: 2 }) })
  test.after.always(async () => { await unet?.dispose() })
  const inputs = (seed: number, batch = shape.batch) => {
    const random = new TorchGenerator(seed)
    const { inChannels, crossAttentionDim } = unet.config
    return {
      sample: random.randn([batch, inChannels, shape.height, shape.width]), timestep: 301,
      encoderHiddenStates: random.randn([batch, shape.length, crossAttentionDim]),
    }
  }
  /** Any prefixes, blocks and layers and units mixed, each with either feature that it has. */
  const inheritsOf = (random: ReturnType<typeof seeded>) => {
    const prefixes = [...unetFacts(unet.config, unet.tapNames()).prefixes]
    return Array.from({ length: 1 + random.below(random.below(4) === 0 ? 60 : 6) }, () => {
      const prefix = random.pick(prefixes)
      return { prefix, feature: random.below(3) === 0 ? 'output' as const : defaultFeature(prefix) }
    })
  }

  test(`${name}: repeating a step while inheriting any prefixes gives the full step's bits`, async t => {
    const random = seeded(seedOf(41))
    const given = inputs(5)
    const full = await unet.forward(given)
    for (let round = 0; round < rounds(25); round++) {
      const inherit = inheritsOf(random)
      const run = await unet.createRun(shape, [{ inherit: [], conditionalOnly: false }, { inherit, conditionalOnly: false }])
      await run.condition(textOf(given))
      const first = await run.forward(0, stepOf(given))
      const second = await run.forward(1, stepOf(given))
      t.deepEqual(first.data, full.sample.data)
      t.deepEqual(second.data, full.sample.data, JSON.stringify(inherit))
      // A block or layer may be inherited that others make unread; what is read saves work.
      const info = run.info.steps[1].variants[0]
      t.true(info.macs <= run.info.fullMacs[0])
      t.true(info.inherited.every(({ source }) => source === 0))
      run.dispose()
    }
  })

  test(`${name}: without its source an inherited feature is refused; conditional steps are the second half's bits`, async t => {
    const prefix = 'down_blocks.0.resnets.0'
    await t.throwsAsync(
      async () => unet.createRun(shape, [{ inherit: [{ prefix, feature: 'output' }], conditionalOnly: false }]),
      { code: 'INVALID_ARGUMENT', message: /down_blocks\.0\.resnets\.0/ },
    )
    const given = inputs(6)
    const half = { sample: secondHalf(given.sample), timestep: given.timestep }
    const run = await unet.createRun(
      shape,
      [
        { inherit: [], conditionalOnly: false }, { inherit: [], conditionalOnly: true },
        { inherit: [{ prefix, feature: 'branch' }], conditionalOnly: true },
      ],
    )
    await run.condition(textOf(given))
    const whole = await run.forward(0, stepOf(given))
    for (const step of [1, 2]) t.deepEqual((await run.forward(step, half)).data, secondHalf(whole).data)
    run.dispose()
  })

  test(`${name}: what the grid shows as run is what the addon counts`, async t => {
    const random = seeded(seedOf(43))
    const facts = unetFacts(unet.config, unet.tapNames())
    // What is made of the text alone counts in no step.
    const units = unet.describe(shape).units.filter(unit => !unit.name.endsWith('.to_kv'))
    const blocksAndLayers = [...facts.prefixes].filter(prefix => /^(mid_block|(down|up)_blocks\.\d+)(\.\d+)?$/.test(prefix))
    const blocks = blocksAndLayers.filter(prefix => !/\.\d+\.\d+$|^mid_block\./.test(prefix))
    let saved = 0
    for (let round = 0; round < rounds(60); round++) {
      const inherit = Array.from(
        { length: 1 + random.below(4) }, () => ({ prefix: random.pick(blocksAndLayers), feature: 'output' as const }),
      )
      const run = await unet.createRun(shape, [{ inherit: [], conditionalOnly: false }, { inherit, conditionalOnly: false }])
      const grid = new Map(gridOf(run.info).map(({ block, cells }) => [block, cells]))
      t.true([...grid.values()].every(cells => cells[0] === 'full'))
      t.deepEqual([...grid.keys()].slice(1, -1).sort(), [...blocks].sort())
      const within = (unit: { name: string }, cell: string): boolean =>
        [...grid].some(([block, cells]) => cells[1] === cell && (unit.name === block || unit.name.startsWith(`${block}.`)))
      const sum = (list: typeof units): number => list.reduce((total, { macs }) => total + macs, 0)
      const { macs, program } = run.info.steps[1].variants[0]
      const ran = new Set(run.info.programs[program])
      const skipped = sum(units.filter(({ name }) => !ran.has(name)))
      t.is(run.info.fullMacs[0] - macs, skipped, JSON.stringify(inherit))
      t.true(
        units.every(unit => ran.has(unit.name) ? !within(unit, 'idle') && !within(unit, 'inherited') : !within(unit, 'full')),
        JSON.stringify(inherit),
      )
      for (const { prefix } of inherit) if (blocks.includes(prefix)) t.true(['inherited', 'idle'].includes(grid.get(prefix)![1]), prefix)
      if (skipped > 0) saved++
      run.dispose()
    }
    t.true(saved > 10)
  })
}

test('threads change nothing, also where features are inherited', async t => {
  const outputs = await Promise.all([1, 2, 5].map(async threads => {
    const unet = await UNet.load(folders.emoji, { threads })
    const random = new TorchGenerator(9)
    const text = random.randn([2, 5, unet.config.crossAttentionDim])
    const steps: ExpandedStep[] = expandPlan(resolvePlan('uniform:3,up_blocks.2.0+mid_block.attentions.0+down_blocks.1.resnets.1;guidance:0.6', {
      unets: { full: unetFacts(unet.config, unet.tapNames()) }, steps: 5, stochastic: false,
    }), 5, true)
    const run = await unet.createRun(shape, steps.map(({ inherit, guidance }) => ({ inherit, conditionalOnly: guidance !== 'full' })))
    await run.condition({ encoderHiddenStates: text })
    const out: Float32Array[] = []
    for (const [i, { guidance }] of steps.entries()) {
      const sample = random.randn([2, 4, 8, 8])
      const half = guidance !== 'full'
      out.push(
        (await run.forward(i, {
          sample: half ? secondHalf(sample) : sample, timestep: 900 - 100 * i,
        })).data,
      )
    }
    run.dispose()
    await unet.dispose()
    return out
  }))
  t.deepEqual(outputs[1], outputs[0])
  t.deepEqual(outputs[2], outputs[0])
})

function secondHalf({ data, shape: [batch, ...rest] }: { data: Float32Array, shape: number[] }) {
  return { data: data.slice(data.length / 2), shape: [batch / 2, ...rest] }
}

test('a run: steps in order, inputs of its shape, dispose at any time', async t => {
  const unet = await UNet.load(folders.emoji, { threads: 1 })
  const random = new TorchGenerator(2)
  const given = { sample: random.randn([2, 4, 8, 8]), timestep: 301 }
  const text = { encoderHiddenStates: random.randn([2, 5, unet.config.crossAttentionDim]) }
  const steps = [
    { inherit: [], conditionalOnly: false }, { inherit: [{ prefix: 'mid_block', feature: 'output' as const }], conditionalOnly: false },
  ]
  const run = await unet.createRun(shape, steps)
  await t.throwsAsync(run.forward(0, given), { code: 'INVALID_ARGUMENT', message: /conditioned before its passes/ })
  await run.condition(text)
  await t.throwsAsync(run.forward(1, given), { instanceOf: AsdmError })
  await t.throwsAsync(run.condition({ encoderHiddenStates: random.randn([4, 5, unet.config.crossAttentionDim]) }), { code: 'SHAPE_MISMATCH', message: /batch of 2 but received 4/ })
  await t.throwsAsync(run.condition({ encoderHiddenStates: random.randn([2, 6, unet.config.crossAttentionDim]) }), { code: 'SHAPE_MISMATCH', message: /\[N,5,/ })
  await t.throwsAsync(run.forward(0, { ...given, ...text } as never), { code: 'INVALID_ARGUMENT', message: /encoderHiddenStates/ })
  const other = await unet.createRun(shape, steps)
  await t.throwsAsync(other.forward(0, { ...given, sample: random.randn([2, 4, 16, 8]) }), { instanceOf: AsdmError })
  await t.throwsAsync(other.forward(0, { ...given, timestep: NaN }), { code: 'INVALID_ARGUMENT' })
  await t.throwsAsync(other.forward(0, { ...given, taps: [] } as never), { code: 'INVALID_ARGUMENT' })
  const whole = await unet.createRun(shape, steps)
  await whole.condition(text)
  await whole.forward(0, given)
  whole.dispose()
  whole.dispose()
  await t.throwsAsync(whole.forward(1, given), { code: 'DISPOSED' })
  const last = await unet.createRun(shape, steps)
  await last.condition(text)
  const pending = last.forward(0, given)
  const ended = pending.then(() => 'done', (error: Error) => error.name)
  await unet.dispose()
  t.true(['AbortError', 'done'].includes(await ended))
  await t.throwsAsync(last.forward(1, given), { code: 'DISPOSED' })
  last.dispose()
  await t.throwsAsync(async () => unet.createRun(shape, steps), { code: 'DISPOSED' })
})
