import { anySignal } from '../base/abort'
import { AsdmError, shown, throwIfAborted } from '../base/errors'
import type { HubSettings } from './environment'
import type { HubIO } from './io'

const maxRedirects = 8
/** Longest answer that is read into memory: a page of a listing takes about 0.3 MB. */
const maxTextBytes = 32 * 1024 * 1024
/** Most answers of that kind; a page of a listing names up to 1000 files. */
const maxPages = 1_000
/** Attempts that bring nothing new, before it is given up. */
const attempts = 6
const firstDelayMs = 500
const maxDelayMs = 60_000

/** An attempt failed in a way that another may not: a connection that broke, a hub that is busy. */
export class Broken extends Error {
  constructor(message: string, readonly options: { afterMs?: number | undefined, code?: string | undefined, cause?: unknown } = {}) {
    super(message, { cause: options.cause })
  }
}

/** Codes of a host that is not there or not what it says; hopeless unless it has answered before. */
const hopeless = /^(?:ENOTFOUND|ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ERR_TLS|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|ERR_SSL|ERR_INVALID)/

/**
 * Talks with the hub. The token goes to the hub's own origin and nowhere else, however it redirects; a redirection may not leave
 * https for http. Attempts that broke are repeated with growing pauses, or the pause that the hub asks for.
 */
export class HubClient {
  /** Has the hub answered yet? */
  #reached = false
  #pages = 0
  readonly #origin: string

  constructor(
    readonly settings: HubSettings, readonly repository: string, private readonly token: string | undefined, private readonly io: HubIO,
    readonly signal: AbortSignal | undefined,
  ) {
    this.#origin = new URL(settings.endpoint).origin
  }

  /** Address of a file. */
  fileUrl(commit: string, file: string): string {
    return `${this.settings.endpoint}/${this.repository}/resolve/${commit}/${file.split('/').map(encodeURIComponent).join('/')}`
  }

