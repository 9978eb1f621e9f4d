import { createHash } from 'node:crypto'
import fs from 'node:fs'
import test from 'ava'
import fc from 'fast-check'
import { AsdmError } from '../../lib/base/errors'
import { MAX_TEXT_LENGTH, Tokenizer } from '../../lib/text/tokenizer'
import { fixture, loadExpected, repoPath } from '../support/fixtures'
import { rounds, seedOf } from '../support/random'

const clip = Tokenizer.default()
const sd21 = Tokenizer.load(fixture('sd21-tiny', 'tokenizer'))
const emoji = Tokenizer.load(repoPath('models', 'emoji', 'tokenizer'))

for (const set of ['sd15-tiny', 'sd21-tiny']) {
  test(`${set}: ids and masks are transformers'`, async t => {
    const tokenizer = await Tokenizer.load(fixture(set, 'tokenizer'))
    const expected = loadExpected(set).json.tokenizer
    t.deepEqual(
      [tokenizer.bos, tokenizer.eos, tokenizer.pad, tokenizer.windowLength],
      [expected.bos, expected.eos, expected.pad, expected.max_length],
    )
    t.is(expected.cases.length, 16)
    for (const { text, ids, attention_mask: mask } of expected.cases) {
      const got = tokenizer.encodeWithDetails(text)
      t.deepEqual([...got.ids], ids, text)
      t.deepEqual([...got.attentionMask], mask, text)
    }
  })
}

test("the full vocabulary: all 267 prompts give transformers' ids, quirks included", async t => {
  const tokenizer = await clip
  const { cases, bos, eos, padding } = JSON.parse(fs.readFileSync(fixture('clip-tokenizer', 'expected.json'), 'utf8'))
  t.deepEqual(
    [tokenizer.bos, tokenizer.eos, tokenizer.pad, tokenizer.windowLength, tokenizer.vocabSize], [bos, eos, padding.with, padding.to, 49408],
  )
  t.is(cases.length, 267)
  for (const { text, ids } of cases) {
    const got = tokenizer.encodeWithDetails(text)
    t.deepEqual([...got.ids], [...ids, ...new Array(77 - ids.length).fill(padding.with)], JSON.stringify(text))
    t.is(got.attentionMask.reduce((sum, value) => sum + value, 0), ids.length)
  }
})

test("every character of the long-settled scripts between two letters gives transformers' ids", async t => {
  // SHA-256 over what transformers 5.18 with tokenizers 0.23 gives for "a" + character + "b", ids joined by spaces, a line each.
  // Ranges that newer Unicode versions add letters to are left out: they follow the Unicode version of Node.
  const tokenizer = await clip
  const hash = createHash('sha256')
  for (const [from, to] of [[0, 0x6ff], [0x1e00, 0x2bff], [0x3000, 0xa4cf], [0xac00, 0xd7a3], [0xe000, 0xfffd]]) {
    for (let code = from; code <= to; code++) hash.update(`${tokenizer.tokenize(`a${String.fromCodePoint(code)}b`).join(' ')}\n`)
  }
  t.is(hash.digest('hex'), '132867ba702cea4c1b53f195b945cdda22ec54ce7f2098ec42c5c17362d3ed5f')
})

test('padding with `!` as Stable Diffusion 2.x does: also the packaged vocabulary', async t => {
  const tokenizer = await Tokenizer.default({ padToken: '!' })
  t.is(tokenizer.pad, 0)
  t.deepEqual([...tokenizer.encode('a cat!').subarray(0, 6)], [49406, 320, 2368, 0, 49407, 0])
  t.is((await t.throwsAsync(Tokenizer.default({ padToken: 'no such token' }), { instanceOf: AsdmError }))?.code, 'BAD_CONFIG')
  t.is((await t.throwsAsync(Tokenizer.default({ padToken: 5 as never }), { instanceOf: AsdmError }))?.code, 'INVALID_ARGUMENT')
})

