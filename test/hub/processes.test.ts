import { spawn, type ChildProcess } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import test from 'ava'
import { openCheckpoint } from '../../lib/model/checkpoint'
import { filesBelow, sendBytes, setting, sha256 } from './fake-hub'

const main = path.join(__dirname, '..', '..', 'lib', 'cli', 'main.js')
const unet = 'unet/diffusion_pytorch_model.safetensors'

interface Run {
  child: ChildProcess
  ended: Promise<{ code: number | null, signal: string | null, stdout: string, stderr: string }>
}

/** `asdm` in a process of its own, with nothing but these variables of the hub. */
function asdm(args: string[], env: Record<string, string>): Run {
  const clean = Object.fromEntries(Object.entries(process.env).filter(([key]) => !/^(HF_|HUGGING|TRANSFORMERS_|XDG_)/.test(key)))
  const child = spawn(process.execPath, [main, ...args], { env: { ...clean, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', text => { stdout += text })
  child.stderr.setEncoding('utf8').on('data', text => { stderr += text })
  return {
    child,
    ended: new Promise((resolve, reject) => {
      child.on('error', reject).on(
        'close', (code, signal) => resolve({ code, signal, stdout, stderr }),
      )
    }),
  }
}

test('asdm pull, with what the environment says', async t => {
  const { hub, folder, cache } = await setting(t)
  const home = path.dirname(cache)
  fs.writeFileSync(path.join(home, 'token'), 'hf_from-the-file')
  const env = { HF_HOME: home, HF_ENDPOINT: hub.endpoint }
  const run = await asdm(['pull', hub.repository], env).ended
  t.is(run.code, 0, run.stderr)
  t.is(run.stdout, `${path.join(folder, 'snapshots', hub.commit)}\n`)
  t.regex(run.stderr, /^acme\/tiny at 0123.*fetched\n$/)
  t.true(hub.asked.every(({ server, authorization }) => authorization === (server === 'hub' ? 'Bearer hf_from-the-file' : undefined)))
  hub.asked.length = 0
  const again = await asdm(
    ['pull', hub.repository, '--json', '--verify', '--no-variant', '--revision', 'main'], { ...env, HF_TOKEN: 'hf_given' },
  ).ended
  t.is(again.code, 0, again.stderr)
  t.is(JSON.parse(again.stdout).bytesFetched, 0)
  t.true(hub.asked.every(({ authorization }) => authorization === 'Bearer hf_given'))
  hub.asked.length = 0
  const offline = await asdm(['pull', hub.repository, '-q'], { ...env, HF_HUB_OFFLINE: '1' }).ended
  t.is(offline.stderr, '')
  t.is(offline.stdout, run.stdout)
  const other = await asdm(['pull', 'acme/other'], { ...env, HF_HUB_OFFLINE: '1' }).ended
  t.is(other.code, 1)
  t.regex(other.stderr, /^asdm: .*\(OFFLINE\)\n$/)
  t.deepEqual(hub.asked, [])
  const missing = await asdm(['pull', 'acme/other', '--variant', 'fp16'], env).ended
  t.is(missing.code, 1)
  t.regex(missing.stderr, /\(HUB_NOT_FOUND\)\n$/)
  for (const args of [['pull'], ['pull', 'a', 'b'], ['pull', 'a/b', '--reversion', 'x']]) t.is((await asdm(args, env).ended).code, 2)
})

test('processes that pull at once: every file is fetched once, and all end with the model', async t => {
  const { hub, cache } = await setting(t)
  // Slow enough that they meet.
  hub.answer = async (_request, response, { server, file, range }) => {
    if (server !== 'storage') return false
    await delay(150)
    sendBytes(response, hub.files[file], range)
    return true
  }
  const env = { HF_HUB_CACHE: cache, HF_ENDPOINT: hub.endpoint }
  const runs = await Promise.all([1, 2, 3].map(() => asdm(['pull', hub.repository, '--json'], env).ended))
  for (const { code, stderr } of runs) t.is(code, 0, stderr)
  t.is(new Set(runs.map(({ stdout }) => JSON.parse(stdout).path)).size, 1)
  t.is(runs.filter(({ stdout }) => JSON.parse(stdout).bytesFetched > 0).length, 1)
  for (const name of JSON.parse(runs[0].stdout).files) t.is(hub.fetches(name).length, 1, name)
  t.deepEqual(filesBelow(cache).filter(name => /tmp|incomplete|\.locks/.test(name)), [])
  await openCheckpoint(JSON.parse(runs[0].stdout).path)
})

test('a process that is killed half way: the next one takes its lock over and goes on where it stopped', async t => {
  const { hub, cache, folder } = await setting(t)
  const bytes = hub.files[unet]
  let halfWay = (): void => {}
  const arrived = new Promise<void>(resolve => { halfWay = resolve })
  hub.answer = (_request, response, { server, file, range }) => {
    if (server !== 'storage' || file !== unet || range !== undefined) return false
    response.writeHead(200, { 'content-length': bytes.length })
    response.write(bytes.subarray(0, 400_000), halfWay)
    return true
  }
  const env = { HF_HUB_CACHE: cache, HF_ENDPOINT: hub.endpoint }
  const killed = asdm(['pull', hub.repository], env)
  await arrived
  const partial = path.join(folder, 'blobs', `${sha256(bytes)}.asdm-incomplete`)
  while (!fs.existsSync(partial) || fs.statSync(partial).size < 400_000) await delay(20)
  killed.child.kill('SIGKILL')
  t.is((await killed.ended).signal, 'SIGKILL')
  t.true(fs.existsSync(path.join(cache, '.locks', 'models--acme--tiny', 'asdm.lock')))
  t.is((await asdm(['pull', hub.repository], { ...env, HF_HUB_OFFLINE: '1' }).ended).code, 1)
  const run = await asdm(['pull', hub.repository], env).ended
  t.is(run.code, 0, run.stderr)
  t.deepEqual(hub.fetches(unet).map(({ range }) => range), [undefined, 'bytes=400000-'])
  t.true(fs.readFileSync(path.join(run.stdout.trim(), unet)).equals(bytes))
})

test('Ctrl-C stops a pull; what has arrived is kept', async t => {
  if (process.platform === 'win32') return t.pass()
  const { hub, cache, folder } = await setting(t)
  let halfWay = (): void => {}
  const arrived = new Promise<void>(resolve => { halfWay = resolve })
  hub.answer = (_request, response, { server, file }) => {
    if (server !== 'storage' || file !== unet) return false
    response.writeHead(200, { 'content-length': hub.files[unet].length })
    response.write(hub.files[unet].subarray(0, 100_000), halfWay)
    return true
  }
  const run = asdm(['pull', hub.repository], { HF_HUB_CACHE: cache, HF_ENDPOINT: hub.endpoint })
  await arrived
  await delay(200)
  run.child.kill('SIGINT')
  const { code, stderr } = await run.ended
  t.is(code, 130)
  t.is(stderr, 'Stopped.\n')
  t.is(fs.statSync(path.join(folder, 'blobs', `${sha256(hub.files[unet])}.asdm-incomplete`)).size, 100_000)
  t.deepEqual(filesBelow(path.join(cache, '.locks')), [])
})
