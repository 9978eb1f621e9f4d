import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { Queue } from '../../lib/base/queue'
import { runAhead } from '../../lib/base/run-ahead'
import { StableDiffusion, type AsdmError, type GeneratedImage, type GenerateOptions } from '../../lib/index'
import { aborts } from '../support/aborts'
import { fixture } from '../support/fixtures'

const request = { prompt: 'heart', guidanceScale: 1, steps: 2, seed: 3, sampler: 'ddim' }
let sd: StableDiffusion
test.before(async () => { sd = await StableDiffusion.load(fixture('sd15-tiny'), { threads: 1 }) })
test.after.always(() => sd.dispose())
const bytes = ({ rgba }: GeneratedImage): string => Buffer.from(rgba).toString('hex')

test('calls run by priority, then in order; one that is aborted leaves', async t => {
  const queue = new Queue()
  const order: string[] = []
  const end = await queue.turn(undefined)
  const controller = new AbortController()
  const call = async (name: string, priority?: number, signal?: AbortSignal): Promise<void> => {
    const done = await queue.turn(signal, priority)
    order.push(name)
    await Promise.resolve()
    done()
    done()
  }
  const gone = call('gone', 7, controller.signal).catch((error: Error) => error.name)
  const calls = [call('a'), call('b', -1), call('c', 5), call('d'), call('e', 5)]
  t.deepEqual(queue.calls.map(({ priority, running }) => `${priority}${running ? '!' : ''}`), ['0!', '7', '5', '5', '0', '0', '-1'])
  controller.abort()
  t.is(await gone, 'AbortError')
  end()
  await Promise.all(calls)
  t.deepEqual(order, ['c', 'e', 'a', 'd', 'b'])
  t.deepEqual(queue.calls, [])
  t.is(await queue.turn(controller.signal).catch((error: Error) => error.name), 'AbortError')
})

test('turns come in order; one that is aborted makes way', async t => {
  const queue = new Queue()
  const log: string[] = []
  const controller = new AbortController()
  const first = queue.turn(undefined)
  const second = queue.turn(controller.signal)
  const third = queue.turn(undefined).then(end => { log.push('third'); return end })
  const endFirst = await first
  controller.abort()
  await aborts(t, second)
  await new Promise(resolve => setImmediate(resolve))
  t.deepEqual(log, [], 'the third still waits for the first')
  endFirst()
  endFirst()
  const endThird = await third
  t.deepEqual(log, ['third'])
  endThird()
  await aborts(t, queue.turn(AbortSignal.abort()))
  ;(await queue.turn(undefined))()
})

async function* numbers(log: number[], count: number, end?: Error): AsyncGenerator<number, string, void> {
  try {
    for (let i = 0; i < count; i++) {
      log.push(i)
      yield i
    }
    if (end !== undefined) throw end
    return 'end'
  } finally {
    log.push(-1)
  }
}

const pauses: Record<string, (go: () => void) => () => void> = {
  'never': () => () => {},
  'at once': go => { go(); return () => {} },
  'soon': go => { const timer = setTimeout(go, 1); return () => clearTimeout(timer) },
}
for (const [when, pause] of Object.entries(pauses)) {
  test(`a source that runs ahead gives the same in the same order, its error last: ${when}`, async t => {
    const log: number[] = []
    const run = runAhead(numbers(log, 4), pause, () => {})
    t.deepEqual(await run.next(), { done: false, value: 0 })
    await sleep(20)
    t.is(log.length, when === 'never' ? 1 : 5)
    const seen: unknown[] = []
    for (let done = false; !done;) {
      const next = await run.next()
      seen.push(next.value)
      done = next.done === true
    }
    t.deepEqual(seen, [1, 2, 3, 'end'])
    const taken: number[] = []
    const failing = runAhead(numbers([], 2, new Error('last')), pause, () => {})
    await t.throwsAsync(async () => { for await (const number of failing) { taken.push(number); await sleep(2) } }, { message: 'last' })
    t.deepEqual(taken, [0, 1])
  })

  test(`leaving a source ends it: ${when}`, async t => {
    const log: number[] = []
    let stopped = 0
    for await (const number of runAhead(numbers(log, 3), pause, () => { stopped++ })) {
      t.is(number, 0)
      await sleep(5)
      break
    }
    t.is(log.at(-1), -1)
    t.is(stopped, when === 'never' ? 0 : 1)
  })
}

for (const [when, pause] of Object.entries(pauses))
  test(`an error that the consumer throws in ends a source, too: ${when}`, async t => {
    const log: number[] = []
    const run = runAhead(numbers(log, 3), pause, () => {})
    await run.next()
    await sleep(5)
    await t.throwsAsync(run.throw(new Error('enough')), { message: 'enough' })
    t.is(log.at(-1), -1)
  })

