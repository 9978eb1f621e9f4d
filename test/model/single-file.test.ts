import fs from 'node:fs'
import path from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { AsdmError, type ErrorCode } from '../../lib/base/errors'
import { writeSafetensors, type TensorToWrite } from '../../lib/files/safetensors'
import { openCheckpoint } from '../../lib/model/checkpoint'
import type { OpenOptions } from '../../lib/model/part'
import { openUNet } from '../../lib/model/folder'
import { inferTextEncoderConfig, inferUNetConfig, inferVAEConfig } from '../../lib/model/infer-config'
import { Shapes } from '../../lib/model/shapes'
import { unetNames } from '../../lib/model/ldm-keys'
import { matchWeights } from '../../lib/model/weights'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { fixture } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'
import { contents, writeLdm } from './checkpoints'
import { ldmUNetName } from './ldm-names'

type Change = (tensors: TensorToWrite[]) => TensorToWrite[]

/** A reference checkpoint as one file, altered by `change`. */
async function ldmFile(t: ExecutionContext, set: string, change?: Change, metadata?: Record<string, string>): Promise<string> {
  const { unet, vae } = await openCheckpoint(fixture(set))
  const file = path.join(temporaryFolder(t), `${set}.safetensors`)
  await writeLdm(set, unet.config, vae.config.blockOutChannels.length, file, change, metadata)
  return file
}

async function refused(t: ExecutionContext, opening: Promise<unknown>, code: ErrorCode, ...says: string[]): Promise<void> {
  const error = await t.throwsAsync(opening, { instanceOf: AsdmError })
  t.is(error?.code, code, error?.message)
  for (const part of says) t.true(error!.message.includes(part), `${part} in: ${error!.message}`)
}

const openAs = (file: string, set: string, options?: OpenOptions) => openCheckpoint(file, { config: fixture(set), ...options })
const junk = (name: string, dtype = 'F32'): TensorToWrite => ({ name, dtype, shape: [1], data: new Uint8Array(dtype === 'I64' ? 8 : 4) })

for (const set of ['sd15-tiny', 'sd21-tiny']) {
  test(`${set}: one file holds what the folder holds`, async t => {
    const folder = await openCheckpoint(fixture(set))
    const single = await openAs(await ldmFile(t, set), set)
    t.is(single.kind, 'single-file')
    t.deepEqual(single.warnings, [])
    for (const part of ['unet', 'vae', 'textEncoder'] as const) {
      t.deepEqual(single[part].config, folder[part].config as any)
      // The folder's own names and shapes serve as the graph's requests.
      const matched = { ...single[part], weights: matchWeights(folder[part].weights, single[part].weights, single.path) }
      t.is(matched.weights.length, single[part].weights.length)
      t.deepEqual(contents(matched as any), contents(folder[part] as any))
    }
    t.is(single.tokenizerFolder, fixture(set, 'tokenizer'))
    t.deepEqual(single.schedulerConfig, folder.schedulerConfig)
  })

  test(`${set}: configs from shapes`, async t => {
    const folder = await openCheckpoint(fixture(set))
    const { unet, vae, textEncoder } = await openAs(await ldmFile(t, set), set)
    const family = set === 'sd21-tiny' ? 'sd2' : 'sd1'
    const heads = (width: number): number => (family === 'sd2' ? width / 64 : 8)
    // Heads and groups cannot be seen: they are the published models'.
    t.deepEqual(inferUNetConfig(
      new Shapes(unet.weights, 'f'), family, 16,
    ), { ...folder.unet.config, normNumGroups: 32, attentionHeads: folder.unet.config.blockOutChannels.map(heads) })
    t.deepEqual(inferVAEConfig(new Shapes(vae.weights, 'f'), folder.vae.config.sampleSize! / 8), { ...folder.vae.config, normNumGroups: 32 })
    t.deepEqual(inferTextEncoderConfig(
      new Shapes(textEncoder.weights, 'f'), family,
    ), { ...folder.textEncoder.config, numAttentionHeads: folder.textEncoder.config.hiddenSize / 64 })
  })
}

for (const set of ['bk-sdm-base-tiny', 'bk-sdm-small-tiny', 'bk-sdm-tiny-tiny']) {
  test(`${set}: names and config of fewer layers, stages, no mid block`, async t => {
    const { config, weights } = await openUNet(fixture(set, 'unet'))
    const old = weights.map(({ name }) =>
      ldmUNetName(name, config.layersPerBlock, config.upCrossAttention).replace('model.diffusion_model.', ''))
    t.is(new Set(old).size, weights.length)
    const names = unetNames(old)
    t.deepEqual(old.map(name => names.get(name)), weights.map(({ name }) => name))
    t.deepEqual(inferUNetConfig(new Shapes(weights, 'f'), 'sd1', 16), { ...config, normNumGroups: 32 })
  })
}

