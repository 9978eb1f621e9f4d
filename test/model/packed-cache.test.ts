import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { StableDiffusion, UNet, type DType, type PackedCache, type Tensor, type Warning } from '../../lib/index'
import { loadAddon } from '../../lib/native/load'
import { fixture, repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

const values = (shape: number[]): Tensor =>
  ({ shape, data: Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => Math.sin(i * 7.3)) })

/** A UNet's folder of its own, to be written to. */
function unetFolder(t: ExecutionContext): string {
  const folder = temporaryFolder(t)
  fs.cpSync(fixture('sd15-tiny', 'unet'), folder, { recursive: true })
  return folder
}

const weightsOf = (folder: string): string => path.join(folder, 'diffusion_pytorch_model.safetensors')
const cachesIn = (folder: string): string[] => fs.readdirSync(folder).filter(name => name.endsWith('.asdm')).sort()

interface Loaded { cache: PackedCache | undefined, bits: string, warnings: Warning[] }

/** Loads the UNet with its cache and runs it. */
async function load(folder: string, options: { dtype?: DType, cpu?: string, packedCache?: boolean | string } = {}): Promise<Loaded> {
  const warnings: Warning[] = []
  const unet = await UNet.load(folder, { threads: 2, packedCache: true, onWarning: warning => warnings.push(warning), ...options })
  try {
    return { cache: unet.packedCache, bits: await bitsOf(unet), warnings }
  } finally {
    await unet.dispose()
    await unet.dispose()
  }
}

async function bitsOf(unet: UNet): Promise<string> {
  const { sample } = await unet.forward({
    sample: values([1, 4, 8, 8]), timestep: 321, encoderHiddenStates: values([1, 7, unet.config.crossAttentionDim]),
  })
  return Buffer.from(sample.data.buffer).toString('hex')
}

const plain = async (folder: string, options = {}): Promise<string> => (await load(folder, { ...options, packedCache: false })).bits

test('without the option nothing is written', async t => {
  const folder = unetFolder(t)
  const { cache } = await load(folder, { packedCache: false })
  t.is(cache, undefined)
  t.deepEqual(cachesIn(folder), [])
})

for (const cpu of loadAddon().cpuInfo().usable)
  test(`${cpu}: a cache gives the bits that packing gives, in every number format`, async t => {
    const folder = unetFolder(t)
    for (const dtype of ['fp32', 'bf16', 'int8'] as const) {
      const wanted = await plain(folder, { dtype, cpu })
      const first = await load(folder, { dtype, cpu }), second = await load(folder, { dtype, cpu })
      const file = path.join(folder, `diffusion_pytorch_model.unet.${cpu}.${dtype}.asdm`)
      t.deepEqual(first, { cache: { outcome: 'written', file }, bits: wanted, warnings: [] })
      t.deepEqual(second, { cache: { outcome: 'used', file }, bits: wanted, warnings: [] })
    }
    t.is(cachesIn(folder).length, 3)
  })

test('a whole model draws the same picture from caches, twice at once, and reads pictures with the encoder that was cached', async t => {
  const folder = temporaryFolder(t)
  fs.cpSync(fixture('sd15-tiny'), folder, { recursive: true })
  const request = {
    prompt: 'a cat', steps: 2, seed: 5, width: 32, height: 32, image: { data: new Uint8Array(32 * 32 * 3).fill(90), width: 32, height: 32 },
    strength: 0.8,
  }
  const draw = async (sd: StableDiffusion): Promise<Buffer> => (await sd.generate(request))[0].png()
  const outcomes = (sd: StableDiffusion) => [sd.textEncoder, sd.unet, sd.vae].map(part => part.packedCache?.outcome)
  const plainModel = await StableDiffusion.load(folder, { threads: 2 })
  const wanted = await draw(plainModel)
  await plainModel.dispose()

  const first = await StableDiffusion.load(folder, { threads: 2, packedCache: true })
  t.deepEqual(outcomes(first), ['written', 'written', 'written'])
  t.deepEqual(await draw(first), wanted)
  t.true(cachesIn(path.join(folder, 'vae')).some(name => name.includes('vae-encoder')))
  await first.dispose()

  const seen: number[] = []
  const both = await Promise.all([0, 1].map(() =>
    StableDiffusion.load(folder, {
      threads: 1, packedCache: true, onProgress: ({ bytesDone, bytesTotal }) => seen.push(bytesDone / bytesTotal),
    })))
  for (const sd of both) t.deepEqual(outcomes(sd), ['used', 'used', 'used'])
  t.is(Math.max(...seen), 1)
  for (const picture of await Promise.all(both.map(draw))) t.deepEqual(picture, wanted)
  await both[0].dispose()
  t.deepEqual(await draw(both[1]), wanted, 'the weights of one are none of the other')
  await both[1].dispose()
})

