import { createHash } from 'node:crypto'
import fs from 'node:fs/promises'
import { createRequire } from 'node:module'
import path from 'node:path'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import type { FastifyInstance } from 'fastify'

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml', '.webmanifest': 'application/manifest+json',
}

/** The studio loads nothing from elsewhere, and no other page shows it in a frame. */
const policy = 'default-src \'self\'; img-src \'self\' blob: data:; style-src \'self\' \'unsafe-inline\'; connect-src \'self\' blob: data:; '
  + 'object-src \'none\'; base-uri \'none\'; form-action \'none\'; frame-ancestors \'none\''

const missing = 'The studio is not built here: install @asdm/studio, or in a checkout run npm run build -w packages/studio.\n'

interface File {
  type: string
  etag: string
  bytes: Buffer
  /** As above, compressed. */
  small: Buffer
}

/** The folder of the built studio, of the package `@asdm/studio`. */
function studioFolder(): string | undefined {
  try {
    return path.join(path.dirname(createRequire(__filename).resolve('@asdm/studio/package.json')), 'dist')
  } catch {
    return undefined
  }
}

async function readAll(folder: string): Promise<Map<string, File>> {
  const files = new Map<string, File>()
  for (const name of await fs.readdir(folder, { recursive: true }).catch(() => [])) {
    const type = types[path.extname(name)]
    if (type === undefined) continue
    const bytes = await fs.readFile(path.join(folder, name))
    files.set(`/${name.split(path.sep).join('/')}`, {
      type, bytes, small: await promisify(gzip)(bytes, { level: 9 }), etag: `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"`,
    })
  }
  return files
}

/**
 * Serves the studio's files, which hold no secrets: they answer without a token, and the studio asks for it. They are read once, when the
 * server starts; a few hundred kilobytes.
 */
export async function studioFiles(app: FastifyInstance): Promise<void> {
  const folder = studioFolder()
  const files = folder === undefined ? new Map<string, File>() : await readAll(folder)
  for (const [url, { type, etag, bytes, small }] of files) {
    app.get(url === '/index.html' ? '/' : url, { schema: { hide: true }, config: { open: true } }, (request, reply) => {
      // Names of what lies in assets/ change with what is in it.
      reply.header('cache-control', url.startsWith('/assets/') ? 'public, max-age=31536000, immutable' : 'no-cache').header('etag', etag)
        .header('content-security-policy', policy).header('x-content-type-options', 'nosniff').header('referrer-policy', 'no-referrer')
        .header('vary', 'accept-encoding')
      if (request.headers['if-none-match'] === etag) return reply.code(304).send()
      const packed = /\bgzip\b/.test(request.headers['accept-encoding'] ?? '')
      if (packed) reply.header('content-encoding', 'gzip')
      return reply.type(type).send(packed ? small : bytes)
    })
  }
  if (!files.has('/index.html')) app.get('/', { schema: { hide: true }, config: { open: true } }, (_request, reply) => reply.code(404).type('text/plain').send(missing))
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Answers without a token. */
    open?: boolean
  }
}
