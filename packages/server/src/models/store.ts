import os from 'node:os'
import { AsdmError, StableDiffusion, type Warning } from 'asdm'
import { LoadError, ServerError } from '../errors'
import type { Settings } from '../options'
import { listLoras, listModels, type ModelEntry } from './folder'
import { bytesOfFiles, bytesOfModel } from './memory'

/** A LoRA of the server's folder, and how much of it a model gets. */
export interface NamedLora {
  name: string
  weight: number
}

/** A model in use: it stays loaded until it is released. */
export interface Lease {
  name: string
  sd: StableDiffusion
  release(): void
}

/** A loaded model, as it is reported. */
export interface LoadedModel {
  name: string
  loras: readonly NamedLora[]
  bytes: number
  inUse: boolean
}

interface Held extends Omit<LoadedModel, 'inUse'> {
  key: string
  sd: StableDiffusion
  users: number
  /** Greater for what was used later. */
  used: number
  idle: NodeJS.Timeout | undefined
}

/** What the store tells the server. */
export interface StoreEvents {
  loaded(name: string, ms: number): void
  unloaded(name: string): void
  warning(name: string, warning: Warning): void
}

/** The models: listed, loaded on demand, kept by least recent use within a memory limit, unloaded when idle. */
export class ModelStore {
  readonly #settings: Settings
  readonly #events: StoreEvents
  readonly #limit: number
  readonly #started = Date.now()
  readonly #held = new Map<string, Held>()
  /** One model is loaded after the other. */
  #turn: Promise<unknown> = Promise.resolve()
  #clock = 0
  #closed = false

  constructor(settings: Settings, events: StoreEvents) {
    this.#settings = settings
    this.#events = events
    this.#limit = settings.memoryLimit ?? Math.min(os.totalmem(), process.constrainedMemory() || Infinity) / 2
  }

  /** Most bytes that loaded models may take. */
  get memoryLimit(): number {
    return this.#limit
  }

  /** Models that can be asked for: those named first, then those of the folder. */
  async list(): Promise<ModelEntry[]> {
    const named = this.#settings.model.map(name => ({ name, source: name, changedMs: this.#started }))
    const names = new Set(this.#settings.model)
    const inFolder = this.#settings.models === undefined ? [] : await listModels(this.#settings.models)
    return [...named, ...inFolder.filter(({ name }) => !names.has(name))]
  }

  /** LoRAs that can be asked for. */
  async loras(): Promise<{ name: string, path: string }[]> {
    return this.#settings.loras === undefined ? [] : listLoras(this.#settings.loras)
  }

  /** The model of a name; the first one where none is asked for. @throws ServerError `MODEL_NOT_FOUND` */
  async find(name: string | undefined): Promise<ModelEntry> {
    const models = await this.list()
    const found = name === undefined ? models[0] : models.find(each => each.name === name)
    if (found !== undefined) return found
    throw new ServerError('MODEL_NOT_FOUND', name === undefined
      ? 'Expected a model in the folder that is served but there is none'
      : `Expected model to be one of those that GET /v1/models lists but received ${JSON.stringify(name.slice(0, 100))}`)
  }

  /** What is loaded, in the order of use. */
  loaded(): LoadedModel[] {
    return this.#byUse().map(({ name, loras, bytes, users }) => ({ name, loras, bytes, inUse: users > 0 }))
  }

  /**
   * Gives a model, which is loaded unless it is already.
   * @throws ServerError `MODEL_NOT_FOUND`, `MODEL_TOO_LARGE`, `STOPPING`; LoadError; an `AbortError` when the signal fires
   */
  async use(name: string | undefined, loras: readonly NamedLora[], signal: AbortSignal): Promise<Lease> {
    const turn = this.#turn.then(() => this.#use(name, loras, signal))
    this.#turn = turn.catch(() => {})
    return turn
  }

  /** Unloads a model that is not in use. @returns whether there was one */
  async unload(name: string): Promise<boolean> {
    const found = [...this.#held.values()].filter(held => held.name === name)
    if (found.some(({ users }) => users > 0))
      throw new ServerError('CONFLICT', `Expected a model that no job runs but ${JSON.stringify(name)} is in use`)
    await Promise.all(found.map(held => this.#drop(held)))
    return found.length > 0
  }

  /** Unloads everything; jobs that use a model fail. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#turn
    await Promise.all([...this.#held.values()].map(held => this.#drop(held)))
  }

  async #use(name: string | undefined, loras: readonly NamedLora[], signal: AbortSignal): Promise<Lease> {
    if (this.#closed) throw new ServerError('STOPPING', 'The server is stopping')
    const entry = await this.find(name)
    const key = JSON.stringify([entry.source, loras])
    const held = this.#held.get(key) ?? await this.#load(entry, key, loras, signal)
    clearTimeout(held.idle)
    held.users++
    held.used = ++this.#clock
    let released = false
    return {
      name: entry.name, sd: held.sd, release: () => {
        if (!released) this.#release(held)
        released = true
      },
    }
  }

  async #load(entry: ModelEntry, key: string, loras: readonly NamedLora[], signal: AbortSignal): Promise<Held> {
    const { load, loras: loraFolder } = this.#settings
    await this.#makeRoom(entry.name, await bytesOfFiles(entry.source, load.dtype) ?? 0)
    const began = performance.now()
    const sd = await StableDiffusion.load(entry.source, {
      ...load, signal, loras, loraFolder, onWarning: warning => this.#events.warning(entry.name, warning),
    }).catch((error: unknown) => {
      if (error instanceof AsdmError) throw new LoadError(error.code, `The model ${JSON.stringify(entry.name)} does not load: ${error.message}`, error)
      throw error
    })
    const bytes = bytesOfModel(sd, load.dtype)
    const held: Held = { name: entry.name, loras, key, sd, bytes, users: 0, used: 0, idle: undefined }
    try {
      await this.#makeRoom(entry.name, held.bytes)
    } catch (error) {
      await sd.dispose()
      throw error
    }
    this.#held.set(key, held)
    this.#events.loaded(entry.name, performance.now() - began)
    return held
  }

  /** Unloads models by least recent use until so many bytes are free. */
  async #makeRoom(name: string, bytes: number): Promise<void> {
    if (bytes > this.#limit)
      throw new ServerError('MODEL_TOO_LARGE',
        `Expected a model within the memory limit of ${Math.floor(this.#limit)} bytes but ${JSON.stringify(name)} takes ${bytes}`)
    const free = (): number => this.#limit - [...this.#held.values()].reduce((sum, held) => sum + held.bytes, 0)
    for (const held of this.#byUse().filter(({ users }) => users === 0)) {
      if (free() >= bytes) return
      await this.#drop(held)
    }
  }

  #byUse(): Held[] {
    return [...this.#held.values()].sort((a, b) => a.used - b.used)
  }

  #release(held: Held): void {
    held.users--
    held.used = ++this.#clock
    if (held.users > 0 || this.#settings.idleMs === 0) return
    held.idle = setTimeout(() => void this.#drop(held), this.#settings.idleMs)
    held.idle.unref()
  }

  async #drop(held: Held): Promise<void> {
    clearTimeout(held.idle)
    if (this.#held.get(held.key) !== held) return
    this.#held.delete(held.key)
    await held.sd.dispose()
    this.#events.unloaded(held.name)
  }
}
