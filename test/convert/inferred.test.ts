import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { elementCount } from '../../lib/base/tensor'
import { convertModel } from '../../lib/convert/convert'
import { writeSafetensors } from '../../lib/files/safetensors'
import { openCheckpoint } from '../../lib/model/checkpoint'
import { parseTextEncoderConfig } from '../../lib/model/text-encoder-config'
import { parseUNetConfig } from '../../lib/model/unet-config'
import { parseVAEConfig } from '../../lib/model/vae-config'
import type { NativeModelSpec } from '../../lib/native/binding'
import { loadAddon } from '../../lib/native/load'
import { Tokenizer } from '../../lib/text/tokenizer'
import { copyCheckpoint, editJson } from '../model/checkpoints'
import { seeded } from '../support/random'
import { temporaryFolder } from '../support/temporary'
import { parts, same, sameWeights } from './support'

/** A folder whose configs are what a single file's shapes and the published models tell, with weights of 64 channels. */
async function plainFolder(folder: string, family: 'sd1' | 'sd2'): Promise<string> {
  const source = copyCheckpoint(family === 'sd1' ? 'sd15-tiny' : 'sd21-tiny', folder)
  editJson(path.join(source, 'unet', 'config.json'), json => {
    Object.assign(json, {
      block_out_channels: [64, 64, 64, 64], norm_num_groups: 32, attention_head_dim: family === 'sd1' ? 8 : [1, 1, 1, 1],
      cross_attention_dim: 64, sample_size: family === 'sd1' ? 64 : 96,
    })
  })
  editJson(path.join(source, 'vae', 'config.json'), json => {
    Object.assign(json, {
      block_out_channels: [32, 32, 32, 32], norm_num_groups: 32, sample_size: family === 'sd1' ? 512 : 768,
    })
  })
  editJson(path.join(source, 'text_encoder', 'config.json'), json => { Object.assign(json, { hidden_size: 64, num_attention_heads: 1 }) })
  const random = seeded(4)
  for (const part of ['unet', 'vae', 'text_encoder']) {
    const config = JSON.parse(fs.readFileSync(path.join(source, part, 'config.json'), 'utf8'))
    const specs: NativeModelSpec[] = part === 'unet' ? [{
      kind: 'unet', config: parseUNetConfig(config, 'f'),
    }] : part === 'text_encoder' ? [{ kind: 'text_encoder', config: parseTextEncoderConfig(config, 'f') }]
      : [{ kind: 'vae_encoder', config: parseVAEConfig(config, 'f') }, { kind: 'vae_decoder', config: parseVAEConfig(config, 'f') }]
    const tensors = specs.flatMap(spec => {
      const model = loadAddon().createModel(spec, { dtype: 'fp32', threads: 1, cpu: 'auto' })
      const wanted = model.weights()
      model.dispose()
      return wanted.map(({ name, shape }) =>
        ({ name, dtype: 'BF16', shape, data: Uint16Array.from({ length: elementCount(shape) }, () => 0x3c00 + random.below(256)) }))
    })
    await writeSafetensors(
      path.join(source, part, part === 'text_encoder' ? 'model.safetensors' : 'diffusion_pytorch_model.safetensors'), tensors,
    )
  }
  return source
}

test('1.x: a single file becomes a folder without anybody giving configs', async t => {
  const folder = temporaryFolder(t)
  const source = await plainFolder(folder, 'sd1')
  const single = await convertModel(source, path.join(folder, 'x.safetensors'))
  t.deepEqual(single.warnings, [])
  const { path: back } = await convertModel(single.path, path.join(folder, 'back'))
  const [ours, original] = [await openCheckpoint(back), await openCheckpoint(source)]
  for (const part of parts) {
    t.deepEqual(ours[part].config, original[part].config as any)
    sameWeights(t, ours[part], original[part])
  }
  t.is(ours.schedulerConfig._class_name, 'PNDMScheduler')
  t.is(ours.schedulerConfig.prediction_type ?? 'epsilon', 'epsilon')
  t.deepEqual(ours.warnings, [])
  // Its tokenizer is CLIP's, which has more tokens than this small text encoder.
  t.is(await Tokenizer.load(path.join(back, 'tokenizer')).then(({ vocabSize, pad }) => `${vocabSize} ${pad}`), '49408 49407')
})

test('2.x: whatever reading the single file without configs would get wrong is said', async t => {
  const folder = temporaryFolder(t)
  const source = await plainFolder(folder, 'sd2')
  const single = await convertModel(source, path.join(folder, 'x.safetensors'))
  // OpenCLIP's last layer counts as one that is not used, except in a file of the published size.
  t.is(single.warnings.length, 1)
  t.regex(single.warnings[0], /\(text_encoder\.numHiddenLayers\)/)
  const { path: back } = await convertModel(single.path, path.join(folder, 'back'), {
    config: source, tokenizer: path.join(source, 'tokenizer'),
  })
  same(t, await openCheckpoint(back), await openCheckpoint(source))
  // Without a tokenizer anywhere it is CLIP's, with the window filled as 2.x does.
  fs.rmSync(path.join(source, 'tokenizer'), { recursive: true })
  const { path: other } = await convertModel(single.path, path.join(folder, 'other'), { config: source })
  t.is(await Tokenizer.load(path.join(other, 'tokenizer')).then(({ vocabSize, pad }) => `${vocabSize} ${pad}`), '49408 0')
  // Noise that is scheduled in another way cannot be told either.
  editJson(path.join(source, 'scheduler', 'scheduler_config.json'), json => { json.beta_schedule = 'linear' })
  const { warnings } = await convertModel(source, path.join(folder, 'y.safetensors'))
  t.is(warnings.filter(warning => /scheduler\.beta_schedule/.test(warning)).length, 1, warnings.join('\n'))
})
