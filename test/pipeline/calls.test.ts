import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import type { Step } from '../../lib/progress'
import { StableDiffusion } from '../../lib/stable-diffusion'
import type { LoadStep } from '../../lib/parts'
import { aborts } from '../support/aborts'
import { repoPath } from '../support/fixtures'

const emoji = repoPath('models', 'emoji')
const request = { prompt: 'a flat emoji of rocket', guidanceScale: 3, steps: 3, seed: 5 }

let sd: StableDiffusion
let wanted: Uint8ClampedArray
test.before(async () => {
  sd = await StableDiffusion.load(emoji, { threads: 2 })
  wanted = (await sd.generate(request))[0].rgba
})
test.after.always(async () => { await sd?.dispose() })

test('the same seed gives the same bits, whatever the number of threads', async t => {
  for (const threads of [1, 2, 5]) {
    const other = await StableDiffusion.load(emoji, { threads })
    const [image] = await other.generate(request)
    await other.dispose()
    t.deepEqual(image.rgba, wanted, `${threads} threads`)
  }
  t.notDeepEqual((await sd.generate({ ...request, seed: 6 }))[0].rgba, wanted)
})

test('a seed is drawn and reported where none is given', async t => {
  const [first] = await sd.generate({ ...request, seed: undefined, steps: 1 })
  const [second] = await sd.generate({ ...request, seed: undefined, steps: 1 })
  t.true(Number.isInteger(first.seed))
  t.not(first.seed, second.seed)
  t.deepEqual((await sd.generate({ ...request, steps: 1, seed: first.seed }))[0].rgba, first.rgba)
})

test('a picture knows its settings, and they make it again', async t => {
  const [, image] = await sd.generate({ prompt: 'heart', steps: 2, seed: 2n ** 40n, count: 2 })
  const { prompt, negativePrompt, guidanceScale, steps, sampler, eta, seed, width, height, count, clipSkip, promptWeighting,
    index } = image.settings
  t.like(image.settings, {
    prompt: 'heart', negativePrompt: '', guidanceScale: 3, steps: 2, eta: 0, seed: 2n ** 40n, width: 64, height: 64, count: 2, index: 1,
  })
  const again = await sd.generate({
    prompt, negativePrompt, guidanceScale, steps, sampler, eta, seed, width, height, count, clipSkip, promptWeighting,
  })
  t.deepEqual(again[index].rgba, image.rgba)
})

test('steps tell progress and end with the pictures', async t => {
  const steps: Step[] = []
  for await (const step of sd.steps({ ...request, count: 2, preview: true })) steps.push(step)
  t.deepEqual(steps.map(({ phase, index, of }) => `${phase} ${index}/${of}`),
    ['text 1/1', 'denoise 1/3', 'denoise 2/3', 'denoise 3/3', 'decode 1/2', 'decode 2/2', 'done 1/1'])
  t.true(steps.every(({ ms }) => ms >= 0))
  t.is(steps[0].etaMs, undefined)
  t.true(steps.slice(1).every(({ etaMs }) => etaMs !== undefined && etaMs >= 0))
  t.is(steps[6].etaMs, 0)
  const second = steps[2]
  t.is(second.phase, 'denoise')
  if (second.phase === 'denoise') {
    t.deepEqual(second.preview?.map(({ width, height, rgba }) => [width, height, rgba.length]), [[16, 16, 1024], [16, 16, 1024]])
    t.deepEqual(second.latents.shape, [2, 4, 16, 16])
  }
  const last = steps[6]
  t.is(last.phase === 'done' ? last.images.length : 0, 2)
})

test('the pictures are also what the generator returns, and the same that generate gives', async t => {
  const run = sd.steps(request)
  let next = await run.next()
  while (next.done !== true) next = await run.next()
  t.deepEqual(next.value[0].rgba, wanted)
})

