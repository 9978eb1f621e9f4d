import { randomBytes } from 'node:crypto'
import { readdir, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { AsdmError, shown } from '../base/errors'
import { path as checkPath } from '../base/options'
import { reading } from '../base/reading'
import { isFileError, readWhole, shownPath, statIfAny, writeError } from '../files/files'
import { makeFolders } from '../files/folders'
import { readJsonObject, isJsonObject } from '../files/json'
import { withAlpha } from '../image/pixels'
import { decodePng } from '../image/png/decode'
import { encodePng } from '../image/png/encode'
import { checkEvaluation, maxImages } from './check'
import type { Evaluation } from './evaluate'
import type { ImagePixels } from './likeness'
import type { EvaluationReport, ImageReport } from './report'
import { contactSheet } from './sheet'

const reportFile = 'report.json'
const maxPngBytes = 2 ** 28

const imageFile = (index: number): string => path.join('images', `${String(index).padStart(5, '0')}.png`)

/**
 * Writes an evaluation as a folder: `report.json`, `sheet.png`, and the images by number in `images/`. An evaluation that is there is
 * replaced; the folder appears whole or not at all.
 * @param reference the evaluation it was compared with, for the sheet
 * @returns the absolute path
 * @throws AsdmError `INVALID_ARGUMENT` where a folder is there that holds something else, `FILE_WRITE`
 */
export async function saveEvaluation(evaluation: Evaluation, folder: string, reference?: Evaluation): Promise<string> {
  const target = path.resolve(checkPath(folder, 'folder'))
  const { report, images, drawings } = checkEvaluation(evaluation, 'the evaluation')
  const json = reading('the report of the evaluation', () => JSON.stringify(report, undefined, 1))
  const temporary = `${target}.${process.pid}-${randomBytes(6).toString('hex')}.tmp`
  try {
    const old = await statIfAny(target)
    if (old !== undefined
      && (!old.isDirectory() || (await readdir(target)).length > 0 && await statIfAny(path.join(target, reportFile)) === undefined))
      throw new AsdmError('INVALID_ARGUMENT',
        `Expected ${shownPath(target)} to be a new folder, or one of an evaluation to replace, but it holds something else`)
    await makeFolders(path.join(temporary, 'images'))
    await writeFile(path.join(temporary, reportFile), `${json}\n`)
    await writeFile(path.join(temporary, 'sheet.png'), await contactSheet({ report, images, ...(drawings && { drawings }) }, reference))
    for (const [i, { rgba, width, height }] of images.entries())
      await writeFile(path.join(temporary, imageFile(i)), await encodePng(rgba, width, height, { Software: 'asdm' }))
    if (old !== undefined) await rm(target, { recursive: true })
    await rename(temporary, target)
  } catch (error) {
    await rm(temporary, { recursive: true, force: true }).catch(() => {})
    throw isFileError(error) ? writeError(error, target) : error
  }
  return target
}

/**
 * Reads what {@link saveEvaluation} wrote, to be compared with; the true drawings are not part of it.
 * @throws AsdmError `FILE_NOT_FOUND`, `FILE_READ`, `BAD_JSON`, `UNSUPPORTED_FORMAT`
 */
export async function loadEvaluation(folder: string): Promise<Evaluation> {
  const file = path.join(checkPath(folder, 'the path of an evaluation'), reportFile)
  const json = await readJsonObject(file, 2 ** 28)
  const fail = (problem: string): AsdmError =>
    new AsdmError('BAD_JSON', `Expected ${shownPath(file)} to be the report of an evaluation but ${problem}`)
  if (json.format !== 'asdm-evaluation' || json.version !== 1)
    throw fail(`its format is ${shown(json.format)}, version ${shown(json.version)}`)
  const { images: rows, settings } = json
  if (!Array.isArray(rows) || rows.length === 0 || rows.length > maxImages) throw fail(`its images are ${shown(rows)}`)
  for (const [i, row] of (rows as Partial<ImageReport>[]).entries())
    if (!isJsonObject(row) || typeof row.prompt !== 'string' || !Number.isSafeInteger(row.seed))
      throw fail(`image ${i} has no prompt and seed`)
  const { width, height } = isJsonObject(settings) ? settings : {}
  const images: ImagePixels[] = []
  for (const i of rows.keys()) {
    const name = path.join(folder, imageFile(i))
    const bytes = await readWhole(name, maxPngBytes)
    images.push(withAlpha(await decodePng(bytes, shownPath(name), (w, h) => {
      if (w !== width || h !== height)
        throw fail(`its images are ${shown(width)}x${shown(height)} pixels and ${shownPath(name)} ${w}x${h}`)
    })))
  }
  return { report: json as unknown as EvaluationReport, images }
}
