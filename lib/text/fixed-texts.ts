/** A text that is found in a prompt as it stands, before any word is split, and the ids that it gives. */
interface FixedText {
  content: string
  ids: readonly number[]
  /** Whether letters, digits and underscores beside it, where it begins or ends with one itself, make it part of a longer word. */
  whole?: boolean
}

/** A stretch of text between fixed ones, or one of them (then with its ids). */
interface Part {
  text: string
  start: number
  ids?: readonly number[] | undefined
}

/** A step of {@link FixedTexts}: what may follow, by UTF-16 unit, and the text that ends here. */
interface Branch {
  next: Map<number, Branch>
  found: FixedText | undefined
}

/**
 * Finds fixed texts: the leftmost, and of several at one place the longest. They are kept as a tree, since an expression of thousands of
 * alternatives, as a file may have, takes a second for each prompt.
 */
export class FixedTexts {
  readonly #root: Branch = { next: new Map(), found: undefined }

  constructor(texts: Iterable<FixedText>) {
    for (const text of texts) {
      let at = this.#root
      for (let i = 0; i < text.content.length; i++) {
        const unit = text.content.charCodeAt(i)
        const next = at.next.get(unit) ?? { next: new Map(), found: undefined }
        at.next.set(unit, next)
        at = next
      }
      // Normalizing may make one text of two; the last one counts.
      at.found = text
    }
  }

  *split(text: string): Generator<Part> {
    let start = 0
    for (let i = 0; this.#root.next.size > 0 && i < text.length; i++) {
      const match = this.#longestAt(text, i)
      if (match === undefined) continue
      if (i > start) yield { text: text.slice(start, i), start }
      yield { text: text.slice(i, match.end), start: i, ids: match.ids }
      start = match.end
      i = start - 1
    }
    if (start < text.length) yield { text: text.slice(start), start }
  }

  #longestAt(text: string, from: number): { end: number, ids: readonly number[] } | undefined {
    let match: { end: number, ids: readonly number[] } | undefined
    let at: Branch | undefined = this.#root
    for (let i = from; i < text.length; i++) {
      at = at.next.get(text.charCodeAt(i))
      if (at === undefined) break
      if (at.found !== undefined && !(at.found.whole === true && continues(text, from, i + 1))) match = { end: i + 1, ids: at.found.ids }
    }
    return match
  }
}

const endsInWord = /[\p{L}\p{M}\p{N}_]$/u
const beginsWithWord = /^[\p{L}\p{M}\p{N}_]/u

/** Whether text[from, to) is part of a longer word. */
function continues(text: string, from: number, to: number): boolean {
  // Two units hold any character.
  return (beginsWithWord.test(text.slice(from, from + 2)) && endsInWord.test(text.slice(Math.max(0, from - 2), from)))
    || (endsInWord.test(text.slice(Math.max(from, to - 2), to)) && beginsWithWord.test(text.slice(to, to + 2)))
}
