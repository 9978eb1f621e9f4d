import fs from 'node:fs'
import path from 'node:path'

/** Simple drawings of two styles, as `npm run emoji:data` lays them out: a folder with 2 x `count` images of 64x64 pixels. */
export function makeDrawings(folder: string, count = 6): Record<string, any> {
  fs.mkdirSync(folder, { recursive: true })
  const side = 64
  const drawings: Record<string, unknown>[] = []
  const pixels: Uint8Array[] = []
  for (const [k, style] of ['flat', 'render'].entries()) for (let n = 0; n < count; n++) {
    drawings.push({ style, name: `thing-${n}`, caption: `a ${style === 'flat' ? 'flat' : '3d'} emoji of red apple`, heldOut: n % 3 === 2 })
    pixels.push(Uint8Array.from({ length: side * side * 3 }, (_, i) => {
      const [x, y, c] = [Math.floor(i / 3) % side, Math.floor(i / 3 / side), i % 3]
      return (x - 32) ** 2 + (y - 32) ** 2 < (8 + 3 * n) ** 2 ? [255, 40 * n, 90 * k][c] : 255
    }))
  }
  const indices = (heldOut: boolean): number[] => drawings.flatMap((drawing, i) => (drawing.heldOut === heldOut ? [i] : []))
  const manifest = {
    format: 'asdm-drawings', version: 1, width: side, height: side, count: drawings.length,
    pixels: { file: 'drawings.bin', bytes: drawings.length * side * side * 3, sha256: 'ab'.repeat(32) },
    evaluation: { seen: indices(false).reverse(), heldOut: indices(true) }, drawings,
  }
  fs.writeFileSync(path.join(folder, 'drawings.bin'), Buffer.concat(pixels))
  writeManifest(folder, manifest)
  return manifest
}

export function writeManifest(folder: string, manifest: unknown): void {
  fs.writeFileSync(path.join(folder, 'drawings.json'), JSON.stringify(manifest))
}
