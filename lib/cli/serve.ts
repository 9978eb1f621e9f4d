import { createRequire } from 'node:module'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { Command, InvalidArgumentError } from 'commander'
import { AsdmError } from '../base/errors'
import { addModelFlags, loadOptions, type ModelFlags } from './model-flags'
import { given, parseNumber } from './options'

interface Flags extends ModelFlags {
  models?: string
  model?: string[]
  loras?: string
  host?: string
  port?: number
  token?: string
  cors?: string[]
  memory?: number
  idle?: number
  queue?: string
  results?: string
  queueLimit?: number
  maxPixels?: number
  maxImages?: number
  studio: boolean
  assemble?: boolean
  logLevel?: string
}

/** What is used of the package `@asdm/server`. */
interface ServerPackage {
  serve(options: object): Promise<{ url: string, close(): Promise<void> }>
  work(options: object): Promise<{ close(): Promise<void> }>
}

const name = '@asdm/server'
const collect = (text: string, before: string[] = []): string[] => [...before, text]

/** `asdm serve`: runs the server of the package `@asdm/server`, until Ctrl-C or SIGTERM. */
export function serveCommand(signal: AbortSignal): Command {
  const command = new Command('serve')
    .description(`serve models over HTTP, as OpenAI's and AUTOMATIC1111's APIs (takes the package ${name})`)
    .option('--models <folder>', 'serve the diffusers folders and .safetensors files of this folder')
    .option('-m, --model <name>', 'serve this model, as emoji or hf:owner/name; may be repeated, the first one is the default', collect)
    .option('--loras <folder>', 'LoRAs that requests may name')
    .option('--host <address>', 'address to listen on (127.0.0.1); any other takes a token')
    .option('--port <number>', 'port to listen on (7860)', parseNumber)
    .option('--token <text>', 'what clients have to send (the environment variable ASDM_TOKEN, which other users cannot see)')
    .option('--cors <origin>', 'let the pages of this origin use the server; may be repeated', collect)
    .option('--memory <GiB>', "memory that loaded models may take (half of the machine's)", parseGiB)
    .option('--idle <seconds>', 'unload a model that was not used for so long (600; 0: never)', parseSeconds)
    .option('--queue <file or address>', 'keep jobs in this SQLite database, or leave them to workers by the Redis at redis://…')
    .option('--results <folder>', "where the images of such jobs lie (the queue's name with .results)")
    .option('--queue-limit <number>', 'most jobs that wait (64)', parseNumber)
    .option('--max-pixels <number>', 'most pixels of an image (4194304)', parseNumber)
    .option('--max-images <number>', 'most images of a request (16)', parseNumber)
    .option('--no-studio', 'leave out the studio, the pages at /')
    .option('--assemble', 'let clients assemble models into the folder of --models (as they may where only this machine reaches the server)')
    .option('--log-level <level>', 'fatal, error, warn, info, debug, trace or silent (info)')
  return addModelFlags(command, 'threads', 'cpu', 'dtype', 'device', 'packedCache', 'packedCacheIn')
    .allowExcessArguments(false)
    .action(async (flags: Flags) => serve(flags, signal))
}

async function serve(flags: Flags, signal: AbortSignal): Promise<void> {
  const { models, model, loras, host, port, cors, memory, idle, queue, results } = flags
  const { queueLimit, maxPixels, maxImages, studio, assemble, logLevel } = flags
  const { serve: start } = await loadServer()
  const server = await start(given({
    models, model, loras, host, port, cors, queue, results, queueLimit, maxPixels, maxImages, studio, assemble, logLevel,
    memoryLimit: memory, idleMs: idle, token: flags.token ?? (process.env.ASDM_TOKEN || undefined), load: loadOptions(flags),
  }))
  process.stderr.write(`asdm serves at ${server.url}\n`)
  await stopped(signal)
  process.stderr.write('Stopping: the job that runs may end; Ctrl-C again ends it.\n')
  await server.close()
}

/** `asdm worker`: makes images for servers with the same queue, until Ctrl-C or SIGTERM. */
export function workerCommand(signal: AbortSignal): Command {
  const command = new Command('worker')
    .description(`make images for servers with the same queue on Redis (takes the packages ${name}, bullmq and ioredis)`)
    .requiredOption('--queue <address>', 'the Redis, as redis://host:6379')
    .requiredOption('--results <folder>', 'where images lie, the same for servers and workers')
    .option('--models <folder>', 'offer the diffusers folders and .safetensors files of this folder')
    .option('-m, --model <name>', 'offer this model, as emoji or hf:owner/name; may be repeated', collect)
    .option('--loras <folder>', 'LoRAs that requests may name')
    .option('--memory <GiB>', "memory that loaded models may take (half of the machine's)", parseGiB)
    .option('--idle <seconds>', 'unload a model that was not used for so long (600; 0: never)', parseSeconds)
    .option('--log-level <level>', 'fatal, error, warn, info, debug, trace or silent (info)')
  return addModelFlags(command, 'threads', 'cpu', 'dtype', 'device', 'packedCache', 'packedCacheIn')
    .allowExcessArguments(false)
    .action(async (flags: Flags) => {
      const { models, model, loras, memory, idle, logLevel, queue, results } = flags
      const { work } = await loadServer()
      const worker = await work(given({
        models, model, loras, queue, results, logLevel, memoryLimit: memory, idleMs: idle, load: loadOptions(flags),
      }))
      process.stderr.write('asdm works\n')
      await stopped(signal)
      process.stderr.write('Stopping: the image that is being made may be finished; Ctrl-C again ends it.\n')
      await worker.close()
    })
}

async function stopped(signal: AbortSignal): Promise<void> {
  await new Promise<void>(resolve => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve(), { once: true })
    process.once('SIGTERM', () => resolve())
  })
}

/** The server, as Node.js finds it from the working directory, or from asdm itself. */
async function loadServer(): Promise<ServerPackage> {
  for (const from of [process.cwd(), __dirname]) {
    let file: string
    try {
      file = createRequire(path.join(from, 'package.json')).resolve(name)
    } catch {
      continue
    }
    return await import(pathToFileURL(file).href) as ServerPackage
  }
  throw new AsdmError('PACKAGE_MISSING', `Expected the package ${name} in order to serve but it is not installed; run: npm install ${name}`)
}

function parseGiB(text: string): number {
  const value = parseNumber(text)
  if (!(value > 0)) throw new InvalidArgumentError('Expected more than 0 GiB.')
  return Math.round(value * 2 ** 30)
}

function parseSeconds(text: string): number {
  const value = parseNumber(text)
  if (!(value >= 0)) throw new InvalidArgumentError('Expected 0 seconds or more.')
  return Math.round(value * 1000)
}
