import test from 'ava'
import { TextEncoder } from '../../lib/components/text-encoder'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { FeatureCache } from '../../lib/text/feature-cache'
import { aborts } from '../support/aborts'
import { fixture, repoPath } from '../support/fixtures'

const window = 77
const ids = (seed: number): Int32Array => Int32Array.from({ length: window }, (_, i) => (i * 7919 + seed * 31) % 500)

/** Counts the rows that an encoder is asked for. */
function counted(encoder: TextEncoder): number[] {
  const rows: number[] = []
  const encode = encoder.encode.bind(encoder)
  encoder.encode = (given, options) => {
    rows.push(Array.isArray(given) ? given.length : 1)
    return encode(given, options)
  }
  return rows
}

test('what was encoded is not encoded again, alone or beside others, and has the same bits', async t => {
  const encoder = await TextEncoder.load(fixture('sd15-tiny', 'text_encoder'), { threads: 1 })
  t.teardown(() => encoder.dispose())
  const plain = await encoder.encode([ids(1), ids(2), ids(3)])
  const skipped = await encoder.encode([ids(1)], { clipSkip: 1 })
  const rows = counted(encoder)
  const cache = new FeatureCache()
  t.deepEqual((await cache.encode(encoder, [ids(1), ids(2)], 0, undefined)).data, plain.data.slice(0, plain.data.length / 3 * 2))
  t.deepEqual(await cache.encode(encoder, [ids(1), ids(2), ids(3)], 0, undefined), plain)
  // What a caller does to its copy reaches no one else.
  ;(await cache.encode(encoder, [ids(2)], 0, undefined)).data.fill(NaN)
  t.deepEqual(await cache.encode(encoder, [ids(1), ids(2), ids(3)], 0, undefined), plain)
  t.deepEqual(rows, [2, 1])
  t.deepEqual(await cache.encode(encoder, [ids(1)], 1, undefined), skipped)
  t.notDeepEqual(skipped.data, plain.data.slice(0, skipped.data.length))
  t.deepEqual(rows, [2, 1, 1])
  t.is(cache.bytes, 4 * window * encoder.config.hiddenSize * 4)
  cache.clear()
  t.is(cache.bytes, 0)
  await cache.encode(encoder, [ids(1)], 0, undefined)
  t.deepEqual(rows, [2, 1, 1, 1])
})

test('its bytes are bounded: the longest unused row goes first', async t => {
  const encoder = await TextEncoder.load(fixture('sd15-tiny', 'text_encoder'), { threads: 1 })
  t.teardown(() => encoder.dispose())
  const each = window * encoder.config.hiddenSize * 4
  const rows = counted(encoder)
  const cache = new FeatureCache(2 * each)
  for (const seed of [1, 2, 1, 3, 1, 2]) await cache.encode(encoder, [ids(seed)], 0, undefined)
  t.deepEqual(rows.length, 4, '1 2 3, and 2 again, which made room for 3')
  t.is(cache.bytes, 2 * each)
  // More at once than there is room for is given all the same.
  const many = await cache.encode(encoder, [4, 5, 6, 7].map(ids), 0, undefined)
  t.deepEqual(many, await encoder.encode([4, 5, 6, 7].map(ids)))
  t.is(cache.bytes, 2 * each)
  // A failure keeps nothing.
  await aborts(t, cache.encode(encoder, [ids(9)], 0, AbortSignal.abort()))
  t.is(cache.bytes, 2 * each)
})

test('a model encodes a prompt once, and makes the same picture', async t => {
  const sd = await StableDiffusion.load(repoPath('models', 'emoji'), { threads: 2 })
  t.teardown(() => sd.dispose())
  const rows = counted(sd.textEncoder)
  const request = {
    prompt: 'a 3d emoji of (red:1.3) apple', promptWeighting: true, negativePrompt: 'flat', steps: 1, seed: 3, guidanceScale: 3,
  }
  const [first] = await sd.generate(request)
  const [second] = await sd.generate(request)
  t.deepEqual(second.rgba, first.rgba)
  t.deepEqual(rows, [2])
  await sd.generate({ ...request, prompt: 'a 3d emoji of rocket' })
  await sd.generate({ ...request, clipSkip: 1 })
  t.deepEqual(rows, [2, 1, 2])
  const fresh = await StableDiffusion.load(repoPath('models', 'emoji'), { threads: 1 })
  t.teardown(() => fresh.dispose())
  t.deepEqual((await fresh.generate(request))[0].rgba, first.rgba)
})
