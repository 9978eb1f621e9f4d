/** How alike two pictures of one size are, in decibels: 10 log10(255² / mean squared difference of red, green and blue). */
export function likeness(a: ImageData, b: ImageData): number {
  let sum = 0
  for (let i = 0; i < a.data.length; i++) if (i % 4 !== 3) sum += (a.data[i]! - (b.data[i] ?? 0)) ** 2
  return sum === 0 ? Infinity : 10 * Math.log10(255 ** 2 / (sum / (a.data.length * 0.75)))
}

/** Absolute differences, opaque. */
export function differenceOf(a: ImageData, b: ImageData): ImageData {
  const out = new ImageData(a.width, a.height)
  for (let i = 0; i < a.data.length; i++) out.data[i] = i % 4 === 3 ? 255 : Math.abs(a.data[i]! - (b.data[i] ?? 0))
  return out
}
