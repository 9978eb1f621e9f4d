import net from 'node:net'
import test from 'ava'
import { PNG } from 'pngjs'
import { deepcache, StableDiffusion } from '../../lib'
import { repoPath } from '../support/fixtures'
import { ask, ended, events, modelFolder, started, steps } from './support'

const asked = { prompt: 'a red heart', steps, seed: 7 }

test('a job gives its phases, steps and previews as events, then the image that asdm makes', async t => {
  const { url } = await started(t)
  const { status, json, headers } = await ask(`${url}/api/jobs`, { ...asked, preview: true, plan: 'deepcache:2,0' })
  t.is(status, 202)
  t.is(headers.get('location'), `/api/jobs/${json.id}`)
  const seen: { event: string, data: any }[] = []
  for await (const event of events(await fetch(`${url}/api/jobs/${json.id}/events`))) seen.push(event)
  const states = seen.filter(({ event }) => event === 'state').map(({ data }) => data)
  const { state, progress, images, statistics } = states.at(-1)
  t.is(state, 'done')
  t.is(progress.fraction, 1)
  t.is(statistics.length, 1)
  const fractions = states.map(each => each.progress.fraction)
  t.deepEqual(fractions, [...fractions].sort((a, b) => a - b))
  t.true(seen.some(({ event, data }) => event === 'preview' && data.images[0].startsWith('data:image/png;base64,')))
  const png = Buffer.from(await (await fetch(url + images[0].url)).arrayBuffer())
  await using sd = await StableDiffusion.load(repoPath('models', 'emoji'), { threads: 2 })
  const [image] = await sd.generate({ ...asked, plan: deepcache(2, 0) })
  t.deepEqual(PNG.sync.read(png).data, Buffer.from(image.rgba))
  t.is(images[0].settings.seed, 7)
  t.deepEqual(images[0].settings.plan, JSON.parse(JSON.stringify(image.settings.plan)))
})

test('a text is never taken for a path, and a seed beyond 2^53 stays whole', async t => {
  const { url } = await started(t)
  const file = repoPath('test', 'support', 'temporary.ts')
  for (const image of [file, `file://${file}`, 'https://example.com/a.png', '../a.png', '']) {
    const { status, json } = await ask(`${url}/api/jobs`, { ...asked, image })
    // What looks like base64 is read as that, and is no image.
    if (status === 202) t.is((await ended(url, json.id)).state, 'failed')
    else t.regex(json.error.message, /Expected image to be an image in base64/)
  }
  const { json } = await ask(`${url}/api/jobs`, { ...asked, seed: '18446744073709551615' })
  t.is((await ended(url, json.id)).images[0].settings.seed, '18446744073709551615')
})

test('jobs wait in order of priority, are cancelled while they wait and while they run, and are not taken when the queue is full', async t => {
  const { url } = await started(t, { queueLimit: 2 })
  const submit = async (body: object) => ask(`${url}/api/jobs`, { ...asked, ...body })
  const { json: running } = await submit({ steps: 1000 })
  const { json: low } = await submit({})
  const { json: high } = await submit({ priority: 1 })
  t.is((await ask(`${url}/api/jobs/${low.id}`)).json.position, 2)
  t.is((await ask(`${url}/api/jobs/${high.id}`)).json.position, 1)
  const full = await submit({})
  t.is(full.status, 503)
  t.is(full.json.error.code, 'QUEUE_FULL')
  t.is((await ask(`${url}/ready`)).json.status, 'full')
  t.is((await ask(`${url}/api/jobs/${low.id}`, undefined, { method: 'DELETE' })).json.state, 'cancelled')
  const began = Date.now()
  await ask(`${url}/api/jobs/${running.id}`, undefined, { method: 'DELETE' })
  t.is((await ended(url, running.id)).error.code, 'CANCELLED')
  t.true(Date.now() - began < 10_000)
  t.is((await ended(url, high.id)).state, 'done')
  t.deepEqual((await ask(`${url}/api/jobs`)).json.map((job: any) => job.state).sort(), ['cancelled', 'cancelled', 'done'])
  const { json: statistics } = await ask(`${url}/api/statistics`)
  t.deepEqual(statistics.jobs, { cancelled: 2, done: 1 })
  t.is(statistics.models[0].name, 'emoji')
})

