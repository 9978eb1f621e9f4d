import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { AsdmError, type ErrorCode } from '../../lib/base/errors'
import { readJsonObject } from '../../lib/files/json'
import { temporaryFolder } from '../support/temporary'

test('objects are read, with the numbers that Python writes', async t => {
  const file = path.join(temporaryFolder(t), 'config.json')
  const read = async (text: string | Buffer): Promise<any> => {
    fs.writeFileSync(file, text)
    return readJsonObject(file)
  }
  t.deepEqual(await read('{"a":[1,null,"x"]}'), { a: [1, null, 'x'] })
  t.deepEqual(await read('\ufeff{}'), {})
  t.deepEqual(
    await read('{"lambda_min_clipped": -Infinity, "b": Infinity, "c": NaN, "d": "NaN Infinity \\" NaN", "e": [NaN]}'),
    { lambda_min_clipped: -Infinity, b: Infinity, c: NaN, d: 'NaN Infinity " NaN', e: [NaN] },
  )
  const proto = await read('{"__proto__":{"polluted":1}}')
  t.true(Object.hasOwn(proto, '__proto__'))
  t.is(({} as any).polluted, undefined)
})

test('everything else is refused', async t => {
  const folder = temporaryFolder(t)
  const file = path.join(folder, 'config.json')
  const refused = async (text: string | Buffer, says: RegExp, code: ErrorCode = 'BAD_JSON', limit?: number): Promise<void> => {
    fs.writeFileSync(file, text)
    const error = await t.throwsAsync(readJsonObject(file, limit), { instanceOf: AsdmError })
    t.is(error?.code, code)
    t.regex(error!.message, says)
    t.true(error!.message.includes('config.json'))
  }
  await refused('', /does not parse/)
  await refused('{"a":}', /does not parse/)
  await refused('{"a":nan}', /does not parse/)
  await refused('{NaN:1}', /does not parse/)
  await refused(`{"a":[${'NaN,'.repeat(1001)}1]}`, /does not parse: it has more than 1000 numbers that are not finite/)
  await refused('[]', /an array/)
  await refused('null', /null/)
  await refused('3', /a number/)
  await refused('NaN', /a number/)
  await refused(Buffer.from([0x7b, 0xff, 0x7d]), /not UTF-8/)
  await refused('{"a":1}', /7 bytes, more than the 6/, 'BAD_JSON', 6)
  await refused('['.repeat(3_000_000), /does not parse/)
  await refused(`{"a":${'"\\"'.repeat(300_000)}`, /does not parse/)
  const error = await t.throwsAsync(readJsonObject(folder), { instanceOf: AsdmError })
  t.is(error?.code, 'FILE_READ')
  t.is((await t.throwsAsync(readJsonObject(path.join(folder, 'none.json')), { instanceOf: AsdmError }))?.code, 'FILE_NOT_FOUND')
})
