import http from 'node:http'
import net, { type AddressInfo } from 'node:net'
import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import { pullModel } from '../../lib/hub/pull'
import { proxyFor } from '../../lib/hub/proxy'
import { temporaryFolder } from '../support/temporary'
import { checkpointFiles, FakeHub } from './fake-hub'

test('which proxy an address is reached through, as requests and httpx decide it', t => {
  const env = { HTTP_PROXY: 'http://plain:1', HTTPS_PROXY: 'secure:2' }
  const of = (url: string, more = {}): string | undefined => proxyFor(new URL(url), { ...env, ...more })?.href
  t.is(of('http://hub.example/x'), 'http://plain:1/')
  t.is(of('https://hub.example/x'), 'http://secure:2/')
  t.is(of('https://hub.example/', { https_proxy: 'http://lower:3' }), 'http://lower:3/')
  t.is(proxyFor(new URL('https://hub.example/'), { ALL_PROXY: 'http://all:4', HTTP_PROXY: 'http://plain:1' })?.href, 'http://all:4/')
  t.is(proxyFor(new URL('https://hub.example/'), { HTTPS_PROXY: ' ', NO_PROXY: '' }), undefined)
  const excluded: [list: string, url: string, direct: boolean][] = [
    ['hub.example', 'https://hub.example/', true], ['example', 'https://hub.example/', true], ['.example', 'https://hub.example/', true], ['*.example', 'https://hub.example/', true],
    ['HUB.example', 'https://hub.example/', true], ['b.example', 'https://hub.example/', false], ['hub.example:443', 'https://hub.example/', true], ['hub.example:80', 'https://hub.example/', false],
    ['other, hub.example', 'https://hub.example/', true], ['*', 'https://hub.example/', true], ['example.org', 'https://hub.example/', false], ['.', 'https://hub.example/', false],
    ['127.0.0.1', 'http://127.0.0.1:8080/', true], ['127.0.0.0/8', 'http://127.4.5.6/', true], ['10.0.0.0/8', 'http://127.0.0.1/', false], ['10.0.0.0/99', 'http://10.0.0.1/', false],
    ['::1', 'http://[::1]:80/', true], ['fd00::/8', 'http://[fd00::5]/', true], ['fd00::/8', 'http://10.0.0.1/', false],
  ]
  for (const [NO_PROXY, url, direct] of excluded) t.is(of(url, { NO_PROXY }) === undefined, direct, `${NO_PROXY} ${url}`)
  for (const HTTPS_PROXY of ['socks5://u:secret@x:1', 'http://u:secret@x:99999', 'http://[']) {
    const error = t.throws(() => proxyFor(new URL('https://hub.example/'), { HTTPS_PROXY }), { instanceOf: AsdmError })
    t.is(error?.code, 'INVALID_ARGUMENT')
    t.false(error!.message.includes('secret'))
  }
})

// The variables of the environment are this worker's own; the tests of this file share them.
test.serial('a pull goes through the proxy that the environment names', async t => {
  const hub = await FakeHub.start(t, checkpointFiles())
  // One page, since the next one's address would be the hub's own.
  hub.pageSize = 1000
  const asked: { to: string, login: string | undefined }[] = []
  const proxy = http.createServer((_, response) => response.writeHead(405).end())
  proxy.on('connect', (request, socket: net.Socket) => {
    asked.push({ to: request.url!, login: request.headers['proxy-authorization'] })
    const onward = net.connect(Number(new URL(hub.endpoint).port), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      onward.pipe(socket).pipe(onward)
    })
    for (const each of [socket, onward]) each.on('error', () => {})
  })
  await new Promise<void>(resolve => proxy.listen(0, '127.0.0.1', resolve))
  t.teardown(() => { proxy.closeAllConnections(); proxy.close() })
  const cache = temporaryFolder(t)
  // Only the proxy knows where this hub is; its storage server is reached directly.
  Object.assign(process.env, { HTTP_PROXY: `http://me:word@127.0.0.1:${(proxy.address() as AddressInfo).port}`, NO_PROXY: '127.0.0.1' })
  const model = await pullModel(hub.repository, { endpoint: 'http://hub.invalid', cache, token: false })
  t.is(model.commit, hub.commit)
  t.true(asked.length > 0 && asked.every(({ to, login }) => to === 'hub.invalid:80' && login === `Basic ${Buffer.from('me:word').toString('base64')}`))
  proxy.removeAllListeners('connect')
  proxy.on('connect', (_, socket: net.Socket) => socket.end('HTTP/1.1 407 Who are you?\r\n\r\n'))
  proxy.closeAllConnections()
  process.env.HTTP_PROXY = process.env.HTTP_PROXY!.replace('me:word', 'me:wrong')
  const abort = new AbortController()
  const failed = pullModel(hub.repository, { endpoint: 'http://hub.invalid', cache, token: false, signal: abort.signal })
  setTimeout(() => abort.abort(), 300)
  t.is(await failed.then(() => 'done', (error: Error) => error.name), 'AbortError')
})
