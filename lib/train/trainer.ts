import { settle, type Cancellable } from '../base/abort'
import { AsdmError, shown } from '../base/errors'
import { abortSignal, boolean, checkLoaded, checkOptions, integer, nearestOf, optional, path as checkPath } from '../base/options'
import { reading, sizesOf } from '../base/reading'
import { isFloat32Array } from '../base/realms'
import { parseRuntime } from '../components/options'
import { readSafetensorsHeader, type TensorToWrite } from '../files/safetensors'
import type { Part } from '../model/checkpoint'
import { openUNet } from '../model/folder'
import { firstFew, matchWeights } from '../model/weights'
import type { StoredDType, UNetConfig } from '../native/configs'
import { loadAddon } from '../native/load'
import type { NativeTrainer, TrainedWeight, TrainerKind } from '../native/trainer'
import {
  checkKind, checkLosses, checkNames, checkPrefix, parseBatch, parseUpdate, signalOf, type TrainerLoss, type TrainerOptions,
  type TrainingBatch, type TrainingMemory, type TrainingResult, type TrainingShape, type UpdateOptions,
} from './trainer-options'

/** Rows of a tensor that are fetched at once hold about so many numbers: copying them does not hold the event loop. */
const pieceNumbers = 1 << 20
/** Numbers that are read ahead while tensors are written. */
const aheadNumbers = 1 << 22

/**
 * Trains a UNet, in fp32: forward and backward passes over latents, time steps, text features and targets, and AdamW. Each call runs on a
 * thread of its own and can be aborted within 100 ms; gradients add up from call to call until {@link update}. No bit depends on the number
 * of threads.
 */
export class Trainer {
  /** The UNet's. */
  readonly config: UNetConfig
  /** The losses' names, in order. */
  readonly losses: readonly string[]
  /** All weights, adapters included. */
  readonly weights: readonly TrainedWeight[]
  readonly #native: NativeTrainer
  #disposed = false
  #steps = 0

  private constructor(config: UNetConfig, losses: readonly string[], native: NativeTrainer) {
    checkLoaded(() => typeof native.accumulate === 'function' && typeof native.weights === 'function', 'a trainer', 'Trainer.load')
    this.config = config
    this.losses = losses
    this.#native = native
    this.weights = Object.freeze(native.weights())
  }

  /**
   * Reads a UNet from its folder (`config.json` and safetensors weights). Adapters start as zero matrices and have to be written
   * ({@link write}).
   * @throws AsdmError as `UNet.load`; `INVALID_ARGUMENT` for a loss or a prefix that the UNet does not have, `UNSUPPORTED_CONFIG` for a
   * UNet or
   * kernel set that cannot be trained, `OUT_OF_MEMORY`; an `AbortError` when the signal fires
   */
  static async load(folder: string, options?: TrainerOptions): Promise<Trainer> {
    const given = checkOptions(options, trainerKeys, 'Trainer.load')
    const signal = optional(given.signal, value => abortSignal(value, 'signal'))
    return Trainer.open(await openUNet(checkPath(folder, 'the path of a UNet'), { signal }), given)
  }

  /** @internal The same of a UNet that is open already. */
  static async open(part: Part<UNetConfig>, options?: TrainerOptions): Promise<Trainer> {
    const { native, losses, signal } = create(part.config, options)
    try {
      const trainer = new Trainer(part.config, losses.map(({ name }) => name), native)
      const wanted = trainer.weights.filter(({ adapter }) => !adapter)
      const sources = matchWeights(wanted, part.weights, part.path)
      const bad = await settle(() => native.load('weight', sources), signal)
      if (bad.length > 0)
        throw new AsdmError('INVALID_ARGUMENT', `Expected finite weights to train in ${part.path} but some are not: ${firstFew(bad)}`)
      for (const { name, shape } of trainer.weights.filter(({ adapter }) => adapter))
        await settle(() => native.write('weight', name, new Float32Array(shape.reduce((a, b) => a * b))), signal)
      await settle(() => native.begin(true, 0), signal)
      return trainer
    } catch (error) {
      native.dispose()
      throw error
    }
  }

  /** @internal What {@link memory} would give, without any of it. */
  static measure(config: UNetConfig, options: TrainerOptions, shape: TrainingShape): TrainingMemory {
    const { native } = create(config, options)
    try {
      return native.describe(shape)
    } finally {
      native.dispose()
    }
  }

  /**
   * @internal Does something that is trained lie behind a value?
   * @throws AsdmError `INVALID_ARGUMENT` for a prefix that the UNet does not have
   */
  static reaches(config: UNetConfig, train: readonly string[] | undefined, unit: string): boolean {
    // Whatever is trained lies behind the output: what fails here is the prefixes.
    create(config, { train, threads: 1 }).native.dispose()
    try {
      create(config, { train, threads: 1, losses: [{ name: 'reached', unit, loss: 'squared' }] }).native.dispose()
      return true
    } catch (error) {
      if (error instanceof AsdmError && error.code === 'INVALID_ARGUMENT') return false
      throw error
    }
  }

  /** The kernel set it runs on. */
  get cpu(): string {
    return this.#native.cpu
  }

