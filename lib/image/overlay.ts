import type { Slices } from '../base/slices'
import type { PixelImage } from './source'

/**
 * Puts what lies outside of a mask back into a generated image: bit for bit diffusers' `VaeImageProcessor.apply_overlay`, whose steps
 * are PIL's paste with a mask, its division by alpha, and its `alpha_composite`. Where the mask is black the image's pixels stay exactly
 * what they were.
 * @param rgba the generated image, 4 bytes a pixel; is written to
 * @param image of the same size, 3 or 4 channels
 * @param mask grey, one byte a pixel: 255 shows the generated image, 0 the other
 */
export async function overlay(rgba: Uint8ClampedArray, { data, channels }: PixelImage, mask: Uint8Array, slices: Slices): Promise<void> {
  for (let i = 0; i < mask.length; i++) {
    const alpha = 255 - mask[i]!
    if (alpha > 0) {
      const weight = alpha << precision
      for (let channel = 0; channel < 3; channel++) {
        let kept = data[i * channels + channel]!
        if (alpha < 255) kept = Math.min(255, Math.trunc(255 * overOf255(kept * alpha + 128) / alpha))
        const sum = kept * weight + rgba[i * 4 + channel]! * ((255 << precision) - weight)
        rgba[i * 4 + channel] = overOf255(sum + (128 << precision)) >> precision
      }
    }
    if ((i & 0xffff) === 0xffff && slices.over) await slices.next()
  }
}

/** Bits that `alpha_composite` computes with beyond 8. */
const precision = 7

/** About value / 255, as PIL divides. */
function overOf255(value: number): number {
  return ((value >> 8) + value) >> 8
}
