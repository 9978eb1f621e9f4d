import fs from 'node:fs'
import path from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { VAE } from '../../lib/components/vae'
import { TextEncoder } from '../../lib/components/text-encoder'
import { AsdmError, type ErrorCode } from '../../lib/base/errors'
import { writeSafetensors, type TensorToWrite } from '../../lib/files/safetensors'
import { openCheckpoint } from '../../lib/model/checkpoint'
import type { OpenOptions } from '../../lib/model/part'
import { StableDiffusion, type LoadOptions } from '../../lib/stable-diffusion'
import { fixture } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'
import { contents, copyCheckpoint, tensorsIn, writeLdm } from './checkpoints'

const vaePrefix = 'first_stage_model.'
const textPrefix = /^cond_stage_model\.(?:transformer|model)\./

/** A reference checkpoint as three files with the original names: the UNet, the VAE and the text encoder, the latter two without prefix. */
async function parts(t: ExecutionContext, set: string) {
  const folder = temporaryFolder(t)
  const { unet, vae } = await openCheckpoint(fixture(set))
  const file = (name: string): string => path.join(folder, `${name}.safetensors`)
  const only = async (name: string, keep: (tensor: TensorToWrite) => TensorToWrite | undefined): Promise<string> => {
    const stages = vae.config.blockOutChannels.length
    await writeLdm(set, unet.config, stages, file(name), tensors => tensors.map(keep).filter(tensor => tensor !== undefined))
    return file(name)
  }
  const without = (tensor: TensorToWrite, prefix: string | RegExp): TensorToWrite | undefined => {
    const name = tensor.name.replace(prefix, '')
    return name === tensor.name ? undefined : { ...tensor, name }
  }
  return {
    folder,
    unet: await only('unet', tensor => (tensor.name.startsWith('model.diffusion_model.') ? tensor : undefined)),
    vae: await only('vae', tensor => without(tensor, vaePrefix)),
    text: await only('text', tensor => without(tensor, textPrefix)),
    whole: await only('whole', tensor => tensor),
  }
}

async function refused(t: ExecutionContext, opening: Promise<unknown>, code: ErrorCode, ...says: string[]): Promise<void> {
  const error = await t.throwsAsync(opening, { instanceOf: AsdmError })
  t.is(error?.code, code, error?.message)
  for (const part of says) t.true(error!.message.includes(part), `${part} in: ${error!.message}`)
}

for (const set of ['sd15-tiny', 'sd21-tiny']) {
  test(`${set}: a VAE and a text encoder from files and folders of every kind are those of the folder`, async t => {
    const files = await parts(t, set)
    const expected = await openCheckpoint(fixture(set))
    const open = (file: string, options: OpenOptions) => openCheckpoint(file, { config: fixture(set), ...options })
    const places = [
      { vae: files.vae, textEncoder: files.text }, { vae: files.whole, textEncoder: files.whole },
      { vae: fixture(set), textEncoder: fixture(set) }, { vae: fixture(set, 'vae'), textEncoder: fixture(set, 'text_encoder') },
      { vae: fixture(set, 'vae/diffusion_pytorch_model.safetensors'), textEncoder: fixture(set, 'text_encoder/model.safetensors') },
      { vae: path.relative(process.cwd(), files.vae), textEncoder: path.relative(process.cwd(), files.text) },
    ]
    for (const [i, given] of places.entries())
      for (const file of i === 0 ? [files.unet, files.whole] : [files.unet]) {
        const opened = await open(file, given)
        for (const part of i === 0 ? ['unet', 'vae', 'textEncoder'] as const : ['vae', 'textEncoder'] as const) {
          t.deepEqual(opened[part].config, expected[part].config as any)
          // The folder's text encoder may have a layer more than a model uses, and its attention other shapes for the same bytes.
          const [found, wanted] = [contents(opened[part] as any), contents(expected[part] as any)]
          t.deepEqual([...wanted].filter(([name, { bytes }]) => found.get(name)?.bytes.equals(bytes) !== true).map(([name]) => name), [])
        }
        t.true(path.isAbsolute(opened.vae.path))
        t.is(opened.padToken, set === 'sd21-tiny' ? '!' : undefined)
        t.deepEqual(opened.warnings, [])
      }
  })
}

/** The bytes of an image that a model draws. */
async function drawn(place: string, options: LoadOptions): Promise<Uint8Array> {
  const sd = await StableDiffusion.load(place, { threads: 1, ...options })
  const [image] = await sd.generate({ prompt: 'a cat', steps: 2, seed: 1 })
  await sd.dispose()
  return new Uint8Array(image!.rgba)
}