test('without configs, widths that the published group count does not divide are refused', async t => {
  const file = await ldmFile(t, 'sd15-tiny')
  await refused(t, openCheckpoint(file), 'BAD_CONFIG', file, 'norm_num_groups 32 does not divide', '{ config: folder }')
})

test('the last OpenCLIP layer is left out, or what the config leaves out', async t => {
  const file = await ldmFile(t, 'sd21-tiny')
  const { textEncoder } = await openAs(file, 'sd21-tiny')
  t.is(new Set(textEncoder.weights.map(({ name }) => /layers\.(\d+)/.exec(name)?.[1]).filter(Boolean)).size, 3)
  t.false(textEncoder.weights.some(({ name }) => name.includes('layers.3') || name.includes('projection') || name.includes('logit_scale')))
})

test('text encoder names without text_model., and with position ids', async t => {
  const file = await ldmFile(
    t, 'sd15-tiny', tensors => tensors.map(tensor => ({ ...tensor, name: tensor.name.replace('transformer.text_model.', 'transformer.') })),
  )
  const { textEncoder } = await openAs(file, 'sd15-tiny')
  const folder = await openCheckpoint(fixture('sd15-tiny'))
  t.deepEqual(contents(textEncoder), contents(folder.textEncoder))
})

test('what published files hold beside the model is not used', async t => {
  const more = ['model_ema.diffusion_modelinput_blocks00weight', 'model_ema.decay', 'model_ema.num_updates', 'betas', 'alphas_cumprod', 'alphas_cumprod_prev', 'sqrt_recip_alphas_cumprod', 'posterior_variance',
    'log_one_minus_alphas_cumprod', 'logvar', 'first_stage_model.loss.discriminator.main.0.weight', 'first_stage_model.model_ema.decay', 'first_stage_model.model_ema.num_updates', 'cond_stage_model.transformer.vision_model.x', 'cond_stage_model.transformer.text_projection.weight', 'cond_stage_model.logit_scale']
  const file = await ldmFile(t, 'sd15-tiny', tensors => [...tensors, ...more.map(name => junk(name)), junk('global_step', 'I64')])
  const single = await openAs(file, 'sd15-tiny')
  const folder = await openCheckpoint(fixture('sd15-tiny'))
  for (const part of ['unet', 'vae', 'textEncoder'] as const) t.is(single[part].weights.length, folder[part].weights.length)
  t.deepEqual(single.warnings, [])
  const unknown = await openAs(await ldmFile(t, 'sd15-tiny', tensors => [...tensors, junk('something.else')]), 'sd15-tiny')
  t.regex(unknown.warnings.join(), /something\.else/)
})

test('extra and missing tensors of a part reach the match under a name one can find', async t => {
  const folder = await openCheckpoint(fixture('sd15-tiny'))
  const extra = await openAs(
    await ldmFile(t, 'sd15-tiny', tensors => [...tensors, junk('model.diffusion_model.input_blocks.1.0.odd.weight')]), 'sd15-tiny',
  )
  const unused: string[] = []
  t.is(matchWeights(folder.unet.weights, extra.unet.weights, 'f', names => unused.push(...names)).length, folder.unet.weights.length)
  t.regex(unused.join(), /^[^,]*input_blocks\.1\.0\.odd\.weight$/)
  const fewer = await openAs(
    await ldmFile(t, 'sd15-tiny', tensors => tensors.filter(({ name }) => !name.includes('middle_block.2.in_layers.2'))), 'sd15-tiny',
  )
  const missing = t.throws(() => matchWeights(folder.unet.weights, fewer.unet.weights, 'f'), { instanceOf: AsdmError })
  t.is(missing?.code, 'TENSOR_MISSING')
  t.true(missing!.message.includes('mid_block.resnets.1.conv1.weight'))
})

test('v_pred and ztsnr tensors say what the UNet predicts and how its noise schedule ends', async t => {
  const mark = (name: string): TensorToWrite => ({ name, dtype: 'F32', shape: [0], data: new Uint8Array(0) })
  const configs = temporaryFolder(t)
  for (const part of ['unet', 'vae', 'text_encoder'])
    fs.cpSync(path.join(fixture('sd15-tiny'), part, 'config.json'), path.join(configs, part, 'config.json'))
  const config = async (...markers: string[]) =>
    (await openCheckpoint(
      await ldmFile(t, 'sd15-tiny', tensors => [...tensors, ...markers.map(mark)]), { config: configs },
    )).schedulerConfig
  t.like(await config(), { _class_name: 'PNDMScheduler', prediction_type: undefined })
  t.like(await config('v_pred'), { _class_name: 'PNDMScheduler', prediction_type: 'v_prediction' })
  t.like(await config('v_pred', 'ztsnr'), {
    _class_name: 'DDIMScheduler', prediction_type: 'v_prediction', rescale_betas_zero_snr: true, timestep_spacing: 'trailing',
    clip_sample: false,
  })
})