test('the preview looks like the picture', async t => {
  let preview: Uint8ClampedArray | undefined
  const [image] = await sd.generate({
    prompt: 'a 3d emoji of red apple', guidanceScale: 3, steps: 10, seed: 7, preview: true,
    onProgress: step => { if (step.phase === 'denoise') preview = step.preview![0].rgba },
  })
  let error = 0
  let spread = 0
  for (let y = 0; y < 16; y++) for (let x = 0; x < 16; x++) for (let c = 0; c < 3; c++) {
    let mean = 0
    for (let i = 0; i < 16; i++) mean += image.rgba[(((y * 4 + (i >> 2)) * 64) + x * 4 + (i & 3)) * 4 + c] / 16
    error += (preview![(y * 16 + x) * 4 + c] - mean) ** 2
    spread += (mean - 128) ** 2
  }
  t.true(error < spread / 8, `${error / spread}`)
})

test('breaking out of the steps ends the request', async t => {
  for (const phase of ['text', 'denoise', 'decode'] as const) {
    for await (const step of sd.steps(request)) if (step.phase === phase) break
    t.deepEqual((await sd.generate(request))[0].rgba, wanted)
  }
})

test('an error in a callback rejects the call, and the model works on', async t => {
  await t.throwsAsync(
    sd.generate({ ...request, onProgress: () => { throw new Error('from the callback') } }), { message: 'from the callback' },
  )
  t.deepEqual((await sd.generate(request))[0].rgba, wanted)
})

test('a request can be aborted before it begins and in each phase', async t => {
  const reason = new Error('enough')
  await aborts(t, sd.generate({ ...request, signal: AbortSignal.abort(reason) }))
  for (const phase of ['text', 'denoise', 'decode'] as const) {
    const controller = new AbortController()
    const error = await aborts(t, sd.generate({ ...request, signal: controller.signal, onProgress: step => {
      if (step.phase === phase)
        controller.abort(reason)
    } }))
    t.is(error.cause, reason, phase)
  }
  for (const [phase, delayMs] of [['text', 0], ['denoise', 2], ['denoise', 10], ['decode', 1]] as const) {
    const controller = new AbortController()
    const call = sd.generate({ ...request, count: 3, signal: controller.signal, onProgress: step => {
      if (step.phase === phase)
        setTimeout(() => controller.abort(), delayMs)
    } })
    await aborts(t, call, `${phase} after ${delayMs} ms`)
  }
  const late = new AbortController()
  t.deepEqual((await sd.generate({ ...request, signal: late.signal }))[0].rgba, wanted)
  late.abort()
  t.deepEqual((await sd.generate(request))[0].rgba, wanted)
})

test('an abort is noticed inside a step', async t => {
  const controller = new AbortController()
  let aborted = 0
  const call = sd.generate({
    ...request, width: 512, height: 512, steps: 50, signal: controller.signal,
    onProgress: step => { if (step.phase === 'text') setTimeout(() => { aborted = performance.now(); controller.abort() }, 20) },
  })
  await aborts(t, call)
  const ms = performance.now() - aborted
  // The promise is 100 ms on a machine that does nothing else.
  t.true(ms < 1000, `${ms} ms`)
})

test('calls queue in order, and aborted ones leave the queue at once', async t => {
  const order: string[] = []
  const controller = new AbortController()
  const call = (name: string, signal?: AbortSignal): Promise<unknown> =>
    sd.generate({ ...request, signal, onProgress: step => {
      if (step.phase === 'done' || step.phase === 'text')
        order.push(`${name} ${step.phase}`)
    } })
  const first = call('first')
  const second = call('second', controller.signal)
  const third = call('third')
  controller.abort()
  await aborts(t, second)
  t.false(order.includes('first done'))
  await Promise.all([first, third])
  t.deepEqual(order, ['first text', 'first done', 'third text', 'third done'])
})

test('the parts can be used while the pipeline runs', async t => {
  const ids = sd.tokenizer.encode('rocket')
  const before = await sd.textEncoder.encode(ids)
  const [images, features] = await Promise.all([sd.generate(request), sd.textEncoder.encode(ids)])
  t.deepEqual(images[0].rgba, wanted)
  t.deepEqual(features.data, before.data)
})

