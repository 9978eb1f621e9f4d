import path from 'node:path'
import test from 'ava'
import { AsdmError, type ErrorCode } from '../../lib/base/errors'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { Tokenizer } from '../../lib/text/tokenizer'
import { fixture, repoPath } from '../support/fixtures'

let sd: StableDiffusion
test.before(async () => { sd = await StableDiffusion.load(repoPath('models', 'emoji'), { threads: 1 }) })
test.after.always(async () => { await sd?.dispose() })

const fails = async (t: any, promise: Promise<unknown>, code: ErrorCode, message?: RegExp): Promise<void> => {
  const error = await t.throwsAsync(promise, { instanceOf: AsdmError }) as AsdmError
  t.is(error.code, code, error.message)
  if (message !== undefined) t.regex(error.message, message)
}

const pixels = (width: number, height: number, channels = 3) =>
  ({ data: new Uint8Array(Math.max(0, width * height * channels) || 0), width, height })
const fine = { prompt: 'x', steps: 1 }

/** Requests that must be refused, and how. */
const refused: [string, unknown, ErrorCode, RegExp?][] = [
  ['nothing', undefined, 'INVALID_ARGUMENT'],
  ['null', null, 'INVALID_ARGUMENT'],
  ['a text', 'a cat', 'INVALID_ARGUMENT'],
  ['no prompt', {}, 'INVALID_ARGUMENT', /prompt/],
  ['a prompt of a wrong type', { prompt: 5 }, 'INVALID_ARGUMENT', /prompt/],
  ['no prompts', { prompt: [] }, 'INVALID_ARGUMENT', /prompt/],
  ['prompts of wrong types', { prompt: ['a', 5] }, 'INVALID_ARGUMENT', /prompt/],
  ['too many prompts', { prompt: new Array(257).fill('a') }, 'INVALID_ARGUMENT', /256/],
  ['a prompt of 3 MB', { prompt: 'x'.repeat(3e6) }, 'INVALID_ARGUMENT'],
  ['an unknown option', { ...fine, guidance: 3 }, 'INVALID_ARGUMENT', /guidance.*did you mean "guidanceScale"|known are/],
  ['a misspelt option', { ...fine, negativeprompt: 'x' }, 'INVALID_ARGUMENT', /did you mean "negativePrompt"/],
  ['another misspelt option', { ...fine, step: 3 }, 'INVALID_ARGUMENT', /did you mean "steps"/],
  ['an option like no other', { ...fine, qqqqqqqqqqqq: 3 }, 'INVALID_ARGUMENT', /known are prompt/],
  [
    'negative prompts of another number', { ...fine, prompt: ['a', 'b', 'c'], negativePrompt: ['x', 'y'] }, 'INVALID_ARGUMENT',
    /negativePrompt/,
  ],
  ['width 0', { ...fine, width: 0 }, 'INVALID_ARGUMENT', /width/],
  ['width NaN', { ...fine, width: NaN }, 'INVALID_ARGUMENT', /width.*NaN/],
  ['width 2^31', { ...fine, width: 2 ** 31 }, 'INVALID_ARGUMENT', /width.*2147483648/],
  ['a negative height', { ...fine, height: -64 }, 'INVALID_ARGUMENT', /height/],
  ['an infinite height', { ...fine, height: Infinity }, 'INVALID_ARGUMENT', /height/],
  ['a broken width', { ...fine, width: 64.5 }, 'INVALID_ARGUMENT', /width/],
  ['a width as text', { ...fine, width: '64' }, 'INVALID_ARGUMENT', /width/],
  ['a width between multiples', { ...fine, width: 70 }, 'INVALID_ARGUMENT', /68 or 72/],
  ['0 steps', { ...fine, steps: 0 }, 'INVALID_ARGUMENT', /steps/],
  ['more steps than training steps', { ...fine, steps: 1001 }, 'INVALID_ARGUMENT', /1000/],
  ['half a step', { ...fine, steps: 2.5 }, 'INVALID_ARGUMENT', /steps/],
  ['an unknown sampler', { ...fine, sampler: 'dim' }, 'INVALID_ARGUMENT', /ddim/i],
  ['a sampler of a wrong type', { ...fine, sampler: 7 }, 'INVALID_ARGUMENT', /sampler/],
  ['a sampler that is null', { ...fine, sampler: null }, 'INVALID_ARGUMENT', /sampler/],
  ['an unknown scheduler class', { ...fine, sampler: { _class_name: 'MagicScheduler' } }, 'UNSUPPORTED_CONFIG'],
  ['guidance below 0', { ...fine, guidanceScale: -1 }, 'INVALID_ARGUMENT', /guidanceScale/],
  ['guidance NaN', { ...fine, guidanceScale: NaN }, 'INVALID_ARGUMENT', /guidanceScale/],
  ['eta above 1', { ...fine, eta: 1.5 }, 'INVALID_ARGUMENT', /eta/],
  ['a negative seed', { ...fine, seed: -2 }, 'INVALID_ARGUMENT', /seed/],
  ['a broken seed', { ...fine, seed: 0.5 }, 'INVALID_ARGUMENT', /seed/],
  ['a seed above 2^53', { ...fine, seed: 2 ** 54 }, 'INVALID_ARGUMENT', /seed/],
  ['a BigInt seed of 2^64', { ...fine, seed: 2n ** 64n }, 'INVALID_ARGUMENT', /seed/],
  ['a seed as text', { ...fine, seed: '1' }, 'INVALID_ARGUMENT', /seed/],
  ['a seed that is null', { ...fine, seed: null }, 'INVALID_ARGUMENT', /seed/],
  ['count 0', { ...fine, count: 0 }, 'INVALID_ARGUMENT', /count/],
  ['count 257', { ...fine, count: 257 }, 'INVALID_ARGUMENT', /count/],
  ['too many pictures', { ...fine, prompt: ['a', 'b'], count: 200 }, 'INVALID_ARGUMENT', /256/],
  ['too many pixels', { ...fine, count: 17, width: 2048, height: 2048 }, 'INVALID_ARGUMENT', /17 images of 2048x2048; make fewer/],
  ['latents of a wrong type', { ...fine, latents: new Float32Array(1024) }, 'INVALID_ARGUMENT', /latents/],
  [
    'latents of a wrong shape', { ...fine, latents: { data: new Float32Array(1024), shape: [1, 4, 8, 32] } }, 'SHAPE_MISMATCH',
    /\[1,4,16,16\]/,
  ],
  [
    'latents for fewer pictures', { ...fine, count: 2, latents: { data: new Float32Array(1024), shape: [1, 4, 16, 16] } }, 'SHAPE_MISMATCH',
    /\[2,4,16,16\]/,
  ],
  ['latents with NaN', { ...fine, latents: { data: new Float32Array(1024).fill(NaN), shape: [1, 4, 16, 16] } }, 'INVALID_ARGUMENT', /NaN/],
  ['a mask without an image', { ...fine, mask: pixels(64, 64) }, 'INVALID_ARGUMENT', /image/],
  ['strength without an image', { ...fine, strength: 0.5 }, 'INVALID_ARGUMENT', /strength/],
  ['strength 0', { ...fine, image: pixels(64, 64), strength: 0 }, 'INVALID_ARGUMENT', /strength/],
  ['strength above 1', { ...fine, image: pixels(64, 64), strength: 1.1 }, 'INVALID_ARGUMENT', /strength/],
  ['strength that leaves no step', { ...fine, image: pixels(64, 64), strength: 0.5 }, 'INVALID_ARGUMENT', /strength/],
  [
    'image and latents', { ...fine, image: pixels(64, 64), latents: { data: new Float32Array(1024), shape: [1, 4, 16, 16] } },
    'INVALID_ARGUMENT', /latents/,
  ],
  [
    'an image tensor of another size',
    { ...fine, strength: 1, image: { data: new Float32Array(3 * 64 * 64), shape: [1, 3, 64, 64] }, width: 96 }, 'INVALID_ARGUMENT',
    /96x64.*tensor.*64x64/,
  ],
  [
    'an image tensor between multiples', { ...fine, strength: 1, image: { data: new Float32Array(3 * 64 * 70), shape: [1, 3, 64, 70] } },
    'INVALID_ARGUMENT', /68 or 72/,
  ],
  [
    'an image tensor with NaN', { ...fine, strength: 1, image: { data: new Float32Array(3 * 64 * 64).fill(NaN), shape: [1, 3, 64, 64] } },
    'INVALID_ARGUMENT', /NaN/,
  ],
  ['an image that becomes too large', { ...fine, strength: 1, image: pixels(20, 10_000) }, 'INVALID_ARGUMENT', /set width and height/],
  ['an unknown fit', { ...fine, strength: 1, image: pixels(64, 64), fit: 'fill' }, 'INVALID_ARGUMENT', /cover/],
  ['fit without an image', { ...fine, fit: 'cover' }, 'INVALID_ARGUMENT', /image/],
  ['keepOutside without a mask', { ...fine, image: pixels(64, 64), keepOutside: true }, 'INVALID_ARGUMENT', /mask/],
  ['an image on the web', { ...fine, strength: 1, image: 'https://example.org/a.png' }, 'INVALID_ARGUMENT', /fetch it/],
  ['an image on the web as a URL', { ...fine, strength: 1, image: new URL('https://example.org/a.png') }, 'INVALID_ARGUMENT', /fetch it/],
  ['a data: URL without data', { ...fine, strength: 1, image: 'data:image/png' }, 'INVALID_ARGUMENT', /comma/],
  ['a data: URL of text', { ...fine, strength: 1, image: 'data:,hello' }, 'UNSUPPORTED_FORMAT', /data: URL/],
  [
    'image pixels of 16 bits', { ...fine, strength: 1, image: { width: 64, height: 64, data: new Uint16Array(64 * 64 * 3) } },
    'INVALID_ARGUMENT', /8-bit/,
  ],
  ['an empty image', { ...fine, image: pixels(0, 0) }, 'INVALID_ARGUMENT'],
  ['an image with too few bytes', { ...fine, image: { data: new Uint8Array(5), width: 64, height: 64 } }, 'INVALID_ARGUMENT', /5 bytes/],
  ['a grey image', { ...fine, image: pixels(64, 64, 1) }, 'INVALID_ARGUMENT', /3 or 4/],
  ['an image of a wrong type', { ...fine, image: 7 }, 'INVALID_ARGUMENT', /image/],
  ['an image that is null', { ...fine, image: null }, 'INVALID_ARGUMENT', /image/],
  ['an image that does not exist', { ...fine, strength: 1, image: path.join(__dirname, 'no.png') }, 'FILE_NOT_FOUND', /no\.png/],
  ['an image that is no PNG', { ...fine, strength: 1, image: __filename }, 'UNSUPPORTED_FORMAT', /PNG/],
  ['an image that is a folder', { ...fine, strength: 1, image: __dirname }, 'FILE_READ', /folder/],
  ['an image tensor of a batch', { ...fine, image: { data: new Float32Array(2 * 3 * 64 * 64), shape: [2, 3, 64, 64] } }, 'SHAPE_MISMATCH'],
  ['clipSkip below 0', { ...fine, clipSkip: -1 }, 'INVALID_ARGUMENT', /clipSkip/],
  ['clipSkip of all layers', { ...fine, clipSkip: 3 }, 'INVALID_ARGUMENT', /clipSkip/],
  ['promptWeighting of a wrong type', { ...fine, promptWeighting: 1 }, 'INVALID_ARGUMENT', /promptWeighting/],
  ['preview of a wrong type', { ...fine, preview: 'yes' }, 'INVALID_ARGUMENT', /preview/],
  ['a signal of a wrong type', { ...fine, signal: {} }, 'INVALID_ARGUMENT', /signal/],
  ['onProgress of a wrong type', { ...fine, onProgress: 1 }, 'INVALID_ARGUMENT', /onProgress/],
]

