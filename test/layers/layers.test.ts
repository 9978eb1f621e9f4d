import fs from 'node:fs'
import test from 'ava'
import { repoPath, root } from '../support/fixtures'
import { includes, nativeSources, specifiers, typescriptSources } from './imports'
import { circles, floorOf, problems } from './rules'

/** Floors from the ground up; of two, only the higher one may import the other. */
const order = JSON.parse(fs.readFileSync(
  repoPath('test', 'layers', 'order.json'), 'utf8',
)) as Record<'lib' | 'native' | 'exceptions', string[]>

test('each floor of lib/ imports only what stands below it, types included', t => {
  const sources = typescriptSources(root)
  t.true(sources.files.length > 100 && sources.arrows.length > 400)
  t.deepEqual(problems(sources, order.lib), [])
})

test('each floor of native/ includes only what stands below it', t => {
  const sources = nativeSources(root)
  t.true(sources.files.length > 100 && sources.arrows.length > 400)
  t.deepEqual(problems(sources, order.native, order.exceptions), [])
})

test('every form of import is seen', t => {
  const text = `
    import a from './a'
    import type { B } from './b'
    import { type C } from './c'
    export * from './d'
    export type { E } from './e'
    import './f'
    import fs from 'node:fs'
    type G = import('./g').G
    const h = await import('./h'), i = require('./i')
    import j = require('./j')
    const text = "import k from './k'"
    // import l from './l'
  `
  t.deepEqual(specifiers(text), ['./a', './b', './c', './d', './e', './f', './g', './h', './i', './j'])
  t.deepEqual(includes('#include "a/b.h"\n  # include "c.def"\n#include <vector>\n// #include "d.h"\n'), ['a/b.h', 'c.def'])
})

test('a back arrow, a circle, a folder without a floor and a stale exception are named', t => {
  const floors = ['lib/low', 'lib/high', 'lib/index.ts']
  const files = ['lib/low/a.ts', 'lib/low/b.ts', 'lib/high/c.ts', 'lib/index.ts']
  const fine = [
    { from: 'lib/high/c.ts', to: 'lib/low/a.ts' }, { from: 'lib/low/a.ts', to: 'lib/low/b.ts' },
    { from: 'lib/index.ts', to: 'lib/high/c.ts' },
  ]
  t.deepEqual(problems({ files, arrows: fine }, floors), [])
  const up = { from: 'lib/low/b.ts', to: 'lib/high/c.ts' }
  t.deepEqual(problems({ files, arrows: [...fine, up] }, floors), [
    'lib/low/b.ts -> lib/high/c.ts leads up: lib/high stands above lib/low',
    'files import each other in a circle: lib/high/c.ts -> lib/low/a.ts -> lib/low/b.ts -> lib/high/c.ts',
  ])
  t.deepEqual(problems({ files, arrows: [{ from: 'lib/high/c.ts', to: 'lib/index.ts' }] }, floors, ['lib/high/c.ts -> lib/index.ts']), [])
  t.deepEqual(
    problems({ files, arrows: fine }, floors, ['lib/low/b.ts -> lib/high/c.ts']),
    ['the exception lib/low/b.ts -> lib/high/c.ts is not needed any more: take it out of test/layers/order.json'],
  )
  t.deepEqual(
    problems({ files: [...files, 'lib/low/deep/d.ts'], arrows: [] }, floors),
    ['lib/low/deep has no floor: put it into test/layers/order.json'],
  )
  t.deepEqual(
    problems({ files, arrows: [{ from: 'lib/low/a.ts', to: 'test/x' }] }, floors), ['lib/low/a.ts -> test/x leads out of the house'],
  )
  t.deepEqual(circles([{ from: 'b', to: 'a' }, { from: 'a', to: 'b' }, { from: 'c', to: 'c' }]), ['a -> b -> a'])
})

test('CONTRIBUTING.md has the order, and files that exist and have a floor', t => {
  const text = fs.readFileSync(repoPath('CONTRIBUTING.md'), 'utf8')
  const named = (part: string): string[] => [...part.matchAll(/`([\w./-]+)`/g)]
    .map(([, name]) => name).filter(name => name.includes('/') || name.endsWith('.md'))
  const [, floors = '', howTo = ''] = /## Floors\n(.*)## How to add\n(.*)/s.exec(text) ?? []
  t.deepEqual(named(floors.slice(floors.indexOf('- TypeScript'))), [...order.lib, ...order.native])
  t.true(named(howTo).length > 20)
  for (const name of named(howTo)) {
    t.true(fs.existsSync(repoPath(name)), `${name} does not exist`)
    const language = name.startsWith('lib/') ? order.lib : name.startsWith('native/') ? order.native : undefined
    if (language !== undefined) t.true(floorOf(name.replace(/\/$/, ''), language) >= 0 || language.some(floor => floor.startsWith(name)), `${name} has no floor`)
  }
  const { scripts } = JSON.parse(fs.readFileSync(repoPath('package.json'), 'utf8')) as { scripts: Record<string, string> }
  for (const [, name] of text.matchAll(/npm run ([\w:-]+)/g)) t.true(name in scripts, `npm run ${name}`)
})