  /** Steps taken. */
  get steps(): number {
    return this.#steps
  }

  /** Bytes that a batch of this size, in latent pixels and tokens, takes in all. */
  memory(shape: TrainingShape): TrainingMemory {
    const sizes = sizesOf(shape, ['batch', 'height', 'width', 'length'])
    this.#check()
    return this.#native.describe(sizes)
  }

  /**
   * Forward and back: adds the gradients of the weighted sum of losses to what is there.
   * @throws AsdmError `INVALID_ARGUMENT`, `SHAPE_MISMATCH` (naming the loss), `OUT_OF_MEMORY`, `DISPOSED`; an `AbortError` when the
   * signal fires. The
   * gradients are zero then.
   */
  async accumulate(batch: TrainingBatch, options?: { signal?: AbortSignal | undefined }): Promise<TrainingResult> {
    return this.#pass(batch, true, options, 'trainer.accumulate')
  }

  /** Forward alone: the losses. */
  async evaluate(batch: TrainingBatch, options?: { signal?: AbortSignal | undefined }): Promise<TrainingResult> {
    return this.#pass(batch, false, options, 'trainer.evaluate')
  }

  /** The first unit, in the order in which they run, whose value holds NaN or infinity for this batch; `undefined` where none does. */
  async firstNonFinite(batch: TrainingBatch, options?: { signal?: AbortSignal | undefined }): Promise<string | undefined> {
    const checked = parseBatch(batch, this.losses, 'trainer.firstNonFinite')
    const unit = await this.#call(() => this.#native.firstNonFinite(checked), signalOf(options, 'trainer.firstNonFinite'))
    return unit === '' ? undefined : unit
  }

  /**
   * A step along the gradients, which are zero afterwards.
   * @returns their norm before they were clipped
   * @throws AsdmError `INVALID_ARGUMENT` where a gradient is not finite, naming the weight: nothing has changed then; an `AbortError`
   * when the
   * signal fires, after which a checkpoint has to be restored if the step had begun
   */
  async update(options: UpdateOptions): Promise<number> {
    const { signal, ...step } = parseUpdate(options)
    const norm = await this.#call(() => this.#native.update(step), signal)
    this.#steps++
    return norm
  }

  /**
   * Tensors of a kind as they would be written to a safetensors file; their numbers are fetched as they are written.
   * @param kind moments, average and gradients are those of trained weights
   * @param prefix put in front of the names
   */
  tensors(kind: TrainerKind, prefix = '', wanted: (weight: TrainedWeight) => boolean = ({ trained }) => trained): TensorToWrite[] {
    checkKind(kind)
    checkPrefix(prefix)
    // In the order in which they are written.
    const weights = this.#wanted(wanted).sort((a, b) => (a.name < b.name ? -1 : 1))
    const ahead = new Map<string, Promise<Float32Array>>()
    return weights.map(({ name, shape }, i) => ({
      name: `${prefix}${name}`, dtype: 'F32', shape, data: () => this.#readAhead(kind, weights, i, ahead),
    }))
  }

