import test from 'ava'
import type { ForwardShape, NativeModelSpec, ProgramInfo } from '../../lib/native/binding'
import { clipLarge, create, sd15, sdVAE, smallUNet } from './support'

const describe = (spec: NativeModelSpec, shape: ForwardShape, taps: string[] = []): ProgramInfo => {
  const model = create(spec)
  try {
    return model.describe(shape, taps)
  } finally {
    model.dispose()
  }
}
const unet = { kind: 'unet', config: sd15 } as const
const GiB = 2 ** 30
const latents: ForwardShape = { batch: 1, height: 64, width: 64, length: 77 }
const attention = (info: ProgramInfo): number => info.units.filter(({ op }) => op === 'Attention').reduce((sum, { macs }) => sum + macs, 0)

// Parameter counts are those of the published checkpoints.
test('published models have as many parameters as published', t => {
  const bk = { ...sd15, layersPerBlock: [1, 1, 1, 1] }
  const three = {
    blockOutChannels: [320, 640, 1280], layersPerBlock: [1, 1, 1], transformerLayersPerBlock: [1, 1, 1], attentionHeads: [8, 8, 8],
    onlyCrossAttention: [false, false, false],
  }
  t.is(describe(unet, latents).parameters, 859_520_964, 'SD 1.5')
  t.is(describe({ kind: 'unet', config: { ...sd15, inChannels: 9 } }, latents).parameters, 859_535_364, 'SD 1.5 for inpainting')
  t.is(
    describe(
      { kind: 'unet', config: { ...sd15, crossAttentionDim: 1024, attentionHeads: [5, 10, 20, 20], useLinearProjection: true } }, latents,
    ).parameters,
    865_910_724, 'SD 2.1',
  )
  t.is(describe({ kind: 'unet', config: bk }, latents).parameters, 579_384_964, 'BK-SDM base')
  t.is(describe({ kind: 'unet', config: { ...bk, hasMidBlock: false } }, latents).parameters, 482_346_884, 'BK-SDM small')
  t.is(
    describe(
      {
        kind: 'unet',
        config: { ...bk, ...three, downCrossAttention: [true, true, true], upCrossAttention: [true, true, true], hasMidBlock: false },
      },
      latents,
    ).parameters,
    323_384_964, 'BK-SDM tiny',
  )
  const decoder = describe({ kind: 'vae_decoder', config: sdVAE }, latents).parameters
  const encoder = describe({ kind: 'vae_encoder', config: sdVAE }, { batch: 1, height: 512, width: 512 }).parameters
  t.is(decoder + encoder, 83_653_863, 'VAE')
  t.is(describe({ kind: 'text_encoder', config: clipLarge }, { batch: 1, length: 77 }).parameters, 123_060_480, 'CLIP ViT-L text encoder')
})

test('SD 1.5: 338.6 G multiply-accumulates and attention products, within the memory targets', t => {
  const info = describe(unet, { ...latents, batch: 2 })
  t.is(Math.round((info.macs - attention(info)) / 2 / 1e8), 3386)
  // Two products of 4096 x 4096 x 320 in the largest stage alone, five times.
  t.true(attention(info) > 2 * 5 * 2 * 4096 * 4096 * 320)
  t.true(info.arenaBytes + info.scratchBytes < GiB / 4)
  const half = describe(unet, latents)
  t.is(info.macs, 2 * half.macs)
  const decoder = describe({ kind: 'vae_decoder', config: sdVAE }, latents)
  t.true(decoder.arenaBytes + decoder.scratchBytes < GiB * 0.75)
})

test('units have diffusers prefixes, shapes and costs', t => {
  const { units } = describe(unet, { ...latents, batch: 2 })
  t.is(new Set(units.map(({ name }) => name)).size, units.length)
  const row = (name: string) => units.find(unit => unit.name === name)
  t.deepEqual(row('up_blocks.1.resnets.0.concat'), {
    name: 'up_blocks.1.resnets.0.concat', op: 'Concat', shape: [2, 16, 16, 2560], parameters: 0, macs: 0,
  })
  t.deepEqual(row('down_blocks.0.resnets.0.conv1'), {
    name: 'down_blocks.0.resnets.0.conv1', op: 'Conv2d', shape: [2, 64, 64, 320], parameters: 320 * 320 * 9 + 320,
    macs: 2 * 4096 * 320 * 320 * 9,
  })
  t.deepEqual(row('mid_block.attentions.0.transformer_blocks.0.attn2.attention')?.shape, [2, 64, 1280])
  const weighted = units.filter(({ parameters }) => parameters > 0).map(({ name }) => name)
  const model = create(unet)
  for (const { name } of model.weights()) {
    const prefix = name.replace(/\.(weight|bias)$/, '').replace(/\.to_[qkv]$/, '.to_')
    t.true(weighted.some(unit => unit === prefix || prefix.endsWith('.to_') && unit.startsWith(prefix)), name)
  }
  model.dispose()
})

test('taps add what they need, and change no other number', t => {
  const less = describe(unet, latents), more = describe(
    unet, latents, ['down_blocks.0.attentions.0.transformer_blocks.0.attn1', 'mid_block'],
  )
  t.deepEqual(more.units, less.units)
  t.is(more.macs, less.macs)
})

test('a text encoder runs only the layers that it is asked for', t => {
  const spec = { kind: 'text_encoder', config: { ...clipLarge, numHiddenLayers: 3 } } as const
  const { units } = describe(spec, { batch: 1, length: 77 })
  t.false(units.some(({ name }) => name.includes('skip')))
  t.is(units.filter(({ op }) => op === 'Attention').length, 3)
})

test('shapes that cannot be are refused, whatever their size', t => {
  for (const shape of [{ batch: 65536, height: 1048576, width: 1048576, length: 1048576 }, { batch: 1, height: 1048576, width: 1048576 }])
    t.throws(() => describe(unet, shape), { code: 'OUT_OF_MEMORY' })
  for (const shape of [
    { batch: 2 ** 31 - 1, height: 8, width: 8 }, { batch: 1, height: 2 ** 31 - 1, width: 1 },
    { batch: 1, height: 8, width: 8, length: 2 ** 31 - 1 }, { batch: 1 },
  ])
    t.throws(() => describe(unet, shape), { code: 'SHAPE_MISMATCH' })
  t.throws(
    () => describe({ kind: 'vae_encoder', config: sdVAE }, { batch: 1, height: 1, width: 8 }),
    { code: 'SHAPE_MISMATCH', message: /encoder\.down_blocks\.0\.downsamplers\.0\.conv/ },
  )
  t.throws(() => describe({ kind: 'text_encoder', config: clipLarge }, { batch: 1, length: 78 }), {
    code: 'SHAPE_MISMATCH', message: /embeddings/,
  })
  t.throws(() => describe(unet, latents, ['mid_block.nowhere']), { code: 'INVALID_ARGUMENT', message: /mid_block\.nowhere/ })
  t.notThrows(() => describe({ kind: 'unet', config: smallUNet }, { batch: 1, height: 1, width: 1, length: 1 }))
})
