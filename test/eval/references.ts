import fs from 'node:fs'
import type { ImagePixels } from '../../lib/eval/likeness'
import { repoPath } from '../support/fixtures'

/** What scikit-image and SciPy give; made by reference.py, which has the same images and vectors. */
export const reference = JSON.parse(fs.readFileSync(repoPath('test', 'eval', 'reference.json'), 'utf8')) as {
  pairs: { width: number, height: number, kind: string, psnr: number, ssim: number }[]
  distances: { counts: [number, number], size: number, distance: number }[]
}

/** An image of a kind that reference.py has too; alpha varies and must not count. */
export function image(kind: string, width: number, height: number): ImagePixels {
  const value = (x: number, y: number, c: number): number => {
    const base = (x * 7 + y * 13 + c * 50 + ((x * x + 3 * x * y + y * y) % 31) * 5) % 256
    if (kind === 'base') return base
    if (kind === 'noisy') return Math.min(255, Math.max(0, base + ((x * 17 + y * 29 + c * 11) % 21) - 10))
    if (kind === 'inverted') return 255 - base
    return kind === 'flat' ? 128 + c : Math.floor(base / 2) + 64
  }
  const rgba = Uint8ClampedArray.from({ length: 4 * width * height }, (_, i) => {
    const [x, y, c] = [(i >> 2) % width, Math.floor((i >> 2) / width), i % 4]
    return c === 3 ? (kind === 'base' ? 255 : i % 200) : value(x, y, c)
  })
  return { rgba, width, height }
}

/** Vectors that reference.py has too. */
export function vectors(count: number, size: number, seed: number): Float64Array[] {
  return Array.from(
    { length: count },
    (_, i) => Float64Array.from(
      { length: size }, (_, j) => ((i * i * 7 + i * j * (13 + seed) + j * j * 29 + seed) % 101) / 101 - 0.5 + 0.1 * seed,
    ),
  )
}