for (const [what, options, code, message] of refused)
  test(`generate refuses ${what}`, async t => {
    await fails(t, sd.generate(options as never), code, message)
    await fails(t, (async () => { for await (const step of sd.steps(options as never)) void step })(), code, message)
  })

for (const [what, options, code, message] of [
  ['a path of a wrong type', [5], 'INVALID_ARGUMENT'],
  ['an empty path', [''], 'INVALID_ARGUMENT'],
  ['a path with NUL', ['a\0b'], 'INVALID_ARGUMENT'],
  ['a missing path', [fixture('none')], 'FILE_NOT_FOUND', /none/],
  ['options of a wrong type', [repoPath('models', 'emoji'), 5], 'INVALID_ARGUMENT'],
  ['an unknown option', [repoPath('models', 'emoji'), { thread: 2 }], 'INVALID_ARGUMENT', /did you mean "threads"/],
  ['another dtype', [repoPath('models', 'emoji'), { dtype: 'fp64' }], 'INVALID_ARGUMENT', /dtype/],
  ['another device', [repoPath('models', 'emoji'), { device: 'tpu' }], 'INVALID_ARGUMENT', /device/],
  ['a device without its plugin', [repoPath('models', 'emoji'), { device: 'cuda:1' }], 'UNKNOWN_DEVICE', /option device .* plugin is not installed/],
  ['0 threads', [repoPath('models', 'emoji'), { threads: 0 }], 'INVALID_ARGUMENT', /threads/],
  ['257 threads', [repoPath('models', 'emoji'), { threads: 257 }], 'INVALID_ARGUMENT', /threads/],
  ['an unknown kernel set', [repoPath('models', 'emoji'), { cpu: 'mmx' }], 'INVALID_ARGUMENT', /cpu/],
  ['a missing config folder', [repoPath('models', 'emoji'), { config: fixture('none') }], 'FILE_NOT_FOUND'],
  ['a missing tokenizer folder', [repoPath('models', 'emoji'), { tokenizer: fixture('none') }], 'FILE_NOT_FOUND'],
  [
    'a tokenizer of another model', [repoPath('models', 'emoji'), { tokenizer: repoPath('assets', 'clip-tokenizer') }], 'BAD_CONFIG',
    /tokenizer/,
  ],
  ['a variant that does not exist', [repoPath('models', 'emoji'), { variant: 'fp8' }], 'FILE_NOT_FOUND', /fp8/],
  ['a signal of a wrong type', [repoPath('models', 'emoji'), { signal: 1 }], 'INVALID_ARGUMENT', /signal/],
  ['onProgress of a wrong type', [repoPath('models', 'emoji'), { onProgress: {} }], 'INVALID_ARGUMENT', /onProgress/],
] as [string, unknown[], ErrorCode, RegExp?][])
  test(`load refuses ${what}`, async t => {
    await fails(t, (StableDiffusion.load as any)(...options), code, message)
  })

