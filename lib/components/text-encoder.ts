import { listOf, sizesOf } from '../base/reading'
import { checkLoaded } from '../base/options'
import { AsdmError, shown } from '../base/errors'
import { abortSignal, checkOptions, integer, optional } from '../base/options'
import { isInt32Array } from '../base/realms'
import type { Tensor } from '../base/tensor'
import type { Part } from '../model/checkpoint'
import { openGivenTextEncoder } from '../model/part-file'
import type { Addon, NativeModelOptions, ProgramInfo } from '../native/binding'
import type { TextEncoderConfig } from '../native/configs'
import { Component, loadComponent } from './component'
import type { CallOptions, PartLoadOptions } from './options'
import { NativePart } from './part'

/** How token ids are encoded. */
export interface EncodeOptions extends CallOptions {
  /** How many last layers to leave out; the final norm comes after. 0 if left out, as diffusers' `clip_skip=None`. */
  clipSkip?: number | undefined
}

/** Most rows of token ids in one call. */
const maxRows = 65_536

/** Token ids to features: transformers' `CLIPTextModel`. Calls on one queue in order. */
export class TextEncoder extends Component<TextEncoderConfig> {
  readonly #part: NativePart

  /** @internal */
  constructor(addon: Addon, part: Part<TextEncoderConfig>, options: NativeModelOptions) {
    checkLoaded(() => typeof addon.createModel === 'function' && typeof part.config === 'object', 'TextEncoder', 'TextEncoder.load')
    const native = new NativePart(addon, { kind: 'text_encoder', config: part.config }, options, part.weights, part.path, 'text encoder')
    super(part.config, [native])
    this.#part = native
  }

  /**
   * Loads a text encoder: its folder (`config.json` and safetensors weights), a diffusers folder with one, or a single `.safetensors` file.
   * @throws AsdmError as `StableDiffusion.load`; an `AbortError` when the signal fires
   */
  static async load(path: string, options?: PartLoadOptions): Promise<TextEncoder> {
    return loadComponent(
      options, 'TextEncoder.load',
      async (addon, opening, native) => new TextEncoder(addon, await openGivenTextEncoder(path, opening), native),
    )
  }

  /** @internal */
  get part(): NativePart {
    return this.#part
  }

  /** Units, multiply-accumulates and memory of a pass. */
  describe(shape: { batch: number, length: number }): ProgramInfo {
    return this.#part.describe(sizesOf(shape, ['batch', 'length']))
  }

  /**
   * Features of token ids.
   * @param ids what `tokenizer.encode` gives, or an array of such rows, all of one length (at most the window)
   * @returns [N,L,D], the last layer's output after the final norm
   * @throws AsdmError `INVALID_ARGUMENT`, `SHAPE_MISMATCH`, `OUT_OF_MEMORY`, `DISPOSED`; an `AbortError` when the signal fires
   */
  async encode(ids: Int32Array | readonly Int32Array[], options?: EncodeOptions): Promise<Tensor> {
    const { signal, clipSkip } = checkOptions(options, ['signal', 'clipSkip'], 'textEncoder.encode')
    const skip = optional(clipSkip, value => integer(value, 'clipSkip', 0, this.config.numHiddenLayers - 1)) ?? 0
    const rows = this.#checkIds(ids)
    const flat = new Int32Array(rows.reduce((sum, row) => sum + row.length, 0))
    rows.forEach((row, i) => flat.set(row, i * row.length))
    const output = await this.#part.forward(
      { values: { ids: { data: flat, shape: [rows.length, flat.length / rows.length] } }, clipSkip: skip }, optional(signal, value => abortSignal(value, 'signal')),
    )
    return output.sample
  }

  #checkIds(ids: unknown): readonly Int32Array[] {
    const { maxPositionEmbeddings: window, vocabSize } = this.config
    const rows: readonly unknown[] = isInt32Array(ids) ? [ids] : listOf(ids, 'ids', maxRows)
    const isRow = (row: unknown): row is Int32Array => isInt32Array(row) && row.length > 0 && row.length <= window
    if (rows.length === 0 || !rows.every(isRow) || rows.some(row => row.length !== rows[0]?.length))
      throw new AsdmError('INVALID_ARGUMENT',
        `Expected ids to be an Int32Array of 1 to ${window} token ids, or an array of such of one length, but received ${shown(ids)}`)
    for (const row of rows) for (const id of row)
      if (id < 0 || id >= vocabSize)
        throw new AsdmError('INVALID_ARGUMENT',
          `Expected token ids from 0 to ${vocabSize - 1} but received ${id}; does the tokenizer belong to this text encoder?`)
    return rows
  }
}