  /** Waiting for one small tensor after the other would take longer than reading them: some are asked for ahead. */
  async *#readAhead(
    kind: TrainerKind, weights: readonly TrainedWeight[], first: number, ahead: Map<string, Promise<Float32Array>>,
  ): AsyncGenerator<Uint8Array> {
    const { name } = weights[first]!
    let numbers = 0
    for (const { name: next, shape } of weights.slice(first)) {
      numbers += shape.reduce((a, b) => a * b)
      if (numbers > aheadNumbers) break
      if (ahead.has(next)) continue
      const values = this.read(kind, next)
      values.catch(() => {}) // whoever takes it is told
      ahead.set(next, values)
    }
    const values = ahead.get(name)
    ahead.delete(name)
    if (values === undefined) {
      yield* this.rows(kind, name)
    } else {
      const { buffer, byteOffset, byteLength } = await values
      yield new Uint8Array(buffer, byteOffset, byteLength)
    }
  }

  /** The bytes of a tensor in pieces: float32, in PyTorch's order. */
  async *rows(kind: TrainerKind, name: string, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    checkKind(kind)
    const stop = optional(signal, value => abortSignal(value, 'signal'))
    const weight = this.weight(name)
    const width = weight.shape.reduce((a, b) => a * b) / weight.rows
    const each = Math.max(1, Math.floor(pieceNumbers / width))
    for (let first = 0; first < weight.rows; first += each) {
      const { buffer, byteOffset, byteLength }
        = await this.#call(() => this.#native.read(kind, name, first, Math.min(each, weight.rows - first)), stop)
      yield new Uint8Array(buffer, byteOffset, byteLength)
    }
  }

  /** A whole tensor. @throws AsdmError `INVALID_ARGUMENT`, `DISPOSED` */
  async read(kind: TrainerKind, name: string): Promise<Float32Array> {
    checkKind(kind)
    const weight = this.weight(name)
    return this.#call(() => this.#native.read(kind, name, 0, weight.rows), undefined)
  }

  /** Writes a whole tensor. Of weights, before the first step: the moving average does not follow. */
  async write(kind: TrainerKind, name: string, values: Float32Array): Promise<void> {
    checkKind(kind)
    this.weight(name)
    if (!isFloat32Array(values))
      throw new AsdmError('INVALID_ARGUMENT', `Expected values to be a Float32Array but received ${shown(values)}`)
    await this.#call(() => this.#native.write(kind, name, values), undefined)
  }

  /** Makes the moving average the weights, and the moments zero: for weights that were written. */
  async begin(): Promise<void> {
    await this.#call(() => this.#native.begin(true, 0), undefined)
    this.#steps = 0
  }

  /**
   * Reads tensors of a kind from a safetensors file.
   * @param prefix of their names in the file
   * @param wanted of which weights; the others stay as they are
   * @throws AsdmError `TENSOR_MISSING`, `TENSOR_SHAPE`, and what reading gives
   */
  async restore(
    kind: TrainerKind, file: string, prefix: string, wanted: (weight: TrainedWeight) => boolean, signal?: AbortSignal,
  ): Promise<void> {
    checkKind(kind)
    checkPrefix(prefix)
    const stop = optional(signal, value => abortSignal(value, 'signal'))
    const weights = this.#wanted(wanted)
    const { tensors } = await readSafetensorsHeader(checkPath(file, 'the path of a safetensors file'))
    const found = [...tensors].flatMap(([name, { dtype, shape, begin, end }]) =>
      (name.startsWith(prefix) ? [{ name: name.slice(prefix.length), file, dtype: dtype as StoredDType, shape, begin, end }] : []))
    const sources = matchWeights(weights, found, file)
    const bad = await this.#call(() => this.#native.load(kind, sources), stop)
    if (bad.length > 0) throw new AsdmError('FILE_READ', `Expected finite numbers in ${file} but ${firstFew(bad)} holds others`)
  }

  /** Goes on from a checkpoint, of which everything was restored. */
  async resume(steps: number, signal?: AbortSignal): Promise<void> {
    const taken = integer(steps, 'steps', 0, 2 ** 31)
    await this.#call(() => this.#native.begin(false, taken), optional(signal, value => abortSignal(value, 'signal')))
    this.#steps = taken
  }

  /** Stops calls under way, which reject with an `AbortError`, and frees everything. Twice is fine. */
  dispose(): void {
    this.#disposed = true
    this.#native.dispose()
  }

  /** {@link dispose}, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.dispose()
  }

  /** @throws AsdmError `INVALID_ARGUMENT` for a name that the UNet does not have */
  weight(name: string): TrainedWeight {
    const weight = this.weights.find(each => each.name === name)
    if (weight === undefined) {
      const near = typeof name === 'string' ? `; ${nearestOf(name, this.weights.map(each => each.name))}` : ''
      throw new AsdmError('INVALID_ARGUMENT', `Expected the name of a weight but received ${shown(name)}${near}`)
    }
    return weight
  }

  async #pass(
    batch: TrainingBatch, backward: boolean, options: { signal?: AbortSignal | undefined } | undefined, where: string,
  ): Promise<TrainingResult> {
    const checked = parseBatch(batch, this.losses, where)
    const { losses, bytes, textGradient } = await this.#call(() => this.#native.accumulate(checked, backward), signalOf(options, where))
    const named: Record<string, Float32Array> = {}
    this.losses.forEach((name, i) => { named[name] = losses[i]! })
    return { losses: named, bytes, ...(textGradient && { textGradient }) }
  }

  #wanted(wanted: (weight: TrainedWeight) => boolean): TrainedWeight[] {
    if (typeof wanted !== 'function')
      throw new AsdmError('INVALID_ARGUMENT', `Expected a function that says which weights are wanted but received ${shown(wanted)}`)
    return reading('which weights are wanted', () => this.weights.filter(weight => wanted(weight)))
  }

  #call<T>(begin: () => Cancellable<T>, signal: AbortSignal | undefined): Promise<T> {
    this.#check()
    return settle(begin, signal)
  }

  #check(): void {
    if (this.#disposed) throw new AsdmError('DISPOSED', 'Expected a trainer in use but it has been disposed')
  }
}

const trainerKeys = ['losses', 'train', 'average', 'textGradient', 'threads', 'cpu', 'signal'] as const

/** A native trainer without memory yet. */
function create(config: UNetConfig, options: TrainerOptions | undefined) {
  const given = checkOptions(options, trainerKeys, 'Trainer.load')
  const signal = optional(given.signal, value => abortSignal(value, 'signal'))
  const losses: TrainerLoss[] = optional(given.losses, checkLosses) ?? [{ name: 'task', loss: 'squared' }]
  const train = optional(given.train, value => checkNames(value, 'train'))
  const addon = loadAddon()
  const { threads, cpu } = parseRuntime({ threads: given.threads, cpu: given.cpu }, addon)
  const native = addon.createTrainer({
    config, losses, average: optional(given.average, value => boolean(value, 'average')) ?? false,
    textGradient: optional(given.textGradient, value => boolean(value, 'textGradient')) ?? false, ...(train && { train }),
  }, { threads, cpu })
  return { native, losses, signal }
}