test('two models run side by side', async t => {
  const other = await StableDiffusion.load(emoji, { threads: 1 })
  const [[a], [b]] = await Promise.all([sd.generate(request), other.generate(request)])
  await other.dispose()
  t.deepEqual(a.rgba, wanted)
  t.deepEqual(b.rgba, wanted)
})

test('dispose stops what is under way, and later calls say so', async t => {
  const other = await StableDiffusion.load(emoji, { threads: 1 })
  const running = other.generate({ ...request, steps: 50, width: 128, height: 128 })
  const waiting = other.generate(request)
  const both = Promise.all([aborts(t, running), aborts(t, waiting)])
  await new Promise(resolve => setTimeout(resolve, 30))
  await other.dispose()
  await other.dispose()
  const [error] = await both
  t.is((error.cause as AsdmError).code, 'DISPOSED')
  const disposed = { instanceOf: AsdmError, code: 'DISPOSED' }
  await t.throwsAsync(other.generate(request), disposed)
  t.throws(() => other.steps(request), disposed)
  await t.throwsAsync(other.textEncoder.encode(other.tokenizer.encode('x')), disposed)
  await t.throwsAsync(other.vae.decode({ data: new Float32Array(256), shape: [1, 4, 8, 8] }), disposed)
  await t.throwsAsync(other.vae.encode({ data: new Float32Array(3 * 64), shape: [1, 3, 8, 8] }), disposed)
  await t.throwsAsync(
    other.unet.forward({
      sample: { data: new Float32Array(256), shape: [1, 4, 8, 8] }, timestep: 1,
      encoderHiddenStates: { data: new Float32Array(128), shape: [1, 1, 128] },
    }),
    disposed,
  )
  t.throws(() => other.unet.tapNames(), disposed)
})

test('dispose inside of a steps loop ends it', async t => {
  const other = await StableDiffusion.load(emoji, { threads: 1 })
  const error = await aborts(t, (async () => {
    for await (const step of other.steps(request))
      if (step.phase === 'denoise') await other.dispose()
  })())
  t.is((error.cause as AsdmError).code, 'DISPOSED')
})

test('loading tells progress and can be aborted', async t => {
  const progress: LoadStep[] = []
  const other = await StableDiffusion.load(emoji, { threads: 1, onProgress: step => progress.push(step) })
  await other[Symbol.asyncDispose]()
  const last = progress[progress.length - 1]
  t.true(last.bytesTotal > 30e6)
  t.is(last.bytesDone, last.bytesTotal)
  t.true(progress.every((step, i) => i === 0 || step.bytesDone >= progress[i - 1].bytesDone))
  t.deepEqual([...new Set(progress.map(({ part }) => part))], ['textEncoder', 'unet', 'vae'])
  await aborts(t, StableDiffusion.load(emoji, { signal: AbortSignal.abort() }))
  const controller = new AbortController()
  await aborts(t, StableDiffusion.load(emoji, { signal: controller.signal, onProgress: () => controller.abort() }))
})

test('a prompt that is cut gives a warning event that says what was cut', async t => {
  const warnings: { code: string, prompt?: string, cut?: string, message: string }[] = []
  const listen = (warning: (typeof warnings)[0]): void => { warnings.push(warning) }
  sd.on('warning', listen)
  const prompt = `${'red apple '.repeat(20)}and a blue bird`
  await sd.generate({ prompt, negativePrompt: 'short', steps: 1 })
  sd.off('warning', listen)
  t.is(warnings.length, 1)
  t.is(warnings[0].code, 'PROMPT_TRUNCATED')
  t.is(warnings[0].prompt, prompt)
  t.true(prompt.endsWith(warnings[0].cut!) && warnings[0].cut!.endsWith('and a blue bird'))
  t.regex(warnings[0].message, /and a blue bird/)
})
