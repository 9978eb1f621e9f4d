import { hasPngSignature, readChunks } from './chunks'
import { crc32 } from './crc'

/** Samples of a pixel by colour type, and the bit depths that the type allows (PNG specification, table 11.1). */
const colourTypes: Readonly<Record<number, { channels: number, depths: readonly number[] }>> = {
  0: { channels: 1, depths: [1, 2, 4, 8, 16] },
  2: { channels: 3, depths: [8, 16] },
  3: { channels: 1, depths: [1, 2, 4, 8] },
  4: { channels: 2, depths: [8, 16] },
  6: { channels: 4, depths: [8, 16] },
}

/** What the IHDR chunk says. */
export interface PngHeader {
  /** In pixels, 1 to 2^31-1. */
  width: number
  /** In pixels, 1 to 2^31-1. */
  height: number
  /** Bits of a sample. */
  depth: number
  /** 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA. */
  colourType: number
  /** Samples of a pixel. */
  channels: number
  /** In seven passes (Adam7)? */
  interlaced: boolean
}

/** Pixels (x0 + i * dx, y0 + j * dy) of an image, sent as an image of their own. */
export interface Pass {
  x0: number
  y0: number
  dx: number
  dy: number
  /** Pixels of a row. */
  width: number
  /** Rows. */
  height: number
  /** Bytes of a row, its filter byte included. */
  rowBytes: number
}

const adam7: readonly (readonly [x0: number, y0: number, dx: number, dy: number])[]
  = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]]

/** Bytes of a file up to the end of its IHDR chunk. */
const headerBytes = 33

/**
 * Reads the header of a file, of which the first {@link headerBytes} bytes are enough.
 * @returns what it says, or what is wrong with it
 */
export function readHeader(png: Uint8Array): PngHeader | string {
  const start = png.subarray(0, headerBytes)
  const first = hasPngSignature(start) ? readChunks(start).next().value : undefined
  if (first === undefined || first === null) return 'it is cut short or damaged'
  if (first.type === 'CgBI') return 'it is in the form that only Apple\'s devices read'
  if (first.type !== 'IHDR' || first.data.length !== 13) return 'its header is missing'
  if (crc32(start.subarray(12, 29)) !== first.crc) return 'the checksum of its header is wrong'
  const view = new DataView(first.data.buffer, first.data.byteOffset, 13)
  const [width, height] = [view.getUint32(0), view.getUint32(4)]
  if (width === 0 || height === 0 || width >= 2 ** 31 || height >= 2 ** 31) return `its header gives ${width}x${height} pixels`
  const [depth, colourType, compression, filter, interlace]
    = [view.getUint8(8), view.getUint8(9), view.getUint8(10), view.getUint8(11), view.getUint8(12)]
  const kind = colourTypes[colourType]
  if (!kind?.depths.includes(depth)) return `its header gives colour type ${colourType} with ${depth} bits`
  if (compression !== 0 || filter !== 0 || interlace > 1)
    return `its header gives compression ${compression}, filter ${filter}, interlace ${interlace}`
  return { width, height, depth, colourType, channels: kind.channels, interlaced: interlace === 1 }
}

/** The passes that the image data consists of; empty ones are left out, as in the file. */
export function passesOf({ width, height, depth, channels, interlaced }: PngHeader): Pass[] {
  return (interlaced ? adam7 : [[0, 0, 1, 1] as const]).map(([x0, y0, dx, dy]) => {
    const [w, h] = [Math.ceil((width - x0) / dx), Math.ceil((height - y0) / dy)]
    return { x0, y0, dx, dy, width: w, height: h, rowBytes: 1 + Math.ceil(w * channels * depth / 8) }
  }).filter(pass => pass.width > 0 && pass.height > 0)
}
