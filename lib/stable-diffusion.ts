import { captureRejectionSymbol, EventEmitter, setMaxListeners } from 'node:events'
import pathModule from 'node:path'
import { anySignal, Queue } from './base/abort'
import { AsdmError, shown, throwIfAborted } from './base/errors'
import { warnOfRejection } from './base/listener'
import { abortSignal, boolean, callback, checkOptions, optional, path as checkPath } from './base/options'
import { parseRuntime, runtimeKeys, type RuntimeOptions, type WeightsLoadOptions } from './components/options'
import { warn, type Warning } from './components/warnings'
import { TextEncoder } from './components/text-encoder'
import { UNet } from './components/unet'
import { VAE } from './components/vae'
import { fileExists } from './files/files'
import { locateModel } from './hub/locate-model'
import { checkRevision } from './hub/names'
import type { PullProgress } from './hub/pull'
import type { GeneratedImage } from './image/generated-image'
import { Previewer } from './image/preview'
import type { NoiseSource } from './image/start'
import { openCheckpoint, type Checkpoint, type Part } from './model/checkpoint'
import { openUNet } from './model/folder'
import type { Addon, NativeModelOptions } from './native/binding'
import type { UNetConfig } from './native/configs'
import { loadAddon } from './native/load'
import { runPipeline, type Pipeline } from './pipeline'
import { mainUNet } from './plan/plan'
import type { Step } from './progress'
import { BatchNoise } from './random/batch-noise'
import { TorchGenerator } from './random/torch-generator'
import { modelFacts, parseRequest, type GenerateOptions, type ModelFacts, type Request } from './request'
import type { SchedulerConfig } from './samplers'
import { FeatureCache } from './text/feature-cache'
import { loadTokenizer } from './text/load'
import type { Tokenizer } from './text/tokenizer'

/** Loading goes on. */
export interface LoadStep {
  /** Which part is being read; further UNets count as `unet`. */
  part: 'textEncoder' | 'unet' | 'vae'
  /** Bytes of weights read and packed, and of all weights, as stored. */
  bytesDone: number
  /** Bytes of all weights that loading reads. */
  bytesTotal: number
}

/** How a model is loaded. */
export interface LoadOptions extends RuntimeOptions {
  /** Which variant of the weight files: `fp16` for `diffusion_pytorch_model.fp16.safetensors`. */
  variant?: string | undefined
  /** Of a model on the hub: a branch, tag or commit; `main`. */
  revision?: string | undefined
  /** A folder whose tokenizer is used instead of the checkpoint's. One with only `vocab.json` and `merges.txt` is read as CLIP's. */
  tokenizer?: string | undefined
  /** A diffusers folder whose configs are used instead of the checkpoint's own, or of those inferred for a single file. */
  config?: string | undefined
  /**
   * Further UNets that plans may name, as `{ light: path }`: UNet folders, or diffusers folders with one. Text features, VAE and scheduler
   * are shared.
   */
  unets?: Readonly<Record<string, string>> | undefined
  /**
   * Keeps the weights, packed for this kernel set and number format, in files beside those they come from, and maps those files where there
   * are some, which makes loading a matter of tenths of a second. Off if left out. Each part's `packedCache` says what became of it.
   */
  packedCache?: boolean | undefined
  /** Stops the loading, which then rejects with an `AbortError`. */
  signal?: AbortSignal | undefined
  /** Called as weights are read and packed. */
  onProgress?: ((progress: LoadStep) => void) | undefined
  /**
   * Download `owner/name` from the Hugging Face hub where it is neither here nor in the hub's cache, as `hf:owner/name` does; false if left
   * out.
   */
  download?: boolean | undefined
  /** Called while a model on the hub is downloaded; not where it is in the cache. */
  onDownload?: ((progress: PullProgress) => void) | undefined
  /** Listens to the model's `warning` events, from the loading on. */
  onWarning?: ((warning: Warning) => void) | undefined
}

const loadKeys = [
  ...runtimeKeys, 'variant', 'revision', 'tokenizer', 'config', 'unets', 'packedCache', 'download', 'signal', 'onProgress', 'onDownload',
  'onWarning',
] as const satisfies readonly (keyof LoadOptions)[]

/**
 * A text to image model: `StableDiffusion.load` reads one, `generate` makes pictures with it.
 *
 * Calls on one model queue in order; two models run side by side. It emits `warning` events (see {@link Warning}); where nobody
 * listens they become process warnings.
 */