test('files that are something else', async t => {
  const file = path.join(temporaryFolder(t), 'x.safetensors')
  const named = async (...names: string[]): Promise<unknown> => {
    await writeSafetensors(file, names.map(name => junk(name)))
    return openCheckpoint(file)
  }
  await refused(t, named('model.diffusion_model.x', 'conditioner.embedders.0.x'), 'UNSUPPORTED_CONFIG', 'Stable Diffusion XL')
  await refused(t, named('model.diffusion_model.joint_blocks.0.x'), 'UNSUPPORTED_CONFIG', 'Stable Diffusion 3')
  await refused(t, named('double_blocks.0.x'), 'UNSUPPORTED_CONFIG', 'Flux')
  await refused(t, named('model.diffusion_model.label_emb.0.0.weight'), 'UNSUPPORTED_CONFIG', 'label_emb')
  await refused(t, named('control_model.x'), 'UNSUPPORTED_FORMAT', 'ControlNet')
  await refused(t, named('lora_unet_down_blocks_0.alpha'), 'UNSUPPORTED_FORMAT', 'LoRA')
  await refused(t, named('down_blocks.0.resnets.0.conv1.weight'), 'UNSUPPORTED_FORMAT', 'diffusers folder')
  await refused(t, named('encoder.down.0.block.0.conv1.weight'), 'UNSUPPORTED_FORMAT', 'a VAE on its own', '{ vae: path }')
  await refused(t, named('x'), 'UNSUPPORTED_FORMAT', 'model.diffusion_model.*')
  await refused(t, named(), 'UNSUPPORTED_FORMAT', 'model.diffusion_model.*')
  await refused(t, named('model.diffusion_model.x'), 'TENSOR_MISSING', 'VAE', '{ vae: path }')
  await refused(t, named('model.diffusion_model.x', 'first_stage_model.x'), 'TENSOR_MISSING', 'text encoder', '{ textEncoder: path }')
  await refused(
    t, named('model.diffusion_model.x', 'first_stage_model.x', 'cond_stage_model.transformer.x', 'cond_stage_model.model.x'),
    'TENSOR_EXTRA', 'one text encoder',
  )
  await refused(
    t, named('model.diffusion_model.x', 'first_stage_model.x', 'cond_stage_model.transformer.x'), 'TENSOR_MISSING',
    'down_blocks.0.resnets.0.conv1.weight', 'inferred',
  )
  await named('x').catch(() => {})
  await refused(t, openCheckpoint(file, { variant: 'fp16' }), 'INVALID_ARGUMENT', 'no variant')
})

test('hostile shapes', async t => {
  const reshaped = (pattern: RegExp, shape: number[], data = new Uint8Array()): Change =>
    tensors => tensors.map(tensor => (pattern.test(tensor.name) ? { ...tensor, shape, data } : tensor))
  const inferred = async (change: Change, code: ErrorCode, ...says: string[]): Promise<void> =>
    refused(t, openCheckpoint(await ldmFile(t, 'sd15-tiny', change)), code, ...says)
  await inferred(reshaped(/input_blocks\.1\.0\.in_layers\.2\.weight/, [1e9, 0]), 'BAD_CONFIG', 'block_out_channels', '1000000000')
  await inferred(reshaped(/input_blocks\.1\.0\.in_layers\.2\.weight/, [0, 3]), 'TENSOR_SHAPE', 'down_blocks.0.resnets.0.conv1.weight')
  await inferred(reshaped(/input_blocks\.0\.0\.weight/, [2], new Uint8Array(4)), 'TENSOR_SHAPE', 'conv_in.weight')
  await inferred(tensors => tensors.filter(({ name }) => !name.includes('middle_block.1')), 'UNSUPPORTED_CONFIG', 'middle block')
  await inferred(tensors => tensors.filter(({ name }) => !name.includes('input_blocks.2.1')), 'UNSUPPORTED_CONFIG', 'down_blocks.0')
  await inferred(tensors => tensors.filter(({ name }) => !/\.transformer_blocks\./.test(name)), 'TENSOR_MISSING', 'attn2.to_k')
  const stacked = await ldmFile(t, 'sd21-tiny', reshaped(/resblocks\.0\.attn\.in_proj_weight/, [], new Uint8Array(4)))
  await refused(t, openAs(stacked, 'sd21-tiny'), 'TENSOR_SHAPE', 'in_proj_weight', 'stack 3')
  const uneven = await ldmFile(t, 'sd21-tiny', reshaped(/resblocks\.0\.attn\.in_proj_bias/, [4], new Uint8Array(16)))
  await refused(t, openAs(uneven, 'sd21-tiny'), 'TENSOR_SHAPE', 'in_proj_bias', '[4]')
  const whole = await ldmFile(
    t, 'sd15-tiny',
    tensors => tensors.map(tensor => (tensor.name.endsWith('out.2.bias') ? { ...tensor, dtype: 'I32', data: new Uint8Array(16) } : tensor)),
  )
  await refused(t, StableDiffusion.load(whole, { config: fixture('sd15-tiny') }), 'TENSOR_DTYPE', 'I32')
})
