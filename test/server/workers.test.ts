import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import fs from 'node:fs'
import net from 'node:net'
import test, { type ExecutionContext } from 'ava'
import { StableDiffusion } from 'asdm'
import { repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'
import { ask, ended, modelFolder, started } from './support'

const redisTest = spawnSync('redis-server', ['--version']).status === 0 ? test : test.skip

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  const { port } = server.address() as net.AddressInfo
  await new Promise(resolve => server.close(resolve))
  return port
}

/** A Redis that writes down each command. */
async function redis(t: ExecutionContext, folder: string, port: number): Promise<ChildProcess> {
  const child = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--appendonly', 'yes', '--appendfsync', 'always', '--save', ''])
  t.teardown(() => child.kill('SIGKILL'))
  let said = ''
  child.stdout.on('data', chunk => { said += chunk })
  while (!said.includes('Ready to accept connections')) await new Promise(resolve => setTimeout(resolve, 20))
  return child
}

async function worker(
  t: ExecutionContext, queue: string, results: string, models: string,
): Promise<{ child: ChildProcess, log: () => string }> {
  const child = spawn(process.execPath, [repoPath('dist', 'cli', 'main.js'), 'worker', '--queue', queue, '--results', results, '--models', models, '--threads', '1'])
  t.teardown(() => child.kill('SIGKILL'))
  let [log, said] = ['', '']
  child.stdout.on('data', chunk => { log += chunk })
  child.stderr.on('data', chunk => { said += chunk })
  while (!said.includes('asdm works') && child.exitCode === null) await new Promise(resolve => setTimeout(resolve, 20))
  t.is(child.exitCode, null, said)
  return { child, log: () => log }
}

redisTest('workers that are killed, and a Redis that is killed, lose no image and make none twice; all have the bits of a direct run', async t => {
  const [folder, results] = [temporaryFolder(t), temporaryFolder(t)]
  const models = modelFolder(t, 'emoji')
  const port = await freePort()
  const queue = `redis://127.0.0.1:${port}`
  const first = await redis(t, folder, port)
  const { url } = await started(t, { models, queue, results })
  const doomed = await worker(t, queue, results, models)
  const ask3 = async (body: object): Promise<string> => (await ask(`${url}/api/jobs`, body)).json.id
  const long = await ask3({ prompt: 'red apple', seed: 3, steps: 30 })
  while ((await ask(`${url}/api/jobs/${long}`)).json.progress.step < 2) await new Promise(resolve => setTimeout(resolve, 5))
  doomed.child.kill('SIGKILL')
  const others = [await ask3({ prompt: 'tree', seed: 1, steps: 2, count: 3 }), await ask3({ prompt: 'tree', seed: 1, steps: 2, count: 3 })]
  const bad = await ask3({ prompt: 'tree', steps: 2, sampler: 'none-such' })
  first.kill('SIGKILL')
  await new Promise(resolve => first.once('exit', resolve))
  await redis(t, folder, port)
  const able = await worker(t, queue, results, models)

  const jobs = await Promise.all([long, ...others].map(async id => ended(url, id)))
  t.deepEqual(jobs.map(({ state }) => state), ['done', 'done', 'done'])
  const failed = await ended(url, bad)
  t.is(failed.state, 'failed')
  t.regex(failed.error.message, /sampler/)
  const sd = await StableDiffusion.load(repoPath('models', 'emoji'), { threads: 2 })
  const [apple] = await sd.generate({ prompt: 'red apple', seed: 3, steps: 30 })
  const trees = await sd.generate({ prompt: 'tree', seed: 1, steps: 2, count: 3 })
  await sd.dispose()
  const at = async (id: string, image: number): Promise<Buffer> => Buffer.from(await (await fetch(`${url}/api/jobs/${id}/images/${image}.png`)).arrayBuffer())
  t.true((await apple!.png()).equals(await at(long, 0)))
  for (const id of others) for (const [i, tree] of trees.entries()) t.true((await tree.png()).equals(await at(id, i)))
  // Identical requests share their images.
  const made = able.log().split('\n').filter(line => line.includes('"image made"')).map(line => JSON.parse(line).result)
  t.is(made.length, 4, able.log())
  t.is(new Set(made).size, 4)
  t.is(fs.readdirSync(results, { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.png')).length, 4)

  const cancelled = await ask3({ prompt: 'red apple', seed: 4, steps: 1000 })
  while ((await ask(`${url}/api/jobs/${cancelled}`)).json.progress.step < 1) await new Promise(resolve => setTimeout(resolve, 5))
  await ask(`${url}/api/jobs/${cancelled}`, undefined, { method: 'DELETE' })
  const began = Date.now()
  await ended(url, await ask3({ prompt: 'after', seed: 1, steps: 1 }))
  t.true(Date.now() - began < 8000, 'the worker went on with a job that was cancelled')
  able.child.kill('SIGTERM')
  t.is(await new Promise(resolve => able.child.once('exit', resolve)), 0)
})
