import fs from 'node:fs'
import path from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { AsdmError, type ErrorCode } from '../../lib/base/errors'
import { writeSafetensors } from '../../lib/files/safetensors'
import { openCheckpoint } from '../../lib/model/checkpoint'
import type { OpenOptions } from '../../lib/model/part'
import { openTextEncoder, openUNet, openVAE } from '../../lib/model/folder'
import { fixture, repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'
import { bytesOf, copyCheckpoint, editJson, tensorsIn } from './checkpoints'

async function refused(t: ExecutionContext, opening: Promise<unknown>, code: ErrorCode, ...says: (string | RegExp)[]): Promise<void> {
  const error = await t.throwsAsync(opening, { instanceOf: AsdmError })
  t.is(error?.code, code, error?.message)
  for (const part of says)
    t.true(typeof part === 'string' ? error!.message.includes(part) : part.test(error!.message), `${part} in: ${error!.message}`)
}

const open = (folder: string, options?: OpenOptions) => openCheckpoint(folder, options)
const unetFile = 'unet/diffusion_pytorch_model.safetensors'
const textFile = 'text_encoder/model.safetensors'

test('a folder with the names of the 1.x repositories', async t => {
  const checkpoint = await open(fixture('sd15-tiny'))
  t.is(checkpoint.kind, 'folder')
  t.deepEqual(checkpoint.warnings, [])
  t.is(checkpoint.tokenizerFolder, fixture('sd15-tiny/tokenizer'))
  t.is(checkpoint.schedulerConfig._class_name, 'PNDMScheduler')
  t.is(checkpoint.unet.config.crossAttentionDim, checkpoint.textEncoder.config.hiddenSize)
  const text = checkpoint.textEncoder.weights.map(({ name }) => name)
  t.is(text.length, 36)
  t.true([
    'embeddings.token_embedding.weight', 'embeddings.position_embedding.weight', 'encoder.layers.1.self_attn.q_proj.bias',
    'final_layer_norm.weight',
  ].every(name => text.includes(name)))
  t.false(text.some(name => name.startsWith('text_model') || name.includes('position_ids')))
  const vae = checkpoint.vae.weights.map(({ name }) => name)
  t.is(vae.length, 244)
  t.false(vae.some(name => /query|\.key\.|value|proj_attn/.test(name)))
  // The old name's bytes are under the new name.
  const original = (await tensorsIn(fixture('sd15-tiny/vae/diffusion_pytorch_model.safetensors'))).find(({ name }) =>
    name === 'decoder.mid_block.attentions.0.proj_attn.weight')!
  t.deepEqual(
    bytesOf(checkpoint.vae.weights.find(({ name }) => name === 'decoder.mid_block.attentions.0.to_out.0.weight')!), original.data as Buffer,
  )
  t.true(checkpoint.unet.weights.every(({ dtype, file }) => dtype === 'F16' && path.isAbsolute(file)))
})

test('a folder as current versions save it, and the shipped model', async t => {
  const now = await open(fixture('sd21-tiny'))
  const old = await open(fixture('sd15-tiny'))
  // Shortcuts depend on the widths, which differ.
  const vae = ({ vae: { weights } }: typeof now): string[] =>
    weights.map(({ name }) => name).filter(name => !name.includes('shortcut')).sort()
  t.deepEqual(vae(now), vae(old))
  t.true(now.unet.weights.every(({ dtype }) => dtype === 'BF16'))
  t.deepEqual(
    now.textEncoder.weights.filter(({ name }) => !name.includes('layers.2')).map(({ name }) => name).sort(),
    old.textEncoder.weights.map(({ name }) => name).sort(),
  )
  t.deepEqual((await open(repoPath('models/emoji'))).warnings, [])
})

test('parts on their own', async t => {
  const unet = await openUNet(fixture('bk-sdm-tiny-tiny/unet'))
  t.deepEqual(
    [unet.config.blockOutChannels, unet.weights[0].dtype, path.basename(unet.path)],
    [[16, 24, 32], 'BF16', 'diffusion_pytorch_model.safetensors'],
  )
  t.is((await openVAE(fixture('sd15-tiny/vae'))).config.layersPerBlock, 2)
  t.is((await openTextEncoder(fixture('sd21-tiny/text_encoder'))).config.numHiddenLayers, 3)
  await refused(t, openUNet(fixture('sd15-tiny')), 'FILE_NOT_FOUND', 'config.json')
  await refused(t, openUNet(fixture('sd15-tiny/vae')), 'UNSUPPORTED_CONFIG', '_class_name', '"AutoencoderKL"')
  await refused(t, openVAE(fixture('none')), 'FILE_NOT_FOUND', 'folder')
  for (const wrong of [undefined, null, 3, '', {}, 'a\0b']) await refused(t, openUNet(wrong as any), 'INVALID_ARGUMENT')
})

test('relative paths become absolute', async t => {
  const checkpoint = await open(path.relative(process.cwd(), fixture('sd15-tiny')))
  t.is(checkpoint.path, fixture('sd15-tiny'))
  t.true(path.isAbsolute(checkpoint.unet.weights[0].file))
})

test('variants', async t => {
  const folder = copyCheckpoint('sd15-tiny', temporaryFolder(t))
  const rename = (from: string, to: string): void => fs.renameSync(path.join(folder, from), path.join(folder, to))
  await refused(t, open(folder, { variant: 'fp16' }), 'FILE_NOT_FOUND', '"fp16"', 'no part')
  await refused(t, openUNet(path.join(folder, 'unet'), { variant: 'fp16' }), 'FILE_NOT_FOUND', '"fp16"')
  fs.copyFileSync(path.join(folder, unetFile), path.join(folder, 'unet/diffusion_pytorch_model.fp16.safetensors'))
  const mixed = await open(folder, { variant: 'fp16' })
  t.is(path.basename(mixed.unet.path), 'diffusion_pytorch_model.fp16.safetensors')
  t.is(path.basename(mixed.vae.path), 'diffusion_pytorch_model.safetensors')
  t.regex(mixed.warnings.join(), /does not exist for vae and text_encoder/)
  t.is(path.basename((await open(folder)).unet.path), 'diffusion_pytorch_model.safetensors')
  // Only a variant: used without asking; two of them: the choice is the user's.
  fs.rmSync(path.join(folder, unetFile))
  const only = await open(folder)
  t.is(path.basename(only.unet.path), 'diffusion_pytorch_model.fp16.safetensors')
  t.regex(only.warnings.join(), /only weights of unet.*"fp16"/)
  fs.copyFileSync(
    path.join(folder, 'unet/diffusion_pytorch_model.fp16.safetensors'),
    path.join(folder, 'unet/diffusion_pytorch_model.non_ema.safetensors'),
  )
  await refused(t, open(folder), 'FILE_NOT_FOUND', 'fp16, non_ema')
  t.is(path.basename((await open(folder, { variant: 'non_ema' })).unet.path), 'diffusion_pytorch_model.non_ema.safetensors')
  await refused(t, open(folder, { variant: 'bf16' }), 'FILE_NOT_FOUND', '"bf16"', 'fp16, non_ema')
  rename('unet/diffusion_pytorch_model.non_ema.safetensors', 'unet/other.safetensors')
  for (const variant of ['../x', 'a/b', '', '.fp16', 3, null, 'a\0'])
    await refused(t, open(folder, { variant } as any), 'INVALID_ARGUMENT', 'variant')
})

/** Splits a file of a copied checkpoint into shards with an index. */
async function shard(folder: string, file: string, names: [string, string], index: string): Promise<Record<string, string>> {
  const tensors = await tensorsIn(path.join(folder, file))
  const half = Math.ceil(tensors.length / 2)
  const home = path.join(folder, path.dirname(file))
  await writeSafetensors(path.join(home, names[0]), tensors.slice(0, half))
  await writeSafetensors(path.join(home, names[1]), tensors.slice(half))
  const weightMap = Object.fromEntries(tensors.map(({ name }, i) => [name, names[i < half ? 0 : 1]]))
  fs.writeFileSync(path.join(home, index), JSON.stringify({ metadata: { total_size: 1 }, weight_map: weightMap }))
  fs.rmSync(path.join(folder, file))
  return weightMap
}

test('shards', async t => {
  const folder = copyCheckpoint('sd15-tiny', temporaryFolder(t))
  await shard(
    folder, unetFile, ['diffusion_pytorch_model-00001-of-00002.safetensors', 'diffusion_pytorch_model-00002-of-00002.safetensors'],
    'diffusion_pytorch_model.safetensors.index.json',
  )
  await shard(
    folder, textFile, ['model.fp16-00001-of-00002.safetensors', 'model.fp16-00002-of-00002.safetensors'],
    'model.safetensors.index.fp16.json',
  )
  const whole = await open(fixture('sd15-tiny'))
  for (const variant of [undefined, 'fp16']) {
    const checkpoint = await open(folder, { variant })
    for (const part of ['unet', 'textEncoder'] as const) {
      t.is(new Set(checkpoint[part].weights.map(({ file }) => file)).size, 2)
      const byName = new Map(checkpoint[part].weights.map(source => [source.name, source]))
      t.is(byName.size, whole[part].weights.length)
      for (const source of whole[part].weights) t.deepEqual(bytesOf(byName.get(source.name)!), bytesOf(source))
    }
  }
})

test('bad indexes', async t => {
  const folder = copyCheckpoint('sd15-tiny', temporaryFolder(t))
  const [first, second] = [
    'diffusion_pytorch_model-00001-of-00002.safetensors', 'diffusion_pytorch_model-00002-of-00002.safetensors',
  ] as const
  const map = await shard(folder, unetFile, [first, second], 'diffusion_pytorch_model.safetensors.index.json')
  const index = path.join(folder, 'unet/diffusion_pytorch_model.safetensors.index.json')
  const write = (json: unknown): void => fs.writeFileSync(index, JSON.stringify(json))
  const inFirst = Object.keys(map)[0]
  for (const hostile of [
    '../vae/diffusion_pytorch_model.safetensors', '/etc/passwd', 'C:\\x.safetensors', 'C:x.safetensors', '..\\x.safetensors',
    'sub/x.safetensors', '..safetensors', 'x.bin', '', '.', null, 3, ['x'], 'x\0.safetensors',
  ]) {
    write({ weight_map: { ...map, [inFirst]: hostile } })
    await refused(t, open(folder), 'BAD_JSON', 'index.json', inFirst)
  }
  for (const wrong of [
    {}, { weight_map: [] }, { weight_map: null }, { weight_map: {} }, { weight_map: 'x' },
    { weight_map: Object.fromEntries(Array.from({ length: 2000 }, (_, i) => [i, `${i}.safetensors`])) },
  ]) {
    write(wrong)
    await refused(t, open(folder), 'BAD_JSON', 'index.json')
  }
  write([])
  await refused(t, open(folder), 'BAD_JSON', 'an array')
  write({ weight_map: { ...map, [inFirst]: 'diffusion_pytorch_model-00003-of-00003.safetensors' } })
  await refused(t, open(folder), 'FILE_NOT_FOUND', '00003-of-00003')
  write({ weight_map: { ...map, 'not.there': second } })
  await refused(t, open(folder), 'TENSOR_MISSING', 'not.there', second)
  write({ weight_map: { ...map, [inFirst]: second } })
  await refused(t, open(folder), 'TENSOR_MISSING', inFirst, second)
  const { [inFirst]: _gone, ...fewer } = map
  write({ weight_map: fewer })
  t.is((await open(folder)).unet.weights.length, Object.keys(map).length)
  write({ weight_map: map })
  fs.rmSync(path.join(folder, 'unet', second))
  await refused(t, open(folder), 'FILE_NOT_FOUND', second)
  // A missing shard of a variant is not a missing variant.
  fs.renameSync(index, path.join(folder, 'unet/diffusion_pytorch_model.safetensors.index.fp16.json'))
  fs.copyFileSync(fixture('sd15-tiny', unetFile), path.join(folder, unetFile))
  await refused(t, open(folder, { variant: 'fp16' }), 'FILE_NOT_FOUND', second)
})

test('pickles are refused with the reason and the way out', async t => {
  const folder = copyCheckpoint('sd15-tiny', temporaryFolder(t))
  fs.renameSync(path.join(folder, unetFile), path.join(folder, 'unet/diffusion_pytorch_model.bin'))
  await refused(
    t, open(folder), 'UNSUPPORTED_FORMAT', 'diffusion_pytorch_model.bin', 'any code', 'python -c', 'save_file',
    'diffusion_pytorch_model.safetensors',
  )
  for (const name of ['v1.ckpt', 'model.pt', 'model.PTH', 'x.bin']) {
    fs.writeFileSync(path.join(folder, name), 'x')
    await refused(t, open(path.join(folder, name)), 'UNSUPPORTED_FORMAT', name, 'any code', 'python -c')
  }
  fs.writeFileSync(path.join(folder, 'model.gguf'), 'GGUF')
  await refused(t, open(path.join(folder, 'model.gguf')), 'UNSUPPORTED_FORMAT', 'model.gguf', 'diffusers folder or a .safetensors file')
  fs.rmSync(path.join(folder, 'unet/diffusion_pytorch_model.bin'))
  await refused(t, open(folder), 'FILE_NOT_FOUND', 'diffusion_pytorch_model.safetensors', 'there are none')
})

test('model_index.json', async t => {
  const folder = copyCheckpoint('sd15-tiny', temporaryFolder(t))
  const index = path.join(folder, 'model_index.json')
  const text = fs.readFileSync(index, 'utf8')
  const withIndex = (change: (json: any) => void) => {
    fs.writeFileSync(index, text)
    editJson(index, change)
    return open(folder)
  }
  for (const name of [
    'StableDiffusionImg2ImgPipeline', 'StableDiffusionInpaintPipeline', 'LatentConsistencyModelPipeline', 'StableDiffusionPanoramaPipeline',
    'StableDiffusionPipelineSafe', 'FlaxStableDiffusionPipeline',
  ])
    t.deepEqual((await withIndex(json => { json._class_name = name })).warnings, [])
  const steered = await withIndex(json => {
    Object.assign(json, { _class_name: 'StableDiffusionControlNetPipeline', controlnet: ['diffusers', 'ControlNetModel'] })
  })
  t.regex(steered.warnings.join(), /controlnet.*not used/)
  for (const name of [
    'StableDiffusionXLPipeline', 'StableDiffusion3Pipeline', 'AltDiffusionPipeline', 'OnnxStableDiffusionPipeline',
    ['x', 'StableDiffusionPipeline'], null, undefined, 3,
  ])
    await refused(t, withIndex(json => { json._class_name = name }), 'UNSUPPORTED_CONFIG', 'model_index.json', '_class_name')
  t.truthy(await withIndex(json => {
    Object.assign(json, {
      safety_checker: [
        'stable_diffusion', 'StableDiffusionSafetyChecker',
      ], feature_extractor: ['transformers', 'CLIPImageProcessor'], requires_safety_checker: true, text_encoder_2: [null, null], image_encoder: ['transformers', 'X'],
    })
  }))
  await refused(
    t, withIndex(json => { json.text_encoder_2 = ['transformers', 'CLIPTextModelWithProjection'] }), 'UNSUPPORTED_CONFIG', 'text_encoder_2',
  )
  await refused(t, withIndex(json => { json.unet = ['diffusers', 'UNetMotionModel'] }), 'UNSUPPORTED_CONFIG', 'unet', '"UNetMotionModel"')
  await refused(t, withIndex(json => { json.text_encoder = [null, null] }), 'UNSUPPORTED_CONFIG', 'text_encoder')
  await refused(t, withIndex(json => { json.vae = 'AsymmetricAutoencoderKL' }), 'UNSUPPORTED_CONFIG', 'vae')
  fs.writeFileSync(index, '{')
  await refused(t, open(folder), 'BAD_JSON', 'model_index.json')
  fs.rmSync(index)
  t.regex((await open(folder)).warnings.join(), /no model_index.json/)
  await refused(t, open(path.join(folder, 'unet')), 'FILE_NOT_FOUND', 'model_index.json', 'one part')
  await refused(t, open(path.join(folder, 'tokenizer')), 'FILE_NOT_FOUND', 'model_index.json')
})

test('parts that are missing, damaged, or do not fit each other', async t => {
  const damaged = async (damage: (folder: string) => void, code: ErrorCode, ...says: (string | RegExp)[]): Promise<void> => {
    const folder = copyCheckpoint('sd15-tiny', temporaryFolder(t))
    damage(folder)
    await refused(t, open(folder), code, ...says)
  }
  await damaged(folder => fs.rmSync(path.join(folder, 'vae'), { recursive: true }), 'FILE_NOT_FOUND', 'vae')
  await damaged(folder => fs.rmSync(path.join(folder, 'unet/config.json')), 'FILE_NOT_FOUND', 'config.json')
  await damaged(folder => fs.rmSync(path.join(folder, 'scheduler/scheduler_config.json')), 'FILE_NOT_FOUND', 'scheduler_config.json')
  await damaged(folder => fs.truncateSync(path.join(folder, unetFile), 100_000), 'BAD_SAFETENSORS', 'truncated')
  await damaged(folder => fs.truncateSync(path.join(folder, unetFile), 0), 'BAD_SAFETENSORS', 'empty')
  await damaged(folder => {
    fs.rmSync(path.join(folder, unetFile))
    fs.mkdirSync(path.join(folder, unetFile))
  }, 'FILE_READ', 'it is a folder')
  await damaged(folder => fs.writeFileSync(path.join(folder, 'vae/config.json'), '[]'), 'BAD_JSON', 'vae')
  await damaged(
    folder => editJson(path.join(folder, 'text_encoder/config.json'), json => { json.hidden_size = 64 }), 'BAD_CONFIG',
    'cross_attention_dim', '64 wide',
  )
  await damaged(
    folder => editJson(path.join(folder, 'vae/config.json'), json => { json.latent_channels = 8 }), 'BAD_CONFIG', 'latent_channels',
  )
  await damaged(
    folder => editJson(path.join(folder, 'unet/config.json'), json => { json.in_channels = 8 }), 'UNSUPPORTED_CONFIG', 'in_channels', '9',
  )
  await damaged(
    folder => editJson(path.join(folder, 'vae/config.json'), json => { json.in_channels = 4 }), 'UNSUPPORTED_CONFIG', '4 and 3 channels',
  )
  const folder = copyCheckpoint('sd15-tiny', temporaryFolder(t))
  editJson(path.join(folder, 'unet/config.json'), json => { json.in_channels = 9 })
  t.is((await open(folder)).unet.config.inChannels, 9)
})

test('tensors that are dropped, unreadable, or there twice', async t => {
  const folder = copyCheckpoint('sd15-tiny', temporaryFolder(t))
  const file = path.join(folder, textFile)
  const tensors = await tensorsIn(file)
  const add = async (name: string, dtype = 'F32', bytes = 4): Promise<void> =>
    writeSafetensors(file, [...tensors, { name, dtype, shape: [1], data: new Uint8Array(bytes) }])
  const names = (await open(folder)).textEncoder.weights.map(({ name }) => name).sort()
  for (const [name, dtype, bytes] of [
    ['text_projection.weight'], ['logit_scale'], ['text_model.vision_model.x'], ['visual_projection.weight'],
    ['embeddings.position_ids', 'I64', 8],
  ] as const) {
    await add(name, dtype, bytes)
    t.deepEqual((await open(folder)).textEncoder.weights.map(({ name }) => name).sort(), names, name)
  }
  await add('final_layer_norm.bias')
  await refused(t, open(folder), 'BAD_SAFETENSORS', 'final_layer_norm.bias', 'twice')
  // What the model does not have is passed over later, whatever it is, except the scales of quantized weights.
  for (const [dtype, bytes] of [['I64', 8], ['F64', 8], ['I8', 1]] as const) {
    await add('more.weight', dtype, bytes)
    t.is((await open(folder)).textEncoder.weights.length, names.length + 1)
  }
  for (const name of ['scaled_fp8', 'text_model.final_layer_norm.scale_weight', 'a.weight.absmax', 'a.weight.quant_state.bitsandbytes__nf4', 'a.SCB']) {
    await add(name)
    await refused(t, open(folder), 'UNSUPPORTED_FORMAT', name, 'quantized')
  }
})

// test/model/relatives.py has what diffusers makes of the same folders.
test('relatives of the classes that hold the same parts', async t => {
  const names = async (folder: string) => (await open(folder)).textEncoder.weights.map(({ name }) => name)
  const { config, weights } = await openTextEncoder(fixture('sd15-tiny/text_encoder'))
  const folder = copyCheckpoint('sd15-tiny', temporaryFolder(t))
  const configFile = path.join(folder, 'text_encoder/config.json')
  const flat = JSON.parse(fs.readFileSync(configFile, 'utf8'))
  const changes: object[] = [
    { architectures: ['CLIPTextModelWithProjection'] }, { architectures: ['CLIPModel'] }, { model_type: 'clip' }, { architectures: null },
  ]
  for (const change of changes) {
    fs.writeFileSync(configFile, JSON.stringify({ ...flat, ...change }))
    t.deepEqual((await open(folder)).textEncoder.config, config)
  }

  // A whole CLIP model: its config has the text encoder's inside, its weights stand beside those of the vision half.
  const whole = { architectures: ['CLIPModel'], model_type: 'clip', projection_dim: 16, logit_scale_init_value: 2.6592,
    text_config: { ...flat, architectures: undefined }, vision_config: { hidden_size: 32, model_type: 'clip_vision_model' } }
  fs.writeFileSync(configFile, JSON.stringify(whole))
  const ours = await tensorsIn(path.join(folder, textFile))
  const beside = ['vision_model.post_layernorm.weight', 'visual_projection.weight', 'text_projection.weight', 'logit_scale']
  await writeSafetensors(path.join(folder, textFile), [...ours.map(tensor => ({ ...tensor, name: `text_model.${tensor.name.replace(/^text_model\./, '')}` })),
    ...beside.map(name => ({ name, dtype: 'F32', shape: [1], data: new Uint8Array(4) }))])
  t.deepEqual((await open(folder)).textEncoder.config, config)
  t.deepEqual((await names(folder)).sort(), weights.map(({ name }) => name).sort())
  for (const [change, says] of [
    [{ ...whole, architectures: ['CLIPVisionModel'] }, 'architectures'], [{ ...whole, text_config: { ...flat, hidden_act: 'relu' } }, 'hidden_act'],
    [{ ...whole, text_config: { ...flat, model_type: 'bert' } }, 'model_type'],
  ] as const) {
    fs.writeFileSync(configFile, JSON.stringify(change))
    await refused(t, open(folder), 'UNSUPPORTED_CONFIG', says)
  }
  for (const [part, name] of [['unet', 'FlaxUNet2DConditionModel'], ['vae', 'FlaxAutoencoderKL']] as const) {
    editJson(path.join(folder, part, 'config.json'), json => { json._class_name = name })
    const opened = await (part === 'unet' ? openUNet : openVAE)(path.join(folder, part))
    t.deepEqual(opened.config, (await (part === 'unet' ? openUNet : openVAE)(fixture('sd15-tiny', part))).config)
  }
})

test('tokenizer and config folders', async t => {
  const temporary = temporaryFolder(t)
  const folder = copyCheckpoint('sd15-tiny', temporary)
  t.is((await open(folder, { tokenizer: fixture('sd21-tiny/tokenizer') })).tokenizerFolder, fixture('sd21-tiny/tokenizer'))
  const configs = path.join(temporary, 'configs')
  fs.mkdirSync(path.join(configs, 'scheduler'), { recursive: true })
  fs.writeFileSync(path.join(configs, 'scheduler/scheduler_config.json'), '{"_class_name":"DDIMScheduler","lambda_min_clipped":-Infinity}')
  const changed = await open(folder, { config: configs })
  t.deepEqual(changed.schedulerConfig, { _class_name: 'DDIMScheduler', lambda_min_clipped: -Infinity, clip_sample: false, steps_offset: 1 })
  t.deepEqual(changed.unet.config, (await open(folder)).unet.config)
  // Broken configs in the checkpoint do not matter when others are given.
  fs.cpSync(fixture('sd15-tiny/unet/config.json'), path.join(configs, 'unet/config.json'), { recursive: true })
  fs.writeFileSync(path.join(folder, 'unet/config.json'), 'broken')
  t.is((await open(folder, { config: configs })).unet.config.normNumGroups, 8)
  fs.rmSync(path.join(folder, 'tokenizer'), { recursive: true })
  const without = await open(folder, { config: configs })
  t.is(without.tokenizerFolder, undefined)
  t.is(without.padToken, undefined)
  t.regex(without.warnings.join(), /no tokenizer.*CLIP's/)
  const second = copyCheckpoint('sd21-tiny', temporary)
  fs.rmSync(path.join(second, 'tokenizer'), { recursive: true })
  t.is((await open(second)).padToken, '!')
  await refused(t, open(folder, { config: path.join(folder, 'vae') }), 'FILE_NOT_FOUND', 'configs')
  await refused(t, open(folder, { config: path.join(folder, 'none') }), 'FILE_NOT_FOUND', 'none')
  await refused(t, open(folder, { tokenizer: path.join(folder, 'none') }), 'FILE_NOT_FOUND', 'none')
  await refused(t, open(folder, { config: 3 } as any), 'INVALID_ARGUMENT', 'config')
  await refused(t, open(folder, { tokenizer: '' }), 'INVALID_ARGUMENT', 'tokenizer')
})

test('paths that are none', async t => {
  for (const wrong of [undefined, null, 3, '', {}, [], 'a\0b', Symbol('x')])
    await refused(t, open(wrong as any), 'INVALID_ARGUMENT', 'path')
  await refused(t, open(fixture('none')), 'FILE_NOT_FOUND', 'none')
  await refused(t, open(fixture('none.safetensors')), 'FILE_NOT_FOUND', 'none.safetensors')
})

test('an abort stops between files', async t => {
  const controller = new AbortController()
  controller.abort('changed my mind')
  const isAbort = async (opening: Promise<unknown>): Promise<void> => {
    const error: any = await opening.then(() => undefined, reason => reason)
    t.is(error?.name, 'AbortError')
    t.is(error?.cause, 'changed my mind')
  }
  await isAbort(open(fixture('sd15-tiny'), { signal: controller.signal }))
  await isAbort(openUNet(fixture('sd15-tiny/unet'), { signal: controller.signal }))
  // Fires at the third look, in the middle of the work.
  let looks = 0
  const late = { get aborted() { return ++looks > 3 }, reason: 'changed my mind' } as AbortSignal
  await isAbort(open(fixture('sd15-tiny'), { signal: late }))
})
