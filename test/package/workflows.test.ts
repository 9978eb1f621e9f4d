import fs from 'node:fs'
import test from 'ava'
import { platformPackages } from '../../lib/native/platform-packages'
import { repoPath } from '../support/fixtures'

// `npm run lint:workflows` holds them against GitHub's rules; here they are held against this package.
const read = (...parts: string[]): string => fs.readFileSync(repoPath(...parts), 'utf8')
const manifest = JSON.parse(read('package.json')) as { scripts: Record<string, string>, engines: { node: string } }
const names = fs.readdirSync(repoPath('.github', 'workflows'))
const workflows = Object.fromEntries(names.map(name => [name, read('.github', 'workflows', name)]))

test('a release builds the binary of every platform once', t => {
  const [binaries] = workflows['release.yml'].split(/^ {2}try:/m)
  t.deepEqual([...binaries.matchAll(/\{ platform: ([\w-]+)/g)].map(match => `@asdm/${match[1]}`).sort(), [...platformPackages].sort())
})

test('every script that a workflow runs is there', t => {
  let scripts = 0
  for (const [name, text] of Object.entries(workflows)) {
    for (const [, script] of text.matchAll(/npm run ([\w:-]+)/g)) {
      scripts++
      t.true(script in manifest.scripts, `${name}: ${script}`)
    }
    for (const [, file] of text.matchAll(/(?:node|electron(?: --no-sandbox)?) ((?:examples|scripts)\/\S+)/g)) t.true(fs.existsSync(repoPath(file)), `${name}: ${file}`)
  }
  t.true(scripts >= 4)
})

test('the oldest Node that the package asks for is tested, on every system', t => {
  const lists = [...workflows['ci.yml'].matchAll(/^ +node: \[(.*)\]/gm)].map(match => match[1].split(', ').map(Number))
  t.is(lists.length, 2)
  for (const list of lists) t.deepEqual(list, [20, 22, 24])
  t.is(manifest.engines.node, '>=20')
})

test('nothing of a release is published before every binary is there', t => {
  const publish = workflows['release.yml'].split(/^ {2}publish:/m)[1]
  t.regex(publish, /^ {4}needs: \[binary, try\]$/m)
  const order = ['prebuild -- --release', 'npm publish "./$folder" --access public --provenance', 'ASDM_SKIP_BUILD=1 npm publish --access public --provenance']
  const places = order.map(text => publish.indexOf(text))
  t.true(places.every(place => place > 0))
  t.deepEqual([...places].sort((a, b) => a - b), places)
})
