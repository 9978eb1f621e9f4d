import fs from 'node:fs'
import path from 'node:path'
import type { Tensor } from '../../lib/base/tensor'

/** The repository's root, found by its package.json, wherever the compiled tests lie. */
export const root = (() => {
  let folder = __dirname
  while (!fs.existsSync(path.join(folder, 'binding.gyp')) || !fs.existsSync(path.join(folder, 'package.json')))
    folder = path.dirname(folder)
  return folder
})()

/** A path in the repository. */
export const repoPath = (...parts: string[]): string => path.join(root, ...parts)

/** A path in the unpacked reference data. */
export const fixture = (...parts: string[]): string => path.join(root, 'build', 'fixtures', ...parts)

/**
 * A reference set: its JSON and a reader for its named float32 tensors. Reads the file with its own few lines, so that it does not share
 * bugs with lib/.
 */
export function loadExpected(set: string): { json: any, names: string[], has(name: string): boolean, tensor(name: string): Tensor } {
  const json = JSON.parse(fs.readFileSync(fixture(set, 'expected.json'), 'utf8').replace(
    /-?\bInfinity\b/g, match => (match[0] === '-' ? '-1e999' : '1e999'),
  ))
  const bytes = fs.readFileSync(fixture(set, 'expected.safetensors'))
  const headerBytes = Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.subarray(8, 8 + headerBytes).toString('utf8'))
  const names = Object.keys(header).filter(name => name !== '__metadata__')
  return {
    json,
    names,
    has: name => names.includes(name),
    tensor(name) {
      const entry = header[name]
      if (entry === undefined) throw new Error(`no tensor ${name} in ${set}`)
      if (entry.dtype !== 'F32') throw new Error(`${name} in ${set} is ${entry.dtype}`)
      const [begin, end] = entry.data_offsets
      const copy = new Uint8Array(bytes.subarray(8 + headerBytes + begin, 8 + headerBytes + end))
      return { data: new Float32Array(copy.buffer), shape: entry.shape }
    },
  }
}

/** Largest absolute difference; NaN anywhere gives NaN, different lengths throw. */
export function maxAbsDiff(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`lengths differ: ${a.length} and ${b.length}`)
  let worst = 0
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i] - b[i])
    if (Number.isNaN(difference)) return NaN
    if (difference > worst) worst = difference
  }
  return worst
}
