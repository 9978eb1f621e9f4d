import test from 'ava'
import fc from 'fast-check'
import { BYTE_CHARACTERS, BytePairs } from '../../lib/text/byte-pairs'
import { rounds, seedOf } from '../support/random'

/** A random vocabulary over the bytes a, b, c: all symbols, and tokens made by random merges of earlier ones. */
function vocabulary(choices: [number, number][]): { tokens: string[], ids: Map<string, number>, merges: [number, number, number][] } {
  const tokens = ['a', 'b', 'c', 'a</w>', 'b</w>', 'c</w>', '?']
  const merges: [number, number, number][] = []
  for (const [i, j] of choices) {
    const left = i % tokens.length
    const right = j % tokens.length
    const made = tokens[left] + tokens[right]
    if (tokens[left].includes('</w>') || tokens[left] === '?' || tokens[right] === '?' || tokens.includes(made)) continue
    tokens.push(made)
    merges.push([left, right, tokens.length - 1])
  }
  return { tokens, ids: new Map(tokens.map((token, id) => [token, id])), merges }
}

/** Byte-pair encoding as its definition says it: look at all pairs, merge the best one, the leftmost among equals, begin again. */
function reference(word: string, ids: Map<string, number>, merges: [number, number, number][]): number[] {
  const symbols = Array.from(word, (character, i) => ids.get(i === word.length - 1 ? `${character}</w>` : character) ?? ids.get('?')!)
  for (;;) {
    let best = Infinity
    let at = -1
    for (let i = 0; i + 1 < symbols.length; i++) {
      const rank = merges.findIndex(([left, right]) => left === symbols[i] && right === symbols[i + 1])
      if (rank >= 0 && rank < best) [best, at] = [rank, i]
    }
    if (at < 0) return symbols
    symbols.splice(at, 2, merges[best][2])
  }
}

test('merges as the definition says, on random vocabularies and words', t => {
  const pair = fc.tuple(fc.nat(1000), fc.nat(1000))
  const property = fc.property(fc.array(pair, { maxLength: 60 }), fc.string({
    unit: fc.constantFrom('a', 'b', 'c', 'd'), minLength: 1, maxLength: 40,
  }), (choices, word) => {
    const { tokens, ids, merges } = vocabulary(choices)
    const got = new BytePairs(ids, merges, ids.get('?')!).encode(Buffer.from(word))
    t.deepEqual(got.ids, reference(word, ids, merges))
    // Each token begins where the ones before it end.
    const lengths = got.ids.map(id => tokens[id].replace('</w>', '').length)
    t.deepEqual(got.starts, lengths.map((_, i) => lengths.slice(0, i).reduce((sum, length) => sum + length, 0)))
  })
  fc.assert(property, { numRuns: rounds(1000), seed: seedOf(1) })
})

test('ranks decide even where a later merge makes a better pair', t => {
  // a+a is worse than aa+a: after the first a+a, the new pair goes first, and the second a+a is never made.
  const ids = new Map([['a', 0], ['a</w>', 1], ['aa', 2], ['aaa', 3]])
  const pairs = new BytePairs(ids, [[2, 0, 3], [0, 0, 2]], 1)
  t.deepEqual(pairs.encode(Buffer.from('aaaaa')), { ids: [3, 0, 1], starts: [0, 3, 4] })
})

test('a duplicate merge counts with its last rank; no bytes give no tokens', t => {
  const ids = new Map([['a', 0], ['b', 1], ['c</w>', 2], ['ab', 3], ['bc</w>', 4]])
  t.deepEqual(new BytePairs(ids, [[0, 1, 3], [1, 2, 4]], 0).encode(Buffer.from('abc')).ids, [3, 2])
  t.deepEqual(new BytePairs(ids, [[0, 1, 3], [1, 2, 4], [0, 1, 3]], 0).encode(Buffer.from('abc')).ids, [0, 4])
  t.deepEqual(new BytePairs(ids, [], 0).encode(Buffer.alloc(0)), { ids: [], starts: [] })
})

test('the byte table has 256 different characters, none of them white space or control', t => {
  t.is(new Set(BYTE_CHARACTERS).size, 256)
  t.true(BYTE_CHARACTERS.every(character => /^[^\p{White_Space}\p{Cc}]$/u.test(character)))
  t.is(BYTE_CHARACTERS[0x21], '!')
  t.is(BYTE_CHARACTERS[0x20], '\u0120')
  t.is(BYTE_CHARACTERS[0xad], '\u0143')
})
