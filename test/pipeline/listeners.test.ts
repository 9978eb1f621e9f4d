import fs from 'node:fs'
import path from 'node:path'
import vm from 'node:vm'
import test from 'ava'
import { AsdmError, printable } from '../../lib/base/errors'
import { checkTensor } from '../../lib/base/tensor'
import { readSafetensorsHeader, writeSafetensors } from '../../lib/files/safetensors'
import { combine } from '../../lib/plan/builders'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { bytesOf, copyCheckpoint } from '../model/checkpoints'
import { fixture } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

const request = { prompt: 'a', steps: 2, width: 64, height: 64 }

test('listeners that are async and reject end neither the process nor go unheard', async t => {
  const heard: string[] = []
  const listen = (warning: Error): void => void heard.push(warning.message)
  process.on('warning', listen)
  t.teardown(() => process.off('warning', listen))
  // An unhandled rejection would fail this worker.
  await using sd = await StableDiffusion.load(fixture('sd15-tiny'), { threads: 1, onProgress: async () => { throw new Error('while loading') } })
  const mine = new Error('mine')
  t.is(await t.throwsAsync(sd.generate({ ...request, onProgress: async () => { throw mine } })), mine)
  t.is(await t.throwsAsync(sd.generate({ ...request, onProgress: () => { throw mine } })), mine)
  sd.on('warning', async () => { throw new Error('while warning') })
  await sd.generate({ ...request, prompt: 'a '.repeat(200) })
  for (const plan of [async () => { throw mine }, combine((async () => { throw mine }) as never)]) {
    const error = await t.throwsAsync(sd.generate({ ...request, plan: plan as never }), { instanceOf: AsdmError })
    t.regex(error!.message, /plan but received a promise/)
  }
  await new Promise(resolve => setTimeout(resolve, 20))
  t.deepEqual(heard.sort(), ['A listener rejected: Error: while loading', 'A listener rejected: Error: while warning'])
})

test('dispose gives every call under way and in the queue an AbortError', async t => {
  for (const wait of [0, 5, 30]) {
    const sd = await StableDiffusion.load(fixture('sd15-tiny'), { threads: 1 })
    const calls = Array.from({ length: 3 }, () => sd.generate({ ...request, steps: 4 }).then(() => 'done', (error: Error) => error.name))
    await new Promise(resolve => setTimeout(resolve, wait))
    await sd.dispose()
    for (const outcome of await Promise.all(calls)) t.true(outcome === 'AbortError' || outcome === 'done' && wait === 30, outcome)
  }
})

test('arrays of another realm are arrays', async t => {
  const { tensor, ids } = vm.runInNewContext('({ tensor: { data: new Float32Array(4), shape: [1, 4] }, ids: new Int32Array([1, 2]) })')
  t.false(tensor.data instanceof Float32Array)
  t.notThrows(() => checkTensor(tensor, 'x'))
  await using sd = await StableDiffusion.load(fixture('sd15-tiny'), { threads: 1 })
  t.deepEqual((await sd.textEncoder.encode(ids)).data, (await sd.textEncoder.encode(Int32Array.of(1, 2))).data)
  // Holes are no numbers.
  t.throws(() => checkTensor({ data: new Float32Array(4), shape: [1, 4, ,] }, 'x'), { instanceOf: AsdmError })
  await t.throwsAsync(sd.textEncoder.encode([ids, ,] as never), { instanceOf: AsdmError })
})

test('names from files are printed without control characters', async t => {
  t.is(printable('a\u001b[2J\u202eb\u0007\n\u009b'), 'a\\u001b[2J\\u202eb\\u0007\n\\u009b')
  const name = '\u001b[2J\u001b]0;owned\u0007\r\n\u202easdm: all is well'
  const escaped = '\\u001b[2J\\u001b]0;owned\\u0007\\u000d\\n\\u202easdm: all is well'
  const folder = copyCheckpoint('sd15-tiny', temporaryFolder(t))
  const file = path.join(folder, 'unet/diffusion_pytorch_model.safetensors')
  const { tensors } = await readSafetensorsHeader(file)
  const all = [...tensors].map(([key, { dtype, shape, begin, end }]) => ({ name: key, dtype, shape, data: bytesOf({ file, begin, end }) }))
  await writeSafetensors(file, [...all, { name, dtype: 'F32', shape: [1], data: new Uint8Array(4) }])
  const warnings: string[] = []
  await (await StableDiffusion.load(folder, { threads: 1, onWarning: ({ message }) => warnings.push(message) })).dispose()
  t.true(warnings.length === 1 && warnings[0].endsWith(`that the UNet does not have are not used: ${escaped}`), warnings.join())
  await writeSafetensors(file, [...all.slice(1), { name, dtype: 'F32', shape: [1], data: new Uint8Array(4) }])
  const error = await t.throwsAsync(StableDiffusion.load(folder), { instanceOf: AsdmError })
  t.is(error?.code, 'TENSOR_MISSING')
  t.true(error!.message.includes(escaped))
  fs.rmSync(folder, { recursive: true })
})
