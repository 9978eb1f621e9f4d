import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import { loadAddon } from '../../lib/native/load'
import { loaded, options, runScript, unetConfig, unetInputs } from './support'

test('shapes beyond all memory are an error, and the model works after it', async t => {
  const model = await loaded()
  const huge = [{ height: 2 ** 31 - 8, width: 2 ** 31 - 8 }, { height: 2 ** 20, width: 2 ** 20 }, { height: 8, width: 2 ** 30 }]
  for (const { height, width } of huge) {
    try {
      const { arenaBytes } = model.describe({ batch: 1, height, width, length: 5 })
      t.true(arenaBytes > 2 ** 31, 'described truthfully')
    } catch (error) {
      t.true(error instanceof AsdmError && ['SHAPE_MISMATCH', 'OUT_OF_MEMORY', 'INVALID_ARGUMENT'].includes(error.code), String(error))
    }
  }
  t.throws(
    () => model.describe({ batch: 2 ** 31 - 1, height: 2 ** 31 - 8, width: 2 ** 31 - 8, length: 2 ** 31 - 1 }), { instanceOf: AsdmError },
  )
  t.is((await model.forward(unetInputs()).promise).sample.data.length, 256)
  model.dispose()
})

test('a forward whose activations do not fit rejects with OUT_OF_MEMORY', async t => {
  if (process.platform !== 'linux') return t.pass()
  // The limit stands in for a full machine: allocations fail at 3 GiB of address space beyond what Node reserves.
  const { code, stdout, stderr } = await runScript(`
    const model = await support.loaded()
    const before = (await model.forward(support.unetInputs()).promise).sample.data
    const size = 8192
    const inputs = support.unetInputs(size)
    const { execFileSync } = require('child_process')
    const used = Number(/VmSize:\\s+(\\d+)/.exec(require('fs').readFileSync('/proc/self/status', 'utf8'))[1]) * 1024
    execFileSync('prlimit', ['--pid', process.pid, '--as=' + (used + 3 * 2 ** 30)])
    const error = await model.forward(inputs).promise.then(() => 'none', error => error)
    const after = (await model.forward(support.unetInputs()).promise).sample.data
    console.log(error.name, error.code, Buffer.compare(Buffer.from(before.buffer), Buffer.from(after.buffer)), error.message)
  `)
  if (process.env.ASDM_SANITIZED === '1') return t.pass() // its shadow memory needs the address space
  t.is(code, 0, stderr)
  t.regex(stdout, /^AsdmError OUT_OF_MEMORY 0 /)
})

test('a config of absurd but well-formed size is refused without touching memory', t => {
  const config = { ...unetConfig, blockOutChannels: [2 ** 24, 2 ** 24], attentionHeads: [2 ** 4, 2 ** 4] }
  try {
    const model = loadAddon().createModel({ kind: 'unet', config }, options)
    t.true(model.weights().length > 0)
    model.dispose()
  } catch (error) {
    t.true(error instanceof AsdmError && error.code !== 'INTERNAL', String(error))
  }
})

test('loads, forwards, aborts, failures and disposals leave resident memory flat', async t => {
  const { code, stdout, stderr } = await runScript(`
    const inputs = support.unetInputs(32)
    const kept = await support.loaded('unet', { threads: 2 })
    const sources = support.writeWeights(kept)
    const round = async () => {
      const model = loadAddon().createModel(support.specs.unet, { ...support.options, threads: 2 })
      await model.load(sources, () => {}).promise
      await model.forward(inputs).promise
      await model.forward({ ...inputs, taps: model.tapNames().slice(0, 3) }).promise
      const cancelled = model.forward(inputs)
      cancelled.cancel()
      await cancelled.promise.catch(() => {})
      await kept.forward({ values: { ...inputs.values, sample: support.zeros(1, 3, 8, 8) } }).promise.catch(() => {})
      await kept.forward(inputs).promise
      kept.trim()
      model.dispose()
    }
    // Under a sanitizer a round takes seconds, and only what it reports counts.
    const times = process.env.ASDM_SANITIZED === '1' ? 1 : 10
    const resident = async () => { for (let i = 0; i < 3; i++) { gc(); await support.delay(20) } return process.memoryUsage.rss() }
    // Large blocks are mapped one by one (MALLOC_MMAP_THRESHOLD_; else glibc takes them from its heap once some were freed, whose top then
    // stays or goes by chance). Garbage collection and malloc still make single samples jump by megabytes; what leaks raises the lowest
    // ones.
    const lowest = async () => {
      const samples = []
      for (let sample = 0; sample < 4; sample++) { for (let i = 0; i < times; i++) await round(); samples.push(await resident()) }
      return Math.min(...samples)
    }
    for (let i = 0; i < 2 * times; i++) await round()
    const before = await lowest()
    console.log((await lowest()) - before)
  `, { flags: ['--expose-gc', '--max-semi-space-size=1'], env: { MALLOC_ARENA_MAX: '1', MALLOC_MMAP_THRESHOLD_: '131072' } })
  t.is(code, 0, stderr)
  if (process.env.ASDM_SANITIZED === '1') return // its quarantine grows
  const grown = Number(stdout)
  t.true(grown < 4e6, `${(grown / 1e6).toFixed(1)} MB more after 40 rounds`)
})

test('many calls at once are served', async t => {
  const model = await loaded()
  const results = await Promise.all(Array.from(
    { length: 200 }, () => model.forward(unetInputs()).promise,
  ))
  t.true(results.every(({ sample }) => sample.data.length === 256))
  model.dispose()
})
