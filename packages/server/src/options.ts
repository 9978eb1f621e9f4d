import { AsdmError, type LoadOptions } from 'asdm'

/** How a model is loaded: part of asdm's own options. */
export type ModelOptions = Pick<LoadOptions, 'dtype' | 'threads' | 'device' | 'cpu' | 'packedCache'>

/** Options of `serve`. */
export interface ServerOptions {
  /** A folder whose diffusers folders and `.safetensors` files are served, by their paths in it. */
  models?: string | undefined
  /** Models served besides: names as `StableDiffusion.load` takes them, as `emoji` or `hf:owner/name`. The first one is the default. */
  model?: string | readonly string[] | undefined
  /** A folder with LoRAs, which prompts of AUTOMATIC1111's API and jobs may name. */
  loras?: string | undefined
  /** The address to listen on; 127.0.0.1 if left out. Any other than this machine's own takes a token. */
  host?: string | undefined
  /** The port; 7860, as AUTOMATIC1111's, if left out. 0 takes a free one. */
  port?: number | undefined
  /** Clients have to send it: `Authorization: Bearer TOKEN`, or as the password of Basic. */
  token?: string | undefined
  /** Origins whose pages may use the server, as `http://localhost:5173`; none if left out. */
  cors?: readonly string[] | undefined
  /** How models are loaded. */
  load?: ModelOptions | undefined
  /** Most bytes that loaded models may take; models used least recently are unloaded first. Half of the machine's memory if left out. */
  memoryLimit?: number | undefined
  /** A model that was not used for so many milliseconds is unloaded; 10 minutes if left out, 0 for never. */
  idleMs?: number | undefined
  /** A file, a SQLite database, in which jobs outlive the process; if left out they are kept in memory. */
  queue?: string | undefined
  /** Where the images of such jobs lie: a folder; the queue's name with `.results` if left out. */
  results?: string | undefined
  /** Most jobs that wait; 64 if left out. */
  queueLimit?: number | undefined
  /** Most bytes of a request; 32 MiB if left out. */
  bodyLimit?: number | undefined
  /** Most pixels of an image; 2048x2048 if left out. */
  maxPixels?: number | undefined
  /** Most images of a request; 16 if left out. */
  maxImages?: number | undefined
  /** Finished jobs that are kept, with their images; 64 if left out. */
  keepJobs?: number | undefined
  /** How long a stop waits for the running job, in milliseconds; 30 seconds if left out. */
  stopMs?: number | undefined
  /** How long a worker may take for an image, in milliseconds; 15 minutes if left out. */
  taskMs?: number | undefined
  /** Whether the studio of the package `@asdm/studio` is served at `/`; true if left out. */
  studio?: boolean | undefined
  /** Whether clients may assemble models into the folder `models`; if left out, where only this machine reaches the server. */
  assemble?: boolean | undefined
  /** What is logged: pino's levels, or `silent`; `info` if left out. */
  logLevel?: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent' | undefined
  /** Takes the lines of the log instead of standard output. */
  log?: ((line: string) => void) | undefined
}

/** Options, checked and completed. */
export interface Settings {
  host: string
  port: number
  idleMs: number
  queueLimit: number
  bodyLimit: number
  maxPixels: number
  maxImages: number
  keepJobs: number
  stopMs: number
  taskMs: number
  studio: boolean
  assemble: boolean
  queue: string | undefined
  results: string | undefined
  models: string | undefined
  model: readonly string[]
  loras: string | undefined
  token: string | undefined
  cors: readonly string[]
  load: ModelOptions
  memoryLimit: number | undefined
  logLevel: NonNullable<ServerOptions['logLevel']>
  log: ServerOptions['log']
}

/** Addresses that only this machine reaches. */
const loopback = new Set(['127.0.0.1', '::1', 'localhost'])
const levels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
const loadKeys = ['dtype', 'threads', 'device', 'cpu', 'packedCache'] as const satisfies readonly (keyof ModelOptions)[]

/** Whole numbers: their defaults, and what they may be. */
const numbers = {
  port: [7860, 0, 65_535], idleMs: [600_000, 0, 2 ** 31 - 1], queueLimit: [64, 1, 1_000_000], bodyLimit: [2 ** 25, 1024, 2 ** 30],
  maxPixels: [2 ** 22, 64, 2 ** 26], maxImages: [16, 1, 256], keepJobs: [64, 0, 100_000], stopMs: [30_000, 0, 2 ** 31 - 1],
  taskMs: [900_000, 1000, 2 ** 31 - 1],
} as const satisfies Partial<Record<keyof ServerOptions, readonly [number, number, number]>>

