import fs from 'node:fs'
import test, { type ExecutionContext } from 'ava'
import { AsdmError, type ErrorCode } from '../../lib/base/errors'
import { parseTextEncoderConfig } from '../../lib/model/text-encoder-config'
import { parseUNetConfig } from '../../lib/model/unet-config'
import { parseVAEConfig } from '../../lib/model/vae-config'
import { fixture, repoPath } from '../support/fixtures'
import { rounds, seeded, seedOf } from '../support/random'

const json = (file: string): any => JSON.parse(fs.readFileSync(file, 'utf8'))
const sd15 = {
  unet: json(fixture('sd15-tiny/unet/config.json')), vae: json(fixture('sd15-tiny/vae/config.json')),
  text: json(fixture('sd15-tiny/text_encoder/config.json')),
}
const sd21 = {
  unet: json(fixture('sd21-tiny/unet/config.json')), vae: json(fixture('sd21-tiny/vae/config.json')),
  text: json(fixture('sd21-tiny/text_encoder/config.json')),
}

type Parse = (json: any, file: string) => unknown

function refused(t: ExecutionContext, parse: Parse, config: any, code: ErrorCode, ...says: (string | RegExp)[]): void {
  const error = t.throws(() => parse(config, 'some/config.json'), { instanceOf: AsdmError }, JSON.stringify(config).slice(0, 200))
  t.is(error?.code, code, error?.message)
  for (const part of ['some/config.json', ...says])
    t.true(typeof part === 'string' ? error!.message.includes(part) : part.test(error!.message), `${part} in: ${error!.message}`)
}

test('SD 1.x: few fields, the rest are defaults', t => {
  t.deepEqual(parseUNetConfig(sd15.unet, 'f'), {
    inChannels: 4, outChannels: 4, sampleSize: 16, blockOutChannels: [32, 64, 48, 32], downCrossAttention: [true, true, true, false],
    upCrossAttention: [false, true, true, true],
    layersPerBlock: [2, 2, 2, 2], transformerLayersPerBlock: [1, 1, 1, 1], attentionHeads: [8, 8, 8, 8], crossAttentionDim: 48,
    hasMidBlock: true, normNumGroups: 8, normEps: 1e-5,
    useLinearProjection: false, onlyCrossAttention: [false, false, false, false], downsamplePadding: 1, flipSinToCos: true, freqShift: 0,
  })
  t.deepEqual(parseVAEConfig(sd15.vae, 'f'), {
    inChannels: 3, outChannels: 3, latentChannels: 4, blockOutChannels: [
      16, 32, 32, 32,
    ], layersPerBlock: 2, normNumGroups: 8, useQuantConv: true, usePostQuantConv: true,
    midBlockAddAttention: true, scalingFactor: 0.18215, shiftFactor: 0, sampleSize: 128,
  })
  t.deepEqual(parseTextEncoderConfig(sd15.text, 'f'), {
    vocabSize: 2014, hiddenSize: 48, intermediateSize: 192, numHiddenLayers: 2, numAttentionHeads: 4, maxPositionEmbeddings: 77,
    hiddenAct: 'quick_gelu', layerNormEps: 1e-5,
  })
})

test('nothing at all: the defaults of diffusers and transformers', t => {
  const unet = parseUNetConfig({}, 'f')
  t.deepEqual(unet.blockOutChannels, [320, 640, 1280, 1280])
  t.deepEqual(
    [unet.crossAttentionDim, unet.normNumGroups, unet.attentionHeads, unet.layersPerBlock, unet.sampleSize],
    [1280, 32, [8, 8, 8, 8], [2, 2, 2, 2], 64],
  )
  const vae = parseVAEConfig({}, 'f')
  t.is(vae.sampleSize, undefined)
  t.is(parseVAEConfig({ sample_size: [256, 512] }, 'f').sampleSize, 256)
  t.deepEqual(
    [vae.blockOutChannels, vae.layersPerBlock, vae.latentChannels, vae.normNumGroups, vae.scalingFactor], [[64], 1, 4, 32, 0.18215],
  )
  const text = parseTextEncoderConfig({}, 'f')
  t.deepEqual(
    [text.vocabSize, text.hiddenSize, text.intermediateSize, text.numHiddenLayers, text.numAttentionHeads], [49408, 512, 2048, 12, 8],
  )
})

test('SD 2.x: full configs, heads for each stage', t => {
  const unet = parseUNetConfig(sd21.unet, 'f')
  t.deepEqual(unet.attentionHeads, [2, 4, 6, 8])
  t.true(unet.useLinearProjection)
  t.is(parseVAEConfig(sd21.vae, 'f').normNumGroups, 4)
  t.is(parseTextEncoderConfig(sd21.text, 'f').hiddenAct, 'gelu')
})

