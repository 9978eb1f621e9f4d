// Images of one size on a sheet, as a PNG.
import fs from 'node:fs'
import { encodePng } from '../../dist/image/png/encode.js'

/** @param images RGBA, `side` by `side`, row by row @param levels of each channel are coarsened to multiples of this, for a smaller file */
export async function writeSheet(file, images, { columns, side, scale = 1, levels = 1 }) {
  const [width, height] = [columns * side * scale, Math.ceil(images.length / columns) * side * scale]
  const sheet = new Uint8Array(width * height * 4).fill(255)
  for (const [i, { rgba }] of images.entries())
    for (let y = 0; y < side * scale; y++) for (let x = 0; x < side * scale; x++) {
      const from = 4 * (Math.floor(y / scale) * side + Math.floor(x / scale))
      const to = 4 * ((Math.floor(i / columns) * side * scale + y) * width + (i % columns) * side * scale + x)
      for (let c = 0; c < 3; c++) sheet[to + c] = Math.min(255, Math.round(rgba[from + c] / levels) * levels)
    }
  fs.writeFileSync(file, await encodePng(sheet, width, height))
  console.log(`${file}: ${fs.statSync(file).size} bytes`)
}
