import { passesOf, type Pass, type PngHeader } from './header'

/**
 * Takes the inflated image data in pieces of any length, undoes the filters row by row and writes the pixels as RGB, 8 bits a sample. Alpha
 * and tRNS are left out, 16 bits lose the lower 8, palette entries that are missing are black: all as PIL's `convert("RGB")` has it (which
 * clips 16-bit grey instead).
 */
export class PngRows {
  /** Bytes of image data in all, filter bytes included. */
  readonly bytes: number
  /** [height, width, 3] */
  readonly rgb: Uint8Array<ArrayBuffer>
  /** [height, width], 255 where nothing is transparent; where it was asked for. */
  readonly alpha: Uint8Array<ArrayBuffer> | undefined
  readonly #passes: Pass[]
  readonly #pixelBytes: number
  #pass = 0
  #y = 0
  #filled = 0
  #row: Uint8Array
  #above: Uint8Array
  #samples = new Uint8Array(0)

  /**
   * @param palette RGB of each entry, for colour type 3
   * @param transparency what tRNS holds, where alpha is wanted: alpha of the palette's entries, or one colour, which is fully transparent
   */
  constructor(
    private readonly header: PngHeader, private readonly palette: Uint8Array | undefined,
    private readonly transparency: Uint8Array | 'none' | undefined,
  ) {
    this.#passes = passesOf(header)
    this.bytes = dataBytes(header)
    this.#pixelBytes = Math.max(1, header.channels * header.depth / 8)
    const longest = Math.max(...this.#passes.map(({ rowBytes }) => rowBytes))
    this.#row = new Uint8Array(longest)
    this.#above = new Uint8Array(longest)
    if (header.depth !== 8) this.#samples = new Uint8Array(header.width * header.channels)
    this.rgb = new Uint8Array(header.width * header.height * 3)
    if (transparency !== undefined) this.alpha = new Uint8Array(header.width * header.height).fill(255)
  }

  /** Have all rows come? */
  get whole(): boolean {
    return this.#pass === this.#passes.length
  }

  /**
   * Takes the next piece.
   * @returns what is wrong with it, or `undefined`
   */
  take(piece: Uint8Array): string | undefined {
    for (let at = 0; at < piece.length;) {
      const pass = this.#passes[this.#pass]
      if (pass === undefined) return 'it holds more image data than its size takes'
      const count = Math.min(pass.rowBytes - this.#filled, piece.length - at)
      this.#row.set(piece.subarray(at, at + count), this.#filled)
      at += count
      this.#filled += count
      if (this.#filled < pass.rowBytes) break
      if (this.#row[0]! > 4) return `row ${this.#y} has the filter type ${this.#row[0]}`
      this.#endRow(pass)
    }
    return undefined
  }

  #endRow(pass: Pass): void {
    unfilter(this.#row, this.#above, pass.rowBytes, this.#pixelBytes)
    const samples = this.#unpacked(pass)
    this.#place(samples, pass)
    if (this.alpha !== undefined) this.#placeAlpha(this.alpha, samples, pass)
    this.#filled = 0
    const row = this.#row
    this.#row = this.#above
    this.#above = row
    if (++this.#y < pass.height) return
    this.#y = 0
    this.#pass++
    this.#above.fill(0)
  }

  /** The row's samples, one a byte: grey scaled to 255, palette indices as they are. */
  #unpacked({ width }: Pass): Uint8Array {
    const { depth, channels, colourType } = this.header
    const row = this.#row
    if (depth === 8) return row.subarray(1)
    const samples = this.#samples
    const count = width * channels
    if (depth === 16) {
      for (let i = 0; i < count; i++) samples[i] = row[1 + 2 * i]!
    } else {
      const most = (1 << depth) - 1
      const scale = colourType === 3 ? 1 : 255 / most
      for (let i = 0; i < count; i++) {
        const bit = i * depth
        samples[i] = ((row[1 + (bit >> 3)]! >> (8 - depth - (bit & 7))) & most) * scale
      }
    }
    return samples
  }

  /** Writes the alpha of one row. */
  #placeAlpha(alpha: Uint8Array, samples: Uint8Array, { x0, y0, dx, dy, width }: Pass): void {
    const { transparency } = this
    const { channels, colourType, depth } = this.header
    let to = (y0 + this.#y * dy) * this.header.width + x0
    if (colourType === 4 || colourType === 6) {
      for (let x = 0, from = channels - 1; x < width; x++, from += channels, to += dx) alpha[to] = samples[from]!
    } else if (transparency instanceof Uint8Array && colourType === 3) {
      for (let x = 0; x < width; x++, to += dx) alpha[to] = transparency[samples[x]!] ?? 255
    } else if (transparency instanceof Uint8Array && depth === 16) {
      // All 16 bits of a colour count, as they are in the file.
      const bytes = 2 * channels
      for (let x = 0, from = 1; x < width; x++, from += bytes, to += dx)
        if (transparency.every((byte, i) => byte === this.#row[from + i])) alpha[to] = 0
    } else if (transparency instanceof Uint8Array) {
      const scale = colourType === 0 ? 255 / ((1 << depth) - 1) : 1
      for (let x = 0, from = 0; x < width; x++, from += channels, to += dx) {
        let same = true
        for (let c = 0; c < channels; c++)
          if (samples[from + c] !== (256 * transparency[2 * c]! + transparency[2 * c + 1]!) * scale) same = false
        if (same) alpha[to] = 0
      }
    }
  }

  /** Writes one row of samples to its pixels. */
  #place(samples: Uint8Array, { x0, y0, dx, dy, width }: Pass): void {
    const { rgb, palette } = this
    const { channels, colourType } = this.header
    let to = ((y0 + this.#y * dy) * this.header.width + x0) * 3
    if (colourType === 2 && dx === 1) {
      rgb.set(samples.subarray(0, width * 3), to)
      return
    }
    const stride = dx * 3
    const [second, third] = channels >= 3 ? [1, 2] : [0, 0]
    if (colourType === 3) {
      for (let x = 0; x < width; x++, to += stride) {
        const entry = samples[x]! * 3
        if (entry >= palette!.length) continue
        rgb[to] = palette![entry]!
        rgb[to + 1] = palette![entry + 1]!
        rgb[to + 2] = palette![entry + 2]!
      }
    } else {
      for (let x = 0, from = 0; x < width; x++, from += channels, to += stride) {
        rgb[to] = samples[from]!
        rgb[to + 1] = samples[from + second]!
        rgb[to + 2] = samples[from + third]!
      }
    }
  }
}

/** Bytes of image data that a PNG with this header inflates to. */
export function dataBytes(header: PngHeader): number {
  return passesOf(header).reduce((sum, { height, rowBytes }) => sum + height * rowBytes, 0)
}

/**
 * Undoes the filter of `row`, whose first byte says which it is, in place; `pixel` bytes are a pixel, rounded up to one (PNG specification,
 * 9).
 */
function unfilter(row: Uint8Array, above: Uint8Array, bytes: number, pixel: number): void {
  const first = 1 + pixel
  switch (row[0]) {
    case 1:
      for (let i = first; i < bytes; i++) row[i]! += row[i - pixel]!
      break
    case 2:
      for (let i = 1; i < bytes; i++) row[i]! += above[i]!
      break
    case 3:
      for (let i = 1; i < bytes && i < first; i++) row[i]! += above[i]! >> 1
      for (let i = first; i < bytes; i++) row[i]! += (row[i - pixel]! + above[i]!) >> 1
      break
    case 4:
      for (let i = 1; i < bytes && i < first; i++) row[i]! += above[i]!
      for (let i = first; i < bytes; i++) row[i]! += paeth(row[i - pixel]!, above[i]!, above[i - pixel]!)
      break
  }
}

/** The neighbour nearest to left + up - upLeft; ties go to left, then up. */
export function paeth(left: number, up: number, upLeft: number): number {
  const byLeft = Math.abs(up - upLeft)
  const byUp = Math.abs(left - upLeft)
  const byUpLeft = Math.abs(left + up - 2 * upLeft)
  return byLeft <= byUp && byLeft <= byUpLeft ? left : byUp <= byUpLeft ? up : upLeft
}
