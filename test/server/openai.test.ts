import test from 'ava'
import OpenAI, { APIError, toFile } from 'openai'
import { PNG } from 'pngjs'
import { StableDiffusion } from '../../lib'
import { repoPath } from '../support/fixtures'
import { ask, events, modelFolder, started, steps } from './support'

// By the official client, as its users write.

const client = (url: string, apiKey = 'unused'): OpenAI => new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 })
const pixels = (png: Buffer): Buffer => PNG.sync.read(png).data
const extra = { steps, seed: 7 } as object

/** What asdm itself makes. */
async function direct(options: object): Promise<Buffer> {
  await using sd = await StableDiffusion.load(repoPath('models', 'emoji'), { threads: 2 })
  const [image] = await sd.generate({ prompt: 'a red heart', steps, seed: 7, ...options })
  return Buffer.from(image.rgba)
}

test('an image is the one that asdm makes', async t => {
  const { url } = await started(t)
  const { created, data, size } = await client(url).images.generate({ prompt: 'a red heart', n: 2, size: '64x64', ...extra }) as any
  t.true(Math.abs(created - Date.now() / 1000) < 60)
  t.is(data.length, 2)
  t.is(size, '64x64')
  t.deepEqual(pixels(Buffer.from(data[0].b64_json, 'base64')), await direct({ count: 2 }))
})

test('models are listed, and one that is unknown is refused in words', async t => {
  const { url } = await started(t, { models: modelFolder(t, 'emoji', 'owner/other') })
  const ids: string[] = []
  for await (const { id, object } of client(url).models.list()) ids.push(`${object} ${id}`)
  t.deepEqual(ids, ['model emoji', 'model owner/other'])
  const error = await t.throwsAsync(client(url).images.generate({ model: 'dall-e-3', prompt: 'x' }), { instanceOf: APIError })
  t.is((error as APIError).status, 404)
  t.is((error as APIError).code, 'MODEL_NOT_FOUND')
  t.regex((error as APIError).requestID ?? '', /^[\w-]{36}$/)
})

test('a URL gives the image in the format asked for', async t => {
  const { url } = await started(t)
  const { data = [] } = await client(url).images.generate({ prompt: 'a red heart', response_format: 'url', output_format: 'webp', ...extra })
  const response = await fetch(data[0].url!)
  t.is(response.headers.get('content-type'), 'image/webp')
  t.is(Buffer.from(await response.arrayBuffer()).toString('latin1', 8, 12), 'WEBP')
})

test('a stream has partial images, then the image', async t => {
  const { url } = await started(t)
  const stream = await client(url).images.generate({ prompt: 'a red heart', stream: true, partial_images: 2, ...extra, steps: 12 } as any) as any
  const seen: any[] = []
  for await (const event of stream) seen.push(event)
  const partial = seen.filter(({ type }) => type === 'image_generation.partial_image')
  t.true(partial.length >= 1 && partial.length <= 2)
  t.deepEqual(partial.map(event => event.partial_image_index), partial.map((_, i) => i))
  t.true(pixels(Buffer.from(partial[0].b64_json, 'base64')).length > 0)
  const last = seen.at(-1)
  t.is(last.type, 'image_generation.completed')
  t.deepEqual(pixels(Buffer.from(last.b64_json, 'base64')), await direct({ steps: 12 }))
})

/** A picture with a hole, as OpenAI's masks have. */
function holed(): Buffer {
  const png = new PNG({ width: 64, height: 64 })
  png.data.fill(255)
  for (let y = 0; y < 64; y++) for (let x = 0; x < 32; x++) png.data[(y * 64 + x) * 4 + 3] = 0
  return PNG.sync.write(png)
}

test('an edit repaints where the mask is transparent, and nothing else', async t => {
  const { url } = await started(t)
  const source = await client(url).images.generate({ prompt: 'a blue square', ...extra })
  const before = Buffer.from(source.data![0].b64_json!, 'base64')
  const edited = await client(url).images.edit({
    image: await toFile(before, 'image.png', { type: 'image/png' }), mask: await toFile(holed(), 'mask.png', { type: 'image/png' }),
    prompt: 'a red heart', ...extra,
  })
  const [was, is] = [pixels(before), pixels(Buffer.from(edited.data![0].b64_json!, 'base64'))]
  let [left, right] = [0, 0]
  for (let i = 0; i < was.length; i++)
    if ((i >> 2) % 64 < 32) left += Math.abs(was[i] - is[i])
    else right += Math.abs(was[i] - is[i])
  t.true(left > 10_000, String(left))
  t.is(right, 0)
})

test('an edit without a mask repaints the whole image, in its own size', async t => {
  const { url } = await started(t)
  const image = PNG.sync.write(Object.assign(new PNG({ width: 72, height: 64 }), { data: Buffer.alloc(72 * 64 * 4, 255) }))
  const { data, size } = await client(url).images.edit({
    image: await toFile(image, 'image.png', { type: 'image/png' }), prompt: 'a red heart', n: 2, ...extra,
  }) as any
  t.is(data.length, 2)
  t.is(size, '72x64')
})

test('what is wrong is answered in OpenAI\'s form', async t => {
  const { url } = await started(t, { maxImages: 2, maxPixels: 128 * 128 })
  for (const [body, message] of [
    [{}, /prompt/], [{ prompt: 'x', n: 0 }, /body\.n.*>= 1.*0/], [{ prompt: 'x', n: 3 }, /at most 2 images/], [{ prompt: 'x', size: '256x256' }, /at most 16384 pixels/],
    [{ prompt: 'x', size: 'big' }, /size/], [{ prompt: 'x', unknown: 1 }, /"unknown"/], [{ prompt: 'x', sampler: 'none' }, /none/],
    [{ prompt: 'x', response_format: 'url', stream: true }, /b64_json/], [{ prompt: 'x', size: '63x64' }, /multiple|64/],
  ] as const) {
    const { status, json } = await ask(`${url}/v1/images/generations`, body)
    t.is(status, 400, JSON.stringify(body))
    t.is(json.error.type, 'invalid_request_error')
    t.regex(json.error.message, message)
    t.regex(json.error.message, /^Expected .* (but|received)/)
  }
  t.is((await ask(`${url}/v1/images/edits`, { prompt: 'x' })).status, 400)
  const form = new FormData()
  form.set('prompt', 'x')
  t.regex((await ask(`${url}/v1/images/edits`, undefined, { method: 'POST', body: form })).json.error.message, /a file named image/)
  form.set('image', new Blob(['no image']), 'image.png')
  t.is((await ask(`${url}/v1/images/edits`, undefined, { method: 'POST', body: form })).status, 400)
})

test('a client that goes away ends its job', async t => {
  const { url } = await started(t)
  const stop = new AbortController()
  const asked = fetch(`${url}/v1/images/generations`, {
    method: 'POST', signal: stop.signal, headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: 'x', steps: 1000, stream: true, partial_images: 1 }),
  })
  void events(await asked).next().catch(() => {})
  while (!((await ask(`${url}/api/jobs`)).json[0]?.progress.step > 1)) await new Promise(resolve => setTimeout(resolve, 20))
  stop.abort()
  for (;;) {
    const [job] = (await ask(`${url}/api/jobs`)).json
    if (job.state === 'cancelled') break
    t.true(['running', 'loading'].includes(job.state), job.state)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  t.pass()
})
