import test from 'ava'
import { aborted, delay, loaded, longInputs, runScript } from './support'

test('the event loop turns while a forward runs', async t => {
  const model = await loaded('unet', { threads: 2 })
  const call = model.forward(longInputs(model))
  let done = false
  call.promise.catch(() => {}).finally(() => { done = true })
  let ticks = 0
  while (!done && ticks < 20) {
    await delay(5)
    ticks++
  }
  t.true(ticks >= 20, `${ticks} timers fired before the call was done`)
  call.cancel()
  await t.throwsAsync(call.promise, aborted)
  model.dispose()
})

test('libuv\'s thread pool stays free', async t => {
  const { code, stdout, stderr } = await runScript(`
    const models = await Promise.all([1, 2, 3].map(() => support.loaded()))
    const calls = models.map(model => model.forward(support.longInputs(model)))
    await require('fs').promises.readFile(__filename).catch(() => {})
    await require('util').promisify(require('zlib').deflate)(Buffer.alloc(1e5))
    console.log('free')
    for (const call of calls) { call.cancel(); await call.promise.catch(error => { if (error.name !== 'AbortError') throw error }) }
  `, { env: { UV_THREADPOOL_SIZE: '1' } })
  t.is(code, 0, stderr)
  t.is(stdout.trim(), 'free')
})

test('a call keeps the process alive, an idle model does not', async t => {
  const { code, stdout, stderr } = await runScript(`
    const model = await support.loaded()
    globalThis.kept = model
    model.forward(support.unetInputs()).promise.then(({ sample }) => console.log(sample.data.length))
  `, { timeout: 60_000 })
  t.is(code, 0, stderr)
  t.is(stdout.trim(), '256')
})

test('process.exit in the middle of a forward gives its exit code', async t => {
  for (const when of ['setTimeout(() => process.exit(7), 100)', 'setImmediate(() => process.exit(7))', 'process.exit(7)']) {
    const { code, signal, stderr } = await runScript(`
      const model = await support.loaded('unet', { threads: 2 })
      model.forward(support.longInputs(model)); model.forward(support.unetInputs())
      ${when}
    `)
    t.is(code, 7, `${when}: ${signal} ${stderr}`)
  }
})

test('process.exit in the middle of loading, and an exit listener that starts more', async t => {
  const { code, signal, stdout, stderr } = await runScript(`
    const model = loadAddon().createModel(support.specs.unet, support.options)
    const sources = support.writeWeights(model)
    for (let i = 0; i < 50; i++) model.load(sources)
    process.on('exit', () => { try { model.forward(support.unetInputs()) } catch (error) { console.log(error.code) } })
    setTimeout(() => process.exit(7), 20)
  `)
  t.is(code, 7, `${signal} ${stderr}`)
  t.is(stdout.trim(), 'DISPOSED')
})

test('an uncaught error in the middle of a forward ends the process as usual', async t => {
  const { code, signal, stderr } = await runScript(`
    const model = await support.loaded('unet', { threads: 2 })
    model.forward(support.longInputs(model))
    setTimeout(() => { throw new Error('uncaught') }, 50)
  `)
  t.is(code, 1, `${signal} ${stderr}`)
  t.regex(stderr, /uncaught/)
})

test('an unknown instruction set in ASDM_CPU is an error, a known one is used', async t => {
  const script = 'try { console.log(loadAddon().createModel(support.specs.unet, support.options).cpu) } catch (error) { '
    + 'console.log(error.name, error.code, error.message) }'
  const unknown = await runScript(script, { env: { ASDM_CPU: 'sse9' } })
  t.is(unknown.code, 0, unknown.stderr)
  t.regex(unknown.stdout, /^AsdmError UNKNOWN_CPU .*ASDM_CPU.*"sse9"/)
  const portable = await runScript(script, { env: { ASDM_CPU: 'portable' } })
  t.is(portable.stdout.trim(), 'portable')
})
