import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { brotliCompressSync } from 'node:zlib'
import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import { Tokenizer } from '../../lib/text/tokenizer'
import { readTokenizerFiles } from '../../lib/text/tokenizer-files'
import { loadExpected, repoPath } from '../support/fixtures'
import { end, folderWith, merges, sd15, start, token, vocab } from './tokenizer-support'

// What transformers 5.18 makes of these files and of this text: the exact spelling of special tokens, other letter case, a new token.
const probe = 'x!y <|endoftext|> <|EndOfText|> <|startoftext|> <|StartOfText|> <Toy> <toy>'
const endApart = '27 347 524 639 69 600 1052 91 285'
const startApart = '27 347 993 580 69 600 1052 91 285'
const toysApart = '283 580 344 285 283 580 344 285'
interface Variant { name: string, config?: object, map?: object, added?: object, pad?: number, ids: string }
const variants: Variant[] = [
  { name: 'no files', ids: `343 256 344 2013 ${endApart} 2012 ${startApart} ${toysApart}` },
  {
    name: 'strings', config: { bos_token: start, eos_token: end, pad_token: end, unk_token: end },
    ids: `343 256 344 2013 ${endApart} 2012 ${startApart} ${toysApart}`,
  },
  {
    name: 'objects', config: { bos_token: token(start), eos_token: token(end), pad_token: token(end), unk_token: token(end) },
    ids: `343 256 344 2013 2013 2012 2012 ${toysApart}`,
  },
  {
    name: 'objects, not normalized', ids: `343 256 344 2013 ${endApart} 2012 ${startApart} ${toysApart}`,
    config: { bos_token: token(start, false), eos_token: token(end, false), pad_token: token(end, false), unk_token: token(end, false) },
  },
  {
    name: 'a string after an object', config: { bos_token: token(start), eos_token: token(end), pad_token: end },
    ids: `343 256 344 2013 ${endApart} 2012 2012 ${toysApart}`,
  },
  {
    name: 'an object after a string', config: { bos_token: start, eos_token: end, unk_token: token(end), pad_token: token(end) },
    ids: `343 256 344 2013 2013 2012 ${startApart} ${toysApart}`,
  },
  {
    name: 'object, string, object', config: { eos_token: token(end), unk_token: end, pad_token: token(end) },
    ids: `343 256 344 2013 ${endApart} 2012 ${startApart} ${toysApart}`,
  },
  {
    name: 'objects of two kinds', config: { eos_token: token(end, false), unk_token: token(end), pad_token: token(end, false) },
    ids: `343 256 344 2013 2013 2012 ${startApart} ${toysApart}`,
  },
  {
    name: 'only a map', map: { bos_token: token(start), eos_token: token(end), pad_token: '!' }, pad: 0,
    ids: `343 0 344 2013 ${endApart} 2012 2012 ${toysApart}`,
  },
  {
    name: 'the map before the config', config: { bos_token: start, eos_token: end, pad_token: end }, pad: 0,
    map: {
      bos_token: token(start), eos_token: token(end), unk_token: token(end), pad_token: '!',
    }, ids: `343 0 344 2013 2013 2012 2012 ${toysApart}`,
  },
  {
    name: 'added_tokens_decoder before the map', map: { pad_token: '!' }, ids: `343 256 344 2013 ${endApart} 2012 2012 ${toysApart}`,
    config: {
      added_tokens_decoder: { 2012: token(start), 2013: token(end, false) }, bos_token: start, eos_token: end, pad_token: end,
      unk_token: end,
    },
  },
  {
    name: 'added_tokens_decoder with the padding', pad: 0, ids: `343 0 344 2013 2013 2012 2012 ${toysApart}`,
    config: {
      added_tokens_decoder: { 0: token('!', false), 2012: token(start), 2013: token(end) }, bos_token: start, eos_token: end,
      pad_token: '!', unk_token: end,
    },
  },
  {
    name: 'added_tokens_decoder with a new token', config: { added_tokens_decoder: { 2014: token('<Toy>', true, false) } },
    ids: `343 256 344 2013 ${endApart} 2012 ${startApart} 2014 2014`,
  },
  { name: 'added_tokens.json', added: { '<Toy>': 2014 }, ids: `343 256 344 2013 ${endApart} 2012 ${startApart} 2014 2014` },
  {
    name: 'added_tokens.json with a token that has a role', config: { mask_token: '<Toy>' }, added: { '<Toy>': 2014 },
    ids: `343 256 344 2013 ${endApart} 2012 ${startApart} 2014 283 580 344 285`,
  },
]

