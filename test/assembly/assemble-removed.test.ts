import fs from 'node:fs'
import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import { parseUNetConfig } from '../../lib/model/unet-config'
import type { UNetConfig } from '../../lib/native/configs'
import { create, sd15, smallUNet, writeWeights } from '../graph/support'
import { repoPath } from '../support/fixtures'
import { passInputs } from '../support/passes'
import { temporaryFolder } from '../support/temporary'

const config: UNetConfig = { ...smallUNet, blockOutChannels: [16, 16], layersPerBlock: [2, 2], transformerLayersPerBlock: [2, 2] }
const spelled = (prefix: string): string[] => {
  const layer = /^(.*)\.(\d+)$/.exec(prefix)
  return layer !== null && /^(?:(?:down|up)_blocks\.\d|mid_block)$/.test(layer[1])
    ? [`${layer[1]}.resnets.${layer[2]}.`, `${layer[1]}.attentions.${layer[2]}.`]
    : [`${prefix}.`]
}
const last = /\.(?:conv2|proj_out|to_out\.0|ff\.net\.2)\.(?:weight|bias)$/
const block = 'down_blocks.0.attentions.1.transformer_blocks.1'

for (const removed of [
  ['down_blocks.0.resnets.1'], ['down_blocks.0.1'], ['down_blocks.0.attentions.0'], ['up_blocks.1.attentions.2'], [block], [`${block}.attn1`], [`${block}.attn2`], [`${block}.ff`],
  [
    `${block}.attn1`, `${block}.attn2`, `${block}.ff`,
  ], ['mid_block'], ['mid_block.0'], ['mid_block.resnets.1'], ['mid_block.attentions.0'], ['down_blocks.1'],
  ['down_blocks.1', 'mid_block', 'down_blocks.0.0', 'up_blocks.1.attentions.0', 'up_blocks.1.attentions.1.transformer_blocks.0.attn1'],
]) {
  test(`removing ${removed.join(', ')} equals zeroing what ends its branches, bit for bit`, async t => {
    const folder = temporaryFolder(t)
    const full = create({ kind: 'unet', config })
    const gone = (name: string): boolean => removed.some(prefix => spelled(prefix).some(part => name.startsWith(part)))
    const sources = writeWeights(folder, full, (i, name) => (gone(name) && last.test(name) ? 0 : Math.sin(i * 1.7 + name.length) / 4))
    const without = create({ kind: 'unet', config: { ...config, removed } })
    const asked = new Set(without.weights().map(({ name }) => name))
    t.false([...asked].some(gone))
    // A branch goes with the norm before it.
    for (const [i, branch] of ['attn1', 'attn2', 'ff'].entries())
      t.is(asked.has(`${block}.norm${i + 1}.weight`), !removed.some(prefix => [`${block}.${branch}`, block].includes(prefix)) && !gone(`${block}.norm${i + 1}.weight`))
    t.true(asked.size < sources.length)
    await full.load(sources).promise
    await without.load(sources.filter(({ name }) => asked.has(name))).promise
    const inputs = passInputs({
      sample: {
        data: Float32Array.from({ length: 2 * 4 * 7 * 6 }, (_, i) => Math.sin(i * 0.37)), shape: [2, 4, 7, 6],
      }, timesteps: Float32Array.of(3, 870),
      encoderHiddenStates: { data: Float32Array.from({ length: 2 * 5 * 12 }, (_, i) => Math.cos(i * 0.11)), shape: [2, 5, 12] },
    })
    const [a, b] = [await full.forward(inputs).promise, await without.forward(inputs).promise]
    t.true(a.sample.data.every(Number.isFinite))
    t.deepEqual([...b.sample.data], [...a.sample.data])
    const shape = { batch: 2, height: 7, width: 6, length: 5 }
    t.true(without.describe(shape).macs < full.describe(shape).macs)
    full.dispose()
    without.dispose()
  })
}

test('what cannot be left out is named', t => {
  for (const [prefix, problem] of [
    [
      'up_blocks.0.resnets.0', /up_blocks\.0\.resnets\.0, which takes 32 channels and gives 16/,
    ], ['up_blocks.0', /up_blocks\.0\.resnets\.0/], ['down_blocks.0', /down_blocks\.0\.downsamplers\.0/],
    [
      'down_blocks.0.downsamplers.0', /sizes do not fit/,
    ], ['conv_in', /"conv_in", which is none/], ['down_blocks.7', /"down_blocks\.7"/], [
      `${block}.attn1.to_q`, /to_q", which is none/,
    ], ['', /"", which is none/],
  ] as [string, RegExp][])
    t.is(
      (t.throws(() => create({ kind: 'unet', config: { ...config, removed: [prefix] } }), { message: problem }) as AsdmError).code,
      'BAD_CONFIG',
    )
  t.throws(
    () => create({ kind: 'unet', config: { ...config, removed: ['mid_block', 'mid_block.0'] } }),
    { message: /"mid_block\.0", which is none/ },
  )
})

test('the asdm section of a config is read and checked', t => {
  const read = (asdm: unknown) => parseUNetConfig({ asdm }, 'config.json')
  t.deepEqual(read({ version: 1, removed: ['mid_block'] }).removed, ['mid_block'])
  t.is(read(null).removed, undefined)
  for (const asdm of [
    1, [], { version: 2, removed: [] }, { version: 1 }, { version: 1, removed: 'mid_block' }, { version: 1, removed: [1] },
    { version: 1, removed: ['../x'] }, { version: 1, removed: [], experts: {} }, { version: 1, removed: [], conditional: {} },
    { version: 1, removed: new Array(2000).fill('a') },
  ])
    t.throws(() => read(asdm), { instanceOf: AsdmError, message: /asdm/ })
})

test('the shipped light recipe saves a fifth of the multiply-accumulates of Stable Diffusion 1.5, at a hundredth of the parameters', t => {
  const { units } = JSON.parse(fs.readFileSync(repoPath('recipes', 'light.json'), 'utf8')) as { units: object }
  const shape = { batch: 2, height: 64, width: 64, length: 77 }
  const count = (config: UNetConfig) => {
    const model = create({ kind: 'unet', config })
    const { macs, parameters } = model.describe(shape)
    model.dispose()
    return { macs, parameters }
  }
  const [full, light] = [count(sd15), count({ ...sd15, removed: Object.keys(units) })]
  t.is((100 * (1 - light.macs / full.macs)).toFixed(1), '20.8')
  t.is((100 * (1 - light.parameters / full.parameters)).toFixed(1), '1.0')
})