test('BK-SDM: fewer layers, no mid block, three stages', t => {
  const parse = (set: string) => parseUNetConfig(json(fixture(set, 'unet/config.json')), 'f')
  t.deepEqual([parse('bk-sdm-base-tiny').layersPerBlock, parse('bk-sdm-base-tiny').hasMidBlock], [[1, 1, 1, 1], true])
  t.false(parse('bk-sdm-small-tiny').hasMidBlock)
  const tiny = parse('bk-sdm-tiny-tiny')
  t.deepEqual(
    [tiny.blockOutChannels, tiny.downCrossAttention, tiny.upCrossAttention, tiny.hasMidBlock],
    [[16, 24, 32], [true, true, true], [true, true, true], false],
  )
})

test('the shipped model', t => {
  t.deepEqual(parseUNetConfig(json(repoPath('models/emoji/unet/config.json')), 'f').attentionHeads, [3, 6, 9, 12])
  t.is(parseVAEConfig(json(repoPath('models/emoji/vae/config.json')), 'f').scalingFactor, 0.5306426110936626)
  t.is(parseTextEncoderConfig(json(repoPath('models/emoji/text_encoder/config.json')), 'f').maxPositionEmbeddings, 32)
})

test('numbers or lists for each stage', t => {
  const unet = (more: object) => parseUNetConfig({ ...sd15.unet, ...more }, 'f')
  t.deepEqual(unet({ layers_per_block: [1, 2, 3, 1] }).layersPerBlock, [1, 2, 3, 1])
  t.deepEqual(unet({ transformer_layers_per_block: [1, 2, 4, 1] }).transformerLayersPerBlock, [1, 2, 4, 1])
  t.deepEqual(
    unet({ transformer_layers_per_block: [1, 2, 4, 1], reverse_transformer_layers_per_block: [1, 4, 2, 1] }).transformerLayersPerBlock,
    [1, 2, 4, 1],
  )
  t.deepEqual(unet({ attention_head_dim: [1, 2, 3, 4] }).attentionHeads, [1, 2, 3, 4])
  t.deepEqual(unet({ num_attention_heads: [4, 4, 4, 4] }).attentionHeads, [4, 4, 4, 4])
  t.deepEqual(unet({ only_cross_attention: [true, false, false, false] }).onlyCrossAttention, [true, false, false, false])
  t.is(unet({ cross_attention_dim: [48, 48, 48, 48] }).crossAttentionDim, 48)
  t.is(unet({ sample_size: [24, 24] }).sampleSize, 24)
  t.is(unet({ sample_size: null }).sampleSize, 64)
  t.is(unet({ time_embedding_dim: 128 }).sampleSize, 16)
  t.is(
    unet({
      act_fn: 'swish', upcast_attention: true, dropout: 0.1, _anything: 3, decay: 0.9999, optimization_step: 5, new_option: null,
      other_new_option: false,
    }).normEps,
    1e-5,
  )
})

