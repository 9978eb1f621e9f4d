import os from 'node:os'
import path from 'node:path'
import { AsdmError, shown } from '../base/errors'
import { readText, shownPath } from '../files/files'

/** Where the hub is, where its files are kept, and who asks. */
export interface HubSettings {
  /** Without a slash at the end. */
  endpoint: string
  /** The cache's folder: the one that holds `models--owner--name`. */
  cache: string
  offline: boolean
  /** How long nothing may arrive before a connection counts as broken. */
  timeoutMs: number
}

/** Longest token file that is read. */
const maxTokenBytes = 2 ** 16

type Environment = Readonly<Record<string, string | undefined>>

const publicHub = 'https://huggingface.co'
const defaultTimeoutMs = 30_000

/**
 * The settings that the hub's own tools read from the environment: `HF_ENDPOINT`, `HF_HUB_CACHE`, `HF_HOME`, `HF_HUB_OFFLINE`,
 * `HF_HUB_DOWNLOAD_TIMEOUT` (seconds). A variable set to nothing counts as not set.
 * @throws AsdmError `INVALID_ARGUMENT` for an endpoint that is no http(s) address
 */
export function readSettings(env: Environment = process.env): HubSettings {
  const seconds = Number(env.HF_HUB_DOWNLOAD_TIMEOUT || NaN)
  return {
    endpoint: checkEndpoint(env.HF_ENDPOINT || publicHub, 'HF_ENDPOINT'),
    cache: expandHome(env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || path.join(hubHome(env), 'hub')),
    offline: isTrue(env.HF_HUB_OFFLINE) || isTrue(env.TRANSFORMERS_OFFLINE),
    timeoutMs: seconds > 0 && seconds < 86_400 ? seconds * 1000 : defaultTimeoutMs,
  }
}

/**
 * The access token: `HF_TOKEN`, or what `hf auth login` left in the file at `HF_TOKEN_PATH` or `HF_HOME/token`. None where
 * `HF_HUB_DISABLE_IMPLICIT_TOKEN` is set.
 * @throws AsdmError `INVALID_ARGUMENT` for a token that no header can hold; the message does not show it
 */
export async function readToken(env: Environment = process.env): Promise<string | undefined> {
  if (isTrue(env.HF_HUB_DISABLE_IMPLICIT_TOKEN)) return undefined
  const given = env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN
  if (given) return checkToken(given, 'HF_TOKEN')
  const file = expandHome(env.HF_TOKEN_PATH || path.join(hubHome(env), 'token'))
  let text: string
  try {
    text = await readText(file, maxTokenBytes)
  } catch {
    return undefined
  }
  return text.trim() === '' ? undefined : checkToken(text, shownPath(file))
}

/** @throws AsdmError `INVALID_ARGUMENT` */
export function checkEndpoint(value: unknown, name: string): string {
  const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : undefined
  if (url === undefined || url.protocol !== 'https:' && url.protocol !== 'http:' || url.username !== '' || url.password !== ''
    || url.search !== '' || url.hash !== '')
    throw new AsdmError('INVALID_ARGUMENT', `Expected ${name} to be the address of a hub, as ${publicHub}, but received ${shown(value)}`)
  return url.href.replace(/\/+$/, '')
}

/** Trims a token and checks that a header can hold it. */
export function checkToken(value: unknown, name: string): string {
  const token = typeof value === 'string' ? value.trim() : ''
  if (!/^[\x21-\x7e]{1,1000}$/.test(token))
    throw new AsdmError('INVALID_ARGUMENT', `Expected ${name} to hold an access token, one word of ASCII letters, digits and signs`)
  return token
}

function hubHome(env: Environment): string {
  return expandHome(env.HF_HOME || path.join(env.XDG_CACHE_HOME || path.join(os.homedir(), '.cache'), 'huggingface'))
}

function expandHome(file: string): string {
  return path.resolve(file.replace(/^~(?=$|[\\/])/, () => os.homedir()))
}

function isTrue(value: string | undefined): boolean {
  return /^(?:1|on|yes|true)$/i.test(value ?? '')
}
