import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import { Slices } from '../../lib/base/slices'
import type { GeneratedImage } from '../../lib/image/generated-image'
import { BatchNoise } from '../../lib/random/batch-noise'
import { TorchGenerator } from '../../lib/random/torch-generator'
import type { GenerateOptions } from '../../lib/request'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { fixture } from '../support/fixtures'

const base = { prompt: 'a photo of a cat', steps: 3, width: 64, height: 64, guidanceScale: 3 }
const pixels = (value: (i: number) => number, channels = 3) =>
  ({ data: Uint8Array.from({ length: 64 * 64 * channels }, (_, i) => value(i)), width: 64, height: 64 })
const bytes = ({ rgba }: GeneratedImage): string => Buffer.from(rgba).toString('base64')

let sd: StableDiffusion
test.before(async () => { sd = await StableDiffusion.load(fixture('sd15-tiny'), { threads: 2 }) })
test.after.always(async () => { await sd?.dispose() })

test('a batch of generators draws what each draws alone, as diffusers does for a list of them', async t => {
  const batch = new BatchNoise([7, 2n ** 60n])
  const alone = [new TorchGenerator(7), new TorchGenerator(2n ** 60n)]
  for (const shape of [[2, 4, 8, 8], [2, 1, 1, 3]]) {
    const drawn = await batch.randnSliced(shape, new Slices())
    t.deepEqual(drawn.shape, shape)
    t.deepEqual([...drawn.data], alone.flatMap(generator => [...generator.randn([1, ...shape.slice(1)]).data]))
  }
})

const image = pixels(i => i * 7 % 256)
const mask = pixels(i => (i % 64 < 32 ? 255 : 0), 1)
for (const [name, options] of Object.entries<Partial<GenerateOptions>>({
  'from text': {}, 'with a sampler that draws': { sampler: 'euler-ancestral' }, 'from an image': { image }, 'inpainting': { image, mask, strength: 0.7 },
}))
  test(`each image of a per-image batch is the one made alone, ${name}`, async t => {
    const request = { ...base, ...options }
    const batch = await sd.generate({ ...request, seed: 41, seeds: 'per-image', count: 3 })
    t.is(new Set(batch.map(bytes)).size, 3)
    for (const [i, made] of batch.entries()) {
      const [alone] = await sd.generate({ ...request, seed: 41 + i })
      t.is(bytes(made), bytes(alone))
      t.deepEqual(made.settings, alone.settings)
    }
    const listed = await sd.generate({ ...request, seed: [43, 41], prompt: [base.prompt, base.prompt] })
    t.deepEqual(listed.map(bytes), [bytes(batch[2]), bytes(batch[0])])
    t.deepEqual(listed.map(({ seed }) => seed), [43, 41])
  })

test('one generator for all is the default; -1 is random', async t => {
  const [first, second] = await sd.generate({ ...base, seed: 41, count: 2 })
  t.like(second.settings, { seed: 41, index: 1, count: 2 })
  t.deepEqual((await sd.generate({ ...base, seed: 41, seeds: 'same-generator', count: 2 })).map(bytes), [bytes(first), bytes(second)])
  const random = await sd.generate({ ...base, steps: 1, seed: [-1, -1], count: 2 })
  t.true(random.every(({ seed }) => typeof seed === 'number' && seed >= 0) && random[0].seed !== random[1].seed)
  t.true(Number((await sd.generate({ ...base, steps: 1, seed: -1 }))[0].seed) >= 0)
  const [, after] = await sd.generate({ ...base, steps: 1, seed: 2n ** 64n - 1n, seeds: 'per-image', count: 2 })
  t.is(after.seed, 0n)
})

test('seeds that fit nothing are refused', async t => {
  for (const options of [
    { seed: [1] }, { seed: [1, 2, 3] }, { seed: [1, 'x'] }, { seed: [1, null] }, { seed: new Array(2) }, { seed: [1, 2], seeds: 'same-generator' }, { seeds: 'each' },
    { seed: -2 }, { seed: [0.5, 1] },
  ])
    t.is((await t.throwsAsync<AsdmError>(sd.generate({ ...base, count: 2, ...options } as never)))?.code, 'INVALID_ARGUMENT', JSON.stringify(options))
})
