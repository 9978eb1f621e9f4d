import http from 'node:http'
import test from 'ava'
import { AsdmError } from '../../lib'
import { serve } from '../../packages/server/src'
import { ask, ended, started, steps } from './support'

const asked = { prompt: 'a red heart', steps, seed: 7 }

/** Asks with headers that fetch does not let through. */
const raw = async (url: string, headers: http.OutgoingHttpHeaders): Promise<number> => new Promise((resolve, reject) => {
  http.get(url, { headers, agent: false }, response => {
    response.resume()
    resolve(response.statusCode ?? 0)
  }).on('error', reject)
})

test('wrong options are refused', async t => {
  for (const [options, message] of [
    [{ model: 'emoji', host: '0.0.0.0' }, /token/], [{}, /models/], [{ model: 'emoji', token: 'short' }, /token/], [{ model: 'emoji', port: -1 }, /port/],
    [{ model: 'emoji', colour: 1 }, /"colour"/], [{ model: 'emoji', cors: ['localhost'] }, /cors/], [{ model: 'emoji', load: { unets: {} } }, /"unets"/],
    [{ model: 'emoji', logLevel: 'loud' }, /logLevel/], [{ model: 3 }, /model/], [{ model: 'emoji', memoryLimit: '1' }, /memoryLimit/],
  ] as [any, RegExp][]) {
    const error = await t.throwsAsync(serve(options), { message })
    t.is(error?.name, AsdmError.name)
    t.is((error as AsdmError).code, 'INVALID_ARGUMENT')
  }
})

test('with a token only those who send it are heard', async t => {
  const token = 'correct-horse-battery'
  const { url, log } = await started(t, { token })
  const withAuthorization = async (authorization: string): Promise<number> => (await ask(`${url}/v1/models`, undefined, { headers: { authorization } })).status
  t.is((await ask(`${url}/v1/models`)).status, 401)
  t.is(await withAuthorization('Bearer wrong'), 401)
  t.is(await withAuthorization(`Bearer ${token}x`), 401)
  t.is(await withAuthorization(`Bearer ${token}`), 200)
  t.is(await withAuthorization(`Basic ${Buffer.from(`user:${token}`).toString('base64')}`), 200)
  for (const path of ['/metrics', '/openapi.json', '/api/jobs', '/nowhere']) t.is((await ask(url + path)).status, 401, path)
  for (const path of ['/health', '/ready']) t.is((await ask(url + path)).status, 200, path)
  t.false(log.join('').includes(token))
})

test('without a token pages of other origins and foreign host names are refused', async t => {
  const { url } = await started(t, { cors: ['http://localhost:5173'] })
  const { host } = new URL(url)
  t.is(await raw(`${url}/health`, { host }), 200)
  t.is(await raw(`${url}/health`, { host: 'evil.example' }), 403)
  t.is(await raw(`${url}/health`, { host, origin: 'http://evil.example' }), 403)
  t.is(await raw(`${url}/health`, { host, origin: `http://${host}` }), 200)
  t.is(await raw(`${url}/health`, { host, 'sec-fetch-site': 'cross-site' }), 403)
  t.is(await raw(`${url}/health`, { host, origin: 'http://localhost:5173' }), 200)
})

test('CORS is off unless it is asked for', async t => {
  const origin = 'http://localhost:5173'
  const [off, on] = [await started(t, { token: 'a-long-token' }), await started(t, { token: 'a-long-token', cors: [origin] })]
  const allowed = async (url: string, from: string) => (await ask(`${url}/health`, undefined, { headers: { origin: from } })).headers.get('access-control-allow-origin')
  t.is(await allowed(off.url, origin), null)
  t.is(await allowed(on.url, origin), origin)
  t.is(await allowed(on.url, 'http://evil.example'), null)
})

