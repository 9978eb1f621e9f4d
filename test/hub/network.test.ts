import fs from 'node:fs'
import http from 'node:http'
import path from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { AsdmError, type ErrorCode } from '../../lib/base/errors'
import { HubClient } from '../../lib/hub/http'
import { systemIO, type HubIO } from '../../lib/hub/io'
import { aborts } from '../support/aborts'
import { filesBelow, gitBlob, json, quickIO, sendAndBreak, sendBytes, setting, sha256, type Setting } from './fake-hub'

const unet = 'unet/diffusion_pytorch_model.safetensors'
const config = 'unet/config.json'

async function refused(t: ExecutionContext, pulling: Promise<unknown>, code: ErrorCode, says: RegExp): Promise<AsdmError> {
  const error = await t.throwsAsync(pulling, { instanceOf: AsdmError })
  t.is(error?.code, code, error?.message)
  t.regex(error!.message, says)
  return error!
}

/** Nothing that is not whole has a name: no reference, blobs that are what they are called, links to such blobs only. */
function whole(t: ExecutionContext, { folder, hub }: Setting, except: string[] = []): void {
  t.false(fs.existsSync(path.join(folder, 'refs')))
  for (const name of fs.existsSync(path.join(folder, 'blobs')) ? fs.readdirSync(path.join(folder, 'blobs')) : []) {
    if (name.endsWith('.asdm-incomplete')) continue
    const bytes = fs.readFileSync(path.join(folder, 'blobs', name))
    t.is(name.length === 64 ? sha256(bytes) : gitBlob(bytes), name)
  }
  for (const name of filesBelow(path.join(folder, 'snapshots', hub.commit))) {
    t.false(except.includes(name), name)
    t.true(fs.readFileSync(path.join(folder, 'snapshots', hub.commit, name)).equals(hub.files[name]))
  }
}

const partial = ({ folder, hub }: Setting, file = unet): string => path.join(folder, 'blobs', `${sha256(hub.files[file])}.asdm-incomplete`)

test('a connection that breaks is taken up where it broke', async t => {
  const s = await setting(t)
  const bytes = s.hub.files[unet]
  let breaks = 0
  const kept = (): boolean => fs.statSync(partial(s), { throwIfNoEntry: false })?.size === breaks * 100_000
  s.hub.answer = (_request, response, { server, file, range }) => {
    if (server !== 'storage' || file !== unet || breaks === 9) return false
    breaks++
    sendAndBreak(response, bytes, range, 100_000, kept)
    return true
  }
  const io = quickIO()
  const model = await s.pull({}, io)
  t.is(breaks, 9)
  t.true(fs.readFileSync(path.join(model.path, unet)).equals(bytes))
  const ranges = s.hub.fetches(unet).map(({ range }) => Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0))
  t.deepEqual(ranges, Array.from({ length: 10 }, (_, i) => i * 100_000))
  // Every attempt brought something, so the pauses do not grow.
  t.true(io.slept.length >= 9 && io.slept.every(ms => ms < 1000))
  t.is(model.bytesFetched, model.bytes)
})

test('one that only ever breaks is given up; what has arrived is kept for the next time', async t => {
  const s = await setting(t)
  const bytes = s.hub.files[unet]
  let sent = 0
  const kept = (): boolean => (fs.statSync(partial(s), { throwIfNoEntry: false })?.size ?? 0) >= 200_000
  s.hub.answer = (_request, response, { server, file, range }) => {
    if (server !== 'storage' || file !== unet) return false
    sendAndBreak(response, bytes, range, sent++ === 0 ? 200_000 : 0, kept)
    return true
  }
  const io = quickIO()
  await refused(t, s.pull({}, io), 'NETWORK', /times/)
  whole(t, s, [unet])
  t.is(fs.statSync(partial(s)).size, 200_000)
  // Pauses grow: half a second, one, two, four, with a spread.
  t.true(io.slept.slice(-3).every((ms, i, all) => i === 0 || ms > all[i - 1]))
  s.hub.answer = () => {}
  s.hub.asked.length = 0
  const model = await s.pull()
  t.deepEqual(s.hub.fetches(unet).map(({ range }) => range), ['bytes=200000-'])
  // The small files and the text encoder were there.
  t.is(model.bytesFetched, bytes.length - 200_000 + s.hub.files['vae/diffusion_pytorch_model.safetensors'].length)
  t.true(fs.readFileSync(path.join(model.path, unet)).equals(bytes))
  t.false(fs.existsSync(partial(s)))
})