for (const [what, prompt] of [
  ['empty', ''], ['of lone surrogates', '\ud800 \udfff\ud83c'], ['of 100 kB', 'red apple, '.repeat(9300)], ['of NULs', '\0\0'],
])
  test(`a prompt ${what} makes a picture`, async t => {
    const cut: string[] = []
    const listen = (warning: { cut?: string }): void => { cut.push(warning.cut ?? '') }
    sd.on('warning', listen)
    const [image] = await sd.generate({ prompt, steps: 1, seed: 1 })
    sd.off('warning', listen)
    t.is(image.rgba.length, 64 * 64 * 4)
    if (prompt.length > 1000) t.true(cut.some(text => text.length > 90_000 && prompt.trim().endsWith(text)))
  })

test('components refuse wrong arguments', async t => {
  const sample = { data: new Float32Array(1024), shape: [1, 4, 16, 16] }
  const encoderHiddenStates = { data: new Float32Array(32 * 128), shape: [1, 32, 128] }
  const good = { sample, timestep: 1, encoderHiddenStates }
  const forward = (change: object): Promise<unknown> => sd.unet.forward({ ...good, ...change } as never)
  await fails(t, sd.unet.forward(undefined as never), 'INVALID_ARGUMENT')
  await fails(t, forward({ sample: 5 }), 'INVALID_ARGUMENT')
  await fails(t, forward({ sample: { data: new Float32Array(10), shape: [1, 4, 16, 16] } }), 'SHAPE_MISMATCH')
  await fails(t, forward({ sample: { data: new Float32Array(512), shape: [1, 2, 16, 16] } }), 'SHAPE_MISMATCH')
  await fails(t, forward({ sample: { data: new Float32Array(1024), shape: [4, 16, 16] } }), 'SHAPE_MISMATCH')
  await fails(t, forward({ timestep: NaN }), 'INVALID_ARGUMENT')
  await fails(t, forward({ timestep: [1, 2] }), 'INVALID_ARGUMENT')
  await fails(t, forward({ timestep: 'x' }), 'INVALID_ARGUMENT')
  await fails(t, forward({ encoderHiddenStates: { data: new Float32Array(64), shape: [1, 1, 64] } }), 'SHAPE_MISMATCH', /\[1,L,128\]/)
  await fails(t, forward({ encoderHiddenStates: { data: new Float32Array(256), shape: [2, 1, 128] } }), 'SHAPE_MISMATCH')
  await fails(t, forward({ taps: 'mid_block' }), 'INVALID_ARGUMENT')
  await fails(t, forward({ taps: ['midblock'] }), 'INVALID_ARGUMENT', /mid_block/)
  await fails(t, forward({ timesteps: 1 }), 'INVALID_ARGUMENT', /did you mean "timestep"/)
  await fails(t, forward({ signal: 'x' }), 'INVALID_ARGUMENT')
  await fails(t, sd.vae.decode({ data: new Float32Array(3), shape: [1, 3, 1, 1] }), 'SHAPE_MISMATCH')
  await fails(t, sd.vae.decode([] as never), 'INVALID_ARGUMENT')
  await fails(t, sd.vae.encode({ data: new Float32Array(3 * 63 * 64), shape: [1, 3, 63, 64] }), 'SHAPE_MISMATCH', /multiples of 4/)
  await fails(t, sd.vae.encode(null as never), 'INVALID_ARGUMENT')
  const ids = sd.tokenizer.encode('x')
  await fails(t, sd.textEncoder.encode([...ids] as never), 'INVALID_ARGUMENT')
  await fails(t, sd.textEncoder.encode([]), 'INVALID_ARGUMENT')
  await fails(t, sd.textEncoder.encode(new Int32Array(33)), 'INVALID_ARGUMENT')
  await fails(t, sd.textEncoder.encode([ids, ids.subarray(1)]), 'INVALID_ARGUMENT')
  await fails(t, sd.textEncoder.encode(Int32Array.of(2253)), 'INVALID_ARGUMENT', /2252/)
  await fails(t, sd.textEncoder.encode(Int32Array.of(-1)), 'INVALID_ARGUMENT')
  await fails(t, sd.textEncoder.encode(ids, { clipSkip: 3 }), 'INVALID_ARGUMENT')
  await fails(t, sd.textEncoder.encode(ids, { clipskip: 1 } as never), 'INVALID_ARGUMENT', /clipSkip/)
  await fails(t, Tokenizer.load(5 as never), 'INVALID_ARGUMENT')
  t.is((await sd.unet.forward(good)).sample.shape.length, 4)
})
