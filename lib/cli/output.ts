import path from 'node:path'
import { AsdmError } from '../base/errors'
import { isFolder } from '../files/files'
import { checkWritable } from '../files/write'
import { checkFormat, formatOfFile, type ImageFormat } from '../image/formats'
import type { SaveOptions } from '../image/rgba-image'
import { loadSharp } from '../image/sharp'
import { maxImages } from '../request'

/** Where images go. */
export interface OutputFlags {
  out?: string
  format?: string
  quality?: number
}

/** Files to write, one for each image, and how. */
interface Output {
  files: string[]
  options: SaveOptions
}

/**
 * Names the files of a request and checks, before anything is computed, that they can be written: format, package, folder, permission.
 * `--out` is taken as it is for one image, with a number for several; in a folder, or without `--out`, prompt and seed make the name.
 * @throws AsdmError `INVALID_ARGUMENT`, `PACKAGE_MISSING`, `FILE_NOT_FOUND`, `FILE_WRITE`
 */
export async function prepareOutput(
  prompt: string, seed: number | bigint, count: number | undefined, { out, format: asked, quality }: OutputFlags,
): Promise<Output> {
  const format = asked === undefined ? undefined : checkFormat(asked)
  const inFolder = out === undefined || out.endsWith('/') || out.endsWith(path.sep) || await isFolder(out)
  const base = inFolder ? path.join(out ?? '.', `${slugOf(prompt)}-${seed}${extensionOf(format ?? 'png')}`) : out
  const extension = path.extname(base)
  const stem = base.slice(0, base.length - extension.length)
  // A count that is absurd is refused by the library.
  const several = count !== undefined && Number.isInteger(count) && count > 1 && count <= maxImages
  const files = several ? Array.from({ length: count }, (_, i) => `${stem}-${i + 1}${extension}`) : [base]

  const written = formatOfFile(base, format)
  if (written !== 'png') loadSharp(`write ${written.toUpperCase()}`)
  else if (quality !== undefined)
    throw new AsdmError('INVALID_ARGUMENT', `Expected no quality for PNG, which is lossless, but received ${quality}`)
  for (const file of files) await checkWritable(file, { folders: true })
  return { files, options: { folders: true, format, quality } }
}

function slugOf(prompt: string): string {
  return prompt.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, '-').replace(/^-+|-+$/g, '').slice(0, 60) || 'image'
}

function extensionOf(format: ImageFormat): string {
  return format === 'jpeg' ? '.jpg' : `.${format}`
}