for (const { name, config, map, added, pad = 2013, ids } of variants) {
  test(`special tokens as transformers reads them: ${name}`, async t => {
    const tokenizer = await Tokenizer.load(folderWith(t, {
      'tokenizer_config.json': config, 'special_tokens_map.json': map, 'added_tokens.json': added,
    }))
    t.deepEqual([tokenizer.bos, tokenizer.eos, tokenizer.pad, tokenizer.windowLength], [2012, 2013, pad, 77])
    t.is(tokenizer.vocabSize, ids.includes('2014') ? 2015 : 2014)
    t.is(tokenizer.tokenize(probe).join(' '), ids)
  })
}

// What transformers 5.18 writes into tokenizer.json beside the model, vocab.json and merges.txt not being written any more.
const written = {
  version: '1.0', truncation: null, padding: null,
  normalizer: {
    type: 'Sequence', normalizers: [{ type: 'NFC' }, { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' }, { type: 'Lowercase' }],
  },
  pre_tokenizer: {
    type: 'Sequence',
    pretokenizers: [
      {
        type: 'Split', behavior: 'Removed', invert: true,
        pattern: { Regex: "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+" },
      },
      { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    ],
  },
  post_processor: { type: 'RobertaProcessing', sep: [end, 2013], cls: [start, 2012], trim_offsets: false, add_prefix_space: false },
  decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
}

test('folders as transformers 5 writes them, also by its generic classes where they are of CLIP\'s kind', async t => {
  const { cases } = loadExpected('sd15-tiny').json.tokenizer
  const json = {
    ...written, added_tokens: [{ id: 2012, ...token(start) }, { id: 2013, ...token(end) }],
    model: {
      type: 'BPE', dropout: null, unk_token: end, continuing_subword_prefix: '', end_of_word_suffix: '</w>', fuse_unk: false, vocab,
      merges: merges.split('\n').filter(line => line !== '' && !line.startsWith('#version')).map(line => line.split(' ')),
    },
  }
  const load = (tokenizer_class: string, changed: object = {}) => Tokenizer.load(folderWith(t, {
    'vocab.json': undefined, 'merges.txt': undefined, 'tokenizer.json': { ...json, ...changed },
    'tokenizer_config.json': {
      add_prefix_space: false, backend: 'tokenizers', bos_token: start, do_lower_case: true, eos_token: end, errors: 'replace',
      model_max_length: 77, pad_token: end, tokenizer_class, unk_token: end,
    },
  }))
  for (const name of ['CLIPTokenizer', 'TokenizersBackend', 'PreTrainedTokenizerFast']) {
    const tokenizer = await load(name)
    for (const { text, ids } of cases) t.deepEqual([...tokenizer.encode(text)], ids, text)
  }
  for (const changed of [
    { normalizer: null }, { normalizer: { type: 'NFC' } }, { pre_tokenizer: { type: 'ByteLevel' } }, { post_processor: { type: 'TemplateProcessing' } },
    { pre_tokenizer: { type: 'Sequence', pretokenizers: [{ type: 'Split', pattern: { Regex: '\\w+' } }, { type: 'ByteLevel' }] } },
  ]) {
    const error = await t.throwsAsync(load('TokenizersBackend', changed), { instanceOf: AsdmError })
    t.is(error?.code, 'UNSUPPORTED_CONFIG')
    t.true(error!.message.includes(`the ${Object.keys(changed)[0]} of`))
  }
})

test('extra_special_tokens as a list and as an object', async t => {
  for (const extra_special_tokens of [{}, [], { image_token: '<Toy>' }, ['<Toy>']]) {
    const some = Object.values(extra_special_tokens).length > 0
    const added = some ? { 'added_tokens.json': { '<Toy>': 2014 } } : {}
    const tokenizer = await Tokenizer.load(folderWith(t, { 'tokenizer_config.json': { extra_special_tokens }, ...added }))
    t.is(tokenizer.tokenize('<Toy>')[0], some ? 2014 : 283)
  }
})

test('special tokens without number or length', async t => {
  const many = Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`<t${i}>`, 2014 + i]))
  const tokenizer = await Tokenizer.load(folderWith(t, { 'added_tokens.json': many }))
  t.deepEqual(tokenizer.tokenize('<t7><t19999><T70>'), [2021, 22013, 2084])
  const long = Tokenizer.load(folderWith(t, { 'added_tokens.json': { ['x'.repeat(5e6)]: 2014 } }))
  t.is((await t.throwsAsync<AsdmError>(long))?.code, 'BAD_CONFIG')
})