test('what was cut is told in the words of the prompt', async t => {
  const tokenizer = await clip
  const cut = (text: string): string => tokenizer.encodeWithDetails(text).truncated
  const words = (count: number): string => 'a '.repeat(count)
  t.is(cut(''), '')
  t.is(cut(words(75)), '')
  t.is(cut(`${words(75)}  \n`), '')
  t.is(cut(`${words(75)} Big  CAT, `), 'Big  CAT,')
  t.is(cut(`${words(74)}CAT,Dog`), ',Dog')
  t.is(cut(`${words(74)}Supercalifragilistic X`), 'califragilistic X')
  // Characters whose normalized form has another length, and a cut within a character's bytes.
  t.is(cut(`${words(73)}e\u0301e\u0301,İİ,Dog`), ',İİ,Dog')
  t.is(cut(`${words(74)}猫 x`), '猫 x')
  t.is(cut(`${words(75)}<|endoftext|> x`), '<|endoftext|> x')
  t.is(cut(`${words(75)}<|ENDOFTEXT|> x`), '<|ENDOFTEXT|> x')
  t.is((await sd21).encodeWithDetails(`${words(75)}!x`).truncated, '!x')
  t.is((await sd21).encodeWithDetails(`${words(74)}x<|StartOfText|>y`).truncated, '<|StartOfText|>y')
})

test('lone surrogates count as U+FFFD, whole ones as their character', async t => {
  const tokenizer = await clip
  t.deepEqual(tokenizer.tokenize('a\ud800b'), tokenizer.tokenize('a\ufffdb'))
  t.deepEqual(tokenizer.tokenize('\udc00\ud83d'), tokenizer.tokenize('\ufffd\ufffd'))
  t.deepEqual(tokenizer.tokenize('\ud83d\ude00'), [7334])
})

test('decode gives back the text, lower case, words apart', async t => {
  const tokenizer = await clip
  t.is(tokenizer.decode(tokenizer.encode('A Photo of an astronaut, 4K 猫 😀 !')), 'a photo of an astronaut , 4 k 猫 😀 !')
  t.is(tokenizer.decode(tokenizer.encode('x').subarray(0, 4), { specialTokens: true }), '<|startoftext|>x <|endoftext|><|endoftext|>')
  t.is(tokenizer.decode([]), '')
  t.is(tokenizer.decode([163, 234]), '\ufffd', 'half of a character')
  for (const bad of [[-1], [49408], [1.5], [NaN], ['a'], [undefined], 'cat', null, {}, 5])
    t.is(t.throws(() => tokenizer.decode(bad as never), { instanceOf: AsdmError })?.code, 'INVALID_ARGUMENT', String(bad))
})

test('arguments that are no text, or too much of it, are refused', async t => {
  const tokenizer = await clip
  for (const bad of [undefined, null, 5, {}, [], ['a'], Symbol('a'), new String('a'), 'a'.repeat(MAX_TEXT_LENGTH + 1)]) {
    for (const call of [
      () => tokenizer.encode(bad as never), () => tokenizer.encodeWithDetails(bad as never), () => tokenizer.tokenize(bad as never),
    ])
      t.is(t.throws(call, { instanceOf: AsdmError })?.code, 'INVALID_ARGUMENT')
  }
  for (const bad of [[-1], [49408], new Array(76).fill(0), 'ab', null])
    t.is(t.throws(() => tokenizer.frame(bad as never), { instanceOf: AsdmError })?.code, 'INVALID_ARGUMENT')
  for (const bad of [undefined, null, 5, '', 'a\0b', {}])
    t.is((await t.throwsAsync(Tokenizer.load(bad as never), { instanceOf: AsdmError }))?.code, 'INVALID_ARGUMENT')
})

test('megabytes take time in proportion, whatever they are made of', async t => {
  const tokenizer = await clip
  const full = MAX_TEXT_LENGTH
  const fill = (unit: string): string => unit.repeat(full / unit.length)
  const hostile: Record<string, string> = {
    'letters': fill('a'), 'astral letters': fill('𝒜'), 'punctuation': fill('!?'), 'emoji': fill('😀'), 'spaces': fill(' '), 'words': fill('word '), 'NULs': fill('\0'),
    'surrogates': fill('\ud800'), 'marks': fill('\u0301\u0323'), 'jamo': fill('\u1100\u1161\u11a8'), 'special tokens': fill('<|endoftext|>'), 'half of one': fill('<|'),
    'long lower case': fill('İ'), 'singletons': fill('\ufb2c'),
  }
  for (const [name, text] of Object.entries(hostile)) {
    const start = process.cpuUsage()
    const { ids, truncated } = tokenizer.encodeWithDetails(text)
    const { user, system } = process.cpuUsage(start)
    t.is(ids.length, 77)
    t.is(truncated === '', name === 'spaces', name)
    // Around 1 s at most on one core; a quadratic step would take hours.
    t.true(user + system < 30e6, `${name}: ${(user + system) / 1e6} s`)
  }
})