export class StableDiffusion extends EventEmitter<{ warning: [Warning] }> {
  /** Texts to token ids. */
  readonly tokenizer: Tokenizer
  /** Token ids to text features. */
  readonly textEncoder: TextEncoder
  /** The main UNet, called `full` in plans. */
  readonly unet: UNet
  /** Further UNets by the names that plans give them. */
  readonly unets: Readonly<Record<string, UNet>>
  /** Between pictures and latents. */
  readonly vae: VAE
  /** The checkpoint's own scheduler config, as diffusers' pipelines correct it: `clip_sample` false, `steps_offset` 1. */
  readonly schedulerConfig: SchedulerConfig
  readonly #facts: ModelFacts
  readonly #queue = new Queue()
  /** Aborted by `dispose`. */
  readonly #life = new AbortController()
  readonly #pipeline: Pipeline
  #previewer: Promise<Previewer> | undefined

  private constructor(checkpoint: Checkpoint, tokenizer: Tokenizer, parts: Parts) {
    super({ captureRejections: true })
    // Every call in the queue listens.
    setMaxListeners(0, this.#life.signal)
    this.tokenizer = tokenizer
    this.textEncoder = parts.textEncoder
    this.unet = parts.unet
    this.unets = Object.freeze({ ...parts.unets })
    this.vae = parts.vae
    this.schedulerConfig = checkpoint.schedulerConfig
    this.#facts = modelFacts(parts, checkpoint.schedulerConfig)
    this.#pipeline = {
      tokenizer, ...parts, features: new FeatureCache(), decodeMsPerPixel: undefined,
      previewer: signal => this.#fitPreviewer(signal),
      warn: warning => this.#warn(warning),
    }
  }

