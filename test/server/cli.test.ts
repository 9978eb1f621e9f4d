import { spawn } from 'node:child_process'
import test from 'ava'
import { repoPath } from '../support/fixtures'
import { ask } from './support'

test('asdm serve says where it serves, and stops at SIGTERM', async t => {
  const child = spawn(process.execPath, [
    repoPath('dist', 'cli', 'main.js'), 'serve', '--model', 'emoji', '--port', '0', '--log-level', 'warn', '--threads', '1', '--memory', '2',
  ], { env: { ...process.env, ASDM_TOKEN: 'a-long-token' } })
  t.teardown(() => child.kill('SIGKILL'))
  let said = ''
  child.stderr.on('data', chunk => { said += chunk })
  const over = new Promise<number | null>(resolve => child.once('close', code => resolve(code)))
  while (!said.includes('\n') && child.exitCode === null) await new Promise(resolve => setTimeout(resolve, 20))
  const [, url = ''] = /serves at (http:\/\/127\.0\.0\.1:\d+)\n/.exec(said) ?? []
  t.is((await ask(`${url}/v1/models`)).status, 401, said)
  const { json } = await ask(`${url}/api/statistics`, undefined, { headers: { authorization: 'Bearer a-long-token' } })
  t.is(json.memoryLimit, 2 ** 31)
  child.kill('SIGTERM')
  t.is(await over, 0, said)
})

test('what asdm serve cannot do is said in a sentence', async t => {
  const child = spawn(process.execPath, [repoPath('dist', 'cli', 'main.js'), 'serve', '--model', 'emoji', '--host', '0.0.0.0'])
  let said = ''
  child.stderr.on('data', chunk => { said += chunk })
  t.is(await new Promise(resolve => child.once('close', resolve)), 1)
  t.regex(said, /^asdm: Expected a token where host .* \(INVALID_ARGUMENT\)\n$/)
})
