import fs from 'node:fs'
import path from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { AsdmError, type ErrorCode } from '../../lib/base/errors'
import { modelIndexJson, textEncoderJson, unetJson, vaeJson } from '../../lib/convert/configs'
import { convertModel, type ConvertOptions } from '../../lib/convert/convert'
import { readSafetensorsHeader, writeSafetensors, type TensorToWrite } from '../../lib/files/safetensors'
import { openCheckpoint } from '../../lib/model/checkpoint'
import { checkIndex, openUNet } from '../../lib/model/folder'
import { parseTextEncoderConfig } from '../../lib/model/text-encoder-config'
import { parseUNetConfig } from '../../lib/model/unet-config'
import { parseVAEConfig } from '../../lib/model/vae-config'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { copyCheckpoint, editJson, tensorsIn, writeLdm } from '../model/checkpoints'
import { aborts } from '../support/aborts'
import { fixture, maxAbsDiff } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'
import { parts, same, sameWeights } from './support'

const sets = ['sd15-tiny', 'sd21-tiny']
async function picture(model: string, options = {}): Promise<Uint8ClampedArray> {
  const sd = await StableDiffusion.load(model, { threads: 2, onWarning: () => {}, ...options })
  const [image] = await sd.generate({ prompt: 'a photo of a cat', steps: 2, seed: 3, width: 64, height: 64, guidanceScale: 5 })
  await sd.dispose()
  return image.rgba
}

async function refused(t: ExecutionContext, converting: Promise<unknown>, code: ErrorCode, says: RegExp): Promise<void> {
  const error = await t.throwsAsync(converting, { instanceOf: AsdmError })
  t.is(error?.code, code, error?.message)
  t.regex(error!.message, says)
}

