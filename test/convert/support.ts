import type { ExecutionContext } from 'ava'
import type { Checkpoint, Part } from '../../lib/model/checkpoint'
import { contents } from '../model/checkpoints'

/** Parts of a checkpoint. */
export const parts = ['unet', 'vae', 'textEncoder'] as const

/** The same configs and weights. */
export function same(t: ExecutionContext, a: Checkpoint, b: Checkpoint): void {
  for (const part of parts) {
    t.deepEqual(a[part].config, b[part].config as any)
    sameWeights(t, a[part], b[part])
  }
  t.deepEqual(a.schedulerConfig, b.schedulerConfig)
}

/** The same names, formats, shapes (but for the ones at the end of a matrix that is kept as a convolution) and bytes. */
export function sameWeights(t: ExecutionContext, a: Part<unknown>, b: Part<unknown>): void {
  const [ours, theirs] = [contents(a), contents(b)]
  t.deepEqual([...ours.keys()].sort(), [...theirs.keys()].sort())
  const view = (shape: number[]): string => String(shape).replace(/,1,1$/, '')
  t.deepEqual([...ours].filter(([name, { dtype, shape, bytes }]) => {
    const other = theirs.get(name)!
    return dtype !== other.dtype || view(shape) !== view(other.shape) || !bytes.equals(other.bytes)
  }).map(([name]) => name), [])
}
