import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { repoPath, root } from '../support/fixtures'
import { forTests, idleExports } from './exports'
import { typescriptSources } from './imports'

const read = (file: string): [string, string] => [file, fs.readFileSync(path.join(root, file), 'utf8')]

test('what lib/ exports is imported inside of it, public, or says that it is for tests', t => {
  const files = new Map(typescriptSources(root).files.map(read))
  t.true(files.size > 100)
  t.deepEqual(idleExports(files, ['lib/index.ts']), [])
})

test('what says that it is for tests is in a test or a script', t => {
  const named = new RegExp(`${forTests.replace('.', '\\.')}.*?export (?:async )?(?:const|function|class|interface|type) (\\w+)`, 'gs')
  const wanted = typescriptSources(root).files.flatMap(file =>
    [...read(file)[1].matchAll(named)].map(([, name]) => name))
  t.true(wanted.length > 5)
  const users = ['test', 'bench', 'scripts', 'models/train'].flatMap(folder =>
    fs.readdirSync(repoPath(folder), { recursive: true, encoding: 'utf8' })
      .filter(file => /\.(?:ts|mjs|cjs)$/.test(file) && !file.includes('node_modules'))
      .map(file => fs.readFileSync(repoPath(folder, file), 'utf8'))).join('\n')
  for (const name of wanted) t.true(new RegExp(`\\b${name}\\b`).test(users), `nobody tests ${name}`)
})

test('an idle export is named, however it is written', t => {
  const files = new Map([
    ['lib/a.ts', `export const used = 1
      export function idle() {}
      /** Adds. ${forTests} */
      export const tested = 2, alsoTested = 3
      /** ${forTests} */
      export class Claimed {}
      export interface Shape {}
      const inner = 4
      export { inner as outer }`],
    ['lib/b.ts', `import { used, type Claimed } from './a'
      import type { Shape as Form } from './a'
      export * from './c'
      export const other = [used]`],
    ['lib/c.ts', 'export const given = 5'],
    ['lib/d.ts', "import * as b from './b'"],
    ['lib/index.ts', "export { default } from './d'\nexport const version = '1'"],
  ])
  const idle = (file: string, name: string): string =>
    `${file} exports ${name}, which no other file of lib/ imports: keep it inside, or say "${forTests}" in its docstring`
  t.deepEqual(idleExports(files, ['lib/index.ts']), [
    idle('lib/a.ts', 'idle'), `lib/a.ts exports Claimed for tests and scripts, but others import it: take "${forTests}" out`, idle('lib/a.ts', 'outer'),
  ])
})
