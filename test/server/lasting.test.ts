import { spawn, type ChildProcess } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { StableDiffusion } from 'asdm'
import { repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'
import { ask, ended, modelFolder } from './support'

const hasSqlite = process.getBuiltinModule?.('node:sqlite') !== undefined
const sqliteTest = hasSqlite ? test : test.skip

/** The command, as users run it. */
async function served(t: ExecutionContext, ...flags: string[]): Promise<{ child: ChildProcess, url: string }> {
  const child = spawn(process.execPath, [repoPath('dist', 'cli', 'main.js'), 'serve', '--port', '0', '--log-level', 'warn', '--threads', '2', ...flags])
  t.teardown(() => child.kill('SIGKILL'))
  let said = ''
  child.stderr.on('data', chunk => { said += chunk })
  while (!said.includes('serves at') && child.exitCode === null) await new Promise(resolve => setTimeout(resolve, 20))
  const [, url = ''] = /serves at (\S+)\n/.exec(said) ?? []
  t.not(url, '', said)
  return { child, url }
}

const gone = (child: ChildProcess): Promise<unknown> => new Promise(resolve => child.once('exit', resolve))

sqliteTest('jobs survive kill -9: those that waited and the one that ran are made, with the bits of a direct run', async t => {
  const models = modelFolder(t, 'emoji')
  const queue = path.join(temporaryFolder(t), 'jobs.db')
  const first = await served(t, '--models', models, '--queue', queue)
  const init = fs.readFileSync(repoPath('docs', 'images', 'emoji.png')).toString('base64')
  const bodies = [
    { prompt: 'red apple', seed: 3, steps: 12, count: 2 }, { prompt: 'green tree', steps: 3 }, { prompt: 'heart', seed: '18446744073709551615', steps: 2 },
    { prompt: 'sun', seed: 5, steps: 4, image: init, strength: 0.5 },
  ]
  const ids: string[] = []
  for (const body of bodies) ids.push((await ask(`${first.url}/api/jobs`, body)).json.id)
  const stopped = (await ask(`${first.url}/api/jobs`, { prompt: 'never' })).json.id
  await ask(`${first.url}/api/jobs/${stopped}`, undefined, { method: 'DELETE' })
  for (;;) {
    const { json } = await ask(`${first.url}/api/jobs/${ids[0]}`)
    if (json.progress.step >= 2) break
    await new Promise(resolve => setTimeout(resolve, 5))
  }
  first.child.kill('SIGKILL')
  await gone(first.child)

  const second = await served(t, '--models', models, '--queue', queue)
  const jobs = await Promise.all(ids.map(id => ended(second.url, id)))
  t.deepEqual(jobs.map(({ state }) => state), ['done', 'done', 'done', 'done'])
  t.is((await ask(`${second.url}/api/jobs/${stopped}`)).json.state, 'cancelled')
  second.child.kill('SIGTERM')
  await gone(second.child)

  // What ended stays, too.
  const third = await served(t, '--models', models, '--queue', queue)
  const sd = await StableDiffusion.load(repoPath('models', 'emoji'), { threads: 2 })
  const side = sd.sizes.default
  const at = async (job: number, image: number): Promise<Buffer> =>
    Buffer.from(await (await fetch(`${third.url}/api/jobs/${ids[job]}/images/${image}.png`)).arrayBuffer())
  const [apple, appleToo] = await sd.generate({ prompt: 'red apple', seed: 3, steps: 12, count: 2 })
  t.true((await apple!.png()).equals(await at(0, 0)))
  t.true((await appleToo!.png()).equals(await at(0, 1)))
  const tree = await sd.generate({ prompt: 'green tree', steps: 3, seed: jobs[1].images[0].settings.seed })
  t.true((await tree[0]!.png()).equals(await at(1, 0)))
  const heart = await sd.generate({ prompt: 'heart', seed: 2n ** 64n - 1n, steps: 2 })
  t.true((await heart[0]!.png()).equals(await at(2, 0)))
  const sun = await sd.generate({ prompt: 'sun', seed: 5, steps: 4, image: Buffer.from(init, 'base64'), strength: 0.5, width: side, height: side })
  t.true((await sun[0]!.png()).equals(await at(3, 0)))
  await sd.dispose()
  // Nothing half-written is left.
  const files = fs.readdirSync(`${queue}.results`, { recursive: true, encoding: 'utf8' })
  t.is(files.filter(name => name.endsWith('.png')).length, 5)
  t.false(files.some(name => name.endsWith('.part')))
})

test('without a database that Node.js or a package has, a sentence says so', async t => {
  if (hasSqlite) return t.pass()
  const child = spawn(process.execPath, [repoPath('dist', 'cli', 'main.js'), 'serve', '--model', 'emoji', '--port', '0', '--queue', path.join(temporaryFolder(t), 'jobs.db')])
  let said = ''
  child.stderr.on('data', chunk => { said += chunk })
  t.is(await new Promise(resolve => child.once('close', resolve)), 1)
  t.regex(said, /Expected Node\.js 22\.13 or later, or the package better-sqlite3/)
})
