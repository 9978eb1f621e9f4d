import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { AsdmError, shown } from '../base/errors'
import { Drawings } from '../eval/drawings'
import { fileError, isFileError, isFolder, readText, shownPath, statIfAny } from '../files/files'
import { isJsonObject } from '../files/json'
import { imageSource, type PixelImage } from '../image/source'
import { firstFew } from '../model/weights'

/** An image with its caption. */
interface Example {
  /** In messages. */
  name: string
  caption: string
  /** Is it kept from training? undefined: the data does not say. */
  heldOut: boolean | undefined
  read(signal: AbortSignal): Promise<PixelImage>
}

/** What a training sees. */
export interface Dataset {
  /** Which of the known forms. */
  kind: 'drawings' | 'imagefolder' | 'captions'
  examples: Example[]
}

const maxMetadataBytes = 2 ** 30
const maxCaptionBytes = 2 ** 16
const imageName = /\.(?:png|jpe?g|webp|avif)$/i

/**
 * Opens a folder of captioned images: drawings of `npm run emoji:data`; Hugging Face's imagefolder, whose `metadata.jsonl` has `file_name`
 * and `text`; or images with `.txt` files of the same names beside them. Reads captions, no images.
 * @param styles of drawings; all if left out
 * @throws AsdmError `FILE_NOT_FOUND`, `FILE_READ`, `BAD_JSON`, `INVALID_ARGUMENT`, naming file, line or style
 */
export async function openDataset(folder: string, styles?: readonly string[]): Promise<Dataset> {
  if (!await isFolder(folder)) throw new AsdmError('FILE_NOT_FOUND', `Expected a folder of images at ${shownPath(folder)} but there is none`)
  if (await statIfAny(path.join(folder, 'drawings.json')) !== undefined) return fromDrawings(await Drawings.open(folder), styles)
  if (styles !== undefined)
    throw new AsdmError('INVALID_ARGUMENT', `Expected styles only with drawings, as npm run emoji:data makes them, but ${shownPath(folder)} has no drawings.json`)
  const metadata = path.join(folder, 'metadata.jsonl')
  const dataset = await statIfAny(metadata) !== undefined ? await fromMetadata(folder, metadata) : await fromTexts(folder)
  if (dataset.examples.length === 0)
    throw new AsdmError('FILE_NOT_FOUND', `Expected images (PNG, JPEG, WebP, AVIF) in ${shownPath(folder)} but there are none`)
  return dataset
}

function fromDrawings(drawings: Drawings, styles: readonly string[] | undefined): Dataset {
  const known = new Set(drawings.drawings.map(({ style }) => style))
  for (const style of styles ?? [])
    if (!known.has(style))
      throw new AsdmError('INVALID_ARGUMENT', `Expected styles of the drawings (${[...known].join(', ')}) but received ${shown(style)}`)
  const { width, height } = drawings
  return {
    kind: 'drawings',
    examples: drawings.drawings.flatMap(({ style, name, caption, heldOut }, i) => (styles !== undefined && !styles.includes(style)
      ? []
      : [{
          name: `${style}/${name}`, caption, heldOut,
          read: async () => ({ data: (await drawings.pixels([i]))[0]!, width, height, channels: 3 }),
        }])),
  }
}

async function fromMetadata(folder: string, file: string): Promise<Dataset> {
  const lines = (await readText(file, maxMetadataBytes)).split(/\r?\n/)
  const examples = lines.flatMap((line, i): Example[] => {
    if (line.trim() === '') return []
    const bad = (problem: string): AsdmError =>
      new AsdmError('BAD_JSON', `Expected line ${i + 1} of ${shownPath(file)} to be { "file_name", "text" } but ${problem}`)
    let row: unknown
    try {
      row = JSON.parse(line)
    } catch {
      throw bad('it is no JSON')
    }
    if (!isJsonObject(row)) throw bad('it is no object')
    const { file_name: name, text } = row
    if (typeof name !== 'string' || name === '' || name.includes('\0')) throw bad(`its file_name is ${shown(name)}`)
    if (typeof text !== 'string' || text.trim() === '' || text.length > maxCaptionBytes) throw bad(`its text is ${shown(text)}`)
    const at = path.resolve(folder, name)
    if (!at.startsWith(path.resolve(folder) + path.sep)) throw bad(`its file_name ${shown(name)} leads out of the folder`)
    return [example(at, name, text)]
  })
  await checkThere(examples.map(({ name }) => name), folder)
  return { kind: 'imagefolder', examples }
}

async function fromTexts(folder: string): Promise<Dataset> {
  const names = await readdir(folder).catch((error: unknown) => { throw isFileError(error) ? fileError(error, folder) : error })
  const images = names.filter(name => imageName.test(name)).sort()
  const caption = (name: string): string => name.replace(imageName, '.txt')
  const without = images.filter(name => !names.includes(caption(name)))
  if (without.length > 0)
    throw new AsdmError('FILE_NOT_FOUND',
      `Expected a caption beside each image in ${shownPath(folder)}, as ${caption(without[0]!)}, or a metadata.jsonl, but ${without.length} of `
      + `${images.length} images have none: ${firstFew(without)}`)
  const examples: Example[] = []
  for (const name of images) {
    const text = (await readText(path.join(folder, caption(name)), maxCaptionBytes)).trim()
    if (text === '') throw new AsdmError('INVALID_ARGUMENT', `Expected a caption in ${shownPath(path.join(folder, caption(name)))} but it is empty`)
    examples.push(example(path.join(folder, name), name, text))
  }
  return { kind: 'captions', examples }
}

const example = (file: string, name: string, caption: string): Example =>
  ({ name, caption, heldOut: undefined, read: async signal => pixels(await imageSource(file, 'image').read(signal)) })

function pixels(image: Awaited<ReturnType<ReturnType<typeof imageSource>['read']>>): PixelImage {
  if ('tensor' in image) throw new AsdmError('INTERNAL', 'Expected an image file to give pixels but it gave a tensor')
  return image
}

/** All files at once, so that one that is missing is told before hours of work. */
async function checkThere(names: readonly string[], folder: string): Promise<void> {
  const missing: string[] = []
  for (const name of names) if ((await statIfAny(path.join(folder, name)))?.isFile() !== true) missing.push(name)
  if (missing.length > 0)
    throw new AsdmError('FILE_NOT_FOUND',
      `Expected the images of metadata.jsonl in ${shownPath(folder)} but ${missing.length} of ${names.length} are missing: ${firstFew(missing)}`)
}

/** Prompts of a file, one a line. @throws AsdmError `FILE_NOT_FOUND`, `FILE_READ`, `INVALID_ARGUMENT` */
export async function readPromptFile(file: string): Promise<string[]> {
  const prompts = (await readText(file, maxMetadataBytes)).split(/\r?\n/).map(line => line.trim()).filter(line => line !== '')
  if (prompts.length === 0) throw new AsdmError('INVALID_ARGUMENT', `Expected prompts, one a line, in ${shownPath(file)} but it has none`)
  return prompts
}
