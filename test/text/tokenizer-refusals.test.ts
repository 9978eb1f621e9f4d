import fs from 'node:fs'
import path from 'node:path'
import { brotliCompressSync, constants } from 'node:zlib'
import test from 'ava'
import fc from 'fast-check'
import { AsdmError, type ErrorCode } from '../../lib/base/errors'
import { Tokenizer } from '../../lib/text/tokenizer'
import { fixture } from '../support/fixtures'
import { rounds, seedOf } from '../support/random'
import { end, folderWith, merges, sd15, start, token, vocab } from './tokenizer-support'

const bad: [name: string, files: Record<string, unknown>, code: ErrorCode, message: RegExp][] = [
  ['nothing', { 'vocab.json': undefined, 'merges.txt': undefined }, 'FILE_NOT_FOUND', /vocab\.json/],
  [
    'merges alone that name no tokens', { 'vocab.json': undefined, 'merges.txt': 'th at' }, 'BAD_CONFIG',
    /line 1 of .*merges\.txt.*tokens of the vocabulary/,
  ],
  [
    'merges alone that make too many tokens',
    { 'vocab.json': undefined, 'merges.txt': Array.from({ length: 2 ** 18 }, (_, i) => `${i} x`).join('\n') }, 'BAD_CONFIG',
    /merges\.txt.*262658/,
  ],
  ['no merges', { 'merges.txt': undefined }, 'FILE_NOT_FOUND', /merges\.txt/],
  ['a vocabulary that is no JSON', { 'vocab.json': '{"a": 1' }, 'BAD_JSON', /vocab\.json/],
  ['a vocabulary that is a list', { 'vocab.json': ['a'] }, 'BAD_JSON', /vocab\.json/],
  ['a vocabulary that is no UTF-8', { 'vocab.json': Buffer.from([0x7b, 0xff, 0x7d]) }, 'BAD_JSON', /vocab\.json/],
  ['an empty vocabulary', { 'vocab.json': {} }, 'BAD_CONFIG', /vocab\.json.*empty/],
  ['an empty file', { 'vocab.json': '' }, 'BAD_JSON', /vocab\.json/],
  ['a vocabulary nested deeply', { 'vocab.json': `{"a":${'['.repeat(2e5)}` }, 'BAD_JSON', /vocab\.json/],
  ['an id that is text', { 'vocab.json': { ...vocab, zzz: '7' } }, 'BAD_CONFIG', /"zzz".*vocab\.json/],
  ['a negative id', { 'vocab.json': { ...vocab, zzz: -1 } }, 'BAD_CONFIG', /"zzz".*vocab\.json.*-1/],
  ['a broken id', { 'vocab.json': { ...vocab, zzz: 1.5 } }, 'BAD_CONFIG', /"zzz".*1\.5/],
  ['a huge id', { 'vocab.json': { ...vocab, zzz: 2 ** 31 } }, 'BAD_CONFIG', /"zzz".*2147483648/],
  ['an infinite id', { 'vocab.json': JSON.stringify(vocab).replace(/}$/, ',"zzz":1e999}') }, 'BAD_CONFIG', /"zzz".*Infinity/],
  ['an id twice', { 'vocab.json': { ...vocab, zzz: 320 } }, 'BAD_CONFIG', /320.*"zzz"/],
  [
    'no start token', { 'vocab.json': Object.fromEntries(Object.entries(vocab).filter(([key]) => key !== start)) }, 'BAD_CONFIG',
    /bos_token.*startoftext/,
  ],
  ['a merge of unknown tokens', { 'merges.txt': `${merges}\nqqqq a` }, 'BAD_CONFIG', /line \d+ of .*merges\.txt.*"qqqq a"/],
  ['a merge to an unknown token', { 'merges.txt': `${merges}\nq a` }, 'BAD_CONFIG', /merges\.txt.*parts that make a token.*"q a"/],
  ['a merge of three', { 'merges.txt': `${merges}\na b c` }, 'BAD_CONFIG', /merges\.txt.*"a b c"/],
  ['a merge of one', { 'merges.txt': 'ab' }, 'BAD_CONFIG', /line 1 of .*merges\.txt.*"ab"/],
  ['a merge with nothing', { 'merges.txt': 'a ' }, 'BAD_CONFIG', /merges\.txt/],
  ['merges that are no UTF-8', { 'merges.txt': Buffer.from([0x61, 0x20, 0xff]) }, 'BAD_CONFIG', /merges\.txt.*UTF-8/],
  ['packed merges that are not packed', { 'merges.txt': undefined, 'merges.txt.br': merges }, 'BAD_CONFIG', /merges\.txt\.br.*brotli/],
  [
    'packed merges that unpack to 64 MiB',
    {
      'merges.txt': undefined,
      'merges.txt.br': brotliCompressSync(Buffer.alloc(2 ** 26, 10), { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } }),
    },
    'BAD_CONFIG', /merges\.txt\.br.*brotli/,
  ],
  ['a config that is no JSON', { 'tokenizer_config.json': 'null' }, 'BAD_JSON', /tokenizer_config\.json/],
  ['a map that is no JSON', { 'special_tokens_map.json': '<' }, 'BAD_JSON', /special_tokens_map\.json/],
  [
    'a padding token that is missing', { 'special_tokens_map.json': { pad_token: '[PAD]' } }, 'BAD_CONFIG',
    /pad_token.*special_tokens_map\.json.*\[PAD\]/,
  ],
  ['a token that is a number', { 'tokenizer_config.json': { eos_token: 5 } }, 'BAD_CONFIG', /eos_token.*tokenizer_config\.json.*5/],
  ['a token without content', { 'tokenizer_config.json': { eos_token: { normalized: true } } }, 'BAD_CONFIG', /eos_token/],
  [
    'a flag that is text', { 'tokenizer_config.json': { eos_token: { content: end, normalized: 'yes' } } }, 'BAD_CONFIG',
    /eos_token\.normalized.*"yes"/,
  ],
  [
    'single words', { 'tokenizer_config.json': { eos_token: { ...token(end), single_word: true } } }, 'UNSUPPORTED_CONFIG',
    /eos_token\.single_word/,
  ],
  [
    'an empty token', { 'vocab.json': { ...vocab, '': 2014 }, 'tokenizer_config.json': { eos_token: '' } }, 'UNSUPPORTED_CONFIG',
    /white space/,
  ],
  ['a token with white space', { 'added_tokens.json': { 'a b': 2014 } }, 'UNSUPPORTED_CONFIG', /added_tokens\.json.*"a b"/],
  ['an added token with a used id', { 'added_tokens.json': { '<toy>': 5 } }, 'BAD_CONFIG', /added_tokens\.json.*"<toy>"/],
  ['an added token with another id', { 'added_tokens.json': { a: 2014 } }, 'BAD_CONFIG', /added_tokens\.json.*"a"/],
  [
    'extra tokens that are missing', { 'tokenizer_config.json': { additional_special_tokens: ['<toy>'] } }, 'BAD_CONFIG',
    /additional_special_tokens\[0\].*<toy>/,
  ],
  [
    'extra tokens that are no list', { 'tokenizer_config.json': { additional_special_tokens: 'a' } }, 'BAD_CONFIG',
    /additional_special_tokens/,
  ],
  ['a decoder that is a list', { 'tokenizer_config.json': { added_tokens_decoder: [] } }, 'BAD_CONFIG', /added_tokens_decoder/],
  [
    'a decoder with a word for an id', { 'tokenizer_config.json': { added_tokens_decoder: { x: token('<toy>') } } }, 'BAD_CONFIG',
    /added_tokens_decoder\["x"\]/,
  ],
  [
    'a decoder with a huge id', { 'tokenizer_config.json': { added_tokens_decoder: { 99999999: token('<toy>') } } }, 'BAD_CONFIG',
    /added_tokens_decoder/,
  ],
  [
    'a decoder against the vocabulary', { 'tokenizer_config.json': { added_tokens_decoder: { 5: token(end) } } }, 'BAD_CONFIG',
    /added_tokens_decoder\["5"\].*endoftext/,
  ],
  [
    'a decoder with an id twice', { 'tokenizer_config.json': { added_tokens_decoder: { '2014': token('<a>'), '02014': token('<b>') } } },
    'BAD_CONFIG', /"02014"/,
  ],
  ['a window of 0', { 'tokenizer_config.json': { model_max_length: 0 } }, 'BAD_CONFIG', /model_max_length.*0/],
  ['a window of 2^31', { 'tokenizer_config.json': { model_max_length: 2 ** 31 } }, 'BAD_CONFIG', /model_max_length/],
  ['a window of text', { 'tokenizer_config.json': { model_max_length: '77' } }, 'BAD_CONFIG', /model_max_length.*"77"/],
  [
    'another tokenizer', { 'tokenizer_config.json': { tokenizer_class: 'T5Tokenizer' } }, 'UNSUPPORTED_CONFIG',
    /tokenizer_class.*T5Tokenizer/,
  ],
  ['padding on the left', { 'tokenizer_config.json': { padding_side: 'left' } }, 'UNSUPPORTED_CONFIG', /padding_side/],
  ['letter case kept', { 'tokenizer_config.json': { do_lower_case: false } }, 'UNSUPPORTED_CONFIG', /do_lower_case/],
  [
    'a tokenizer.json of another kind', { 'vocab.json': undefined, 'tokenizer.json': { model: { type: 'WordPiece' } } },
    'UNSUPPORTED_CONFIG', /tokenizer\.json/,
  ],
  ['a tokenizer.json without a model', { 'vocab.json': undefined, 'tokenizer.json': {} }, 'BAD_CONFIG', /model.*tokenizer\.json/],
  [
    'a tokenizer.json without merges',
    { 'vocab.json': undefined, 'tokenizer.json': { model: { type: 'BPE', end_of_word_suffix: '</w>', vocab } } }, 'BAD_CONFIG',
    /model\.merges/,
  ],
  [
    'a tokenizer.json with a bad merge',
    { 'vocab.json': undefined, 'tokenizer.json': { model: { type: 'BPE', end_of_word_suffix: '</w>', vocab, merges: [5] } } }, 'BAD_CONFIG',
    /model\.merges\[0\]/,
  ],
]