for (const set of sets) {
  test(`${set}: folder, single file, folder: the same tensors, configs and pictures`, async t => {
    const folder = temporaryFolder(t)
    const single = path.join(folder, 'model.safetensors')
    const there = await convertModel(fixture(set), single)
    t.is(there.kind, 'single-file')
    t.deepEqual(there.dropped.map(({ name }) => name), set === 'sd15-tiny' ? ['text_model.embeddings.position_ids'] : [])
    t.is(there.warnings.length, 1)
    t.regex(there.warnings[0], /--config/)
    const { tensors, metadata } = await readSafetensorsHeader(single)
    t.is(there.tensors, tensors.size)
    t.is(metadata.get('format'), 'pt')
    t.is(metadata.get('modelspec.prediction_type'), set === 'sd15-tiny' ? 'epsilon' : 'v')

    const back = await convertModel(single, path.join(folder, 'back'), { config: fixture(set) })
    t.deepEqual(back.dropped, [])
    t.deepEqual(back.warnings, [])
    const original = await openCheckpoint(fixture(set))
    same(t, await openCheckpoint(back.path), original)
    t.is((await openCheckpoint(back.path)).tokenizerFolder, path.join(back.path, 'tokenizer'))
    for (const file of fs.readdirSync(fixture(set, 'tokenizer')))
      t.deepEqual(fs.readFileSync(path.join(back.path, 'tokenizer', file)), fs.readFileSync(fixture(set, 'tokenizer', file)))
    t.deepEqual(fs.readdirSync(folder).sort(), ['back', 'model.safetensors'])

    const expected = await picture(fixture(set))
    t.is(maxAbsDiff(await picture(back.path), expected), 0)
    t.is(maxAbsDiff(await picture(single, { config: fixture(set) }), expected), 0)
  })

  test(`${set}: the single file is the one that the original code would have`, async t => {
    const folder = temporaryFolder(t)
    const { unet, vae } = await openCheckpoint(fixture(set))
    await writeLdm(set, unet.config, vae.config.blockOutChannels.length, path.join(folder, 'expected.safetensors'))
    await convertModel(fixture(set), path.join(folder, 'ours.safetensors'))
    const own = (tensors: TensorToWrite[]): Map<string, unknown> =>
      // What running the model does not use is not written: position ids, OpenCLIP's last layer and its projection.
      new Map(tensors.filter(({ name }) =>
        !/position_ids|resblocks\.3\.|text_projection|logit_scale/.test(name)).map(({ name, ...rest }) => [name, rest]))
    const [ours, expected] = [
      own(await tensorsIn(path.join(folder, 'ours.safetensors'))), own(await tensorsIn(path.join(folder, 'expected.safetensors'))),
    ]
    t.deepEqual([...ours.keys()].sort(), [...expected.keys()].sort())
    t.deepEqual([...ours].filter(([name, tensor]) => !isDeepStrictEqual(tensor, expected.get(name))).map(([name]) => name), [])
  })

  test(`${set}: other number formats, in both kinds, and what the addon reads of them`, async t => {
    const folder = temporaryFolder(t)
    const original = await openCheckpoint(fixture(set))
    for (const [dtype, stored] of [['fp32', 'F32'], ['fp16', 'F16'], ['bf16', 'BF16']] as const) {
      const converted = await convertModel(fixture(set), path.join(folder, dtype), { dtype })
      const single = await convertModel(fixture(set), path.join(folder, `${dtype}.safetensors`), { dtype })
      t.is(single.bytes, converted.bytes)
      const [fromFolder, fromFile] = [await openCheckpoint(converted.path), await openCheckpoint(single.path, { config: fixture(set) })]
      for (const part of parts) {
        t.true(fromFolder[part].weights.every(weight => weight.dtype === stored))
        t.is(fromFolder[part].weights.length, original[part].weights.length)
      }
      same(t, fromFolder, fromFile)
      t.is(
        JSON.parse(fs.readFileSync(path.join(converted.path, 'text_encoder', 'config.json'), 'utf8')).dtype,
        { F32: 'float32', F16: 'float16', BF16: 'bfloat16' }[stored],
      )
    }
    // Wider formats hold all of it: float32 gives the very picture; the narrow ones a near one.
    t.is(maxAbsDiff(await picture(path.join(folder, 'fp32')), await picture(fixture(set))), 0)
    // The UNet is stored as float16 (bfloat16 in the other): back from float32 it is what it was.
    const again = await convertModel(
      path.join(folder, 'fp32'), path.join(folder, 'again'), { dtype: set === 'sd15-tiny' ? 'fp16' : 'bf16' },
    )
    sameWeights(t, (await openCheckpoint(again.path)).unet, original.unet)
  })
}

test('averaged copies, schedules and training state are dropped, and said to be', async t => {
  const folder = temporaryFolder(t)
  const { unet, vae } = await openCheckpoint(fixture('sd21-tiny'))
  const junk = ['model_ema.decay', 'model_ema.diffusion_modelconv', 'betas', 'first_stage_model.loss.logvar', 'something.else'].map(name =>
    ({ name, dtype: 'F32', shape: [1], data: new Uint8Array(4) }))
  const single = path.join(folder, 'in.safetensors')
  await writeLdm('sd21-tiny', unet.config, vae.config.blockOutChannels.length, single, tensors => [...tensors, ...junk])
  const { dropped, warnings, path: out } = await convertModel(single, path.join(folder, 'out'), { config: fixture('sd21-tiny') })
  const reasons = new Map(dropped.map(({ name, reason }) => [name, reason]))
  for (const { name } of junk) t.true(reasons.has(name), name)
  t.regex(reasons.get('model_ema.decay')!, /EMA/)
  t.regex(reasons.get('betas')!, /schedule/)
  t.regex(reasons.get('first_stage_model.loss.logvar')!, /schedule|training/)
  t.is(reasons.get('something.else'), 'no part of the model')
  t.regex(warnings.join(), /something\.else/)
  // OpenCLIP's last layer has 12 tensors, two of them stacks, and there are its projection and scale.
  t.is(dropped.filter(({ name }) => name.includes('resblocks.3.')).length, 12)
  t.is(dropped.length, junk.length + 12 + 2)
  same(t, await openCheckpoint(out), await openCheckpoint(fixture('sd21-tiny')))
})

