import test from 'ava'
import type { NativeModelSpec } from '../../lib/native/binding'
import { create, sd15, smallText, smallUNet, smallVAE } from './support'

type Case = [field: string, changes: Record<string, unknown>, code?: string]

const refused = (kind: NativeModelSpec['kind'], base: object, cases: Case[]): void => {
  for (const [field, changes, code = 'BAD_CONFIG'] of cases)
    test(`${kind}: ${JSON.stringify(changes)} is refused`, t => {
      const error = t.throws(() => create({ kind, config: { ...base, ...changes } } as never))
      t.is((error as { code?: string }).code, code)
      t.true(error.message.includes(field), error.message)
    })
}

refused('unet', smallUNet, [
  ['blockOutChannels', { blockOutChannels: [] }],
  ['blockOutChannels', { blockOutChannels: [8, 0] }],
  ['blockOutChannels', { blockOutChannels: [8, 20000] }],
  ['blockOutChannels', { blockOutChannels: new Array(9).fill(8) }],
  ['blockOutChannels', { blockOutChannels: [3, 3], normNumGroups: 3, attentionHeads: [1, 1] }, 'UNSUPPORTED_CONFIG'],
  ['normNumGroups', { normNumGroups: 0 }],
  ['normNumGroups', { normNumGroups: 3 }],
  ['downCrossAttention', { downCrossAttention: [true] }],
  ['upCrossAttention', { upCrossAttention: [] }],
  ['layersPerBlock', { layersPerBlock: [1, 0] }],
  ['layersPerBlock', { layersPerBlock: [1] }],
  ['transformerLayersPerBlock', { transformerLayersPerBlock: [33, 1] }],
  ['attentionHeads', { attentionHeads: [3, 2] }],
  ['attentionHeads', { attentionHeads: [0, 2] }],
  ['attentionHeads', { blockOutChannels: [2048, 2048], attentionHeads: [1, 1] }, 'UNSUPPORTED_CONFIG'],
  ['crossAttentionDim', { crossAttentionDim: 0 }],
  ['inChannels', { inChannels: 257 }],
  ['outChannels', { outChannels: 0 }],
  ['downsamplePadding', { downsamplePadding: 2 }],
  ['normEps', { normEps: 0 }],
  ['freqShift', { freqShift: 4 }],
  ['freqShift', { blockOutChannels: [2, 2], freqShift: 1, normNumGroups: 2 }],
  ['onlyCrossAttention', { onlyCrossAttention: [true] }],
  ['transformerLayersPerBlock', {
    blockOutChannels: new Array(8).fill(8), downCrossAttention: new Array(8).fill(true), upCrossAttention: new Array(8).fill(true),
    layersPerBlock: new Array(8).fill(16),
    transformerLayersPerBlock: new Array(8).fill(32), attentionHeads: new Array(8).fill(1), onlyCrossAttention: new Array(8).fill(false),
  }, 'UNSUPPORTED_CONFIG'],
])

for (const kind of ['vae_decoder', 'vae_encoder'] as const)
  refused(kind, smallVAE, [
    ['blockOutChannels', { blockOutChannels: [-8] }],
    ['blockOutChannels', { blockOutChannels: [8, 2048] }, 'UNSUPPORTED_CONFIG'],
    ['layersPerBlock', { layersPerBlock: 17 }],
    ['latentChannels', { latentChannels: 0 }],
    ['normNumGroups', { normNumGroups: 16384 }],
  ])

refused('text_encoder', smallText, [
  ['vocabSize', { vocabSize: 0 }],
  ['hiddenSize', { hiddenSize: 65537 }],
  ['numHiddenLayers', { numHiddenLayers: 257 }],
  ['numAttentionHeads', { numAttentionHeads: 3 }],
  ['numAttentionHeads', { hiddenSize: 2048, numAttentionHeads: 1 }, 'UNSUPPORTED_CONFIG'],
  ['hiddenAct', { hiddenAct: 'relu' }, 'UNSUPPORTED_CONFIG'],
  ['layerNormEps', { layerNormEps: 2 }],
])

test('the largest configs that pass build and are described quickly', t => {
  const before = Date.now()
  const eight = <T>(value: T): T[] => new Array<T>(8).fill(value)
  const model = create({ kind: 'unet', config: {
    ...sd15, blockOutChannels: eight(16384), downCrossAttention: eight(true), upCrossAttention: eight(false), layersPerBlock: eight(2),
    transformerLayersPerBlock: eight(31),
    attentionHeads: eight(16), onlyCrossAttention: eight(false), crossAttentionDim: 65536, hasMidBlock: false,
  } })
  const { parameters, units } = model.describe({ batch: 1, height: 128, width: 128 })
  t.true(Number.isSafeInteger(parameters) && parameters > 1e12)
  t.true(units.length > 5000)
  model.dispose()
  t.true(Date.now() - before < 20_000)
})