/** Text out of everything that means something to a tokenizer. */
const pieces = fc.array(fc.oneof(
  fc.constantFrom('a', 'THE', "'s", "'LL", ' ', '\t\n', '\u3000', '0', '³', '!', '...', '<|endoftext|>', '<|StartOfText|>', '<|', '|>', '</w>', 'e\u0301', '\u0323\u0301', 'İ', 'Σ',
    '猫', '\u1112\u1161\u11ab', '😀', '👩‍🚀', '𝒜', '\0', '\ud800', '\udfff', '\ufb2c', '\ufeff', 'supercalifragilistic', '\u0344'.repeat(
      300,
    )),
  fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' }),
), { maxLength: 40 }).map(parts => parts.join(''))

test('any text: ids of the vocabulary, as long as the window, the same as the first of all tokens', async t => {
  for (const tokenizer of [await clip, await sd21, await emoji]) {
    const property = fc.property(pieces, fc.nat(100), (text, count) => {
      const { ids, attentionMask, truncated } = tokenizer.encodeWithDetails(text)
      const all = tokenizer.tokenize(text)
      const inWindow = all.slice(0, tokenizer.windowLength - 2)
      const padding = new Array(tokenizer.windowLength - 2 - inWindow.length).fill(tokenizer.pad)
      t.deepEqual([...ids], [tokenizer.bos, ...inWindow, tokenizer.eos, ...padding])
      t.deepEqual([...attentionMask], [...new Array(inWindow.length + 2).fill(1), ...padding.map(() => 0)])
      t.true(all.every(id => Number.isInteger(id) && id >= 0 && id < tokenizer.vocabSize))
      t.is(truncated === '', all.length <= inWindow.length)
      t.true(text.endsWith(truncated) || text.replace(/[^\S\ufeff]+$/, '').endsWith(truncated))
      t.deepEqual(tokenizer.take(text, count).ids, all.slice(0, count))
      t.is(typeof tokenizer.decode(ids), 'string')
      // Lone surrogates count as U+FFFD.
      t.deepEqual(tokenizer.tokenize(text.replace(/\p{Surrogate}/gu, '\ufffd')), all)
    })
    fc.assert(property, { numRuns: rounds(300), seed: seedOf(2) })
  }
})

test('a cut that takes only U+FEFF, a token to CLIP and white space to JavaScript, is told', async t => {
  const { truncated } = (await sd21).encodeWithDetails('!𐀀𐀀𐀀ࠀ𐀀ࠀࠀ¡\ufeff')
  const whole = (await sd21).tokenize('!𐀀𐀀𐀀ࠀ𐀀ࠀࠀ¡\ufeff')
  t.is(truncated === '', whole.length <= (await sd21).windowLength - 2)
  for (const tokenizer of [await clip, await emoji]) {
    const text = `${'a '.repeat(tokenizer.windowLength - 2)}\ufeff `
    t.is(tokenizer.encodeWithDetails(text).truncated, '\ufeff')
  }
})

test('words that were cut apart between words tokenize as the whole', async t => {
  const tokenizer = await clip
  const property = fc.property(fc.array(fc.stringMatching(/^[a-z]{1,9}[,.!]?$/), { maxLength: 150 }), list => {
    const text = list.join(' ')
    const { ids, end } = tokenizer.take(text, 75)
    const rest = tokenizer.tokenize(text.slice(end))
    const all = tokenizer.tokenize(text)
    // The cut may lie within a word, whose rest is then another word; what comes after it is the same.
    const next = text.indexOf(' ', end)
    const tail = next < 0 ? [] : tokenizer.tokenize(text.slice(next))
    t.deepEqual(ids, all.slice(0, 75))
    t.deepEqual(all.slice(all.length - tail.length), tail)
    t.deepEqual(rest.slice(rest.length - tail.length), tail)
  })
  fc.assert(property, { numRuns: rounds(100), seed: seedOf(3) })
})

test('calls that overlap give what they give alone', async t => {
  const tokenizer = await clip
  const texts = Array.from({ length: 20 }, (_, i) => `picture ${i} of <|endoftext|> things! `.repeat(i))
  const alone = texts.map(text => [...tokenizer.encode(text)])
  const together = await Promise.all(texts.map(async text => { await null; return [...tokenizer.encode(text)] }))
  t.deepEqual(together, alone)
})
