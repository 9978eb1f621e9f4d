// A registry for package managers to install from: a few tarballs of our own, everything else as the real registry has it.
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import http from 'node:http'
import path from 'node:path'

/**
 * @param {{ manifest: object, file: string }[]} packages a package.json each, and its tarball
 * @param {string} upstream the registry for all other names
 * @returns {Promise<{ url: string, close(): void }>} on a free port of this machine
 */
export async function serveRegistry(packages, upstream) {
  const own = new Map(packages.map(each => [each.manifest.name, each]))
  const server = http.createServer((request, response) => {
    const name = decodeURIComponent(request.url.slice(1).split('?')[0])
    const send = (status, body, type = 'application/json') => { response.writeHead(status, { 'content-type': type }); response.end(body) }
    if (name.startsWith('-tarball/')) {
      const file = [...own.values()].map(each => each.file).find(each => path.basename(each) === name.slice(9))
      return file === undefined ? send(404, '{}') : send(200, fs.readFileSync(file), 'application/octet-stream')
    }
    const found = own.get(name)
    if (found !== undefined) return send(200, JSON.stringify(packument(found, `http://${request.headers.host}`)))
    fetch(`${upstream.replace(/\/$/, '')}${request.url}`, { headers: { accept: request.headers.accept ?? '*/*' } })
      .then(async answer => send(answer.status, Buffer.from(await answer.arrayBuffer()), answer.headers.get('content-type') ?? 'application/json'))
      .catch(error => send(502, JSON.stringify({ error: String(error) })))
  })
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() }
}

function packument({ manifest, file }, host) {
  const { version } = manifest
  const bytes = fs.readFileSync(file)
  const dist = {
    tarball: `${host}/-tarball/${path.basename(file)}`,
    integrity: `sha512-${createHash('sha512').update(bytes).digest('base64')}`, shasum: createHash('sha1').update(bytes).digest('hex'),
  }
  // Published long ago: some package managers keep away from what is new.
  const time = '2024-01-01T00:00:00.000Z'
  return { name: manifest.name, 'dist-tags': { latest: version }, versions: { [version]: { ...manifest, dist } }, time: { created: time, modified: time, [version]: time } }
}