  /** `fetch` for the hub's package: only to the hub, with the token and retries; the answer is whole and was a success. */
  readonly fetch: typeof fetch = async input => {
    const url = input instanceof Request ? input.url : String(input)
    if (!URL.canParse(url) || new URL(url).origin !== this.#origin)
      throw new AsdmError('HUB_RESPONSE', `Expected the hub at ${this.settings.endpoint} to refer to itself but received ${shown(url)}`)
    if (++this.#pages > maxPages)
      throw new AsdmError('HUB_RESPONSE', `Expected at most ${maxPages} pages from the hub at ${this.settings.endpoint} but it has more`)
    return this.retry(() => this.request(url, { accept: 'application/json' }, async (response, alive) => {
      const text = await readText(response, alive, url)
      const headers = new Headers()
      for (const name of ['link', 'content-type']) if (response.headers.has(name)) headers.set(name, response.headers.get(name)!)
      return new Response(text, { headers })
    }))
  }

  /**
   * Repeats `attempt` while it is {@link Broken}.
   * @param progress a number that grows where an attempt brought something; it then starts counting anew
   * @throws AsdmError `NETWORK` when it is given up
   */
  async retry<T>(attempt: () => Promise<T>, progress: () => number = () => 0): Promise<T> {
    let seen = progress()
    for (let failed = 1; ; failed++) {
      throwIfAborted(this.signal)
      try {
        return await attempt()
      } catch (error) {
        if (!(error instanceof Broken)) throw error
        const { afterMs, code } = error.options
        if (progress() > seen) [seen, failed] = [progress(), 1]
        if (failed >= attempts || !this.#reached && code !== undefined && hopeless.test(code))
          throw new AsdmError(
            'NETWORK',
            `Expected to reach the hub at ${this.settings.endpoint} but ${error.message}${failed > 1 ? `, ${failed} times` : ''}`,
            { cause: error },
          )
        // Growing pauses, up to a quarter longer or shorter, so that many clients do not come back at once.
        await this.io.sleep(Math.min(maxDelayMs, afterMs ?? firstDelayMs * 2 ** (failed - 1) * (0.75 + Math.random() / 2)), this.signal)
      }
    }
  }

  /**
   * One attempt: follows redirections and hands the answer, whose status is one of `expected`, to `use`, which calls `alive` as
   * bytes arrive.
   * @throws Broken; AsdmError `HUB_ACCESS`, `HUB_NOT_FOUND`, `HUB_RESPONSE`; an `AbortError` when the signal fires
   */
  async request<T>(
    url: string, headers: Record<string, string>, use: (response: Response, alive: () => void) => Promise<T>,
    expected: readonly number[] = [200],
  ): Promise<T> {
    const stall = new AbortController()
    const { signal, release } = anySignal([this.signal, stall.signal])
    const { timeoutMs } = this.settings
    const timer = setTimeout(() => stall.abort(), timeoutMs)
    const alive = (): void => void timer.refresh()
    let response: Response | undefined
    try {
      const answer = await this.#follow(url, headers, signal)
      response = answer.response
      alive()
      if (!expected.includes(response.status)) throw this.#refusal(response, answer.url, url)
      return await use(response, alive)
    } catch (error) {
      throwIfAborted(this.signal)
      if (stall.signal.aborted) throw new Broken(`nothing arrived for ${timeoutMs / 1000} s`)
      throw networkError(error)
    } finally {
      clearTimeout(timer)
      release()
      if (response?.body?.locked === false) await response.body.cancel().catch(() => {})
    }
  }

  async #follow(start: string, headers: Record<string, string>, signal: AbortSignal): Promise<{ response: Response, url: URL }> {
    let url = new URL(start)
    for (let hops = 0; hops <= maxRedirects; hops++) {
      // Compressed answers could be neither resumed nor counted.
      const sent: Record<string, string> = { 'user-agent': 'asdm', 'accept-encoding': 'identity', ...headers }
      if (this.token !== undefined && url.origin === this.#origin) sent.authorization = `Bearer ${this.token}`
      const response = await this.io.fetch(url.href, { redirect: 'manual', signal, headers: sent })
      this.#reached = true
      if (![301, 302, 303, 307, 308].includes(response.status)) return { response, url }
      const location = response.headers.get('location') ?? ''
      await response.body?.cancel()
      if (!URL.canParse(location, url.href))
        throw new AsdmError('HUB_RESPONSE',
          `Expected a redirection of ${shown(start)} to say where to but received ${shown(withoutCredentials(location))}`)
      const next = new URL(location, url)
      if (next.username !== '' || next.password !== '')
        throw new AsdmError('HUB_RESPONSE',
          `Expected a redirection of ${shown(start)} to hold no user name and password but received one to ${shown(next.host)} that does`)
      if (next.protocol !== 'https:' && !(next.protocol === 'http:' && url.protocol === 'http:'))
        throw new AsdmError('HUB_RESPONSE',
          `Expected a redirection of ${shown(start)} to stay on ${url.protocol.slice(0, -1)} but received ${shown(next.href)}`)
      url = next
    }
    throw new AsdmError('HUB_RESPONSE', `Expected ${shown(start)} to lead to a file but it redirects more than ${maxRedirects} times`)
  }

  /** What an answer other than the expected means. @param url the address that gave it @param asked the one that was asked for */
  #refusal({ status, headers }: Response, url: URL, asked: string): Error {
    if (status === 408 || status === 429 || status >= 500)
      return new Broken(`it answered ${status}`, { afterMs: retryAfter(headers.get('retry-after')) })
    // A storage server's addresses are signed and expire; the hub gives a fresh one.
    if (url.origin !== this.#origin) return new Broken(`${shown(url.origin)}, to which it refers, answered ${status}`)
    const { repository, settings: { endpoint } } = this
    const anonymous = this.token === undefined
    const code = headers.get('x-error-code')
    const denied = (problem: string): AsdmError => new AsdmError('HUB_ACCESS', `Expected access to ${repository} but ${problem}`)
    if (code === 'GatedRepo')
      return denied(
        'it is given only to accounts that asked for it: do so at '
        + `${endpoint}/${repository}${anonymous ? ' and set HF_TOKEN to a token of that account' : ''}`,
      )
    if (status === 401)
      return denied(
        `the hub at ${endpoint} `
        + (anonymous ? 'has no public model of this name; if it is private, set HF_TOKEN' : 'does not accept the token for it'),
      )
    if (status === 403)
      return denied(
        `the hub at ${endpoint} denies it ${anonymous ? 'to those without a token; set HF_TOKEN' : 'to the account of the token'}`,
      )
    if (status === 404) {
      const missing = code === 'RevisionNotFound'
        ? 'revision'
        : code === 'EntryNotFound'
          ? 'file'
          : code === 'RepoNotFound'
            ? 'model'
            : 'model or revision'
      return new AsdmError('HUB_NOT_FOUND', `Expected to find ${repository} on the hub at ${endpoint} but it has no such ${missing}`)
    }
    return new AsdmError('HUB_RESPONSE', `Expected the hub at ${endpoint} to give ${shown(asked)} but it answered ${status}`)
  }
}

/** An address, or what was to be one, as messages may show it. */
function withoutCredentials(address: string): string {
  return address.replace(/\/\/[^/?#]*@/, '//***@')
}

/** Milliseconds that a `Retry-After` header asks for: seconds, or a date. */
function retryAfter(header: string | null): number | undefined {
  if (header === null) return undefined
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now()
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined
}

/** `fetch` reports a connection's failure as a `TypeError` with the reason as its cause. */
function networkError(error: unknown): unknown {
  if (error instanceof Broken || error instanceof AsdmError) return error
  const { name, message, cause } = error as Error
  if (name !== 'TypeError' || !/^(?:fetch failed|terminated)$/.test(message)) return error
  const { code, message: reason } = (cause ?? {}) as { code?: unknown, message?: unknown }
  return new Broken(
    `the connection failed: ${typeof reason === 'string' && reason !== '' ? reason : typeof code === 'string' ? code : message}`,
    { ...(typeof code === 'string' && { code }), cause: error },
  )
}

async function readText(response: Response, alive: () => void, url: string): Promise<string> {
  const pieces: Uint8Array[] = []
  let bytes = 0
  for await (const piece of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    alive()
    bytes += piece.byteLength
    if (bytes > maxTextBytes)
      throw new AsdmError('HUB_RESPONSE', `Expected at most ${maxTextBytes} bytes from ${shown(url)} but received more`)
    pieces.push(piece)
  }
  return Buffer.concat(pieces).toString('utf8')
}