test('a model whose parts come from three files draws what its folder draws', async t => {
  const { unet, vae, text } = await parts(t, 'sd15-tiny')
  const config = fixture('sd15-tiny')
  t.deepEqual(await drawn(unet, { vae, textEncoder: text, tokenizer: fixture('sd15-tiny/tokenizer'), config }), await drawn(config, {}))
})

test("a folder's own VAE and text encoder give way to those given, and need not be there", async t => {
  const folder = copyCheckpoint('sd15-tiny', temporaryFolder(t))
  const other = path.join(temporaryFolder(t), 'other.safetensors')
  const tensors = await tensorsIn(fixture('sd15-tiny/vae/diffusion_pytorch_model.safetensors'))
  await writeSafetensors(other, tensors.map(tensor => ({ ...tensor, data: Buffer.from(tensor.data as Buffer).reverse() })))
  t.is((await openCheckpoint(folder, { vae: other, config: folder })).vae.path, other)
  t.is((await openCheckpoint(folder, { vae: other, config: folder })).unet.path, path.join(folder, 'unet/diffusion_pytorch_model.safetensors'))
  const index = JSON.parse(fs.readFileSync(path.join(folder, 'model_index.json'), 'utf8'))
  for (const part of ['vae', 'text_encoder']) fs.rmSync(path.join(folder, part), { recursive: true })
  fs.writeFileSync(path.join(folder, 'model_index.json'), JSON.stringify({ ...index, vae: [null, null], text_encoder: [null, null] }))
  const given = { vae: fixture('sd15-tiny/vae'), textEncoder: fixture('sd15-tiny/text_encoder') }
  t.deepEqual((await openCheckpoint(folder, given)).textEncoder, (await openCheckpoint(fixture('sd15-tiny'))).textEncoder)
  await refused(t, openCheckpoint(folder, { vae: given.vae }), 'UNSUPPORTED_CONFIG', 'text_encoder')
})

test('parts that are missing, of another kind or do not fit', async t => {
  const { unet, vae, text, folder } = await parts(t, 'sd15-tiny')
  const config = fixture('sd15-tiny')
  await refused(t, openCheckpoint(unet, { config }), 'TENSOR_MISSING', 'VAE', '{ vae: path }')
  await refused(t, openCheckpoint(unet, { config, vae }), 'TENSOR_MISSING', 'text encoder', '{ textEncoder: path }')
  await refused(t, openCheckpoint(unet, { config, vae: path.join(folder, 'none'), textEncoder: text }), 'FILE_NOT_FOUND', 'vae', 'none')
  await refused(t, openCheckpoint(unet, { config, vae: '', textEncoder: text }), 'INVALID_ARGUMENT', 'vae')
  await refused(t, openCheckpoint(unet, { config, vae, textEncoder: fixture('sd21-tiny/text_encoder') }), 'BAD_CONFIG', 'cross_attention_dim')
  await refused(t, StableDiffusion.load(unet, { config, vae: text, textEncoder: text }), 'TENSOR_MISSING', 'text.safetensors')
  await refused(t, openCheckpoint(unet, { vae: text, textEncoder: text }), 'TENSOR_MISSING', 'encoder.down_blocks.0', 'inferred')
  const pickle = path.join(folder, 'vae.ckpt')
  fs.writeFileSync(pickle, 'x')
  await refused(t, openCheckpoint(unet, { config, vae: pickle, textEncoder: text }), 'UNSUPPORTED_FORMAT', 'vae.ckpt')
  fs.writeFileSync(path.join(folder, 'empty.safetensors'), '')
  await refused(t, openCheckpoint(unet, { config, vae: path.join(folder, 'empty.safetensors'), textEncoder: text }), 'BAD_SAFETENSORS')
})

test('VAE.load and TextEncoder.load take what the options take', async t => {
  // Without a config their heads and groups are the published models', which the tiny ones have not: the wrong group count is seen.
  const { vae, text } = await parts(t, 'sd15-tiny')
  await refused(t, VAE.load(vae), 'BAD_CONFIG', 'norm_num_groups 32', '{ config: folder }')
  await refused(t, TextEncoder.load(text), 'BAD_CONFIG', 'num_attention_heads')
  for (const place of [fixture('sd15-tiny'), fixture('sd15-tiny/vae')]) await (await VAE.load(place, { threads: 1 })).dispose()
  for (const place of [fixture('sd15-tiny'), fixture('sd15-tiny/text_encoder')]) await (await TextEncoder.load(place, { threads: 1 })).dispose()
})