test('an option that asks for something else is refused by name', t => {
  const cases: [Parse, any, Record<string, unknown[]>][] = [
    [parseUNetConfig, sd15.unet, {
      _class_name: ['UNet2DModel', 'UNetMotionModel', 3], act_fn: ['gelu', 'mish', null], center_input_sample: [true], mid_block_type: [
        'UNetMidBlock2D', 'UNetMidBlock2DSimpleCrossAttn',
      ],
      mid_block_scale_factor: [2, null], encoder_hid_dim: [768], encoder_hid_dim_type: ['text_proj'], dual_cross_attention: [true],
      class_embed_type: ['timestep', 'projection'],
      num_class_embeds: [1000], projection_class_embeddings_input_dim: [2816], class_embeddings_concat: [true],
      addition_embed_type: ['text', 'text_image', 'image'], resnet_time_scale_shift: ['scale_shift'],
      resnet_skip_time_act: [true], resnet_out_scale_factor: [0.5], time_embedding_type: ['fourier'], time_embedding_act_fn: ['silu'],
      timestep_post_act: ['silu'],
      time_embedding_dim: [64], conv_in_kernel: [1, 5], conv_out_kernel: [1], attention_type: ['gated'],
      mid_block_only_cross_attention: [true], cross_attention_norm: ['group_norm', 'layer_norm'],
      down_block_types: [[
        'CrossAttnDownBlock2D', 'ResnetDownsampleBlock2D', 'DownBlock2D', 'DownBlock2D',
      ]], up_block_types: [['UpBlock2D', 'AttnUpBlock2D', 'UpBlock2D', 'UpBlock2D']],
      cross_attention_dim: [[48, 48, 32, 48]], transformer_layers_per_block: [[1, [1, 2], 1, 1]],
      reverse_transformer_layers_per_block: [[1, 2, 1, 1]], sample_size: [[16, 24]],
      quantization_config: [{}], some_new_option: [true, 1, 'on', [], 0, ''], ['__proto__']: [{ a: 1 }],
    }],
    [parseVAEConfig, sd15.vae, {
      _class_name: [
        'AsymmetricAutoencoderKL',
      ], act_fn: ['relu'], latents_mean: [[0, 0, 0, 0]], latents_std: [[1, 1, 1, 1]],
      down_block_types: [[
        'DownEncoderBlock2D', 'AttnDownEncoderBlock2D', 'DownEncoderBlock2D', 'DownEncoderBlock2D',
      ]], up_block_types: [['UpDecoderBlock2D', 'UpDecoderBlock2D', 'UpDecoderBlock2D', 'MidBlock']], unknown: [1],
    }],
    [parseTextEncoderConfig, sd15.text, {
      architectures: [
        ['CLIPVisionModel'], ['CLIPTextModel', 'CLIPTextModel'], 'CLIPTextModel', ['T5EncoderModel'],
      ], model_type: ['clip_vision_model', 't5'], hidden_act: ['relu', 'gelu_new', null, 3], pruned_heads: [{ 0: [1] }, [1]],
      quantization_config: [{ bits: 8 }], text_config: [{}],
    }],
  ]
  for (const [parse, base, options] of cases) {
    for (const [option, values] of Object.entries(options)) {
      for (const value of values) {
        const config = { ...base }
        Object.defineProperty(config, option, { value, enumerable: true, configurable: true, writable: true })
        refused(t, parse, config, 'UNSUPPORTED_CONFIG', option, 'not supported')
      }
    }
  }
  refused(t, parseUNetConfig, { ...sd15.unet, act_fn: 'gelu' }, 'UNSUPPORTED_CONFIG', 'act_fn', '"gelu"')
  refused(
    t, parseUNetConfig, { ...sd15.unet, down_block_types: ['DownBlock2D', 'DownBlock2D', 'DownBlock2D', 'KDownBlock2D'] },
    'UNSUPPORTED_CONFIG', '"KDownBlock2D"',
  )
  refused(
    t, parseUNetConfig, { ...sd15.unet, block_out_channels: [33, 64, 48, 32], norm_num_groups: 1, attention_head_dim: 1 },
    'UNSUPPORTED_CONFIG', 'even',
  )
})

test('values that make no sense', t => {
  const numbers = [0, -1, 1.5, NaN, Infinity, 1e9, 2 ** 53, '4', null, true, {}, [[]]]
  const cases: [Parse, any, Record<string, unknown[]>][] = [
    [parseUNetConfig, sd15.unet, {
      in_channels: numbers, out_channels: numbers, norm_num_groups: numbers, block_out_channels: [
        ...numbers, [], [32], [32, 64, 48, 1e9], [32, 64, 48, '32'], [32, 64, 48, NaN], new Array(9).fill(32), [32, 64, 48, 36],
      ],
      layers_per_block: [
        ...numbers, [2, 2], [2, 2, 2, 0], [2, 2, 2, 1e6], 1_000_000,
      ], transformer_layers_per_block: [
        ...numbers, [1], [1, 1, 1, 1_000_000],
      ], attention_head_dim: [...numbers, [8, 8, 8], 5, [8, 8, 7, 8]],
      num_attention_heads: [0, -1, 'x', [8]], cross_attention_dim: [...numbers, [48], 1e6], norm_eps: [
        0, -1, NaN, Infinity, '1e-5', null,
      ], sample_size: [
        0, -1, 1.5, NaN, 1e9, '16', [16], [16, 16, 16], [16, 'x'],
      ],
      downsample_padding: [-1, 2, 0.5, '1', null], flip_sin_to_cos: ['true', 1, null], freq_shift: [-1, 2, NaN, 'x', null],
      use_linear_projection: ['no', 0, null], only_cross_attention: [
        'x', 1, null, [true], [true, true, true, 1],
      ],
      down_block_types: [
        'DownBlock2D', [], ['DownBlock2D'], [1, 2, 3, 4], null, new Array(5).fill('DownBlock2D'),
      ], up_block_types: [{}, []],
    }],
    [parseVAEConfig, sd15.vae, {
      in_channels: numbers, out_channels: numbers, latent_channels: numbers, norm_num_groups: [...numbers, 3], block_out_channels: [
        [], [16, 32, 32], [16, 32, 32, -32], 16,
      ], layers_per_block: [...numbers, [2, 2, 2, 2], 1_000_000],
      scaling_factor: [
        0, -1, NaN, Infinity, '0.18', null,
      ], shift_factor: [NaN, 'x', 1e9], use_quant_conv: [1, null, 'x'], use_post_quant_conv: [1], mid_block_add_attention: ['yes'],
      down_block_types: [['DownEncoderBlock2D'], 3],
    }],
    [parseTextEncoderConfig, sd15.text, {
      vocab_size: [0, -1, 1e9, '9', null], hidden_size: [...numbers, 50], intermediate_size: numbers,
      num_hidden_layers: [...numbers, 1_000_000], num_attention_heads: [...numbers, 5], max_position_embeddings: [0, 1, -1, 1e9, '77'],
      layer_norm_eps: [0, -1, NaN, 'x', null],
    }],
  ]
  for (const [parse, base, options] of cases) {
    for (const [option, values] of Object.entries(options))
      for (const value of values) refused(t, parse, { ...base, [option]: value }, 'BAD_CONFIG', option)
  }
  refused(t, parseUNetConfig, { ...sd15.unet, attention_head_dim: 5 }, 'BAD_CONFIG', '32, which 5 attention heads')
  refused(t, parseUNetConfig, { ...sd15.unet, norm_num_groups: 5 }, 'BAD_CONFIG', 'norm_num_groups 5 does not divide')
  refused(
    t, parseUNetConfig, { ...sd15.unet, block_out_channels: [2, 64, 48, 32], norm_num_groups: 2, attention_head_dim: 1, freq_shift: 1 },
    'BAD_CONFIG', 'freq_shift',
  )
})