test('a server that knows no ranges begins anew', async t => {
  const s = await setting(t)
  const bytes = s.hub.files[unet]
  let first = true
  s.hub.answer = (_request, response, { server, file }) => {
    if (server !== 'storage' || file !== unet) return false
    if (first) sendAndBreak(response, bytes, undefined, 150_000)
    else sendBytes(response, bytes, undefined)
    first = false
    return true
  }
  t.true(fs.readFileSync(path.join((await s.pull()).path, unet)).equals(bytes))
})

test('an abort stops at once and keeps what has arrived', async t => {
  const s = await setting(t)
  const stop = new AbortController()
  s.hub.answer = (_request, response, { server, file, range }) => {
    if (server !== 'storage' || file !== unet || range !== undefined) return false
    response.writeHead(200, { 'content-length': s.hub.files[unet].length })
    response.write(s.hub.files[unet].subarray(0, 300_000))
    const stored = setInterval(() => {
      if (fs.statSync(partial(s), { throwIfNoEntry: false })?.size !== 300_000) return
      clearInterval(stored)
      stop.abort(new Error('enough'))
    }, 20)
    return true
  }
  const error = await aborts(t, s.pull({ signal: stop.signal }))
  t.is((error.cause as Error).message, 'enough')
  whole(t, s, [unet])
  t.is(fs.statSync(partial(s)).size, 300_000)
  t.deepEqual(fs.readdirSync(path.join(s.cache, '.locks', 'models--acme--tiny')), [])
  await s.pull()
  t.is(s.hub.fetches(unet)[1].range, 'bytes=300000-')
  await aborts(t, s.pull({ signal: AbortSignal.abort() }))
})

test('wrong hashes: large files by SHA-256, small ones as git blobs', async t => {
  for (const file of [unet, config]) {
    const s = await setting(t)
    const wrong = Buffer.from(s.hub.files[file])
    wrong[wrong.length >> 1] ^= 1
    s.hub.answer = (_request, response, asked) => {
      if (asked.file !== file || (asked.server === 'hub' && file === unet)) return false
      sendBytes(response, wrong, asked.range)
      return true
    }
    await refused(t, s.pull(), 'BAD_DOWNLOAD', file === unet ? /SHA-256/ : /SHA-1/)
    t.is(s.hub.fetches(file).length, 1)
    whole(t, s, [file])
    t.false(filesBelow(s.folder).some(name => name.endsWith('.asdm-incomplete')))
    await refused(t, s.pull({ offline: true }), 'OFFLINE', /./)
    s.hub.answer = () => {}
    await s.pull()
  }
})

test('bytes of an earlier attempt that are wrong are fetched once more', async t => {
  const s = await setting(t)
  fs.mkdirSync(path.join(s.folder, 'blobs'), { recursive: true })
  for (const length of [1, 100_000, s.hub.files[unet].length, s.hub.files[unet].length + 5]) {
    fs.writeFileSync(partial(s), Buffer.alloc(length))
    const model = await s.pull()
    t.true(fs.readFileSync(path.join(model.path, unet)).equals(s.hub.files[unet]), String(length))
    fs.rmSync(path.join(s.folder, 'blobs', sha256(s.hub.files[unet])))
  }
  // Right ones are not.
  fs.writeFileSync(partial(s), s.hub.files[unet])
  s.hub.asked.length = 0
  t.is((await s.pull()).bytesFetched, 0)
  t.is(s.hub.fetches(unet).length, 0)
})

