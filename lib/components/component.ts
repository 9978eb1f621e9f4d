import type { Addon, NativeModelOptions } from '../native/binding'
import { parsePartLoad, type PartLoadOptions, type WeightsLoadOptions } from './options'
import type { PackedCache } from './packed-cache'
import type { NativePart } from './part'

/** What UNet, VAE and text encoder have in common: a config, and native parts that are loaded, trimmed and disposed of. */
export abstract class Component<Config> {
  /** The config it was built from, complete with defaults. */
  readonly config: Config
  readonly #parts: readonly [NativePart, ...NativePart[]]

  /**
   * @internal
   * @param parts the first one is what {@link loadWeights} reads; the others are for when they are first used
   */
  protected constructor(config: Config, parts: readonly [NativePart, ...NativePart[]]) {
    this.config = config
    this.#parts = parts
  }

  /** What became of the packed cache of its weights (of a VAE, the decoder's); undefined where none was asked for. */
  get packedCache(): PackedCache | undefined {
    return this.#parts[0].packedCache
  }

  /** @internal */
  loadWeights(options: WeightsLoadOptions): Promise<void> {
    return this.#parts[0].load(options)
  }

  /** Gives the memory of activations back; it grows again with the next call. */
  trim(): void {
    for (const part of this.#parts) part.trim()
  }

  /** Stops calls under way, which reject with an `AbortError`, and frees the model. Twice is fine. */
  async dispose(): Promise<void> {
    await Promise.all(this.#parts.map(part => part.dispose()))
  }

  /** {@link dispose}, at the end of an `await using` block. */
  async [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }
}

/** How a component's files are opened. */
interface Opening {
  variant?: string | undefined
  signal?: AbortSignal | undefined
}

/**
 * Loads a component: checks the options, opens its files and reads its weights. Where that fails it is disposed of.
 * @param where the call, for messages
 */
export async function loadComponent<C extends Component<unknown>>(
  options: PartLoadOptions | undefined, where: string, open: (addon: Addon, opening: Opening, native: NativeModelOptions) => Promise<C>,
): Promise<C> {
  const { addon, native, variant, ...rest } = parsePartLoad(options, where)
  const component = await open(addon, { variant, signal: rest.signal }, native)
  try {
    await component.loadWeights(rest)
  } catch (error) {
    await component.dispose()
    throw error
  }
  return component
}