test('old names and shards become current names in one file', async t => {
  const folder = temporaryFolder(t)
  const source = copyCheckpoint('sd15-tiny', folder)
  const unet = path.join(source, 'unet')
  const tensors = await tensorsIn(path.join(unet, 'diffusion_pytorch_model.safetensors'))
  const names = ['diffusion_pytorch_model-00001-of-00002.safetensors', 'diffusion_pytorch_model-00002-of-00002.safetensors']
  for (const [i, name] of names.entries()) await writeSafetensors(path.join(unet, name), tensors.filter((_, j) => j % 2 === i))
  fs.writeFileSync(
    path.join(unet, 'diffusion_pytorch_model.safetensors.index.json'),
    JSON.stringify({ weight_map: Object.fromEntries(tensors.map(({ name }, j) => [name, names[j % 2]])) }),
  )
  fs.rmSync(path.join(unet, 'diffusion_pytorch_model.safetensors'))
  const { path: out } = await convertModel(source, path.join(folder, 'out'))
  same(t, await openCheckpoint(out), await openCheckpoint(fixture('sd15-tiny')))
  const vae = (await readSafetensorsHeader(path.join(out, 'vae', 'diffusion_pytorch_model.safetensors'))).tensors
  t.true(vae.has('decoder.mid_block.attentions.0.to_q.weight'))
  t.false([...vae.keys()].some(name => /query|proj_attn/.test(name)))
  const text = (await readSafetensorsHeader(path.join(out, 'text_encoder', 'model.safetensors'))).tensors
  t.true([...text.keys()].every(name => name.startsWith('text_model.')))
})

test('query, key and value of different formats are joined as float32', async t => {
  const folder = temporaryFolder(t)
  const source = copyCheckpoint('sd21-tiny', folder)
  const file = path.join(source, 'text_encoder', 'model.safetensors')
  const tensors = await tensorsIn(file)
  const zeros = tensors.map(tensor =>
    (tensor.name.endsWith('layers.0.self_attn.k_proj.weight')
      ? { ...tensor, dtype: 'F16', data: Buffer.alloc((tensor.data as Buffer).length / 2) }
      : tensor))
  t.is(tensors[0].dtype, 'F32')
  await writeSafetensors(file, zeros)
  const { path: out } = await convertModel(source, path.join(folder, 'out.safetensors'))
  const stack = (await tensorsIn(out)).find(({ name }) => name.endsWith('resblocks.0.attn.in_proj_weight'))!
  t.is(stack.dtype, 'F32')
  t.deepEqual(stack.shape, [120, 40])
  const part = (letter: string): Buffer =>
    tensors.find(({ name }) => name.endsWith(`layers.0.self_attn.${letter}_proj.weight`))!.data as Buffer
  t.deepEqual(stack.data, Buffer.concat([part('q'), Buffer.alloc(4 * 1600), part('v')]))
})

test('configs that are made up parse to the config that they stand for', async t => {
  for (const set of ['sd15-tiny', 'sd21-tiny', 'emoji']) {
    const { unet, vae, textEncoder } = await openCheckpoint(
      set === 'emoji' ? path.join(fixture(), '..', '..', 'models', 'emoji') : fixture(set),
    )
    t.deepEqual(parseUNetConfig(JSON.parse(JSON.stringify(unetJson(unet.config, true))), 'f'), unet.config)
    t.deepEqual(parseVAEConfig(JSON.parse(JSON.stringify(vaeJson(vae.config, 64))), 'f'), vae.config)
    t.deepEqual(parseTextEncoderConfig(JSON.parse(JSON.stringify(textEncoderJson(textEncoder.config, 'float16'))), 'f'), textEncoder.config)
  }
  for (const set of ['bk-sdm-base-tiny', 'bk-sdm-small-tiny', 'bk-sdm-tiny-tiny']) {
    const { config } = await openUNet(fixture(set, 'unet'))
    t.deepEqual(parseUNetConfig(JSON.parse(JSON.stringify(unetJson(config, false))), 'f'), config)
  }
  const file = path.join(temporaryFolder(t), 'model_index.json')
  for (const [className, channels, expected] of [
    [undefined, 4, 'StableDiffusionPipeline'], [undefined, 9, 'StableDiffusionInpaintPipeline'],
    ['LatentConsistencyModelPipeline', 4, 'LatentConsistencyModelPipeline'],
  ] as const) {
    const json = modelIndexJson(className, channels, 4, 'DDIMScheduler')
    t.is(json._class_name, expected)
    fs.writeFileSync(file, JSON.stringify(json))
    await checkIndex(path.dirname(file), [])
  }
})