test.serial('requests run by priority, and the queue can be read', async t => {
  const order: string[] = []
  const first = sd.steps(request)
  await first.next()
  const made = [['low', -1], ['usual', undefined], ['high', 2]].map(async ([name, priority]) => {
    await sd.generate({ ...request, ...(priority !== undefined && { priority: priority as number }) })
    order.push(name as string)
  })
  t.deepEqual(sd.queue, [
    { priority: 0, running: true }, { priority: 2, running: false }, { priority: 0, running: false }, { priority: -1, running: false },
  ])
  await Promise.all(made)
  for await (const step of first) void step
  t.deepEqual(order, ['high', 'usual', 'low'])
  t.deepEqual(sd.queue, [])
})

test.serial('a request made in a loop over steps of its own model comes after the request of the loop', async t => {
  const [expected] = await sd.generate(request)
  const phases: string[] = []
  for await (const step of sd.steps(request)) {
    phases.push(step.phase)
    t.is(bytes((await sd.generate(request))[0]), bytes(expected))
    if (step.phase === 'done') t.is(bytes(step.images[0]), bytes(expected))
  }
  t.deepEqual(phases, ['text', 'denoise', 'denoise', 'decode', 'done'])
  t.deepEqual(sd.queue, [])
})

test.serial('a request waits for its caller while nobody wants the model', async t => {
  const run = sd.steps(request)
  await run.next()
  await sleep(50)
  t.deepEqual(sd.queue, [{ priority: 0, running: true }])
  const [images] = await Promise.all([sd.generate(request), sleep(20)])
  t.is(images.length, 1)
  t.is((await run.next()).value && 'denoise', 'denoise')
  await run.return([])
  t.deepEqual(sd.queue, [])
})

for (const [name, options] of Object.entries<Partial<GenerateOptions>>({ buffer: { buffer: true }, pauseTimeout: { pauseTimeout: 5 } }))
  test.serial(`steps with ${name} do not hold the model`, async t => {
    const [expected] = await sd.generate(request)
    const phases: string[] = []
    for await (const step of sd.steps({ ...request, ...options })) {
      if (step.phase === 'text') for (let i = 0; i < 1000 && sd.queue.length > 0; i++) await sleep(10)
      phases.push(step.phase)
      if (step.phase === 'done') t.is(bytes(step.images[0]), bytes(expected))
    }
    t.deepEqual(phases, ['text', 'denoise', 'denoise', 'decode', 'done'])
    for await (const step of sd.steps({ ...request, steps: 900, ...options })) if (step.phase === 'denoise') { await sleep(20); break }
    t.deepEqual(sd.queue, [])
  })

for (const [name, options] of Object.entries<Partial<GenerateOptions> & { prompt: string | string[] }>({
  'a batch': { prompt: 'heart', count: 3 }, 'a batch with fresh noise': { prompt: 'heart', count: 3, sampler: 'euler-ancestral' },
  'two prompts': { prompt: ['heart', 'star'], negativePrompt: ['a', 'b'], guidanceScale: 3, count: 2, sampler: 'euler-ancestral' },
  'seeds of their own': { prompt: ['heart', 'star'], seeds: 'per-image' }, 'seeds listed': { prompt: ['heart', 'star'], seed: [5, 2n ** 60n] },
  'a plan': { prompt: 'heart', count: 2, steps: 4, plan: 'deepcache:2,0' },
}))
  test.serial(`settings make an image again by itself: ${name}`, async t => {
    const images = await sd.generate({ ...request, ...options })
    for (const image of images) {
      const again = await sd.generate(image.settings)
      t.is(again.length, 1)
      t.is(bytes(again[0]), bytes(image))
      t.deepEqual(again[0].settings, image.settings)
    }
  })

test.serial('settings say what has to be handed in again', async t => {
  const image = { rgba: new Uint8ClampedArray(64 * 64 * 4).fill(90), width: 64, height: 64 }
  const mask = { rgba: new Uint8ClampedArray(64 * 64 * 4).fill(255), width: 64, height: 64 }
  const size = sd.sizes.default / 8
  const latents = { shape: [2, 4, size, size], data: Float32Array.from({ length: 2 * 4 * size * size }, (_, i) => Math.sin(i)) }
  const refused = async (settings: GenerateOptions, message: RegExp): Promise<void> => {
    t.like(await t.throwsAsync<AsdmError>(sd.generate(settings), { message }), { code: 'INVALID_ARGUMENT' })
  }
  const [fromImage] = await sd.generate({ ...request, image, strength: 0.9 })
  await refused(fromImage.settings, /handed in again/)
  t.is(bytes((await sd.generate({ ...fromImage.settings, image }))[0]), bytes(fromImage))
  const [inpainted] = await sd.generate({ ...request, image, mask, strength: 0.9 })
  await refused({ ...inpainted.settings, image }, /image and mask to be handed in again.*no mask/)
  t.is(bytes((await sd.generate({ ...inpainted.settings, image, mask }))[0]), bytes(inpainted))
  const [, second] = await sd.generate({ ...request, latents, count: 2 })
  await refused(second.settings, /as a tensor/)
  t.is(bytes((await sd.generate({ ...second.settings, latents }))[0]), bytes(second))
})
