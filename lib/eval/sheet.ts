import { AsdmError } from '../base/errors'
import { encodePng } from '../image/png/encode'
import { checkEvaluation } from './check'
import type { Evaluation } from './evaluate'
import type { ImagePixels } from './likeness'

/** Images beside each other. */
const columns = 16
/** An image's longer side on the sheet, at most; larger ones are averaged down, smaller ones repeated up. */
const cellSide = 128
const gap = 4
const barHeight = 6
/** Most images of a set that are shown. */
const maxImages = 192

const white = [255, 255, 255]
/** Below an image: the drawing asked for is the nearest one, among the five nearest, or neither. */
const marks = { first: [46, 158, 63], fifth: [224, 160, 0], miss: [208, 48, 48] }

/**
 * All images on one sheet, set after set, as a PNG: in each group a row of images, with a mark below that is green where the drawing
 * asked for is the nearest one, amber where it is among the five nearest, else red; then the drawings asked for, where there are some,
 * and the images of the reference run, where there was one.
 * @throws AsdmError `INVALID_ARGUMENT`, `SHAPE_MISMATCH` for what is no evaluation
 */
export async function contactSheet(evaluation: Evaluation, reference?: Evaluation): Promise<Buffer> {
  const { report, images, drawings } = checkEvaluation(evaluation, 'the evaluation')
  const others = reference === undefined ? undefined : checkEvaluation(reference, 'the reference').images
  if (others !== undefined && others.length !== images.length)
    throw new AsdmError('INVALID_ARGUMENT', `Expected a reference of ${images.length} images but it has ${others.length}`)
  const { width, height } = images[0]!
  const longer = Math.max(width, height)
  const [shrink, grow] = [Math.ceil(longer / cellSide), Math.max(1, Math.floor(cellSide / longer))]
  const [w, h] = [Math.floor(width / shrink) * grow, Math.floor(height / shrink) * grow]
  const rows: { shown: readonly (readonly ImagePixels[])[], ranks: (number | undefined)[] }[] = []
  for (const set of new Set(report.images.map(image => image.set))) {
    const own = report.images.flatMap((image, i) => (image.set === set ? [i] : [])).slice(0, maxImages)
    for (let at = 0; at < own.length; at += columns) {
      const some = own.slice(at, at + columns)
      const shown = [images, drawings, others].flatMap(list => (list === undefined ? [] : [some.map(i => list[i]!)]))
      rows.push({ shown, ranks: some.map(i => report.images[i]!.rank) })
    }
  }
  const groupHeight = (lines: number): number => lines * (h + gap) + barHeight + 3 * gap
  const sheetWidth = Math.min(columns, Math.max(...rows.map(row => row.ranks.length))) * (w + gap) + gap
  const sheet = new Sheet(sheetWidth, rows.reduce((sum, row) => sum + groupHeight(row.shown.length), gap))
  let y = gap
  for (const { shown, ranks } of rows) {
    shown.forEach((line, k) => {
      const top = y + k * (h + gap) + (k > 0 ? barHeight : 0)
      line.forEach((image, column) => sheet.draw(image, gap + column * (w + gap), top, shrink, grow))
    })
    ranks.forEach((rank, column) => {
      if (rank !== undefined)
        sheet.fill(gap + column * (w + gap), y + h + 1, w, barHeight - 2, rank === 1 ? marks.first : rank <= 5 ? marks.fifth : marks.miss)
    })
    y += groupHeight(shown.length)
  }
  return encodePng(sheet.rgba, sheet.width, sheet.height, { Software: 'asdm' })
}

class Sheet {
  readonly rgba: Uint8ClampedArray

  constructor(readonly width: number, readonly height: number) {
    this.rgba = new Uint8ClampedArray(4 * width * height)
    this.fill(0, 0, width, height, white)
  }

  fill(left: number, top: number, width: number, height: number, color: readonly number[]): void {
    for (let y = top; y < top + height; y++)
      for (let x = left; x < left + width; x++) this.rgba.set([...color, 255], 4 * (y * this.width + x))
  }

  /** Squares of `shrink` pixels are averaged, the averages repeated `grow` times each way. */
  draw({ rgba, width, height }: ImagePixels, left: number, top: number, shrink: number, grow: number): void {
    for (let y = 0; y + shrink <= height; y += shrink) for (let x = 0; x + shrink <= width; x += shrink) {
      const sums = [0, 0, 0]
      for (let j = 0; j < shrink; j++)
        for (let i = 0; i < shrink; i++) for (let c = 0; c < 3; c++) sums[c]! += rgba[4 * ((y + j) * width + x + i) + c]!
      this.fill(left + (x / shrink) * grow, top + (y / shrink) * grow, grow, grow, sums.map(sum => sum / shrink ** 2))
    }
  }
}