for (const [name, files, code, message] of bad) {
  test(`refused: ${name}`, async t => {
    const error = await t.throwsAsync(Tokenizer.load(folderWith(t, files)), { instanceOf: AsdmError, message })
    t.is((error as AsdmError).code, code)
  })
}

test('refused: no folder, a file as folder, a folder as file, files too large', async t => {
  const code = async (folder: string): Promise<string> =>
    (await t.throwsAsync(Tokenizer.load(folder), { instanceOf: AsdmError }) as AsdmError).code
  t.is(await code(fixture('nowhere')), 'FILE_NOT_FOUND')
  t.is(await code(path.join(sd15, 'vocab.json')), 'FILE_NOT_FOUND')
  const folder = folderWith(t, { 'merges.txt': undefined })
  fs.mkdirSync(path.join(folder, 'merges.txt'))
  t.is(await code(folder), 'FILE_READ')
  for (const [name, expected] of [['vocab.json', 'BAD_JSON'], ['merges.txt', 'BAD_CONFIG']]) {
    const huge = folderWith(t)
    fs.truncateSync(path.join(huge, name), 2 ** 26)
    t.is(await code(huge), expected)
  }
})

test('fuzz: files with bytes changed load and encode, or are an AsdmError', async t => {
  const folder = folderWith(t)
  const texts: Record<string, string> = {
    'vocab.json': JSON.stringify(vocab), 'merges.txt': merges,
    'tokenizer_config.json': fs.readFileSync(path.join(sd15, 'tokenizer_config.json'), 'utf8'),
    'special_tokens_map.json': fs.readFileSync(path.join(sd15, 'special_tokens_map.json'), 'utf8'),
  }
  const damage = fc.record({
    name: fc.constantFrom(...Object.keys(texts)), at: fc.double({ min: 0, max: 1, noNaN: true }), remove: fc.nat(20),
    insert: fc.oneof(
      fc.constantFrom('', '"', '{', '}', ',', '-', '1e999', 'null', '\0', '\n', ' ', '[]', '9'),
      fc.string({ unit: 'binary', maxLength: 6 }),
    ),
  })
  let refused = 0
  const property = fc.asyncProperty(fc.array(damage, { minLength: 1, maxLength: 2 }), async list => {
    const changed = { ...texts }
    for (const { name, at, remove, insert } of list) {
      const place = Math.floor(at * changed[name].length)
      changed[name] = changed[name].slice(0, place) + insert + changed[name].slice(place + remove)
    }
    for (const [name, text] of Object.entries(changed)) fs.writeFileSync(path.join(folder, name), text)
    try {
      const tokenizer = await Tokenizer.load(folder)
      const ids = tokenizer.encode('A photo, of <|endoftext|> an astronaut! 猫 zz')
      t.is(ids.length, tokenizer.windowLength)
      t.true(ids.every(id => id >= 0 && id < tokenizer.vocabSize))
    } catch (error) {
      if (!(error instanceof AsdmError)) throw error
      refused++
    }
  })
  await fc.assert(property, { numRuns: rounds(150), seed: seedOf(4) })
  t.true(refused > 20)
})