test('wrong lengths', async t => {
  const s = await setting(t)
  const bytes = s.hub.files[unet]
  const respond = (give: (response: http.ServerResponse, range: string | undefined) => void): void => {
    s.hub.answer = (_request, response, { server, file, range }) => {
      if (server !== 'storage' || file !== unet) return false
      give(response, range)
      return true
    }
  }
  respond(response => sendBytes(response, bytes.subarray(1), undefined))
  await refused(t, s.pull(), 'BAD_DOWNLOAD', /bytes.*server's file has/)
  respond(response => sendBytes(response, Buffer.concat([bytes, bytes]), undefined))
  await refused(t, s.pull(), 'BAD_DOWNLOAD', /server's file has/)
  // Nothing announced: too many are seen as they arrive, too few at the end.
  respond(response => { response.writeHead(200); response.write(bytes); response.end('!') })
  await refused(t, s.pull(), 'BAD_DOWNLOAD', /more arrived/)
  respond((response, range) => { response.writeHead(range === undefined ? 200 : 206, range === undefined ? {} : { 'content-range': `bytes ${bytes.length - 1}-${bytes.length}/${bytes.length}` }); response.end(range === undefined ? bytes.subarray(1) : '') })
  await refused(t, s.pull(), 'NETWORK', /ended after/)
  whole(t, s, [unet])
  // Ranges that are not those that were asked for.
  for (const [header, code] of [['bytes 5-9/10', 'BAD_DOWNLOAD'], [`bytes 5-9/${bytes.length}`, 'HUB_RESPONSE'], ['nonsense', 'HUB_RESPONSE'], [undefined, 'HUB_RESPONSE']] as const) {
    fs.writeFileSync(partial(s), bytes.subarray(0, 1000))
    respond(response => { response.writeHead(206, header === undefined ? {} : { 'content-range': header }).end('12345') })
    await refused(t, s.pull(), code, /./)
  }
  fs.writeFileSync(partial(s), bytes.subarray(0, 1000))
  let first = true
  respond((response, range) => {
    if (first) response.writeHead(416).end()
    else sendBytes(response, bytes, range)
    first = false
  })
  t.true(fs.readFileSync(path.join((await s.pull()).path, unet)).equals(bytes))
})

test('redirections are followed, without the token to other servers', async t => {
  const s = await setting(t)
  s.hub.answer = (_request, response, { server, file, url }) => {
    if (server !== 'hub' || !file.startsWith(unet)) return false
    const hop = Number(/hop=(\d)/.exec(url)?.[1] ?? 0) + 1
    // With each status, absolute and relative, at last to another server.
    const location = hop === 4 ? `${s.hub.storage}/${unet}` : `${hop % 2 === 0 ? s.hub.endpoint : ''}/acme/tiny/resolve/${s.hub.commit}/${unet}?hop=${hop}`
    response.writeHead([301, 302, 303, 307, 308][hop], { location }).end()
    return true
  }
  const model = await s.pull({ token: 'hf_test-secret' })
  t.true(fs.readFileSync(path.join(model.path, unet)).equals(s.hub.files[unet]))
  for (const { server, authorization } of s.hub.asked) t.is(authorization, server === 'hub' ? 'Bearer hf_test-secret' : undefined)
  t.true(s.hub.asked.some(({ server }) => server === 'storage'))

  const loop = await setting(t)
  for (const [location, code, says] of [[`${loop.hub.endpoint}/acme/tiny/resolve/${loop.hub.commit}/${unet}`, 'HUB_RESPONSE', /redirects more than/], ['http://[', 'HUB_RESPONSE', /where to/],
    ['http://user:secret@127.0.0.1:1/x', 'HUB_RESPONSE', /to hold no user name and password but received one to "127\.0\.0\.1:1"/], ['http://user:secret@[', 'HUB_RESPONSE', /where to but received "http:\/\/\*\*\*@\["/],
    ['file:///etc/passwd', 'HUB_RESPONSE', /stay on http/], ['data:text/plain,x', 'HUB_RESPONSE', /stay on http/]] as const) {
    loop.hub.answer = (_request, response, { server, file }) => {
      if (server !== 'hub' || file !== unet) return false
      response.writeHead(302, { location }).end()
      return true
    }
    await refused(t, loop.pull(), code, says)
  }
  whole(t, loop, [unet])
})

test('from https nothing leads to http', async t => {
  const asked: string[] = []
  const fetched: typeof fetch = async url => {
    asked.push(String(url))
    return new Response('', { status: 302, headers: { location: 'http://hub.test/x' } })
  }
  const client = new HubClient({ endpoint: 'https://hub.test', cache: '', offline: false, timeoutMs: 1000 }, 'a/b', undefined, quickIO({ fetch: fetched }), undefined)
  await refused(t, client.request('https://hub.test/y', {}, async () => {}), 'HUB_RESPONSE', /stay on https/)
  t.deepEqual(asked, ['https://hub.test/y'])
})

test('denied, gated, private and missing models', async t => {
  const s = await setting(t)
  const cases: [number, string | undefined, string | false, ErrorCode, RegExp][] = [
    [401, 'RepoNotFound', false, 'HUB_ACCESS', /no public model.*HF_TOKEN/],
    [401, undefined, 'hf_x', 'HUB_ACCESS', /does not accept the token/],
    [401, 'GatedRepo', false, 'HUB_ACCESS', /asked for it.*HF_TOKEN/],
    [403, 'GatedRepo', 'hf_x', 'HUB_ACCESS', /asked for it: do so at http:\/\/127\.0\.0\.1:\d+\/acme\/tiny$/],
    [403, undefined, false, 'HUB_ACCESS', /HF_TOKEN/],
    [403, undefined, 'hf_x', 'HUB_ACCESS', /account of the token/],
    [404, 'RepoNotFound', 'hf_x', 'HUB_NOT_FOUND', /no such model$/],
    [404, 'RevisionNotFound', false, 'HUB_NOT_FOUND', /no such revision$/],
    [404, undefined, false, 'HUB_NOT_FOUND', /no such model or revision$/],
    [400, undefined, false, 'HUB_RESPONSE', /answered 400/],
    [451, undefined, false, 'HUB_RESPONSE', /answered 451/],
  ]
  for (const [status, code, token, expected, says] of cases) {
    for (const where of ['/revision/', '/tree/', '/resolve/']) {
      s.hub.answer = (_request, response, { server, url }) => {
        if (server !== 'hub' || !url.includes(where)) return false
        json(response, status, { error: 'no' }, code === undefined ? {} : { 'x-error-code': code })
        return true
      }
      const error = await refused(t, s.pull({ token }), expected, says)
      t.false(error.message.includes('hf_x'))
    }
  }
  whole(t, s)
})

test('a busy hub is asked again, after the pause that it wants', async t => {
  const s = await setting(t)
  const answers: [number, Record<string, string>][] = [[429, { 'retry-after': '3' }], [503, { 'retry-after': new Date(Date.now() + 50_000).toUTCString() }], [500, {}], [502, { 'retry-after': '100000' }], [408, { 'retry-after': 'soon' }]]
  const left = { revision: [...answers], tree: [...answers], resolve: [...answers], storage: [...answers] }
  s.hub.answer = (_request, response, { server, url, file }) => {
    const where = server === 'storage' ? 'storage' : (['revision', 'tree', 'resolve'] as const).find(name => url.includes(`/${name}/`))!
    const next = where === 'storage' && file !== unet ? undefined : left[where].shift()
    if (next === undefined) return false
    response.writeHead(next[0], next[1]).end('busy')
    return true
  }
  const io = quickIO()
  await s.pull({}, io)
  t.is(io.slept.filter(ms => ms === 3000).length, 4)
  t.is(io.slept.filter(ms => ms > 20_000 && ms <= 50_000).length, 4)
  t.is(io.slept.filter(ms => ms === 60_000).length, 4)

  const never = await setting(t)
  never.hub.answer = (_request, response) => { response.writeHead(503).end(); return true }
  await refused(t, never.pull(), 'NETWORK', /answered 503, 6 times/)
  t.is(never.hub.asked.length, 6)
  // A storage server's signed addresses expire: the hub gives a new one.
  const expired = await setting(t)
  let first = true
  expired.hub.answer = (_request, response, { server, file }) => {
    if (server !== 'storage' || file !== unet || !first) return false
    first = false
    response.writeHead(403).end()
    return true
  }
  await expired.pull()
  t.is(expired.hub.asked.filter(({ server, file }) => server === 'hub' && file === unet).length, 2)
})

test('no network', async t => {
  const s = await setting(t)
  s.hub.close()
  const io = quickIO()
  await refused(t, s.pull({}, io), 'NETWORK', /ECONNREFUSED|connection failed/)
  // There is nobody: no use in asking again.
  t.deepEqual(io.slept, [])
  await refused(t, s.pull({ endpoint: 'http://no-such-host.invalid' }, quickIO()), 'NETWORK', /no-such-host\.invalid/)
})

test('a connection on which nothing arrives counts as broken', async t => {
  const s = await setting(t)
  let stalls = 0
  const server = http.createServer((_request, response) => {
    stalls++
    if (stalls === 1) return
    response.writeHead(200)
    response.write('first bytes')
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => { server.closeAllConnections(); server.close() })
  const endpoint = `http://127.0.0.1:${(server.address() as { port: number }).port}`
  const client = new HubClient({ endpoint, cache: '', offline: false, timeoutMs: 150 }, s.hub.repository, undefined, quickIO(), undefined)
  await refused(t, Promise.resolve(client.fetch(`${endpoint}/x`)), 'NETWORK', /nothing arrived for 0\.15 s, 6 times/)
  t.is(stalls, 6)
})

/** A disk that takes so many bytes and no more. */
function fullDisk(bytes: number, code = 'ENOSPC'): HubIO {
  let left = bytes
  return quickIO({
    open: async (...args) => {
      const handle = await systemIO.open(...args)
      const write = handle.write.bind(handle) as (...rest: unknown[]) => Promise<{ bytesWritten: number }>
      handle.write = (async (buffer: Uint8Array, offset: number, length: number, position: number) => {
        if (left === 0) throw Object.assign(new Error(`${code}: no space left on device, write`), { code, syscall: 'write' })
        // The last write before the end is a short one, as on a real disk.
        const taken = Math.min(left, length)
        left -= taken
        return write(buffer, offset, taken, position)
      }) as typeof handle.write
      return handle
    },
  })
}

test('a full disk: an error that says so; with room again it goes on', async t => {
  const s = await setting(t)
  const small = Object.entries(s.hub.files).filter(([name]) => /^(model_index|scheduler|tokenizer|\w+\/config)/.test(name)).reduce((sum, [, bytes]) => sum + bytes.length, 0)
  const text = s.hub.files['text_encoder/model.safetensors'].length
  await refused(t, s.pull({}, fullDisk(small + text + 123_456)), 'FILE_WRITE', /asdm-incomplete.*no room left/)
  whole(t, s, [unet])
  t.is(fs.statSync(partial(s)).size, 123_456)
  await refused(t, s.pull({ offline: true }), 'OFFLINE', /is not$/)
  await refused(t, s.pull({}, fullDisk(0, 'EDQUOT')), 'FILE_WRITE', /no room left/)
  await refused(t, s.pull({}, fullDisk(0, 'EIO')), 'FILE_WRITE', /EIO/)
  s.hub.asked.length = 0
  await s.pull()
  t.is(s.hub.fetches(unet)[0].range, 'bytes=123456-')
})

test('too little room is seen before weights are fetched', async t => {
  const s = await setting(t)
  const io = quickIO({ freeBytes: async () => 1_000_000 })
  await refused(t, s.pull({}, io), 'FILE_WRITE', /bytes free/)
  t.deepEqual(s.hub.asked.filter(({ server }) => server === 'storage'), [])
  // What is there already needs no room.
  await s.pull({}, quickIO({ freeBytes: async () => undefined }))
  await s.pull({}, quickIO({ freeBytes: async () => 0 }))
})

test('a cache that cannot be written', async t => {
  const s = await setting(t)
  fs.writeFileSync(s.cache, 'a file where the cache should be')
  await refused(t, s.pull(), 'FILE_WRITE', /\.locks/)
  t.deepEqual(s.hub.asked.filter(({ file }) => file !== ''), [])
})
