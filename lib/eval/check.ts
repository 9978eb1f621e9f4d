import { AsdmError, shown } from '../base/errors'
import { fieldsOf, listOf, plain } from '../base/reading'
import { isJsonObject } from '../files/json'
import { checkImage, type ImagePixels } from './likeness'
import type { EvaluationReport } from './report'

/** Most images of an evaluation. */
export const maxImages = 100_000

/**
 * An evaluation handed in, read once. Its images are of one size, and as many as its report has.
 * @throws AsdmError `INVALID_ARGUMENT`, `SHAPE_MISMATCH`
 */
export function checkEvaluation(
  value: unknown, name: string,
): { report: EvaluationReport, images: ImagePixels[], drawings?: ImagePixels[] } {
  const given = fieldsOf(value, name, ['report', 'images', 'drawings'])
  const report = plain(given.report, `the report of ${name}`)
  const told = isJsonObject(report) ? report.images : undefined
  if (!Array.isArray(told) || !told.every(image => isJsonObject(image) && typeof image.set === 'string'
    && (image.rank === undefined || typeof image.rank === 'number')))
    throw new AsdmError('INVALID_ARGUMENT', `Expected ${name} to be an evaluation but received ${shown(value)}`)
  const read = (list: unknown, what: string): ImagePixels[] => {
    const images = listOf(list, what, maxImages).map(image => checkImage(image, what))
    if (images.length === 0 || images.length !== told.length)
      throw new AsdmError('INVALID_ARGUMENT', `Expected ${what} to be the ${told.length} of the report but received ${images.length}`)
    return images
  }
  const images = read(given.images, `the images of ${name}`)
  const drawings = given.drawings === undefined ? undefined : read(given.drawings, `the drawings of ${name}`)
  const first = images[0]!
  const odd = [...images, ...drawings ?? []].find(({ width, height }) => width !== first.width || height !== first.height)
  if (odd !== undefined)
    throw new AsdmError('SHAPE_MISMATCH',
      `Expected all of ${name} to have ${first.width}x${first.height} pixels but received ${odd.width}x${odd.height}`)
  return { report: report as EvaluationReport, images, ...(drawings && { drawings }) }
}
