import { captureRejectionSymbol, EventEmitter, setMaxListeners } from 'node:events'
import { anySignal } from './base/abort'
import { AsdmError, shown, throwIfAborted } from './base/errors'
import { warnOfRejection } from './base/listener'
import { abortSignal, boolean, callback, checkLoaded, checkOptions, optional, path as checkPath } from './base/options'
import { Queue, type QueuedCall } from './base/queue'
import { runAhead } from './base/run-ahead'
import type { Tensor } from './base/tensor'
import { checkPackedCache, parseRuntime, runtimeKeys, type RuntimeOptions } from './components/options'
import { warn, type Warning } from './components/warnings'
import { TextEncoder } from './components/text-encoder'
import { UNet } from './components/unet'
import { VAE } from './components/vae'
import { locateModel } from './hub/locate-model'
import { checkRevision } from './hub/names'
import type { PullProgress } from './hub/pull'
import type { GeneratedImage } from './image/generated-image'
import { drawTiny, Previewer, type Preview, type PreviewKind } from './image/preview'
import type { NoiseSource } from './image/start'
import type { LoraToMerge } from './lora/open'
import { parseLoras, type LoraOptions } from './lora/options'
import { ModelLoras } from './model-loras'
import { openCheckpoint, type Checkpoint, type Part } from './model/checkpoint'
import type { ModelDefaults } from './model/defaults'
import type { Addon, NativeModelOptions } from './native/binding'
import type { UNetConfig, VAEConfig } from './native/configs'
import { loadAddon } from './native/load'
import { allParts, buildParts, checkUNetPaths, loadWeights, openFurtherUNet, openTaesd, type LoadStep, type Parts } from './parts'
import { runPipeline, type Pipeline } from './pipeline'
import type { Step } from './progress'
import { BatchNoise } from './random/batch-noise'
import { TorchGenerator } from './random/torch-generator'
import { modelFacts, parseRequest, type GenerateOptions, type ModelFacts, type Request } from './request'
import { samplersFor, type SamplerName, type SchedulerConfig } from './samplers'
import { addEmbeddings, parseEmbeddings, type EmbeddingOptions } from './text/embeddings'
import { FeatureCache } from './text/feature-cache'
import { loadTokenizer } from './text/load'
import { Tokenizer } from './text/tokenizer'

/** How a model is loaded. */
export interface LoadOptions extends RuntimeOptions {
  /** Which variant of the weight files: `fp16` for `diffusion_pytorch_model.fp16.safetensors`. */
  variant?: string | undefined
  /** Of a model on the hub: a branch, tag or commit; `main`. */
  revision?: string | undefined
  /** A folder whose tokenizer is used instead of the checkpoint's. One with only `vocab.json` and `merges.txt` is read as CLIP's. */
  tokenizer?: string | undefined
  /**
   * A VAE that is used instead of the checkpoint's, or where a single file has none: its folder, a diffusers folder with one, or a
   * `.safetensors` file with the names of diffusers or of the original code, such as `vae-ft-mse-840000-ema-pruned.safetensors`.
   */
  vae?: string | undefined
  /**
   * A tiny autoencoder (TAESD) that decodes previews (`preview: 'taesd'`): an `AutoencoderTiny` folder, or `taesd_decoder.safetensors`. A
   * model whose `vae` is one needs no other.
   */
  taesd?: string | undefined
  /** A text encoder, likewise; a file may have the names of transformers' CLIP or of OpenCLIP. */
  textEncoder?: string | undefined
  /** A diffusers folder whose configs are used instead of the checkpoint's own, or of those inferred for a single file. */
  config?: string | undefined
  /**
   * Further UNets that plans may name, as `{ light: path }`: UNet folders, or diffusers folders with one. Text features, VAE and scheduler
   * are shared.
   */
  unets?: Readonly<Record<string, string>> | undefined
  /**
   * Keeps the weights, packed for this kernel set and number format, in files beside those they come from (`true`) or in the folder of this
   * path, and reads those files where there are some, which makes loading a matter of tenths of a second. Off if left out. Each part's
   * `packedCache` says what became of it.
   */
  packedCache?: boolean | string | undefined
  /**
   * LoRAs (also LoCon, LoHa, LoKr and DoRA, in diffusers', PEFT's, kohya's and LyCORIS's formats) that are merged into the weights of the
   * UNets and the text encoder. They add up in their order. Requests may have others.
   */
  loras?: readonly LoraOptions[] | undefined
  /** Where LoRAs lie that `loras` call by `name`, and prompts by `<lora:name:0.8>`. */
  loraFolder?: string | undefined
  /**
   * Textual inversion embeddings, whose words prompts and negative prompts may use then. The text encoder has no packed cache with them.
   */
  embeddings?: readonly EmbeddingOptions[] | undefined
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

/** A model to build. */
interface OpenedModel {
  checkpoint: Checkpoint
  unets: Readonly<Record<string, Part<UNetConfig>>>
  tokenizer: Tokenizer
  loras: readonly LoraToMerge[]
  loraFolder: string | undefined
  /** Of previews. */
  tiny: Part<VAEConfig> | undefined
}

const loadKeys = [
  ...runtimeKeys, 'variant', 'revision', 'tokenizer', 'vae', 'taesd', 'textEncoder', 'config', 'unets', 'packedCache', 'loras',
  'loraFolder', 'embeddings', 'download', 'signal', 'onProgress', 'onDownload', 'onWarning',
] as const satisfies readonly (keyof LoadOptions)[]

/**
 * A text-to-image model: `StableDiffusion.load` reads one, `generate` generates images with it.
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
  /** Between images and latents. */
  readonly vae: VAE
  /** Decodes previews, where the model was loaded with one. */
  readonly taesd: VAE | undefined
  /** The checkpoint's own scheduler config, as diffusers' pipelines correct it: `clip_sample` false, `steps_offset` 1. */
  readonly schedulerConfig: SchedulerConfig
  /**
   * What requests use where they do not say: what the model's `model_index.json` recommends, else what its scheduler tells (few steps
   * without guidance for SD-Turbo, LCM and TCD), else guidance 7.5 and 20 steps.
   */
  readonly defaults: Readonly<ModelDefaults>
  readonly #facts: ModelFacts
  readonly #queue = new Queue()
  /** Aborted by `dispose`. */
  readonly #life = new AbortController()
  readonly #pipeline: Pipeline
  readonly #loras: ModelLoras
  #previewer: Promise<Previewer> | undefined

