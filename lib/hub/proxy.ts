import { BlockList, isIP } from 'node:net'
import type { Dispatcher } from 'undici'
import { AsdmError } from '../base/errors'

type Environment = Readonly<Record<string, string | undefined>>

/**
 * The proxy through which an address is reached: `HTTPS_PROXY` or `HTTP_PROXY` by the address's protocol, `ALL_PROXY` where that is not
 * set,
 * none where `NO_PROXY` names its host: a name stands for its subdomains too, `*` for everything; IP addresses may be ranges
 * (`10.0.0.0/8`), names may have a port. Lower-case names take precedence over upper-case ones. So do Python's requests and httpx, on which
 * huggingface_hub rests. Exported for tests and scripts.
 * @returns `undefined` where it is reached directly
 * @throws AsdmError `INVALID_ARGUMENT` for a proxy that is no http(s) address; the message does not show it, since it may hold a password
 */
export function proxyFor(url: URL, env: Environment = process.env): URL | undefined {
  const read = (name: string): string => (env[name.toLowerCase()] || env[name] || '').trim()
  const variable = `${url.protocol.slice(0, -1).toUpperCase()}_PROXY`
  const name = read(variable) !== '' ? variable : 'ALL_PROXY'
  const text = read(name)
  if (text === '' || isExcluded(url, read('NO_PROXY'))) return undefined
  const address = /^[a-z][a-z\d+.-]*:\/\//i.test(text) ? text : `http://${text}`
  const proxy = URL.canParse(address) ? new URL(address) : undefined
  if (proxy === undefined || proxy.protocol !== 'http:' && proxy.protocol !== 'https:')
    throw new AsdmError('INVALID_ARGUMENT',
      `Expected ${name} to be the address of an HTTP proxy, as http://proxy.example:3128, but it is not`)
  return proxy
}

function isExcluded(url: URL, list: string): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase()
  const port = url.port || (url.protocol === 'https:' ? '443' : '80')
  return list.toLowerCase().split(/[\s,]+/).filter(entry => entry !== '').some(entry => {
    if (entry === '*') return true
    if (isIP(host) !== 0) return entry === host || isInRange(host, entry)
    const [, name = '', ofPort] = /^(.*?)(?::(\d+))?$/.exec(entry) ?? []
    const suffix = name.replace(/^\*?\./, '')
    return suffix !== '' && (ofPort === undefined || ofPort === port) && (host === suffix || host.endsWith(`.${suffix}`))
  })
}

function isInRange(host: string, range: string): boolean {
  const [, network, bits] = /^(.+)\/(\d{1,3})$/.exec(range) ?? []
  const family = (address: string): 'ipv4' | 'ipv6' => (isIP(address) === 6 ? 'ipv6' : 'ipv4')
  if (network === undefined || bits === undefined || isIP(network) === 0) return false
  if (family(network) !== family(host) || Number(bits) > (isIP(network) === 6 ? 128 : 32)) return false
  const list = new BlockList()
  list.addSubnet(network, Number(bits), family(network))
  return list.check(host, family(host))
}

/** One agent for each proxy, which keeps its connections. */
const agents = new Map<string, Dispatcher>()

/** `fetch`, through the proxy that the environment names for the address. */
export const fetchByProxy: typeof fetch = async (input, init) => {
  const url = new URL(input instanceof Request ? input.url : String(input))
  const proxy = proxyFor(url)
  if (proxy === undefined) return fetch(input, init)
  const { fetch: fetchBy, ProxyAgent } = await import('undici')
  const agent = agents.get(proxy.href) ?? new ProxyAgent(proxy.href)
  agents.set(proxy.href, agent)
  try {
    // undici's response, which does what the built-in one does.
    const response: unknown = await fetchBy(url.href, { ...init as object, dispatcher: agent })
    return response as Response
  } catch (error) {
    const { name, cause } = error as Error
    if (name !== 'TypeError') throw error
    const { code, message } = (cause ?? {}) as { code?: unknown, message?: unknown }
    throw new TypeError(
      'fetch failed',
      { cause: Object.assign(new Error(`by way of the proxy ${proxy.origin}: ${String(message || code)}`, { cause }), { code }) },
    )
  }
}
