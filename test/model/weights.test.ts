import test, { type ExecutionContext } from 'ava'
import { AsdmError, type ErrorCode } from '../../lib/base/errors'
import { currentName, matchWeights, splitVAEWeights } from '../../lib/model/weights'
import type { WeightSource } from '../../lib/native/configs'

const source = (name: string, shape: number[], dtype = 'F32'): WeightSource =>
  ({ name, file: 'f', dtype: dtype as 'F32', shape, begin: 0, end: 4 * shape.reduce((a, b) => a * b, 1) })

function refused(
  t: ExecutionContext, requested: { name: string, shape: number[] }[], sources: WeightSource[], code: ErrorCode, ...says: string[]
): void {
  const error = t.throws(() => matchWeights(requested, sources, 'model.safetensors'), { instanceOf: AsdmError })
  t.is(error?.code, code, error?.message)
  for (const part of ['model.safetensors', ...says]) t.true(error!.message.includes(part), `${part} in: ${error!.message}`)
}

test('sources come in the order and with the shapes of the requests', t => {
  const requested = [{ name: 'b', shape: [2, 3] }, { name: 'a', shape: [4, 4, 1, 1] }, { name: 'c', shape: [1] }]
  const matched = matchWeights(requested, [source('c', [1], 'F16'), source('a', [4, 4]), source('b', [2, 3, 1, 1], 'BF16')], 'f')
  t.deepEqual(
    matched.map(({ name, shape, dtype }) => ({ name, shape, dtype })),
    [
      { name: 'b', shape: [2, 3], dtype: 'BF16' }, { name: 'a', shape: [4, 4, 1, 1], dtype: 'F32' },
      { name: 'c', shape: [1], dtype: 'F16' },
    ],
  )
  t.deepEqual(matchWeights([], [], 'f'), [])
})

test('what does not match', t => {
  const many = Array.from({ length: 12 }, (_, i) => ({ name: `w${i}`, shape: [2] }))
  refused(t, many, [], 'TENSOR_MISSING', '12 weights', '12 are missing', 'w0, w1, w2, w3 and 8 more')
  refused(t, many.slice(0, 1), [source('other', [2])], 'TENSOR_MISSING', '1 is missing: w0', 'others instead: other')
  refused(t, many.slice(0, 2), [source('w0', [2]), source('w1', [3])], 'TENSOR_SHAPE', 'w1 (expected [2], received [3])', '1 differs')
  refused(t, [{ name: 'w', shape: [4, 4] }], [source('w', [4, 4, 3, 3])], 'TENSOR_SHAPE', '[4,4,3,3]')
  refused(t, [{ name: 'w', shape: [2, 8] }], [source('w', [8, 2])], 'TENSOR_SHAPE', '[8,2]')
  refused(t, [{ name: 'w', shape: [4, 4] }], [source('w', [1, 4, 4])], 'TENSOR_SHAPE', '[1,4,4]')
  const unused: string[][] = []
  const odd = [source('w', [2]), source('lora', [2]), source('x', [1], 'I64')]
  t.is(matchWeights([{ name: 'w', shape: [2] }], odd, 'f', names => unused.push(names)).length, 1)
  t.deepEqual(unused, [['lora', 'x']])
  refused(t, [{ name: 'w', shape: [2] }], [source('w', [2], 'I8')], 'TENSOR_DTYPE', '"w"', 'I8')
  refused(t, [{ name: '__proto__', shape: [2] }], [], 'TENSOR_MISSING', '__proto__')
})

test('a VAE in halves', t => {
  const names = (sources: WeightSource[]): string[] => sources.map(({ name }) => name)
  const { decoder, encoder } = splitVAEWeights([
    'encoder.conv_in.weight', 'quant_conv.bias', 'decoder.conv_in.weight', 'post_quant_conv.bias', 'stray',
  ].map(name => source(name, [1])))
  t.deepEqual(names(decoder), ['decoder.conv_in.weight', 'post_quant_conv.bias', 'stray'])
  t.deepEqual(names(encoder), ['encoder.conv_in.weight', 'quant_conv.bias'])
})

test('current names', t => {
  t.is(currentName('vae', 'encoder.mid_block.attentions.0.query.weight'), 'encoder.mid_block.attentions.0.to_q.weight')
  t.is(currentName('vae', 'decoder.mid_block.attentions.0.proj_attn.bias'), 'decoder.mid_block.attentions.0.to_out.0.bias')
  t.is(currentName('vae', 'decoder.mid_block.attentions.0.group_norm.bias'), 'decoder.mid_block.attentions.0.group_norm.bias')
  t.is(currentName('text_encoder', 'text_model.final_layer_norm.bias'), 'final_layer_norm.bias')
  t.is(currentName('unet', 'mid_block.attentions.0.norm.weight'), 'mid_block.attentions.0.norm.weight')
})