const keys: readonly string[] = [
  ...Object.keys(numbers), 'models', 'model', 'loras', 'host', 'token', 'cors', 'load', 'memoryLimit', 'studio', 'assemble',
  'logLevel', 'log', 'queue', 'results',
] satisfies string[]

/** @throws AsdmError `INVALID_ARGUMENT` */
export function parseOptions(options: ServerOptions | undefined): Settings {
  const given = record(options, 'the options of serve', keys)
  const number = (name: keyof typeof numbers): number => whole(given[name], name, numbers[name])
  const host = text(given.host, 'host') ?? '127.0.0.1'
  const token = text(given.token, 'token')
  if (token === undefined && !loopback.has(host))
    throw bad('a token where host is not this machine\'s own', `host ${JSON.stringify(host)} without one`)
  if (token !== undefined && !/^[\x21-\x7e]{8,512}$/.test(token)) throw bad('token to be 8 to 512 visible ASCII characters', `${token.length} characters`)
  const models = text(given.models, 'models')
  const model = list(given.model, 'model')
  if (models === undefined && model.length === 0) throw bad('models, a folder, or model, a name,', 'neither')
  if (typeof given.queue === 'string' && /^rediss?:/.test(given.queue) && given.results === undefined)
    throw bad('results, a folder that workers share, where queue is a Redis,', 'none')
  const cors = list(given.cors, 'cors')
  for (const origin of cors)
    if (!URL.canParse(origin) || new URL(origin).origin !== origin) throw bad('cors to be origins as http://localhost:5173', JSON.stringify(origin))
  const level = given.logLevel ?? 'info'
  if (!levels.some(each => each === level)) throw bad(`logLevel to be one of ${levels.join(', ')}`, shown(level))
  if (given.log !== undefined && typeof given.log !== 'function') throw bad('log to be a function', shown(given.log))
  return {
    queue: text(given.queue, 'queue'), results: text(given.results, 'results'),
    models, model, loras: text(given.loras, 'loras'), host, token, cors,
    studio: flag(given.studio, 'studio') ?? true, assemble: flag(given.assemble, 'assemble') ?? loopback.has(host),
    load: record(given.load, 'load', loadKeys),
    memoryLimit: given.memoryLimit === undefined ? undefined : whole(given.memoryLimit, 'memoryLimit', [0, 0, Number.MAX_SAFE_INTEGER]),
    logLevel: level as Settings['logLevel'], log: given.log as Settings['log'],
    port: number('port'), idleMs: number('idleMs'), queueLimit: number('queueLimit'), bodyLimit: number('bodyLimit'),
    maxPixels: number('maxPixels'), maxImages: number('maxImages'), keepJobs: number('keepJobs'), stopMs: number('stopMs'), taskMs: number('taskMs'),
  }
}

function record(value: unknown, name: string, known: readonly string[]): Record<string, unknown> {
  if (value === undefined) return {}
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw bad(`${name} to be an object`, shown(value))
  const unknown = Object.keys(value).find(key => !known.includes(key))
  if (unknown !== undefined) throw bad(`${name} to have only ${known.join(', ')}`, JSON.stringify(unknown))
  return value as Record<string, unknown>
}

function text(value: unknown, name: string): string | undefined {
  if (value === undefined) return undefined
  if (typeof value !== 'string' || value === '' || value.includes('\0')) throw bad(`${name} to be a text`, shown(value))
  return value
}

function flag(value: unknown, name: string): boolean | undefined {
  if (value !== undefined && typeof value !== 'boolean') throw bad(`${name} to be true or false`, shown(value))
  return value
}

function list(value: unknown, name: string): readonly string[] {
  if (value === undefined) return []
  const items = Array.isArray(value) ? value as unknown[] : [value]
  return items.map(item => text(item, name) ?? '')
}

function whole(value: unknown, name: string, [standard, min, max]: readonly [number, number, number]): number {
  if (value === undefined) return standard
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max)
    throw bad(`${name} to be a whole number from ${min} to ${max}`, shown(value))
  return value
}

function shown(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 60)) : typeof value === 'number' ? String(value) : `a value of type ${typeof value}`
}

function bad(expected: string, received: string): AsdmError {
  return new AsdmError('INVALID_ARGUMENT', `Expected ${expected} but received ${received}`)
}