  /**
   * Loads a diffusers folder, or a single `.safetensors` file with the original key names of Stable Diffusion 1.x or 2.x. Where there is
   * nothing of that name here, also `emoji`, the small model in the npm package `@asdm/emoji`; `hf:owner/name`, a model on the Hugging Face
   * hub, from the hub's cache or else downloaded (see `pullModel`); or `owner/name`, a model in that cache, which is downloaded only with
   * `download`.
   * @throws AsdmError `INVALID_ARGUMENT`, `FILE_NOT_FOUND`, `FILE_READ`, `UNSUPPORTED_FORMAT`, `BAD_SAFETENSORS`, `BAD_JSON`, `BAD_CONFIG`,
   * `UNSUPPORTED_CONFIG`, `TENSOR_MISSING`, `TENSOR_EXTRA`, `TENSOR_SHAPE`, `TENSOR_DTYPE`, `OUT_OF_MEMORY`, `NATIVE_NOT_FOUND`,
   * `UNKNOWN_CPU`,
   * for a model on the hub what `pullModel` gives; an `AbortError` when the signal fires
   */
  static async load(path: string, options?: LoadOptions): Promise<StableDiffusion> {
    checkPath(path, 'the path of a checkpoint')
    const given = checkOptions(options, loadKeys, 'StableDiffusion.load')
    const signal = optional(given.signal, value => abortSignal(value, 'signal'))
    const onProgress = optional(given.onProgress, value => callback<NonNullable<LoadOptions['onProgress']>>(value, 'onProgress'))
    const onDownload = optional(given.onDownload, value => callback<NonNullable<LoadOptions['onDownload']>>(value, 'onDownload'))
    const onWarning = optional(given.onWarning, value => callback<NonNullable<LoadOptions['onWarning']>>(value, 'onWarning'))
    const revision = optional(given.revision, checkRevision)
    const [variant, tokenizerFolder, config] = (['variant', 'tokenizer', 'config'] as const).map(key =>
      optional(given[key], value => checkPath(value, key)))
    const download = optional(given.download, value => boolean(value, 'download'))
    const packedCache = optional(given.packedCache, value => boolean(value, 'packedCache'))
    const unetPaths = optional(given.unets, checkUNetPaths) ?? {}
    const addon = loadAddon()
    const native = parseRuntime(given, addon)
    throwIfAborted(signal)
    const found = await locateModel(path, { variant, revision, download, signal, onDownload })
    const checkpoint = await openCheckpoint(found.path, { variant: found.variant, tokenizer: tokenizerFolder, config, signal })
    const tokenizer = await loadTokenizer(checkpoint)
    const unets: Record<string, Part<UNetConfig>> = {}
    for (const [name, folder] of Object.entries(unetPaths))
      unets[name] = await openFurtherUNet(folder, name, checkpoint.unet.config, { variant, signal })
    throwIfAborted(signal)
    const parts = buildParts(addon, checkpoint, unets, native)
    try {
      const sd = new StableDiffusion(checkpoint, tokenizer, parts)
      if (onWarning !== undefined) sd.on('warning', onWarning)
      for (const message of checkpoint.warnings) sd.#warn({ code: 'CHECKPOINT', message })
      await loadWeights(parts, { packedCache, signal, onWarning: warning => sd.#warn(warning) }, onProgress)
      return sd
    } catch (error) {
      await Promise.all(allParts(parts).map(part => part.dispose()))
      throw error
    }
  }

  /** Width and height of a picture where none are asked for, and the number of pixels that they are multiples of. */
  get sizes(): { default: number, multiple: number } {
    return { default: this.#facts.defaultSize, multiple: this.#facts.vaeFactor }
  }

  /**
   * Makes pictures.
   * @returns for each prompt `count` pictures, in the order of the prompts
   * @throws AsdmError `INVALID_ARGUMENT`, `SHAPE_MISMATCH`, `UNSUPPORTED_CONFIG`, `OUT_OF_MEMORY`, `DISPOSED`, for a picture handed in also
   * `FILE_NOT_FOUND`, `FILE_READ`, `UNSUPPORTED_FORMAT`; an `AbortError` when the signal fires or the model is disposed meanwhile
   */
  async generate(options: GenerateOptions): Promise<GeneratedImage[]> {
    const request = this.#parse(options, 'generate')
    const run = this.#run(request)
    for (;;) {
      const next = await run.next()
      if (next.done === true) return next.value
    }
  }

  /**
   * Makes pictures step by step: `for await (const step of sd.steps({ prompt }))`. The last step (`phase: 'done'`) carries the
   * pictures. Leaving the loop early ends the request. The request begins, and takes its place in the queue, with the first
   * `next()`; between two steps the model waits for its caller.
   * @throws AsdmError as {@link generate}, for wrong options at once
   */
  steps(options: GenerateOptions): AsyncGenerator<Step, GeneratedImage[], void> {
    return this.#run(this.#parse(options, 'steps'))
  }

  /**
   * Stops calls under way and in the queue, which reject with an `AbortError`, and frees the model; resolves when no native work
   * is left. Later calls fail with `DISPOSED`. Twice is fine.
   */
  async dispose(): Promise<void> {
    if (!this.#life.signal.aborted) this.#life.abort(new AsdmError('DISPOSED', 'The model was disposed'))
    this.#pipeline.features.clear()
    await Promise.all(allParts(this).map(part => part.dispose()))
  }

  /** @internal An async listener to `warning` has rejected. */
  override [captureRejectionSymbol](...rejection: unknown[]): void {
    warnOfRejection(rejection[0])
  }

  /** {@link dispose}, at the end of an `await using` block. */
  async [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }

  #parse(options: unknown, where: string): Request {
    if (this.#life.signal.aborted) throw new AsdmError('DISPOSED', 'Expected a model in use but it has been disposed')
    if (options === undefined)
      throw new AsdmError('INVALID_ARGUMENT', `Expected options with a prompt in ${where} but received ${shown(options)}`)
    return parseRequest(options, this.#facts, where)
  }

  async *#run(request: Request): AsyncGenerator<Step, GeneratedImage[], void> {
    const { signal, release } = anySignal([request.signal, this.#life.signal, request.failure])
    const turn = this.#queue.turn(signal)
    try {
      await turn
      const run = runPipeline(this.#pipeline, request, noiseOf(request), signal)
      for (;;) {
        const next = await run.next()
        throwIfAborted(signal)
        if (next.done === true) return next.value
        request.onProgress?.(next.value)
        throwIfAborted(signal)
        yield next.value
        throwIfAborted(signal)
      }
    } catch (error) {
      // As where the listener throws at once.
      if (request.failure.aborted) throw request.failure.reason
      // A part may notice before the request does that the model was disposed.
      throwIfAborted(signal)
      throw error
    } finally {
      release()
      for (const part of allParts(this)) part.trim()
      await turn.then(end => end(), () => {})
    }
  }

  /** Fits the previewer when it is first wanted; a fit that was aborted is begun anew by the next. */
  async #fitPreviewer(signal: AbortSignal): Promise<Previewer> {
    this.#previewer ??= Previewer.fit(this.vae, signal).catch((error: unknown) => {
      this.#previewer = undefined
      throw error
    })
    return this.#previewer
  }

  #warn(warning: Warning): void {
    warn(warning, this.listenerCount('warning') > 0 ? item => void this.emit('warning', item) : undefined)
  }
}

/** Where a request's random numbers come from. */
function noiseOf({ seed }: Request): NoiseSource {
  return typeof seed === 'object' ? new BatchNoise(seed) : new TorchGenerator(seed)
}

interface Parts {
  textEncoder: TextEncoder
  unet: UNet
  unets: Readonly<Record<string, UNet>>
  vae: VAE
}

function allParts({ textEncoder, unet, unets, vae }: Parts): (TextEncoder | UNet | VAE)[] {
  return [textEncoder, unet, ...Object.values(unets), vae]
}

export function checkUNetPaths(value: unknown): Record<string, string> {
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    throw new AsdmError('INVALID_ARGUMENT', `Expected unets to be an object of paths but received ${shown(value)}`)
  return Object.fromEntries(Object.entries(value).map(([name, folder]) => {
    if (!/^[a-z][\w-]{0,63}$/i.test(name) || name === mainUNet)
      throw new AsdmError('INVALID_ARGUMENT',
        `Expected names of unets to be letters, digits, - and _, but not ${shown(mainUNet)}, which is the main UNet, but received `
        + shown(name))
    return [name, checkPath(folder, `unets.${name}`)]
  }))
}

/** A UNet beside the main one; it reads the same latents and text features. */
export async function openFurtherUNet(
  folder: string, name: string, main: UNetConfig, options: { variant: string | undefined, signal: AbortSignal | undefined },
): Promise<Part<UNetConfig>> {
  const inside = pathModule.join(folder, 'unet')
  const part = await openUNet(await fileExists(pathModule.join(inside, 'config.json')) ? inside : folder, options)
  for (const key of ['inChannels', 'outChannels', 'crossAttentionDim', 'timeCondDim'] as const)
    if (part.config[key] !== main[key])
      throw new AsdmError('SHAPE_MISMATCH',
        `Expected unets.${name} to have the main UNet's ${key}, ${main[key] ?? 'none'}, but received ${part.config[key] ?? 'none'}`)
  return part
}

function buildParts(
  addon: Addon, { textEncoder, unet, vae }: Checkpoint, unets: Readonly<Record<string, Part<UNetConfig>>>, native: NativeModelOptions,
): Parts {
  const built: { dispose(): Promise<void> }[] = []
  const keep = <T extends { dispose(): Promise<void> }>(part: T): T => { built.push(part); return part }
  try {
    return {
      textEncoder: keep(new TextEncoder(addon, textEncoder, native)),
      unet: keep(new UNet(addon, unet, native)),
      unets: Object.fromEntries(Object.entries(unets).map(([name, part]) => [name, keep(new UNet(addon, part, native))])),
      vae: keep(new VAE(addon, vae, native)),
    }
  } catch (error) {
    for (const part of built) void part.dispose()
    throw error
  }
}

/** Reads the parts one after the other, so that packing needs memory for one at a time. */
async function loadWeights(
  { textEncoder, unet, unets, vae }: Parts, options: WeightsLoadOptions, onProgress: LoadOptions['onProgress'],
): Promise<void> {
  const stages: { name: LoadStep['part'], part: TextEncoder | UNet | VAE, bytes: number }[] = [
    { name: 'textEncoder', part: textEncoder, bytes: textEncoder.part.storedBytes },
    ...[unet, ...Object.values(unets)].map(part => ({ name: 'unet' as const, part, bytes: part.part.storedBytes })),
    { name: 'vae', part: vae, bytes: vae.decoderPart.storedBytes },
  ]
  const bytesTotal = stages.reduce((sum, { bytes }) => sum + bytes, 0)
  let before = 0
  for (const { name, part, bytes } of stages) {
    throwIfAborted(options.signal)
    // The addon may count other bytes (of float32) than those stored.
    const report = onProgress && ((progress: { bytesDone: number, bytesTotal: number }) =>
      onProgress({
        part: name, bytesDone: Math.round(before + bytes * (progress.bytesTotal > 0 ? progress.bytesDone / progress.bytesTotal : 1)),
        bytesTotal,
      }))
    await part.loadWeights({ ...options, onProgress: report })
    before += bytes
  }
  throwIfAborted(options.signal)
  onProgress?.({ part: 'vae', bytesDone: bytesTotal, bytesTotal })
}
