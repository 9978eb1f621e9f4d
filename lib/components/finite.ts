import { Slices } from '../base/slices'
import type { Warning } from './warnings'

/** Values looked at before the clock is. */
const valuesAtOnce = 1 << 18

/**
 * Watches what the parts of a model give during one request, and warns of the first values that are NaN or infinite; the rest follows from
 * them.
 */
export class FiniteWatch {
  #warned = false

  constructor(private readonly warn: (warning: Warning) => void, private readonly signal: AbortSignal) {}

  /**
   * Looks at one output.
   * @param step which denoising step gave it, from 1, of the UNet
   * @throws an `AbortError` when the request is aborted meanwhile
   */
  async look(part: NonNullable<Warning['part']>, data: Float32Array, step?: number): Promise<void> {
    if (this.#warned || await allFinite(data, this.signal)) return
    this.#warned = true
    const names = { textEncoder: 'the text encoder', unet: `the UNet in step ${step}`, vaeEncoder: 'the VAE\'s encoder', vae: 'the VAE' }
    this.warn({
      code: 'NON_FINITE_OUTPUT', part, ...(step !== undefined && { step }),
      message: `The output of ${names[part]} holds NaN or infinity, so images will be black or broken: `
        + 'its weights are damaged, or too large for the number format',
    })
  }
}

async function allFinite(data: Float32Array, signal: AbortSignal): Promise<boolean> {
  let slices: Slices | undefined
  for (let start = 0; start < data.length; start += valuesAtOnce) {
    const end = Math.min(data.length, start + valuesAtOnce)
    // What is finite differs from itself by 0.
    for (let i = start; i < end; i++) if (data[i]! - data[i]! !== 0) return false
    slices ??= new Slices(signal)
    if (slices.over) await slices.next()
  }
  return true
}
