import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { assemble } from '../../lib/assembly/assemble'
import { UNet } from '../../lib/components/unet'
import { writeSafetensors } from '../../lib/files/safetensors'
import { parseUNetConfig } from '../../lib/model/unet-config'
import { create, fixtureWeights } from '../graph/support'
import { bytesOf } from '../model/checkpoints'
import { fixture, loadExpected, maxAbsDiff } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

/** Where the published removals take a weight of the small UNet from, written down on their own. */
function teacherName(recipe: string, name: string): string {
  const found = /^up_blocks\.(\d)\.(resnets|attentions|upsamplers)\.(\d)\.(.*)$/.exec(name)
  if (found === null) return name
  const [, block, kind, layer, rest] = found
  return `up_blocks.${recipe === 'bk-tiny' ? Number(block) + 1 : block}.${kind}.${layer === '1' ? '2' : layer}.${rest}`
}

for (const [recipe, set] of [['bk-base', 'bk-sdm-base-tiny'], ['bk-small', 'bk-sdm-small-tiny'], ['bk-tiny', 'bk-sdm-tiny-tiny']]) {
  test(`${recipe} of a UNet that holds the weights of a diffusers-built small one gives that one's outputs`, async t => {
    const folder = temporaryFolder(t)
    const small = JSON.parse(fs.readFileSync(fixture(set, 'unet', 'config.json'), 'utf8'))
    // The teacher: two layers a block, a mid block, and for bk-tiny one stage more, as wide as the last, without attention on its way.
    const teacher = { ...small, layers_per_block: 2, mid_block_type: 'UNetMidBlock2DCrossAttn' }
    if (recipe === 'bk-tiny') {
      teacher.block_out_channels = [...small.block_out_channels, small.block_out_channels.at(-1)]
      teacher.down_block_types = [...small.down_block_types, 'DownBlock2D']
      teacher.up_block_types = ['UpBlock2D', ...small.up_block_types]
    }
    const model = create({ kind: 'unet', config: parseUNetConfig(teacher, 'config.json') })
    const ours = new Map(fixtureWeights(set, 'unet', 'diffusion_pytorch_model.safetensors').map(weight =>
      [teacherName(recipe, weight.name), weight]))
    let used = 0
    const tensors = model.weights().map(({ name, shape }) => {
      const count = shape.reduce((a, b) => a * b, 1)
      const given = ours.get(name)
      if (given === undefined)
        return { name, dtype: 'F32', shape, data: Buffer.from(Float32Array.from({ length: count }, (_, i) => Math.sin(i)).buffer) }
      used++
      t.is(given.end - given.begin, (given.dtype === 'F32' ? 4 : 2) * count, name)
      return { name, dtype: given.dtype, shape, data: bytesOf(given) }
    })
    model.dispose()
    t.is(used, ours.size)
    t.true(tensors.length > used)
    const from = path.join(folder, 'teacher')
    fs.mkdirSync(path.join(from, 'unet'), { recursive: true })
    fs.writeFileSync(path.join(from, 'unet', 'config.json'), JSON.stringify(teacher))
    await writeSafetensors(path.join(from, 'unet', 'diffusion_pytorch_model.safetensors'), tensors, {})

    const out = path.join(folder, 'out')
    await assemble(recipe, { out, checkpoints: { sd: from } })
    t.deepEqual(
      parseUNetConfig(JSON.parse(fs.readFileSync(path.join(out, 'unet', 'config.json'), 'utf8')), 'x'), parseUNetConfig(small, 'y'),
    )
    const expected = loadExpected(set)
    const unet = await UNet.load(path.join(out, 'unet'))
    t.teardown(() => unet.dispose())
    for (const { name, timesteps } of expected.json.unet.cases) {
      const { sample } = await unet.forward({
        sample: expected.tensor(`unet/${name}/sample`), timestep: timesteps,
        encoderHiddenStates: expected.tensor(`unet/${name}/encoder_hidden_states`),
      })
      const difference = maxAbsDiff(sample.data, expected.tensor(`unet/${name}/out`).data)
      t.true(difference <= 2e-5, `${name}: ${difference}`)
    }
  })
}
