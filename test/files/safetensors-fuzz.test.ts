import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import { readSafetensorsHeader } from '../../lib/files/safetensors'
import { rounds, seeded, seedOf } from '../support/random'
import { temporaryFolder } from '../support/temporary'

const header = '{"__metadata__":{"format":"pt"},"a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},'
  + '"b":{"dtype":"F16","shape":[4,1,1],"data_offsets":[24,32]},"c":{"dtype":"I64","shape":[],"data_offsets":[32,40]}}'
const hostile = [
  '{', '}', '[', ']', '"', '\\', ',', ':', '-', '0', '9007199254740993', '1e400', 'null', 'true', '\\u0000', '\u0000', '\u{1f600}', '"__proto__":', '[[[[',
  '"dtype":', '"shape":[]', '"data_offsets":[0,24]', '18446744073709551615', ' ', '\n', '{}', '""',
]

test('damaged files are refused or read, never anything else', async t => {
  const folder = temporaryFolder(t)
  const random = seeded(seedOf(20240817))
  let read = 0
  let refused = 0
  for (let round = 0; round < rounds(3000); round++) {
    let text = header
    for (let edits = random.below(4); edits > 0; edits--) {
      const at = random.below(text.length + 1)
      const gone = random.below(3) === 0 ? random.below(12) : random.below(2)
      text = text.slice(0, at) + (random.below(4) === 0 ? '' : random.pick([...hostile, text.slice(at, at + random.below(60))]))
        + text.slice(at + gone)
    }
    const bytes = Buffer.concat([Buffer.alloc(8), Buffer.from(text), Buffer.alloc(random.pick([40, 40, 40, 39, 41, 0]), 5)])
    const length = Buffer.byteLength(text)
    bytes.writeBigUInt64LE(BigInt(random.pick([length, length, length, length, length + 1, length - 1, 0, 2 ** 53, random.below(2 ** 32)])))
    if (random.below(8) === 0) bytes[random.below(bytes.length)] = random.below(256)
    const file = path.join(folder, 'fuzz.safetensors')
    fs.writeFileSync(file, random.below(20) === 0 ? bytes.subarray(0, random.below(bytes.length)) : bytes)
    try {
      const { tensors, fileBytes } = await readSafetensorsHeader(file)
      read++
      const ranges = [...tensors.values()].sort((a, b) => a.begin - b.begin || a.end - b.end)
      ranges.forEach(({ begin, end }, i) => {
        if (!(begin <= end && end <= fileBytes && (i === 0 || begin === ranges[i - 1].end))) t.fail(`round ${round}: [${begin}, ${end})`)
      })
    } catch (error) {
      refused++
      const known = error instanceof AsdmError && ['BAD_SAFETENSORS', 'UNSUPPORTED_FORMAT'].includes(error.code)
        && error.message.includes('fuzz.safetensors')
      if (!known) t.fail(`round ${round}: ${error}`)
    }
  }
  t.true(read > rounds(100) && refused > rounds(1000), `read ${read}, refused ${refused}`)
})
