import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import { ldmUNetNames, ldmVAENames, openClipNames } from '../../lib/convert/ldm-names'
import { openCheckpoint } from '../../lib/model/checkpoint'
import { openUNet } from '../../lib/model/folder'
import { ldmUNetName, ldmVAEName, openClipName } from '../model/ldm-names'
import { fixture } from '../support/fixtures'

for (const set of ['sd15-tiny', 'sd21-tiny', 'bk-sdm-base-tiny', 'bk-sdm-small-tiny', 'bk-sdm-tiny-tiny']) {
  test(`${set}: a UNet's original names`, async t => {
    const { config, weights } = await openUNet(fixture(set, 'unet'))
    const names = ldmUNetNames(weights.map(({ name }) => name))
    for (const { name } of weights)
      t.is(`model.diffusion_model.${names.get(name)}`, ldmUNetName(name, config.layersPerBlock, config.upCrossAttention))
  })
}

for (const set of ['sd15-tiny', 'sd21-tiny']) {
  test(`${set}: a VAE's and a text encoder's original names`, async t => {
    const { vae, textEncoder } = await openCheckpoint(fixture(set))
    const vaeNames = ldmVAENames(vae.weights.map(({ name }) => name))
    for (const { name } of vae.weights)
      t.is(`first_stage_model.${vaeNames.get(name)}`, ldmVAEName(name, vae.config.blockOutChannels.length))
    const names = openClipNames(textEncoder.weights.map(({ name }) => name))
    t.is([...names.values()].flat().length, textEncoder.weights.length)
    for (const [theirs, ours] of names) for (const name of ours) t.is(`cond_stage_model.model.${theirs}`, openClipName(name))
  })
}

test('the published sizes', t => {
  const names = ldmUNetNames(['conv_in.weight', 'down_blocks.3.resnets.1.conv1.weight', ...[0, 1, 2, 3].flatMap(stage =>
    [0, 1].map(layer => `down_blocks.${stage}.resnets.${layer}.norm1.bias`)),
  ...[0, 1, 2].map(stage =>
    `down_blocks.${stage}.downsamplers.0.conv.bias`), ...[0, 1, 2, 3].flatMap(stage =>
    [0, 1, 2].map(layer => `up_blocks.${stage}.resnets.${layer}.norm1.bias`)),
  ...[1, 2, 3].flatMap(stage =>
    [0, 1, 2].map(layer => `up_blocks.${stage}.attentions.${layer}.norm.bias`)), ...[0, 1, 2].map(stage =>
    `up_blocks.${stage}.upsamplers.0.conv.bias`)])
  t.is(names.get('down_blocks.3.resnets.1.conv1.weight'), 'input_blocks.11.0.in_layers.2.weight')
  t.is(names.get('down_blocks.2.downsamplers.0.conv.bias'), 'input_blocks.9.0.op.bias')
  t.is(names.get('up_blocks.0.upsamplers.0.conv.bias'), 'output_blocks.2.1.conv.bias')
  t.is(names.get('up_blocks.2.upsamplers.0.conv.bias'), 'output_blocks.8.2.conv.bias')
  t.is(names.get('up_blocks.3.attentions.2.norm.bias'), 'output_blocks.11.1.norm.bias')
})

test('what the original names cannot tell is refused', t => {
  const refuses = (run: () => unknown): void => { t.is(t.throws(run, { instanceOf: AsdmError })?.code, 'UNSUPPORTED_CONFIG') }
  const stage = ['down_blocks.0.resnets.0.norm1.bias', 'down_blocks.1.resnets.0.norm1.bias']
  // Two stages without a downsampler between them would be one.
  refuses(() => ldmUNetNames(stage))
  t.notThrows(() => ldmUNetNames([...stage, 'down_blocks.0.downsamplers.0.conv.bias']))
  for (const name of ['add_embedding.linear_1.weight', '__proto__', 'constructor.weight', '', 'down_blocks.0.resnets.0.__proto__.weight'])
    refuses(() => ldmUNetNames([name]))
  refuses(() => ldmUNetNames(['down_blocks.7.resnets.0.norm1.bias']))
  refuses(() => ldmVAENames(['decoder.mid_block.attentions.0.add_q.weight']))
  refuses(() => openClipNames(['encoder.layers.0.self_attn.q_proj.weight']))
  refuses(() => openClipNames(['encoder.layers.0.self_attn.k_proj.weight']))
  refuses(() => openClipNames(['encoder.layers.0.layer_norm3.weight']))
})