test('requests have ids, and bodies a limit', async t => {
  const { url } = await started(t, { bodyLimit: 2048 })
  t.is((await ask(`${url}/health`, undefined, { headers: { 'x-request-id': 'mine-1' } })).headers.get('x-request-id'), 'mine-1')
  t.regex((await ask(`${url}/health`, undefined, { headers: { 'x-request-id': 'no good' } })).headers.get('x-request-id') ?? '', /^[\da-f-]{36}$/)
  const large = await ask(`${url}/api/jobs`, { ...asked, image: 'A'.repeat(4000) })
  t.is(large.status, 413)
  t.is((await ask(`${url}/api/jobs`, undefined, { method: 'POST', body: '{', headers: { 'content-type': 'application/json' } })).status, 400)
  t.is((await ask(`${url}/api/jobs`, undefined, { method: 'POST', body: 'x', headers: { 'content-type': 'text/plain' } })).status, 415)
})

test('metrics and log say what was done, and no prompt', async t => {
  const { url, log } = await started(t)
  await ended(url, (await ask(`${url}/api/jobs`, { ...asked, prompt: 'a secret wish', count: 2 })).json.id)
  const { json: metrics, headers } = await ask(`${url}/metrics`)
  t.regex(headers.get('content-type') ?? '', /^text\/plain/)
  for (const line of [
    'asdm_jobs_total{api="jobs",state="done"} 1', 'asdm_images_total{model="emoji"} 2', 'asdm_model_loads_total{model="emoji"} 1',
    'asdm_jobs_waiting 0', 'asdm_jobs_running 0', 'asdm_models_loaded 1', 'asdm_event_clients 0',
    'asdm_http_request_seconds_count{method="POST",route="/api/jobs",status="202"} 1',
  ]) t.true(metrics.includes(`${line}\n`), line)
  const lines = log.map(line => JSON.parse(line))
  t.true(lines.some(({ msg, state, images }) => msg === 'job ended' && state === 'done' && images === 2))
  t.true(lines.some(({ msg, route }) => msg === 'answered' && route === '/api/jobs'))
  t.false(log.join('').includes('secret'))
})

test('the OpenAPI document has every route', async t => {
  const { url } = await started(t)
  const { json } = await ask(`${url}/openapi.json`)
  t.is(json.openapi, '3.1.0')
  for (const path of [
    '/v1/images/generations', '/v1/images/edits', '/v1/models', '/api/jobs', '/api/jobs/{id}', '/api/jobs/{id}/events', '/api/jobs/{id}/images/{file}',
    '/sdapi/v1/txt2img', '/sdapi/v1/img2img', '/sdapi/v1/progress', '/sdapi/v1/options',
    '/api/models', '/api/models/unload', '/api/plans/grid', '/api/statistics', '/health', '/ready', '/metrics', '/openapi.json',
  ]) t.true(path in json.paths, path)
  t.deepEqual(json.paths['/api/jobs'].post.requestBody.content['application/json'].schema.required, ['prompt'])
})

test('a stop lets the running job end, and cancels those that wait', async t => {
  const { server, url } = await started(t)
  const running = ask(`${url}/v1/images/generations`, { prompt: 'x', steps: 8 })
  while ((await ask(`${url}/api/jobs`)).json.length === 0) await new Promise(resolve => setTimeout(resolve, 5))
  const waiting = ask(`${url}/v1/images/generations`, { prompt: 'x', steps: 8 })
  while ((await ask(`${url}/api/jobs`)).json.length < 2) await new Promise(resolve => setTimeout(resolve, 5))
  await server.close()
  t.is((await running).status, 200)
  const refused = await waiting
  t.is(refused.status, 503)
  t.is(refused.json.error.code, 'STOPPING')
  await t.throwsAsync(fetch(`${url}/health`))
})

test('a stop ends a job that takes too long', async t => {
  const { server, url } = await started(t, { stopMs: 100 })
  const running = ask(`${url}/v1/images/generations`, { prompt: 'x', steps: 1000 })
  while ((await ask(`${url}/api/jobs`)).json.length === 0) await new Promise(resolve => setTimeout(resolve, 5))
  const began = Date.now()
  await server.close()
  t.is((await running).status, 503)
  t.true(Date.now() - began < 20_000)
})
