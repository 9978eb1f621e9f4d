import test from 'ava'
import type { UNetConfig } from '../../lib/native/configs'
import { passInputs } from '../support/passes'
import { temporaryFolder } from '../support/temporary'
import { create, smallUNet, writeWeights } from './support'

const config: UNetConfig = { ...smallUNet, blockOutChannels: [8, 16], layersPerBlock: [2, 2] }
const inputs = passInputs({
  sample: {
    data: Float32Array.from({ length: 2 * 4 * 7 * 6 }, (_, i) => Math.sin(i * 0.37)), shape: [2, 4, 7, 6],
  }, timesteps: new Float32Array(2).fill(870),
  encoderHiddenStates: { data: Float32Array.from({ length: 2 * 5 * 12 }, (_, i) => Math.cos(i * 0.11)), shape: [2, 5, 12] },
})
const bits = ({ data }: { data: Float32Array }): string => Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('hex')

for (const dtype of ['fp32', 'bf16', 'int8'] as const)
  test(`${dtype}: a UNet without some units takes the weights of the whole one, and is what it is with its own, bit for bit`, async t => {
    const whole = create({ kind: 'unet', config }, { dtype })
    const sources = writeWeights(temporaryFolder(t), whole, (i, name) => Math.sin(i * 1.7 + name.length) / 4)
    await whole.load(sources).promise
    const wanted = (await whole.forward(inputs).promise).sample
    const changed: Partial<UNetConfig>[] = [
      {}, { hasMidBlock: false }, { removed: ['down_blocks.0.resnets.1'] }, {
        removed: ['up_blocks.1.attentions.0.transformer_blocks.0.attn2', 'up_blocks.1.attentions.1.transformer_blocks.0.attn1'],
      },
      { removed: ['down_blocks.0.attentions.0', 'down_blocks.0.attentions.1.transformer_blocks.0.ff'] },
    ]
    const sharing = []
    for (const [i, change] of changed.entries()) {
      const spec = { kind: 'unet', config: { ...config, ...change } } as const
      const [own, shared] = [create(spec, { dtype }), create(spec, { dtype, threads: 1 })]
      const names = new Set(own.weights().map(({ name }) => name))
      await own.load(sources.filter(({ name }) => names.has(name))).promise
      t.deepEqual(await shared.share(whole).promise, { nonFinite: [], weightBytes: 0, cache: 'off', cacheNote: '' })
      const result = bits((await own.forward(inputs).promise).sample)
      t.is(bits((await shared.forward(inputs).promise).sample), result)
      t.is(result === bits(wanted), i === 0)
      own.dispose()
      sharing.push({ shared, result })
    }
    whole.dispose()
    for (const { shared, result } of sharing) {
      t.is(bits((await shared.forward(inputs).promise).sample), result, 'the weights outlive the model that loaded them')
      shared.dispose()
    }
  })

test('what does not fit is refused, and the model may be loaded afterwards', async t => {
  const folder = temporaryFolder(t)
  const small = create({ kind: 'unet', config: { ...config, hasMidBlock: false } }), whole = create({ kind: 'unet', config })
  t.throws(() => whole.share(small), { code: 'INVALID_ARGUMENT', message: /loaded weights to share/ })
  await small.load(writeWeights(folder, small)).promise
  await t.throwsAsync(whole.share(small).promise, { code: 'INVALID_ARGUMENT', message: /same weight mid_block\./ })
  await t.throwsAsync(whole.forward(inputs).promise, { code: 'INVALID_ARGUMENT', message: /weights to be loaded/ })
  t.throws(() => small.share(whole), { code: 'INVALID_ARGUMENT' })
  const half = create({ kind: 'unet', config: { ...config, hasMidBlock: false } }, { dtype: 'bf16' })
  await t.throwsAsync(half.share(small).promise, { code: 'INVALID_ARGUMENT', message: /number format and kernel set/ })
  const other = create({ kind: 'unet', config: { ...config, hasMidBlock: false, crossAttentionDim: 16 } })
  await t.throwsAsync(other.share(small).promise, { code: 'INVALID_ARGUMENT', message: /same weight .*attn2/ })
  await whole.load(writeWeights(temporaryFolder(t), whole)).promise
  await small.share(whole).promise
  t.true((await small.forward(inputs).promise).sample.data.every(Number.isFinite))
  whole.dispose()
  t.throws(() => small.share(whole), { code: 'DISPOSED' })
  for (const each of [small, half, other]) each.dispose()
})
