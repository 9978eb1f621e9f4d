import { randomBytes } from 'node:crypto'
import { mkdir, open, rename, unlink, type FileHandle } from 'node:fs/promises'
import pathModule from 'node:path'
import { AsdmError } from '../base/errors'
import { boolean, checkOptions, optional, path as checkPath } from '../base/options'
import { fileError, readWhole, shownPath } from '../files/files'
import type { Plan } from '../plan/plan'
import type { SamplerName, SchedulerConfig } from '../samplers'
import { encodePng, readTexts } from './png'

/** What made a picture: the request's options with everything that was left to defaults filled in, but for pictures and latents handed in. */
export interface GenerationSettings {
  /** This picture's prompt. */
  prompt: string
  /** This picture's negative prompt; without effect where `guidanceScale` is 1 or less. */
  negativePrompt: string
  /** As asked for. */
  guidanceScale: number
  /** As asked for, before `strength` leaves some out. */
  steps: number
  /** The sampler's name, or the scheduler config it was made from, complete with defaults. */
  sampler: SamplerName | SchedulerConfig
  /** Share of fresh noise in each step. */
  eta: number
  /** The request's seed. */
  seed: number | bigint
  /** In pixels. */
  width: number
  /** In pixels. */
  height: number
  /** Images that came of one seed; together with `index`, `prompt` and `seed` this tells which noise the picture began with. */
  count: number
  /** Which of the request's images this is, counted from 0, all of the first prompt before those of the second. */
  index: number
  /** Last layers of the text encoder that were left out. */
  clipSkip: number
  /** Were weights read in the prompts? */
  promptWeighting: boolean
  /** Where a picture was handed in: `image`, or `inpaint` for one with a mask. */
  from?: 'image' | 'inpaint'
  /** How much of the picture handed in was made anew. */
  strength?: number
  /** Initial noise was handed in, so the seed alone does not give the picture. */
  latents?: true
  /** The plan, where there was one. */
  plan?: Plan
}

/** The PNG text chunk that holds the settings as JSON. */
const keyword = 'asdm'

/** Longest PNG file that settings are read from. */
const maxPngBytes = 2 ** 30

/** A picture that was made. */
export class GeneratedImage {
  constructor(
    /** 4 bytes a pixel, row by row from the top left; alpha is 255. */
    readonly rgba: Uint8ClampedArray,
    /** In pixels. */
    readonly width: number,
    /** In pixels. */
    readonly height: number,
    /** What made it; `save` writes it into the file, {@link readSettings} reads it. */
    readonly settings: GenerationSettings,
  ) {}

  /** The seed it was made from. */
  get seed(): number | bigint {
    return this.settings.seed
  }

  /** The picture as a PNG file's bytes; its text chunk `asdm` holds the settings as JSON. Does not block the event loop. */
  async png(): Promise<Buffer> {
    return encodePng(this.rgba, this.width, this.height, { Software: 'asdm', [keyword]: settingsJson(this.settings) })
  }

  /**
   * Writes {@link png} to a file. The file appears whole or not at all: the bytes go to a temporary file beside it first.
   * @param options `folders: true` makes the folders above it
   * @returns the absolute path
   * @throws AsdmError `INVALID_ARGUMENT`, `FILE_NOT_FOUND` when the folder is missing, `FILE_READ` when the system refuses
   */
  async save(path: string, options?: { folders?: boolean }): Promise<string> {
    const target = pathModule.resolve(checkPath(path, 'path'))
    const { folders } = checkOptions(options, ['folders'], 'image.save')
    const makeFolders = optional(folders, value => boolean(value, 'folders')) ?? false
    const bytes = await this.png()
    const temporary = `${target}.${process.pid}-${randomBytes(6).toString('hex')}.tmp`
    let handle: FileHandle | undefined
    try {
      if (makeFolders) await mkdir(pathModule.dirname(target), { recursive: true })
      handle = await open(temporary, 'wx')
      await handle.writeFile(bytes)
      await handle.sync()
      await handle.close()
      handle = undefined
      await rename(temporary, target)
    } catch (error) {
      await handle?.close().catch(() => {})
      await unlink(temporary).catch(() => {})
      const problem = fileError(error, target)
      throw problem.code === 'FILE_NOT_FOUND' ? new AsdmError('FILE_NOT_FOUND', `Expected a folder to write ${shownPath(target)} into but there is none`, { cause: error })
        : new AsdmError(problem.code, `Expected to write ${shownPath(target)} but the system says ${(error as NodeJS.ErrnoException).code ?? (error as Error).message}`, { cause: error })
    }
    return target
  }
}

/**
 * The settings that {@link GeneratedImage.save} wrote into a PNG, or `undefined` where there are none.
 * @param png the file's path or its bytes
 * @throws AsdmError `INVALID_ARGUMENT`, `FILE_NOT_FOUND`, `FILE_READ`, or `BAD_JSON` when the chunk does not parse
 */
export async function readSettings(png: string | Uint8Array): Promise<GenerationSettings | undefined> {
  const bytes = png instanceof Uint8Array ? png : await readWhole(checkPath(png, 'png'), maxPngBytes)
  const json = (await readTexts(bytes, [keyword])).get(keyword)
  if (json === undefined) return undefined
  const where = png instanceof Uint8Array ? 'the PNG' : shownPath(png)
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch (error) {
    throw new AsdmError('BAD_JSON', `Expected the text chunk ${keyword} of ${where} to hold JSON but it does not parse`, { cause: error })
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    throw new AsdmError('BAD_JSON', `Expected the text chunk ${keyword} of ${where} to hold a JSON object`)
  const settings = value as GenerationSettings
  if (typeof settings.seed === 'string' && /^\d{1,20}$/.test(settings.seed)) settings.seed = BigInt(settings.seed)
  return settings
}

/** JSON in ASCII, which is all that a `tEXt` chunk is sure to carry; seeds beyond 2^53 are strings. */
function settingsJson(settings: GenerationSettings): string {
  const json = JSON.stringify(settings, (_key, value: unknown) => {
    if (typeof value === 'bigint') return value <= 2n ** 53n ? Number(value) : String(value)
    return value
  })
  return json.replace(/[^\x20-\x7e]/g, char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