/** Turns a bit of a weight without anything to show for it: size and time of writing stay. */
function alter(file: string): void {
  const bytes = fs.readFileSync(file), { atime, mtime } = fs.statSync(file)
  bytes[bytes.length - 1 - Math.floor(bytes.length / 3)] ^= 0x40
  fs.writeFileSync(file, bytes)
  fs.utimesSync(file, atime, mtime)
}

test('weights that changed make a cache of no use, also where size and time of writing stayed', async t => {
  const folder = unetFolder(t)
  const before = await load(folder)
  const user = await UNet.load(folder, { packedCache: true, threads: 1 })
  t.is(user.packedCache?.outcome, 'used')
  alter(weightsOf(folder))
  const after = await load(folder)
  t.deepEqual([after.cache?.outcome, after.cache?.reason], ['replaced', 'the weights have changed'])
  t.not(after.bits, before.bits)
  t.is(after.bits, await plain(folder))
  t.is((await load(folder)).cache?.outcome, 'used')
  t.is(await bitsOf(user), before.bits, 'who had read the old file still has its weights')
  await user.dispose()
})

test('a cache of another number format, kernel set or model is not taken', async t => {
  const folder = unetFolder(t), other = temporaryFolder(t)
  fs.cpSync(fixture('bk-sdm-tiny-tiny', 'unet'), other, { recursive: true })
  const [best, second = best] = loadAddon().cpuInfo().usable
  const wanted = await plain(folder)
  const { cache } = await load(folder)
  for (const [from, options] of [[folder, { dtype: 'bf16' }], [folder, { cpu: second }], [other, {}]] as const) {
    const foreign = (await load(from, options)).cache!
    if (foreign.file === cache!.file) continue
    fs.copyFileSync(foreign.file, cache!.file)
    const again = await load(folder)
    t.deepEqual(
      [again.cache?.outcome, again.cache?.reason, again.bits], ['replaced', 'it is of another model or other kernels', wanted],
      `${best} ${JSON.stringify(options)}`,
    )
  }
})

test('files that are damaged, cut, grown or none at all are written anew', async t => {
  const folder = unetFolder(t)
  const wanted = await plain(folder)
  const file = (await load(folder)).cache!.file
  const whole = fs.readFileSync(file)
  const altered = (change: (bytes: Buffer) => Buffer | void): Buffer => {
    const copy = Buffer.from(whole)
    return change(copy) ?? copy
  }
  let state = 1
  const random = (below: number) => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) % below
  const cases: [string, Buffer][] = [
    ['empty', Buffer.alloc(0)], ['short', Buffer.from('ASDMPACK')], ['noise', altered(bytes => {
      for (let i = 0; i < 4096; i++)
        bytes[i] = random(256)
    })],
    ['another version', altered(bytes => { bytes.writeBigUInt64LE(2n, 8) })], ['grown', Buffer.concat([whole, Buffer.alloc(64)])],
    ['zeros', Buffer.alloc(whole.length)], ['only its header', whole.subarray(0, 4096)],
    ...[1, 57, 4095, 4096, 4097, 8192, whole.length - 1].map((length): [string, Buffer] => [`cut to ${length}`, whole.subarray(0, length)]),
    ...Array.from({ length: 56 }, (_, i): [string, Buffer] => [`header byte ${i}`, altered(bytes => { bytes[i] ^= 1 << random(8) })]),
    ...Array.from({ length: 25 }, (): [string, Buffer] => {
      const at = 4096 + random(whole.length - 4096)
      return [`byte ${at}`, altered(bytes => { bytes[at] ^= 1 << random(8) })]
    }),
  ]
  for (const [name, bytes] of cases) {
    fs.writeFileSync(file, bytes)
    const { cache, bits } = await load(folder)
    t.is(cache?.outcome, 'replaced', name)
    t.truthy(cache?.reason, name)
    t.is(bits, wanted, name)
    t.true(fs.readFileSync(file).equals(whole), name)
  }
  t.is((await load(folder)).cache?.outcome, 'used')
})

