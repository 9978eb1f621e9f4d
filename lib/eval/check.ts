import { AsdmError, shown } from '../base/errors'
import { fieldsOf, listOf, plain } from '../base/reading'
import { isJsonObject } from '../files/json'
import { checkPicture, type Picture } from './pictures'
import type { EvaluationReport } from './report'

/** Most images of an evaluation. */
export const maxPictures = 100_000

/**
 * An evaluation handed in, read once. Its images are of one size, and as many as its report has.
 * @throws AsdmError `INVALID_ARGUMENT`, `SHAPE_MISMATCH`
 */
export function checkEvaluation(
  value: unknown, name: string,
): { report: EvaluationReport, pictures: Picture[], drawings?: Picture[] } {
  const given = fieldsOf(value, name, ['report', 'pictures', 'drawings'])
  const report = plain(given.report, `the report of ${name}`)
  const told = isJsonObject(report) ? report.pictures : undefined
  if (!Array.isArray(told) || !told.every(picture => isJsonObject(picture) && typeof picture.set === 'string'
    && (picture.rank === undefined || typeof picture.rank === 'number')))
    throw new AsdmError('INVALID_ARGUMENT', `Expected ${name} to be an evaluation but received ${shown(value)}`)
  const read = (list: unknown, what: string): Picture[] => {
    const pictures = listOf(list, what, maxPictures).map(picture => checkPicture(picture, what))
    if (pictures.length === 0 || pictures.length !== told.length)
      throw new AsdmError('INVALID_ARGUMENT', `Expected ${what} to be the ${told.length} of the report but received ${pictures.length}`)
    return pictures
  }
  const pictures = read(given.pictures, `the images of ${name}`)
  const drawings = given.drawings === undefined ? undefined : read(given.drawings, `the drawings of ${name}`)
  const first = pictures[0]!
  const odd = [...pictures, ...drawings ?? []].find(({ width, height }) => width !== first.width || height !== first.height)
  if (odd !== undefined)
    throw new AsdmError('SHAPE_MISMATCH',
      `Expected all of ${name} to have ${first.width}x${first.height} pixels but received ${odd.width}x${odd.height}`)
  return { report: report as EvaluationReport, pictures, ...(drawings && { drawings }) }
}