test('heads need not divide the width of a stage that attends nowhere', t => {
  const config = { ...json(fixture('bk-sdm-small-tiny/unet/config.json')), attention_head_dim: [8, 8, 8, 7] }
  t.deepEqual(parseUNetConfig(config, 'f').attentionHeads, [8, 8, 8, 7])
  refused(t, parseUNetConfig, { ...config, mid_block_type: 'UNetMidBlock2DCrossAttn' }, 'BAD_CONFIG', '7 attention heads')
})

test('random configs are parsed or refused, never anything else', t => {
  const random = seeded(seedOf(7))
  const hostile: unknown[] = [
    null, true, false, 0, 1, 2, 3, 8, 32, -1, 0.5, 1e9, 2 ** 53, NaN, Infinity, '', 'silu', 'x'.repeat(1000), [], {}, [1, 2, 3, 4],
    [8, 8, 8, 8], [[1]], [null], ['DownBlock2D'], { a: 1 },
    new Array(100_000).fill(1), ['UpBlock2D', 'UpBlock2D', 'UpBlock2D', 'UpBlock2D'], [64, 64, 64, 64], [16_384, 16_384], 1e-5,
  ]
  const parsers: [Parse, any][] = [
    [parseUNetConfig, sd15.unet], [parseUNetConfig, sd21.unet], [parseVAEConfig, sd21.vae], [parseTextEncoderConfig, sd21.text],
  ]
  let parsed = 0
  for (let round = 0; round < rounds(20_000); round++) {
    const [parse, base] = random.pick(parsers)
    const config: any = { ...base }
    for (let edits = 1 + random.below(3); edits > 0; edits--) {
      const option = random.below(20) === 0 ? random.pick(['new', 'toString', 'hasOwnProperty', '']) : random.pick(Object.keys(base))
      if (random.below(5) === 0) delete config[option]
      else config[option] = random.pick(hostile)
    }
    try {
      const result: any = parse(config, 'fuzz.json')
      parsed++
      const widths: number[] = result.blockOutChannels ?? []
      const sane = widths.length <= 8 && widths.every(width => width >= 1 && width <= 16_384 && width % result.normNumGroups === 0)
        && [result.layersPerBlock ?? 1].flat().every((count: number) => Number.isInteger(count) && count >= 1 && count <= 16)
      if (!sane) t.fail(`round ${round}: ${JSON.stringify(result)}`)
    } catch (error) {
      if (!(error instanceof AsdmError && ['BAD_CONFIG', 'UNSUPPORTED_CONFIG'].includes(error.code) && error.message.includes('fuzz.json')
        && error.message.length < 600)) t.fail(`round ${round}: ${error}`)
    }
  }
  t.true(parsed > rounds(1000) && parsed < rounds(15_000), `${parsed}`)
})
