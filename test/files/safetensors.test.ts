import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { AsdmError, type ErrorCode } from '../../lib/base/errors'
import { readSafetensorsHeader, writeSafetensors, type TensorToWrite } from '../../lib/files/safetensors'
import { fixture, loadExpected, repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

/** A file with this header text and this many data bytes. */
function fileWith(t: ExecutionContext, header: string | Buffer, dataBytes = 0, announced?: bigint): string {
  const text = Buffer.from(header)
  const start = Buffer.alloc(8)
  start.writeBigUInt64LE(announced ?? BigInt(text.length))
  const file = path.join(temporaryFolder(t), 'model.safetensors')
  fs.writeFileSync(file, Buffer.concat([start, text, Buffer.alloc(dataBytes)]))
  return file
}

async function refused(t: ExecutionContext, file: string, says: RegExp, code: ErrorCode = 'BAD_SAFETENSORS'): Promise<void> {
  const error = await t.throwsAsync(readSafetensorsHeader(file), { instanceOf: AsdmError })
  t.is(error?.code, code, error?.message)
  t.regex(error!.message, says)
  t.true(error!.message.includes(path.basename(file)), error!.message)
}

const one = (fields: string): string => `{"w":{${fields}}}`
const good = '"dtype":"F32","shape":[2],"data_offsets":[0,8]'

test('reads headers that the reference library wrote', async t => {
  for (const file of [
    fixture('sd15-tiny/unet/diffusion_pytorch_model.safetensors'), fixture('sd21-tiny/text_encoder/model.safetensors'),
    repoPath('models/emoji/unet/diffusion_pytorch_model.safetensors'),
  ]) {
    const { tensors, metadata, fileBytes } = await readSafetensorsHeader(file)
    const bytes = fs.readFileSync(file)
    const headerBytes = Number(bytes.readBigUInt64LE(0))
    const json = JSON.parse(bytes.toString('utf8', 8, 8 + headerBytes))
    t.is(fileBytes, bytes.length)
    t.deepEqual([...metadata], Object.entries(json.__metadata__ ?? {}))
    delete json.__metadata__
    t.deepEqual([...tensors.keys()], Object.keys(json))
    for (const [name, { dtype, shape, begin, end }] of tensors)
      t.deepEqual(
        [dtype, shape, begin - 8 - headerBytes, end - 8 - headerBytes], [json[name].dtype, json[name].shape, ...json[name].data_offsets],
      )
  }
})

test('offsets are absolute', async t => {
  const { tensors } = await readSafetensorsHeader(fixture('torch-rng/expected.safetensors'))
  const expected = loadExpected('torch-rng')
  const name = expected.names[3]
  const { begin, end } = tensors.get(name)!
  const bytes = fs.readFileSync(fixture('torch-rng/expected.safetensors')).subarray(begin, end)
  t.deepEqual(new Float32Array(new Uint8Array(bytes).buffer), expected.tensor(name).data)
})

test('odd but valid headers are read', async t => {
  t.is((await readSafetensorsHeader(fileWith(t, '{}'))).tensors.size, 0)
  t.is(
    (await readSafetensorsHeader(fileWith(
      t, '{ "w" : { "shape" : [ 2 ] ,"data_offsets":[0,8],\n"dtype":"F32" } }   ', 8,
    ))).tensors.get('w')?.shape[0],
    2,
  )
  t.deepEqual(
    (await readSafetensorsHeader(fileWith(t, one('"dtype":"F32","shape":[],"data_offsets":[0,4]'), 4))).tensors.get('w')?.shape, [],
  )
  const empty = '"a":{"dtype":"F16","shape":[3,0],"data_offsets":[4,4]}'
  t.is((await readSafetensorsHeader(fileWith(t, `{${empty},"b":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}`, 4))).tensors.size, 2)
  const proto = await readSafetensorsHeader(fileWith(
    t,
    `{"__proto__":{${good}},"constructor":{"dtype":"U8","shape":[1],"data_offsets":[8,9]},"__metadata__":{"__proto__":"x","a\\u0022":"\\n"}}`,
    9,
  ))
  t.deepEqual([...proto.tensors.keys()], ['__proto__', 'constructor'])
  t.deepEqual([...proto.metadata], [['__proto__', 'x'], ['a"', '\n']])
  t.is(({} as any).dtype, undefined)
})

test('lengths that do not fit', async t => {
  await refused(t, fileWith(t, one(good), 8, 33_554_433n), /header of 33554433 bytes, more than/)
  await refused(t, fileWith(t, one(good), 8, 2n ** 64n - 1n), /header of 18446744073709551615 bytes/)
  await refused(t, fileWith(t, one(good), 8, 5000n), /does not fit into its \d+ bytes/)
  await refused(t, fileWith(t, one(good), 7), /"w" ends at byte .* truncated/)
  await refused(t, fileWith(t, one(good), 9), /1 bytes follow its last tensor/)
  const file = path.join(temporaryFolder(t), 'short.safetensors')
  fs.writeFileSync(file, '')
  await refused(t, file, /it is empty/)
  fs.writeFileSync(file, 'abc')
  await refused(t, file, /only 3 bytes/)
})

test('headers that are not the JSON of the format', async t => {
  const cases: [string | Buffer, RegExp][] = [
    ['', /does not start with \{/], ['[]', /does not start with \{/], [' {}', /does not start with \{/], ['{', /a key of the header/], ['{}}', /after the closing/],
    ['null', /does not start/], ['{"w":null}', /tensor "w"/], ['{"w":[1]}', /tensor "w"/], ['{"w":{}}', /lacks dtype/], ['{"w"', /":" expected/],
    [
      '{"w":{"dtype":"F32"}}', /lacks dtype, shape or data_offsets/,
    ], ['{"w', /not valid JSON text/], ['{"\\q":1}', /not valid JSON text/], ['{"a\u0001":1}', /not valid JSON text/],
    [Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]), /not UTF-8/], ['{"w\\', /not valid JSON text/],
    [`{"w":{${good}},"w":{${good}}}`, /tensor "w" twice/], [`{"w":{${good}},"\\u0077":{${good}}}`, /tensor "w" twice/],
    [
      '{"__metadata__":{},"__metadata__":{}}', /"__metadata__" twice/,
    ], [
      '{"__metadata__":{"a":"b","a":"c"}}', /key "a" twice/,
    ], ['{"__metadata__":{"a":1}}', /metadata "a"/], ['{"__metadata__":"x"}', /__metadata__/],
    [
      one(`${good},"more":1`), /unknown field "more"/,
    ], [one(`${good},"shape":[2]`), /repeated field "shape"/], [one(`${good},`), /a key of tensor "w"/],
  ]
  for (const [header, says] of cases) await refused(t, fileWith(t, header, 8), says)
})

test('entries that contradict themselves', async t => {
  const cases: [string, RegExp][] = [
    ['"dtype":"F31","shape":[2],"data_offsets":[0,8]', /tensor "w" has the unknown dtype "F31"/],
    ['"dtype":32,"shape":[2],"data_offsets":[0,8]', /the dtype of tensor "w"/],
    ['"dtype":"F32","shape":[3],"data_offsets":[0,8]', /has 8 bytes where F32 \[3\] takes 12/],
    ['"dtype":"F32","shape":[-2],"data_offsets":[0,8]', /the shape of tensor "w" holds "-2/],
    ['"dtype":"F32","shape":[2.0],"data_offsets":[0,8]', /the shape of tensor "w" holds "2.0/],
    ['"dtype":"F32","shape":[2e0],"data_offsets":[0,8]', /the shape of tensor "w" holds "2e0/],
    ['"dtype":"F32","shape":[02],"data_offsets":[0,8]', /the shape of tensor "w" holds "02/],
    ['"dtype":"F32","shape":["2"],"data_offsets":[0,8]', /the shape of tensor "w" holds/],
    ['"dtype":"F32","shape":[9007199254740993],"data_offsets":[0,8]', /holds "9007199254740993/],
    ['"dtype":"F32","shape":[99999999999999999999999999999],"data_offsets":[0,8]', /the shape of tensor "w" holds/],
    ['"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]', /whose size overflows/],
    ['"dtype":"F64","shape":[4503599627370496],"data_offsets":[0,8]', /whose size overflows/],
    ['"dtype":"F32","shape":[9007199254740991,9007199254740991,0],"data_offsets":[0,0]', /whose size overflows/],
    [`"dtype":"F32","shape":[${'1,'.repeat(16)}2],"data_offsets":[0,8]`, /more than 16 numbers/],
    ['"dtype":"F32","shape":2,"data_offsets":[0,8]', /the shape of tensor "w"/],
    ['"dtype":"F32","shape":[2],"data_offsets":[0]', /has 1 data_offsets/],
    ['"dtype":"F32","shape":[2],"data_offsets":[0,8,8]', /more than 2 numbers/],
    ['"dtype":"F32","shape":[2],"data_offsets":[8,0]', /begins at 8, after its end 0/],
    ['"dtype":"F32","shape":[2],"data_offsets":[-8,0]', /holds "-8/],
    ['"dtype":"F32","shape":[2],"data_offsets":[8,16]', /gap of 8 bytes before tensor "w"/],
    ['"dtype":"U8","shape":[9007199254740991],"data_offsets":[0,9007199254740991]', /after the end of the file/],
  ]
  for (const [fields, says] of cases) await refused(t, fileWith(t, one(fields), 8), says)
  const two = (a: number[], b: number[]): string =>
    `{"a":{"dtype":"U8","shape":[${a[1] - a[0]}],"data_offsets":[${a}]},"b":{"dtype":"U8","shape":[${b[1] - b[0]}],"data_offsets":[${b}]}}`
  await refused(t, fileWith(t, two([0, 6], [4, 8]), 8), /tensor "b" begins at 4, inside the one before, which ends at 6/)
  await refused(t, fileWith(t, two([0, 8], [0, 8]), 8), /tensor "b" begins at 0, inside/)
  await refused(t, fileWith(t, two([0, 3], [4, 8]), 8), /gap of 1 bytes before tensor "b"/)
  t.is((await readSafetensorsHeader(fileWith(t, two([4, 8], [0, 4]), 8))).tensors.size, 2)
})

test('more tensors than any model has', async t => {
  const entries = Array.from({ length: 32_769 }, (_, i) => `"${i}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`)
  await refused(t, fileWith(t, `{${entries.join(',')}}`), /more than 32768 tensors/)
  t.is((await readSafetensorsHeader(fileWith(t, `{${entries.slice(1).join(',')}}`))).tensors.size, 32_768)
  const metadata = Array.from({ length: 16_385 }, (_, i) => `"${i}":""`)
  await refused(t, fileWith(t, `{"__metadata__":{${metadata.join(',')}}}`), /more than 16384 metadata/)
})

test('what is no file, or a file of another kind', async t => {
  const folder = temporaryFolder(t)
  await refused(t, path.join(folder, 'none.safetensors'), /there is none/, 'FILE_NOT_FOUND')
  await refused(t, folder, /it is a folder/, 'FILE_READ')
  const zip = path.join(folder, 'a.safetensors')
  fs.writeFileSync(zip, Buffer.concat([Buffer.from([0x50, 0x4b, 3, 4]), Buffer.alloc(100, 1)]))
  await refused(t, zip, /pickle.*any code.*save_file/s, 'UNSUPPORTED_FORMAT')
  fs.writeFileSync(zip, Buffer.concat([Buffer.from([0x80, 2, 0x8a, 0x0a]), Buffer.alloc(100, 1)]))
  await refused(t, zip, /pickle/, 'UNSUPPORTED_FORMAT')
  fs.writeFileSync(zip, 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n')
  await refused(t, zip, /Git LFS pointer/)
  const error = await t.throwsAsync(readSafetensorsHeader('a\0b'), { instanceOf: AsdmError })
  t.is(error?.code, 'INVALID_ARGUMENT')
  if (process.platform !== 'win32') {
    const pipe = path.join(folder, 'pipe.safetensors')
    execFileSync('mkfifo', [pipe])
    await refused(t, pipe, /not a regular file/, 'FILE_READ')
  }
})

const tensor = (name: string, dtype: string, shape: number[], data: TensorToWrite['data']): TensorToWrite => ({ name, dtype, shape, data })

test('what is written is read again', async t => {
  const file = path.join(temporaryFolder(t), 'out.safetensors')
  const floats = Float32Array.of(1, -2, NaN, Infinity, 0, 6)
  async function* slowly(): AsyncGenerator<Uint8Array> {
    yield Uint8Array.of(1, 2)
    yield new Uint8Array()
    yield Uint8Array.of(3)
  }
  await writeSafetensors(file, [
    tensor('odd', 'U8', [3], slowly), tensor('b', 'F32', [2, 3], floats), tensor('a', 'F32', [0], new Float32Array()), tensor(
      'scalar', 'F16', [], Uint16Array.of(0x3c00),
    ), tensor('__proto__', 'I64', [1], BigInt64Array.of(-1n)),
  ], { 'format': 'pt', 'ünï"': 'x\ny' })
  const { tensors, metadata, fileBytes } = await readSafetensorsHeader(file)
  t.deepEqual([...metadata], [['format', 'pt'], ['ünï"', 'x\ny']])
  t.deepEqual([...tensors.keys()], ['__proto__', 'a', 'b', 'scalar', 'odd'])
  const bytes = fs.readFileSync(file)
  t.is(fileBytes, bytes.length)
  const read = (name: string): Uint8Array => new Uint8Array(bytes.subarray(tensors.get(name)!.begin, tensors.get(name)!.end))
  t.deepEqual(read('b'), new Uint8Array(floats.buffer))
  t.deepEqual(read('odd'), Uint8Array.of(1, 2, 3))
  t.deepEqual(read('scalar'), Uint8Array.of(0, 0x3c))
  t.deepEqual(read('__proto__'), new Uint8Array(8).fill(255))
  for (const { begin, dtype } of tensors.values()) t.is(begin % ({ I64: 8, F32: 4, F16: 2 }[dtype] ?? 1), 0)
  t.deepEqual(fs.readdirSync(path.dirname(file)), ['out.safetensors'])
})

test('a failed write leaves the old file and nothing else', async t => {
  const folder = temporaryFolder(t)
  const file = path.join(folder, 'out.safetensors')
  await writeSafetensors(file, [tensor('a', 'U8', [1], Uint8Array.of(7))])
  const before = fs.readFileSync(file)
  const fails = async (tensors: TensorToWrite[], says: RegExp, metadata?: any): Promise<void> => {
    const error = await t.throwsAsync(writeSafetensors(file, tensors, metadata), { instanceOf: AsdmError, code: 'INVALID_ARGUMENT' })
    t.regex(error!.message, says)
    t.deepEqual(fs.readFileSync(file), before)
    t.deepEqual(fs.readdirSync(folder), ['out.safetensors'])
  }
  const byte = Uint8Array.of(1)
  await fails([tensor('a', 'U8', [2], byte)], /Expected 2 bytes of tensor "a" .* received 1/)
  await fails([tensor('a', 'U8', [2], () => [byte, byte, byte])], /received more/)
  await fails([tensor('a', 'U8', [1], byte), tensor('a', 'U8', [1], byte)], /"a" is there twice/)
  await fails([tensor('__metadata__', 'U8', [1], byte)], /reserved/)
  await fails([tensor('a', 'X8', [1], byte)], /unknown dtype "X8"/)
  await fails([tensor('a', 'U8', [-1], byte)], /impossible shape/)
  await fails([tensor('a', 'U8', [1.5], byte)], /impossible shape/)
  await fails([tensor('a', 'F64', [2 ** 30, 2 ** 30], byte)], /impossible shape/)
  await fails([tensor('\ud800', 'U8', [1], byte)], /not a name/)
  await fails([tensor('a', 'U8', [1], byte)], /metadata are not all text/, { a: 1 })
  await t.throwsAsync(
    writeSafetensors(file, [tensor('a', 'U8', [1], () => { throw new Error('source broke') })]), { message: 'source broke' },
  )
  t.deepEqual(fs.readdirSync(folder), ['out.safetensors'])
  const controller = new AbortController()
  const abort = (): Uint8Array[] => {
    controller.abort('enough')
    return [byte]
  }
  const aborted = await t.throwsAsync(
    writeSafetensors(file, [tensor('a', 'U8', [1], abort)], {}, { signal: controller.signal }), { name: 'AbortError', any: true } as any,
  )
  t.is((aborted as any).cause, 'enough')
  t.deepEqual(fs.readFileSync(file), before)
  t.deepEqual(fs.readdirSync(folder), ['out.safetensors'])
  const nowhere = await t.throwsAsync(writeSafetensors(path.join(folder, 'none', 'x.safetensors'), []), { instanceOf: AsdmError })
  t.is(nowhere?.code, 'FILE_NOT_FOUND')
})