test('a UNet without some of its units: a folder keeps that, a single file says that it cannot, or is refused', async t => {
  const folder = temporaryFolder(t)
  const cut = async (...removed: string[]): Promise<string> => {
    const source = copyCheckpoint('sd15-tiny', path.join(folder, removed.join()))
    editJson(path.join(source, 'unet', 'config.json'), json => { json.asdm = { version: 1, removed } })
    const file = path.join(source, 'unet', 'diffusion_pytorch_model.safetensors')
    await writeSafetensors(file, (await tensorsIn(file)).filter(({ name }) => !removed.some(prefix => name.startsWith(`${prefix}.`))))
    return source
  }
  const source = await cut('up_blocks.2.attentions.1')
  same(t, await openCheckpoint((await convertModel(source, path.join(folder, 'copy'))).path), await openCheckpoint(source))
  const single = await convertModel(source, path.join(folder, 'x.safetensors'))
  t.regex(single.warnings.join(), /--config/)
  same(
    t, await openCheckpoint((await convertModel(single.path, path.join(folder, 'back'), { config: source })).path),
    await openCheckpoint(source),
  )
  const { unet } = await openCheckpoint(source)
  t.deepEqual(unet.config.removed, ['up_blocks.2.attentions.1'])
  t.deepEqual(parseUNetConfig(JSON.parse(JSON.stringify(unetJson(unet.config, false))), 'f'), unet.config)
  // Without a ResNet its transformer has no block of its own to stand in.
  await refused(
    t, convertModel(await cut('down_blocks.1.resnets.1'), path.join(folder, 'y.safetensors')), 'UNSUPPORTED_CONFIG',
    /down_blocks\.1\.attentions\.1/,
  )
})

test('nothing is written where a weight is missing, too many, of another shape or beyond the format', async t => {
  const folder = temporaryFolder(t)
  const { unet, vae } = await openCheckpoint(fixture('sd15-tiny'))
  const single = path.join(folder, 'in.safetensors')
  const out = path.join(folder, 'out')
  const changed = async (change: (
    tensors: TensorToWrite[],
  ) => TensorToWrite[], options: ConvertOptions, code: ErrorCode, says: RegExp): Promise<void> => {
    await writeLdm('sd15-tiny', unet.config, vae.config.blockOutChannels.length, single, change)
    for (const target of [out, `${out}.safetensors`])
      await refused(t, convertModel(single, target, { config: fixture('sd15-tiny'), ...options }), code, says)
    t.deepEqual(fs.readdirSync(folder), ['in.safetensors'])
  }
  await changed(
    tensors => tensors.filter(({ name }) => !name.endsWith('middle_block.0.in_layers.2.weight')), {}, 'TENSOR_MISSING',
    /mid_block\.resnets\.0\.conv1\.weight/,
  )
  await changed(
    tensors => tensors.map(tensor => (tensor.name.endsWith('out.2.bias') ? { ...tensor, shape: [2], data: new Uint8Array(4) } : tensor)),
    {}, 'TENSOR_SHAPE', /conv_out\.bias/,
  )
  await changed(
    tensors => tensors.map(tensor => (tensor.name.endsWith('decoder.norm_out.bias') ? { ...tensor, dtype: 'I32' } : tensor)), {},
    'TENSOR_DTYPE', /I32/,
  )
  const large = Buffer.alloc(16 * 4)
  large.writeFloatLE(1e6, 12)
  await changed(
    tensors => tensors.map(tensor => (tensor.name.endsWith('decoder.norm_out.bias') ? { ...tensor, data: large } : tensor)),
    { dtype: 'fp16' }, 'TENSOR_DTYPE', /norm_out\.bias.*element 3 is 1000000|element 3 is 1000000/,
  )
  fs.truncateSync(single, fs.statSync(single).size - 5)
  await refused(t, convertModel(single, out), 'BAD_SAFETENSORS', /truncated/)
  await refused(t, convertModel(path.join(folder, 'none.ckpt'), out), 'FILE_NOT_FOUND', /none\.ckpt/)
  t.deepEqual(fs.readdirSync(folder), ['in.safetensors'])
})