test('a client that reads nothing does not stall its job', async t => {
  const { url } = await started(t)
  const { json: { id } } = await ask(`${url}/api/jobs`, { ...asked, count: 4, preview: true, steps: 20 })
  const { hostname, port } = new URL(url)
  const socket = net.connect(Number(port), hostname)
  socket.write(`GET /api/jobs/${id}/events HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`)
  socket.pause()
  t.teardown(() => socket.destroy())
  t.is((await ended(url, id)).state, 'done')
})

test('wrong jobs are refused by name', async t => {
  const { url } = await started(t)
  for (const [body, message] of [
    [{}, /"prompt"/], [{ ...asked, latents: true }, /"latents"/], [{ ...asked, seed: -2 }, /body\.seed/], [{ ...asked, width: 4 }, /body\.width/],
    [{ ...asked, model: '../emoji' }, /GET \/v1\/models/], [{ ...asked, count: 17 }, /at most 16 images/],
  ] as const) {
    const { status, json } = await ask(`${url}/api/jobs`, body)
    t.is(status, json.error.code === 'MODEL_NOT_FOUND' ? 404 : 400)
    t.regex(json.error.message, message)
  }
  t.is((await ask(`${url}/api/jobs/none`)).status, 404)
  t.is((await ask(`${url}/nowhere`)).status, 404)
  const failed = await ended(url, (await ask(`${url}/api/jobs`, { ...asked, plan: 'deepcache:0' })).json.id)
  t.is(failed.state, 'failed')
  t.is(failed.error.code, 'INVALID_ARGUMENT')
})

test('a plan is written out step by step', async t => {
  const { url } = await started(t)
  const plan = { version: 1, rules: [{ inherit: [{ prefix: 'up_blocks.1', feature: 'branch' }, { prefix: 'mid_block', feature: 'output' }], when: { mode: 'uniform', every: 2 } }] }
  const { status, json } = await ask(`${url}/api/plans/grid`, { plan, steps: 4 })
  t.is(status, 200, JSON.stringify(json))
  t.deepEqual(json.rows, ['up_blocks.1 branch', 'mid_block'])
  t.deepEqual(json.steps.map((step: any) => step.inherits), [[], [0, 1], [], [0, 1]])
  const wrong = await ask(`${url}/api/plans/grid`, { plan: { ...plan, rules: 1 }, steps: 4 })
  t.is(wrong.status, 400)
  t.regex(wrong.json.error.message, /plan\.rules/)
})

test('models give way by least recent use, are unloaded when idle, and must fit', async t => {
  const models = modelFolder(t, 'a', 'b', 'c')
  const first = await started(t, { models })
  await ended(first.url, (await ask(`${first.url}/api/jobs`, { ...asked, model: 'a' })).json.id)
  const { models: [{ bytes }] } = (await ask(`${first.url}/api/statistics`)).json
  t.deepEqual((await ask(`${first.url}/api/models/unload`, { name: 'a' })).json, { unloaded: true })
  t.deepEqual((await ask(`${first.url}/api/statistics`)).json.models, [])

  const { url } = await started(t, { models, memoryLimit: Math.round(bytes * 2.5) })
  const loaded = async (): Promise<string[]> => (await ask(`${url}/api/statistics`)).json.models.map((each: any) => each.name)
  for (const model of ['a', 'b', 'a', 'c']) t.is((await ended(url, (await ask(`${url}/api/jobs`, { ...asked, model })).json.id)).state, 'done')
  t.deepEqual(await loaded(), ['a', 'c'])

  const small = await started(t, { models, memoryLimit: Math.round(bytes / 2), idleMs: 1 })
  const refused = await ended(small.url, (await ask(`${small.url}/api/jobs`, asked)).json.id)
  t.is(refused.error.code, 'MODEL_TOO_LARGE')

  const idle = await started(t, { models, idleMs: 50 })
  await ended(idle.url, (await ask(`${idle.url}/api/jobs`, asked)).json.id)
  await new Promise(resolve => setTimeout(resolve, 1000))
  t.deepEqual((await ask(`${idle.url}/api/statistics`)).json.models, [])
})
