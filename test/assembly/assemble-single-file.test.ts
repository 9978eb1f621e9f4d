import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { assemble } from '../../lib/assembly/assemble'
import { textEncoderJson, unetJson, vaeJson } from '../../lib/convert/configs'
import { convertModel } from '../../lib/convert/convert'
import { writeSafetensors } from '../../lib/files/safetensors'
import type { NativeModelSpec } from '../../lib/native/binding'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { create, sd15, smallText, smallVAE } from '../graph/support'
import { fixture } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

/** A small model whose configs can be told from its shapes, as those of Stable Diffusion 1.5: 32 groups, 8 heads, text heads 64 wide. */
async function makeModel(folder: string): Promise<void> {
  const unet = {
    ...sd15, blockOutChannels: [32, 32], downCrossAttention: [true, false], upCrossAttention: [false, true], layersPerBlock: [2, 2],
    transformerLayersPerBlock: [1, 1], attentionHeads: [8, 8], crossAttentionDim: 64, onlyCrossAttention: [false, false],
  }
  const vae = { ...smallVAE, blockOutChannels: [32, 32], normNumGroups: 32 }
  const text = { ...smallText, vocabSize: 49408, hiddenSize: 64, intermediateSize: 64, numAttentionHeads: 1, maxPositionEmbeddings: 77 }
  for (const part of ['tokenizer', 'scheduler']) fs.cpSync(fixture('sd15-tiny', part), path.join(folder, part), { recursive: true })
  const write = async (part: string, base: string, json: object, ...specs: NativeModelSpec[]): Promise<void> => {
    fs.mkdirSync(path.join(folder, part))
    fs.writeFileSync(path.join(folder, part, 'config.json'), JSON.stringify(json))
    const weights = specs.flatMap(spec => {
      const model = create(spec)
      const asked = model.weights()
      model.dispose()
      return asked
    })
    await writeSafetensors(path.join(folder, part, `${base}.safetensors`), weights.map(({ name, shape }, w) => ({
      name: part === 'text_encoder' ? `text_model.${name}` : name, dtype: 'F32', shape, data: Buffer.from(
        Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i * 0.7 + w) / 8).buffer,
      ),
    })), {})
  }
  await write('unet', 'diffusion_pytorch_model', unetJson(unet, false), { kind: 'unet', config: unet })
  await write(
    'vae', 'diffusion_pytorch_model', vaeJson(vae, 128), { kind: 'vae_encoder', config: vae }, { kind: 'vae_decoder', config: vae },
  )
  await write('text_encoder', 'model', textEncoderJson(text, 'float32'), { kind: 'text_encoder', config: text })
}

test('a single file does as a checkpoint, and as the one that everything else is taken from', async t => {
  const folder = temporaryFolder(t)
  const model = path.join(folder, 'model'), file = path.join(folder, 'model.safetensors')
  fs.mkdirSync(model)
  await makeModel(model)
  await convertModel(model, file)
  const make = async (name: string, checkpoints: Record<string, string>): Promise<string> => {
    const out = path.join(folder, name)
    const { sources } = await assemble({
      version: 1, checkpoints: { sd: null, other: null }, target: { from: 'sd' }, rest: 'sd',
      units: {
        'down_blocks.0.resnets.0.conv1': {
          experts: [{ checkpoint: 'sd' }, { checkpoint: 'other', prefix: 'down_blocks.0.resnets.1.conv1' }],
        },
        'mid_block.0': { checkpoint: 'other' }, 'up_blocks.1.attentions.1': { drop: true },
      },
    }, { out, checkpoints })
    for (const [checkpoint, at] of Object.entries(checkpoints)) t.is('model.safetensors' in sources[checkpoint], at === file)
    return out
  }
  const weights = (out: string) => fs.readFileSync(path.join(out, 'unet', 'diffusion_pytorch_model.safetensors'))
  const wanted = await make('a', { sd: model, other: model })
  for (const [name, checkpoints] of [
    ['b', { sd: file, other: model }], ['c', { sd: model, other: file }], ['d', { sd: file, other: file }],
  ] as const) t.true(weights(await make(name, checkpoints)).equals(weights(wanted)), name)
  // Nothing of the conversion is left, and what was made is a whole model.
  t.deepEqual(fs.readdirSync(folder).sort(), ['a', 'b', 'c', 'd', 'model', 'model.safetensors'])
  const pictures = []
  for (const name of ['a', 'd']) {
    const loaded = await StableDiffusion.load(path.join(folder, name))
    const [image] = await loaded.generate({ prompt: 'x', steps: 1, seed: 1, width: 32, height: 32 })
    pictures.push(Buffer.from(image.rgba).toString('hex'))
    await loaded.dispose()
  }
  t.is(pictures[1], pictures[0])
})