  private constructor(model: OpenedModel, parts: Parts) {
    super({ captureRejections: true })
    checkLoaded(() => model.tokenizer instanceof Tokenizer && parts.unet instanceof UNet, 'StableDiffusion', 'StableDiffusion.load')
    const { checkpoint, tokenizer, loras, loraFolder } = model
    // Every call in the queue listens.
    setMaxListeners(0, this.#life.signal)
    this.tokenizer = tokenizer
    this.textEncoder = parts.textEncoder
    this.unet = parts.unet
    this.unets = Object.freeze({ ...parts.unets })
    this.vae = parts.vae
    this.taesd = parts.taesd
    this.schedulerConfig = checkpoint.schedulerConfig
    this.defaults = Object.freeze({ ...checkpoint.defaults })
    this.#facts = modelFacts(parts, checkpoint.schedulerConfig, this.defaults, { loras, loraFolder })
    this.#pipeline = {
      tokenizer, ...parts, features: new FeatureCache(), decodeMsPerPixel: undefined,
      preview: (kind, latents, signal) => this.#preview(kind, latents, signal),
      warn: warning => this.#warn(warning),
    }
    this.#loras = new ModelLoras(parts, { warn: warning => this.#warn(warning), textChanges: () => this.#pipeline.features.clear() })
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
    const [variant, tokenizer, vae, taesd, textEncoder, config] = (['variant', 'tokenizer', 'vae', 'taesd', 'textEncoder', 'config'] as const).map(key =>
      optional(given[key], value => checkPath(value, key)))
    const download = optional(given.download, value => boolean(value, 'download'))
    const packedCache = optional(given.packedCache, checkPackedCache)
    const unetPaths = optional(given.unets, checkUNetPaths) ?? {}
    const loras = parseLoras(given.loras, given.loraFolder)
    const loraFolder = optional(given.loraFolder, value => checkPath(value, 'loraFolder'))
    const embeddings = parseEmbeddings(given.embeddings)
    const addon = loadAddon()
    const native = parseRuntime(given, addon)
    throwIfAborted(signal)
    const found = await locateModel(path, { variant, revision, download, signal, onDownload })
    const opened = await openCheckpoint(found.path, { variant: found.variant, tokenizer, vae, textEncoder, config, signal })
    const plainTokenizer = await loadTokenizer(opened)
    const unets: Record<string, Part<UNetConfig>> = {}
    for (const [name, folder] of Object.entries(unetPaths))
      unets[name] = await openFurtherUNet(folder, name, opened.unet.config, { variant, signal })
    const tiny = taesd === undefined ? undefined : await openTaesd(taesd, opened.vae, { variant: undefined, signal })
    throwIfAborted(signal)
    const extended = await addEmbeddings(opened, plainTokenizer, embeddings, signal)
    try {
      const model = { checkpoint: extended.checkpoint, unets, tokenizer: extended.tokenizer, loras, loraFolder, tiny }
      return await StableDiffusion.#build(addon, model, native, { packedCache, signal, onProgress, onWarning })
    } finally {
      await extended.dispose()
    }
  }