test('what cannot be written is a warning', async t => {
  const folder = unetFolder(t)
  const file = (await load(folder)).cache!.file
  fs.rmSync(file)
  fs.mkdirSync(file)
  const { cache, warnings } = await load(folder)
  t.is(cache?.outcome, 'unwritten')
  t.deepEqual(warnings.map(({ code }) => code), ['PACKED_CACHE'])
  t.true(warnings[0].message.includes(file) && warnings[0].message.includes(cache!.reason!))
  fs.rmdirSync(file)
  t.deepEqual(fs.readdirSync(folder).filter(name => name.endsWith('.tmp')), [])
  if (process.platform === 'win32' || process.getuid?.() === 0) return // who may do anything
  fs.chmodSync(folder, 0o555)
  t.is((await load(folder)).cache?.outcome, 'unwritten')
  fs.chmodSync(folder, 0o755)
})

test('a disk without room is a warning, and leaves nothing behind', async t => {
  if (process.platform === 'win32') return t.pass()
  const folder = unetFolder(t)
  const script = `
    const { UNet } = require(${JSON.stringify(path.join(__dirname, '../../lib/index'))})
    UNet.load(${JSON.stringify(folder)}, { packedCache: true, threads: 1, onWarning: warning => console.log(warning.code) }).then(async unet => {
      console.log(unet.packedCache.outcome)
      await unet.dispose()
    })`
  // A limit on files stands in for the disk.
  const printed = execFileSync(
    'sh', ['-c', 'trap "" XFSZ; ulimit -f 64; exec "$0" -e "$1"', process.execPath, script], { encoding: 'utf8', cwd: repoPath() },
  )
  t.is(printed, 'PACKED_CACHE\nunwritten\n')
  t.deepEqual(fs.readdirSync(folder).sort(), ['config.json', 'diffusion_pytorch_model.safetensors'])
})

test('several writers at once, in one process and in others', async t => {
  const folder = unetFolder(t)
  const wanted = await plain(folder)
  const script = `
    const { UNet } = require(${JSON.stringify(path.join(__dirname, '../../lib/index'))})
    void (async () => { for (let i = 0; i < 8; i++) { const unet = await UNet.load(${JSON.stringify(folder)}, { packedCache: true, threads: 1 }); await unet.dispose(); try { require('fs').rmSync(unet.packedCache.file, { force: true }) } catch (error) { if (process.platform !== 'win32') throw error } } })()` // Windows keeps what others read
  const { execFile } = await import('node:child_process')
  const others = Array.from(
    { length: 2 },
    () => new Promise<void>((resolve, reject) =>
      execFile(process.execPath, ['-e', script], error => (error === null ? resolve() : reject(error)))),
  )
  const rounds = async (): Promise<void> => {
    for (let i = 0; i < 6; i++) for (const { bits, cache } of await Promise.all([0, 1, 2].map(() => load(folder)))) {
      t.is(bits, wanted)
      t.not(cache?.outcome, 'unwritten')
    }
  }
  await Promise.all([rounds(), ...others])
  await load(folder)
  t.is((await load(folder)).cache?.outcome, 'used')
  t.deepEqual(fs.readdirSync(folder).filter(name => name.endsWith('.tmp')), [])
})

test('what a writer that was killed left behind goes after an hour', async t => {
  const folder = unetFolder(t)
  const file = (await load(folder)).cache!.file
  const old = `${file}.0123456789abcdef.tmp`, fresh = `${file}.fedcba9876543210.tmp`, mine = `${file}.notes.tmp`
  for (const name of [old, fresh, mine]) fs.writeFileSync(name, 'x')
  for (const name of [old, mine]) fs.utimesSync(name, new Date(Date.now() - 2 * 3600e3), new Date(Date.now() - 2 * 3600e3))
  await load(folder)
  t.deepEqual([old, fresh, mine].map(name => fs.existsSync(name)), [false, true, true])
})

test('weights that are not finite are told of each time, so they are not cached', async t => {
  const folder = unetFolder(t)
  const file = weightsOf(folder), bytes = fs.readFileSync(file)
  bytes.writeFloatLE(NaN, bytes.length - 4)
  fs.writeFileSync(file, bytes)
  for (let i = 0; i < 2; i++) {
    const { cache, warnings } = await load(folder)
    t.deepEqual([cache?.outcome, cache?.reason], ['unwritten', 'some weights are not finite'])
    t.deepEqual(warnings.map(({ code }) => code).sort(), ['NON_FINITE_WEIGHTS', 'PACKED_CACHE'])
  }
  t.deepEqual(cachesIn(folder), [])
})

