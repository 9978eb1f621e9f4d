import { AsdmError, shown } from '../base/errors'
import { fieldsOf, plain } from '../base/reading'
import { RgbaImage } from './rgba-image'
import type { GenerationSettings } from './generation-settings'
import { jsonSafe, settingsTexts, withSeed } from './settings'

/** What is left of an image that went through `structuredClone`, a worker, IPC or JSON. */
export interface PlainImage {
  /** 4 bytes a pixel; after JSON in base64. */
  rgba: Uint8ClampedArray | Uint8Array | string
  /** In pixels. */
  width: number
  /** In pixels. */
  height: number
  /** What made it; after JSON, a seed beyond 2^53 is text. */
  settings: Omit<GenerationSettings, 'seed'> & { seed: number | bigint | string }
}

/** A generated image. */
export class GeneratedImage extends RgbaImage {
  /** What made it; `save` writes it into the file, {@link readSettings} reads it. */
  readonly settings: GenerationSettings

  /**
   * @param rgba 4 bytes a pixel, row by row from the top left; alpha is 255
   * @param width in pixels
   * @param height in pixels
   * @param settings what made it
   */
  constructor(rgba: Uint8ClampedArray<ArrayBuffer>, width: number, height: number, settings: GenerationSettings) {
    super(rgba, width, height)
    const copy = plain(settings, 'settings')
    if (copy === null || typeof copy !== 'object' || Array.isArray(copy))
      throw new AsdmError('INVALID_ARGUMENT', `Expected settings to be an object but received ${shown(settings)}`)
    this.settings = jsonSafe(copy as GenerationSettings)
  }

  /**
   * The image again, from what `structuredClone`, `postMessage`, Electron's IPC or `JSON.parse(JSON.stringify(image))` left of it.
   * @throws AsdmError `INVALID_ARGUMENT`
   */
  static from(image: PlainImage): GeneratedImage {
    const { rgba, width, height, settings } = fieldsOf(image, 'a generated image', ['rgba', 'width', 'height', 'settings'])
    const bytes = typeof rgba === 'string' ? Buffer.from(rgba, 'base64') : rgba
    const wanted = typeof width === 'number' && typeof height === 'number' ? width * height * 4 : NaN
    if (!ArrayBuffer.isView(bytes) || bytes.byteLength !== wanted || wanted === 0 || settings === null || typeof settings !== 'object')
      throw new AsdmError('INVALID_ARGUMENT',
        `Expected { rgba, width, height, settings } as a generated image has them but received ${shown(image)}`)
    const copy = new Uint8ClampedArray(wanted)
    copy.set(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength))
    return new GeneratedImage(copy, width as number, height as number, withSeed(plain(settings, 'settings') as object) as GenerationSettings)
  }

  /** The seed it was made from. */
  get seed(): number | bigint {
    return this.settings.seed
  }

  /** What `JSON.stringify` takes: pixels in base64, and settings. {@link GeneratedImage.from} makes an image of it again. */
  toJSON(): PlainImage & { rgba: string, settings: GenerationSettings } {
    const { rgba, width, height, settings } = this
    return { rgba: Buffer.from(rgba.buffer, rgba.byteOffset, rgba.byteLength).toString('base64'), width, height, settings }
  }

  protected override texts(): Record<string, string> {
    return settingsTexts(this.settings)
  }
}