  static async #build(
    addon: Addon, model: OpenedModel, native: NativeModelOptions,
    { packedCache, signal, onProgress, onWarning }: Pick<LoadOptions, 'packedCache' | 'signal' | 'onProgress' | 'onWarning'>,
  ): Promise<StableDiffusion> {
    const { checkpoint, unets, loras, tiny } = model
    const parts = buildParts(addon, checkpoint, unets, native, tiny)
    try {
      const sd = new StableDiffusion(model, parts)
      if (onWarning !== undefined) sd.on('warning', onWarning)
      for (const message of checkpoint.warnings) sd.#warn({ code: 'CHECKPOINT', message })
      // Before anything is read that takes time.
      if (loras.length > 0) await sd.#loras.find(loras, signal)
      await loadWeights(parts, { packedCache, signal, onWarning: warning => sd.#warn(warning) }, onProgress)
      await sd.#loras.use(loras, signal)
      return sd
    } catch (error) {
      await Promise.all(allParts(parts).map(part => part.dispose()))
      throw error
    }
  }

  /** Default width and height of an image, and the number of pixels that they are multiples of. */
  get sizes(): { default: number, multiple: number } {
    return { default: this.#facts.defaultSize, multiple: this.#facts.vaeFactor }
  }

  /** The samplers that this model can be sampled by, by their short names. */
  get samplers(): readonly SamplerName[] {
    return samplersFor(this.schedulerConfig)
  }

  /** The request that is run, then those that wait for it, in the order in which they will run. */
  get queue(): readonly QueuedCall[] {
    return this.#queue.calls
  }

  /**
   * Generates images.
   * @returns for each prompt `count` images, in the order of the prompts
   * @throws AsdmError `INVALID_ARGUMENT`, `SHAPE_MISMATCH`, `UNSUPPORTED_CONFIG`, `OUT_OF_MEMORY`, `DISPOSED`, for an image handed in also
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
   * Generates images step by step: `for await (const step of sd.steps({ prompt }))`. The last step (`phase: 'done'`) carries the
   * images. Leaving the loop early cancels the request. The request begins, and takes its place in the queue, with the first
   * `next()`. Between two steps the model waits for its caller, but not while other requests wait for the model (also one made in the
   * loop), nor with `buffer`, nor longer than `pauseTimeout`: then the request runs on, and its steps are kept until they are taken.
   * @throws AsdmError as {@link generate}, for wrong options at once
   */
  steps(options: GenerateOptions): AsyncGenerator<Step, GeneratedImage[], void> {
    const request = this.#parse(options, 'steps')
    const left = new AbortController()
    const pause = (go: () => void): (() => void) => {
      if (request.runAheadMs === 0) go()
      // It keeps the process alive, for the request is to go on.
      const timer = request.runAheadMs === undefined ? undefined : setTimeout(go, request.runAheadMs)
      const unwatch = this.#queue.whenWaiting(go)
      return () => {
        clearTimeout(timer)
        unwatch()
      }
    }
    return runAhead(this.#run(request, left.signal), pause, () => left.abort())
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

  async *#run(request: Request, left?: AbortSignal): AsyncGenerator<Step, GeneratedImage[], void> {
    const { signal, release } = anySignal([request.signal, this.#life.signal, request.failure, left])
    const turn = this.#queue.turn(signal, request.priority)
    try {
      await turn
      await this.#loras.use(request.loras, signal)
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

  async #preview(kind: PreviewKind, latents: Tensor, signal: AbortSignal): Promise<Preview[]> {
    if (kind === 'taesd') return drawTiny(this.taesd ?? this.vae, latents, signal)
    return (await this.#fitPreviewer(signal)).draw(latents)
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
function noiseOf({ seed, one }: Request): NoiseSource {
  if (typeof seed === 'object') return new BatchNoise(seed)
  const generator = new TorchGenerator(seed)
  return { one, randnSliced: (shape, slices) => generator.randnSliced(shape, slices) }
}
