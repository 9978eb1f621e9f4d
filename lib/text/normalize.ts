/** Longest run of combining marks, in UTF-16 units, that is put into canonical order as a whole. */
const MAX_MARKS = 256

/**
 * CLIP's text normalization as transformers does it: canonical composition (NFC), then lower case character by character. White
 * space is not touched. (Lower case of a capital sigma depends on its place in a word in JavaScript, but not here.)
 *
 * Ordering a run of n marks takes n^2 steps, minutes for a megabyte; so a run longer than 256, which no language has, is ordered
 * in pieces of 256.
 */
export function normalizeText(text: string): string {
  return composed(text).replaceAll('Σ', 'σ').toLowerCase()
}

function composed(text: string): string {
  if (text.length > MAX_MARKS) {
    for (const run of text.matchAll(/\p{M}+/gu)) {
      // Nothing composes across a boundary between a mark and a letter after it, so cutting there as well changes nothing.
      if (run[0].length > MAX_MARKS) return Array.from(text.matchAll(/\P{M}*\p{M}{0,256}/gsu), piece => piece[0].normalize('NFC')).join('')
    }
  }
  return text.normalize('NFC')
}

/**
 * The place in `original` that made the place `offset` in `normalizeText(original)`; both count UTF-16 units. Within a character and
 * its combining marks it gives the character's place.
 */
export function originalOffset(original: string, offset: number): number {
  let made = 0
  for (const match of original.matchAll(/\P{M}\p{M}*|\p{M}+/gsu)) {
    made += normalizeText(match[0]).length
    if (made > offset) return match.index
  }
  return original.length
}
