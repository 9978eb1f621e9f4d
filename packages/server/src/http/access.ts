import { createHash, timingSafeEqual } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { ServerError } from '../errors'
import type { Settings } from '../options'

/** What a load balancer asks without a token. */
const open = new Set(['/health', '/ready'])

const loopbackNames = new Set(['localhost', '127.0.0.1', '[::1]'])

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

/**
 * Who may ask. With a token, who sends it. Without one only pages and programs of this machine: a page of another origin is refused, and
 * so is a foreign name that was made to lead here (DNS rebinding).
 */
export function guardAccess(app: FastifyInstance, { token, cors }: Settings): void {
  const wanted = token === undefined ? undefined : digest(token)
  app.addHook('onRequest', async (request, reply) => {
    // Answers to a token alone must not lie in a shared cache.
    reply.header('cache-control', 'no-store')
    if (wanted === undefined) {
      checkOrigin(request, cors)
      return
    }
    const { url, config } = request.routeOptions
    if (open.has(url ?? '') || config.open === true || request.method === 'OPTIONS') return
    if (timingSafeEqual(digest(tokenOf(request) ?? ''), wanted)) return
    reply.header('www-authenticate', 'Bearer')
    throw new ServerError('UNAUTHORIZED', 'Expected the server\'s token as Authorization: Bearer TOKEN')
  })
}

/** Who asks: what the header `x-asdm-client` says, as a proxy with many users behind it may set it, else the address. */
export function clientOf({ headers: { 'x-asdm-client': given }, ip }: FastifyRequest): string {
  return typeof given === 'string' && /^[\x21-\x7e]{1,64}$/.test(given) ? given : ip
}

function tokenOf({ headers: { authorization = '' } }: FastifyRequest): string | undefined {
  const [, scheme = '', value = ''] = /^(\w+) +(\S+) *$/.exec(authorization) ?? []
  if (scheme.toLowerCase() === 'bearer') return value
  if (scheme.toLowerCase() !== 'basic') return undefined
  const pair = Buffer.from(value, 'base64').toString('utf8')
  return pair.slice(pair.indexOf(':') + 1)
}

function checkOrigin({ headers: { host = '', origin, 'sec-fetch-site': site } }: FastifyRequest, cors: readonly string[]): void {
  if (!loopbackNames.has(host.replace(/:\d*$/, '').toLowerCase()))
    throw new ServerError('FORBIDDEN', `Expected Host to be localhost or 127.0.0.1 but received ${JSON.stringify(host.slice(0, 60))}`)
  if (origin !== undefined ? origin !== `http://${host}` && !cors.includes(origin) : site === 'cross-site')
    throw new ServerError('FORBIDDEN', `Expected a page of this server or of an origin in cors but received ${JSON.stringify((origin ?? 'another site').slice(0, 100))}`)
}