test('targets', async t => {
  const folder = temporaryFolder(t)
  const source = fixture('sd15-tiny')
  const file = path.join(folder, 'a.safetensors')
  fs.writeFileSync(file, 'precious')
  await refused(t, convertModel(source, file), 'INVALID_ARGUMENT', /overwrite/)
  t.is(fs.readFileSync(file, 'utf8'), 'precious')
  await refused(t, convertModel(source, path.join(file, 'b.safetensors'), {}), 'FILE_WRITE', /b\.safetensors/)
  t.true((await convertModel(source, file, { overwrite: true, dtype: 'fp16' })).bytes > 1e6)
  // Onto itself: the old file is read until the new one is whole.
  await convertModel(file, file, { overwrite: true, dtype: 'fp32', config: source })
  t.is((await openCheckpoint(file, { config: source })).unet.weights[0].dtype, 'F32')
  fs.mkdirSync(path.join(folder, 'full', 'x'), { recursive: true })
  await refused(t, convertModel(source, path.join(folder, 'full'), { overwrite: true }), 'INVALID_ARGUMENT', /there is a folder/)
  await refused(t, convertModel(source, folder, { to: 'file' }), 'INVALID_ARGUMENT', /\.safetensors/)
  fs.mkdirSync(path.join(folder, 'empty'))
  t.is((await convertModel(source, path.join(folder, 'empty'))).kind, 'folder')
  await convertModel(source, path.join(folder, 'new', 'deep.safetensors'), { to: 'folder' })
  t.true(fs.existsSync(path.join(folder, 'new', 'deep.safetensors', 'model_index.json')))
  await refused(t, convertModel(source, path.join(folder, 'c'), { dtype: 'int8' as 'fp16' }), 'INVALID_ARGUMENT', /dtype/)
  await refused(
    t, convertModel(source, path.join(folder, 'c'), { dtypes: 'fp16' } as ConvertOptions), 'INVALID_ARGUMENT', /did you mean "dtype"/,
  )
  await refused(t, convertModel('', path.join(folder, 'c')), 'INVALID_ARGUMENT', /path/)
  t.deepEqual(fs.readdirSync(folder).sort(), ['a.safetensors', 'empty', 'full', 'new'])
})

test('an abort leaves nothing behind; progress counts up to the end', async t => {
  const folder = temporaryFolder(t)
  for (const target of ['a', 'a.safetensors']) {
    const stop = new AbortController()
    let last = 0
    await aborts(t, convertModel(fixture('sd21-tiny'), path.join(folder, target), {
      signal: stop.signal,
      onProgress: ({ bytesDone, bytesTotal }) => {
        t.true(bytesDone > last && bytesDone <= bytesTotal)
        last = bytesDone
        if (bytesDone > bytesTotal / 2) stop.abort()
      },
    }))
    t.deepEqual(fs.readdirSync(folder), [])
    let ended = false
    await convertModel(
      fixture('sd21-tiny'), path.join(folder, target), { onProgress: ({ bytesDone, bytesTotal }) => { ended = bytesDone === bytesTotal } },
    )
    t.true(ended)
    fs.rmSync(path.join(folder, target), { recursive: true })
  }
})