test('of two special tokens at one place the longer one is found, signs and all', async t => {
  const tokenizer = await Tokenizer.load(folderWith(t, { 'added_tokens.json': { '<a>': 2014, '<a>.*': 2015, '(b|': 2016 } }))
  t.deepEqual(tokenizer.tokenize('<A>.*<a>.(B|'), [2015, 2014, vocab['.</w>'], 2016])
})

test('vocabulary and merges from tokenizer.json, merges written either way', async t => {
  const { cases } = loadExpected('sd15-tiny').json.tokenizer
  const lines = merges.split('\n').filter(line => line !== '' && !line.startsWith('#version'))
  for (const list of [lines, lines.map(line => line.split(' '))]) {
    const json = {
      added_tokens: [{ id: 2012, ...token(start) }, { id: 2013, ...token(end, false) }],
      model: { type: 'BPE', end_of_word_suffix: '</w>', vocab, merges: list },
    }
    const folder = folderWith(t, { 'vocab.json': undefined, 'merges.txt': undefined, 'tokenizer.json': json })
    const tokenizer = await Tokenizer.load(folder)
    for (const { text, ids } of cases) t.deepEqual([...tokenizer.encode(text)], ids, text)
    t.is(tokenizer.tokenize(probe).join(' '), `343 256 344 2013 ${endApart} 2012 2012 ${toysApart}`)
  }
})

test('the window is model_max_length; 77 where it is missing or transformers wrote its "none"', async t => {
  const windowOf = async (config: unknown): Promise<number> =>
    (await Tokenizer.load(folderWith(t, { 'tokenizer_config.json': config }))).windowLength
  t.is(await windowOf({ model_max_length: 32 }), 32)
  t.is(await windowOf({}), 77)
  t.is(await windowOf('{"model_max_length": 1000000000000000019884624838656}'), 77)
  const smallest = await Tokenizer.load(folderWith(t, { 'tokenizer_config.json': { model_max_length: 2 } }))
  t.deepEqual([...smallest.encode('a cat')], [2012, 2013])
  t.is(smallest.encodeWithDetails('a cat').truncated, 'a cat')
})

test('line ends, byte order marks and empty lines change nothing', async t => {
  const expected = (await Tokenizer.load(sd15)).tokenize('a photo of an astronaut')
  const tokenizer = await Tokenizer.load(folderWith(t, {
    'merges.txt': `\ufeff${merges.replaceAll('\n', '\r\n')}\r\n\r\n`, 'vocab.json': `\ufeff${JSON.stringify(vocab)}`,
  }))
  t.deepEqual(tokenizer.tokenize('a photo of an astronaut'), expected)
})

test('merges alone give the vocabulary that is published beside them', async t => {
  for (const folder of [sd15, repoPath('models', 'emoji', 'tokenizer')]) {
    const listed = JSON.parse(fs.readFileSync(path.join(folder, 'vocab.json'), 'utf8')) as Record<string, number>
    const alone = folderWith(t, { 'vocab.json': undefined, 'merges.txt': fs.readFileSync(path.join(folder, 'merges.txt')) })
    t.deepEqual(Object.fromEntries((await readTokenizerFiles(alone)).vocabulary), listed)
  }
})

test('merges compressed with brotli are the merges', async t => {
  const packed = folderWith(t, { 'merges.txt': undefined, 'merges.txt.br': brotliCompressSync(merges) })
  t.deepEqual(await readTokenizerFiles(packed), await readTokenizerFiles(folderWith(t)))
  const both = folderWith(t, { 'merges.txt.br': brotliCompressSync('') })
  t.deepEqual(await readTokenizerFiles(both), await readTokenizerFiles(folderWith(t)), 'merges.txt comes first')
})

test("CLIP's vocabulary, which does not lie in the package, is the published one", async t => {
  const { vocabulary } = await readTokenizerFiles(repoPath('assets', 'clip-tokenizer'))
  const hash = createHash('sha256').update([...vocabulary].map(([token, id]) => `${id} ${token}\n`).join(''))
  t.is(hash.digest('hex'), '1d3b4940a080a5159df11f54f8508d8076a9deb2e85b20e6785af7d8a4bc3f01')
})

test('a byte that the vocabulary lacks becomes the unknown token', async t => {
  const { z: _z, ...rest } = vocab
  const tokenizer = await Tokenizer.load(folderWith(t, {
    'vocab.json': rest, 'merges.txt': merges.split('\n').filter(line => !/^z /.test(line) && !/ z$/.test(line)).join('\n'),
  }))
  t.deepEqual(tokenizer.tokenize('zz1'), [2013, vocab['z</w>'], vocab['1</w>']])
})
