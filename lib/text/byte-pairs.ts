/** Ids and merge ranks stay below this, so that a pair of ids, or a rank and a position, fit exactly in a double. */
export const MAX_IDS = 2 ** 18

/** What marks the last symbol of a word in CLIP's vocabulary. */
export const END_OF_WORD = '</w>'

/**
 * The characters that stand for the 256 bytes in byte-level vocabularies (GPT-2's table): printable Latin-1 bytes stand for
 * themselves, the others are numbered from U+0100 on, so that a vocabulary holds no white space and no control characters.
 */
export const BYTE_CHARACTERS: readonly string[] = (() => {
  const printable = (byte: number): boolean => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae
  let next = 0x100
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++))
})()

/** The byte that a character of {@link BYTE_CHARACTERS} stands for. */
export const BYTE_OF_CHARACTER: ReadonlyMap<string, number> = new Map(BYTE_CHARACTERS.map((character, byte) => [character, byte]))

/** A word's tokens: their ids and the byte of the word at which each begins. */
interface WordTokens {
  ids: number[]
  starts: number[]
}

/**
 * Byte-pair encoding (Sennrich et al. 2016) over ids: the adjacent pair with the best rank is merged, the leftmost first among
 * equals, until no pair has a merge. A heap of candidate pairs over a linked list of symbols makes it O(n log n), so that a
 * word of a megabyte is no way to stop the process. Holds nothing that a call changes.
 */
export class BytePairs {
  readonly #rankOfPair = new Map<number, number>()
  readonly #mergedIds: Int32Array
  readonly #byteIds = new Int32Array(256)
  readonly #lastByteIds = new Int32Array(256)

  /**
   * @param vocabulary token to id; ids below {@link MAX_IDS}
   * @param merges pairs of ids and the id they make, best first; at most {@link MAX_IDS}
   * @param unknownId stands for bytes that the vocabulary lacks
   */
  constructor(
    vocabulary: ReadonlyMap<string, number>, merges: readonly (readonly [left: number, right: number, merged: number])[], unknownId: number,
  ) {
    this.#mergedIds = new Int32Array(merges.length)
    merges.forEach(([left, right, merged], rank) => {
      this.#rankOfPair.set(left * MAX_IDS + right, rank)
      this.#mergedIds[rank] = merged
    })
    BYTE_CHARACTERS.forEach((character, byte) => {
      this.#byteIds[byte] = vocabulary.get(character) ?? unknownId
      this.#lastByteIds[byte] = vocabulary.get(character + END_OF_WORD) ?? unknownId
    })
  }

  /** Encodes the UTF-8 bytes of one word; the last symbol carries the end-of-word mark. No bytes give no tokens. */
  encode(word: Uint8Array): WordTokens {
    const length = word.length
    if (length === 0) return { ids: [], starts: [] }
    // A symbol is known by the byte where it begins: id[p], and where its neighbours begin. A merged-away symbol has id -1.
    const id = new Int32Array(length)
    const next = new Int32Array(length)
    const previous = new Int32Array(length)
    for (let p = 0; p < length; p++) {
      id[p] = p === length - 1 ? this.#lastByteIds[word[p]!]! : this.#byteIds[word[p]!]!
      next[p] = p + 1
      previous[p] = p - 1
    }
    const heap = new MinHeap(length)
    const offer = (p: number): void => {
      const rank = this.#rankOfPair.get(id[p]! * MAX_IDS + id[next[p]!]!)
      if (rank !== undefined) heap.push(rank * 2 ** 32 + p)
    }
    for (let p = 0; p + 1 < length; p++) offer(p)

    while (heap.size > 0) {
      const key = heap.pop()
      const rank = Math.floor(key / 2 ** 32)
      const p = key - rank * 2 ** 32
      // Candidates are not withdrawn when a neighbour merges; those whose pair has changed since are passed over here.
      if (id[p]! < 0 || next[p] === length || this.#rankOfPair.get(id[p]! * MAX_IDS + id[next[p]!]!) !== rank) continue
      const removed = next[p]!
      id[p] = this.#mergedIds[rank]!
      id[removed] = -1
      const right = next[p] = next[removed]!
      if (right < length) {
        previous[right] = p
        offer(p)
      }
      if (previous[p]! >= 0) offer(previous[p]!)
    }

    const tokens: WordTokens = { ids: [], starts: [] }
    for (let p = 0; p < length; p = next[p]!) {
      tokens.ids.push(id[p]!)
      tokens.starts.push(p)
    }
    return tokens
  }
}

/** A binary heap of doubles, smallest first. */
class MinHeap {
  #keys: Float64Array
  size = 0

  constructor(capacity: number) {
    this.#keys = new Float64Array(Math.max(capacity, 4))
  }

  push(key: number): void {
    if (this.size === this.#keys.length) {
      const larger = new Float64Array(this.size * 2)
      larger.set(this.#keys)
      this.#keys = larger
    }
    const keys = this.#keys
    let child = this.size++
    while (child > 0) {
      const parent = (child - 1) >> 1
      if (keys[parent]! <= key) break
      keys[child] = keys[parent]!
      child = parent
    }
    keys[child] = key
  }

  /** Removes and returns the smallest key; the heap must not be empty. */
  pop(): number {
    const keys = this.#keys
    const smallest = keys[0]!
    const size = --this.size
    const key = keys[size]!
    let parent = 0
    for (;;) {
      let child = 2 * parent + 1
      if (child >= size) break
      if (child + 1 < size && keys[child + 1]! < keys[child]!) child++
      if (keys[child]! >= key) break
      keys[parent] = keys[child]!
      parent = child
    }
    keys[parent] = key
    return smallest
  }
}