test('an abort leaves no half of a file', async t => {
  const folder = unetFolder(t)
  for (const delay of [0, 1, 3, 6, 10]) {
    const controller = new AbortController()
    const loading = UNet.load(folder, { packedCache: true, threads: 1, signal: controller.signal }).then(
      unet => unet.dispose(), error => t.is((error as Error).name, 'AbortError'),
    )
    setTimeout(() => controller.abort(), delay)
    await loading
    t.deepEqual(fs.readdirSync(folder).filter(name => name.endsWith('.tmp')), [])
  }
  await load(folder)
  t.is((await load(folder)).cache?.outcome, 'used')
})

test('a cache that is cut, overwritten or deleted while a model uses it changes nothing', t => {
  const folder = unetFolder(t)
  // In a process of its own, since what this guards against ends it.
  const script = `
    const fs = require('fs'), { UNet } = require(${JSON.stringify(path.join(__dirname, '../../lib/index'))})
    const values = shape => ({ shape, data: Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => Math.sin(i)) })
    void (async () => {
      const options = { packedCache: true, threads: 2 }
      await (await UNet.load(${JSON.stringify(folder)}, options)).dispose()
      const unet = await UNet.load(${JSON.stringify(folder)}, options), { outcome, file } = unet.packedCache
      const run = async () => Buffer.from((await unet.forward({ sample: values([1, 4, 8, 8]), timestep: 3, encoderHiddenStates: values([1, 7, unet.config.crossAttentionDim]) })).sample.data.buffer)
      const seen = [outcome], before = await run(), bytes = fs.readFileSync(file)
      for (const harm of [() => fs.truncateSync(file, 5000), () => fs.truncateSync(file, 0), () => fs.writeFileSync(file, Buffer.alloc(bytes.length, 0x41)), () => fs.rmSync(file)]) {
        harm()
        seen.push((await run()).equals(before))
      }
      console.log(seen.join())
    })()`
  t.is(execFileSync(process.execPath, ['-e', script], { encoding: 'utf8', cwd: repoPath() }), 'used,true,true,true,true\n')
})

test('a folder for caches is made, is shared by copies of a model, and keeps other models apart', async t => {
  const folder = unetFolder(t), caches = path.join(temporaryFolder(t), 'a', 'b')
  const wanted = await plain(folder)
  const first = await load(folder, { packedCache: caches })
  t.is(first.cache?.outcome, 'written')
  t.is(path.dirname(first.cache!.file), caches)
  t.regex(path.basename(first.cache!.file), /^diffusion_pytorch_model\.[0-9a-f]{24}\.unet\..+\.fp32\.asdm$/)
  t.deepEqual(await load(folder, { packedCache: caches }), { ...first, cache: { ...first.cache!, outcome: 'used' } })
  t.deepEqual(cachesIn(folder), [])

  const other = temporaryFolder(t)
  fs.cpSync(folder, other, { recursive: true })
  t.is((await load(other, { packedCache: caches })).cache?.file, first.cache!.file)
  alter(weightsOf(other)) // so little that no sample need show it: then the times do
  const altered = await load(other, { packedCache: caches })
  t.not(altered.cache?.outcome, 'used')
  t.not(altered.bits, wanted)
  const foreign = temporaryFolder(t)
  fs.cpSync(fixture('bk-sdm-tiny-tiny', 'unet'), foreign, { recursive: true })
  t.not((await load(foreign, { packedCache: caches })).cache?.file, first.cache!.file)
  t.is((await load(folder, { packedCache: caches })).bits, wanted)
})

test('a folder for caches that cannot be made is a warning', async t => {
  const folder = unetFolder(t), file = path.join(temporaryFolder(t), 'file')
  fs.writeFileSync(file, '')
  const { cache, warnings } = await load(folder, { packedCache: path.join(file, 'caches') })
  t.is(cache?.outcome, 'unwritten')
  t.deepEqual(warnings.map(({ code }) => code), ['PACKED_CACHE'])
})

test('packedCache is a boolean or a path', async t => {
  await t.throwsAsync(UNet.load(
    fixture('sd15-tiny', 'unet'), { packedCache: '' as never },
  ), { code: 'INVALID_ARGUMENT', message: /packedCache/ })
  await t.throwsAsync(StableDiffusion.load(
    fixture('sd15-tiny'), { packedCache: 1 as never },
  ), { code: 'INVALID_ARGUMENT', message: /packedCache/ })
})
