import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import test from 'ava'
import { systemIO, type HubIO } from '../../lib/hub/io'
import { withLock } from '../../lib/hub/lock'
import { aborts } from '../support/aborts'
import { temporaryFolder } from '../support/temporary'

const io: HubIO = { ...systemIO, lock: { heartbeatMs: 40, staleMs: 400 } }

test('one at a time, and nothing is left', async t => {
  const file = path.join(temporaryFolder(t), 'deep', 'x.lock')
  let inside = 0
  let done = 0
  let waited = 0
  await Promise.all(Array.from({ length: 8 }, () => withLock(file, io, undefined, () => { waited++ }, async () => {
    t.is(++inside, 1)
    await delay(20)
    inside--
    done++
  })))
  t.is(done, 8)
  t.true(waited > 0)
  t.deepEqual(fs.readdirSync(path.dirname(file)), [])
  await t.throwsAsync(withLock(file, io, undefined, () => {}, async () => { throw new Error('work') }), { message: 'work' })
  t.deepEqual(fs.readdirSync(path.dirname(file)), [])
})

test('a holder that lives keeps its lock however long it takes', async t => {
  const file = path.join(temporaryFolder(t), 'x.lock')
  const order: string[] = []
  const first = withLock(file, io, undefined, () => {}, async () => { await delay(1500); order.push('first') })
  await delay(50)
  await withLock(file, io, undefined, () => {}, async () => { order.push('second') })
  await first
  t.deepEqual(order, ['first', 'second'])
})

test('a lock that nobody touches is taken over, by one of those who wait', async t => {
  for (const text of ['elsewhere 1 abc', '', 'nonsense', `${os.hostname()} ${process.pid} of-a-terminated-thread`]) {
    const file = path.join(temporaryFolder(t), 'x.lock')
    fs.writeFileSync(file, text)
    const started = performance.now()
    let inside = 0
    await Promise.all(Array.from(
      { length: 4 }, () => withLock(file, io, undefined, () => {}, async () => { t.is(++inside, 1); await delay(60); inside-- }),
    ))
    t.true(performance.now() - started > 350)
    t.deepEqual(fs.readdirSync(path.dirname(file)), [])
  }
})

test('the lock of a process that has ended is taken over at once', async t => {
  const file = path.join(temporaryFolder(t), 'x.lock')
  // No process has a number beyond the kernel's largest.
  fs.writeFileSync(file, `${os.hostname()} 99999999 abc`)
  const started = performance.now()
  await withLock(file, { ...io, lock: { heartbeatMs: 1000, staleMs: 60_000 } }, undefined, () => {}, async () => {})
  t.true(performance.now() - started < 5000)
})

test('a holder that was taken for gone does not remove the next one\'s lock', async t => {
  const file = path.join(temporaryFolder(t), 'x.lock')
  await withLock(file, io, undefined, () => {}, async () => { fs.writeFileSync(file, 'elsewhere 1 another') })
  t.is(fs.readFileSync(file, 'utf8'), 'elsewhere 1 another')
  const before = fs.statSync(file).mtimeMs
  await delay(150)
  t.is(fs.statSync(file).mtimeMs, before)
})

test('waiting ends with the signal', async t => {
  const file = path.join(temporaryFolder(t), 'x.lock')
  fs.writeFileSync(file, 'elsewhere 1 abc')
  const stop = new AbortController()
  setTimeout(() => stop.abort(), 100)
  await aborts(t, withLock(file, { ...io, lock: { heartbeatMs: 1000, staleMs: 60_000 } }, stop.signal, () => {}, async () => { t.fail() }))
  t.is(fs.readFileSync(file, 'utf8'), 'elsewhere 1 abc')
})
