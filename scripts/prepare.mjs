// npm runs this at `npm ci` and `npm install` in a checkout, and before it packs; never at the installation of the published package, which
// has no scripts. Compiles lib/ to dist/, the server's sources to packages/server/dist/ and the studio to packages/studio/dist/ where
// their packages are installed, and the native addons where ASDM_BINARY names none that loads.
//   ASDM_SKIP_BUILD=1    no addons
//   JOBS=<n>             compiler processes, all cores by default
import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { createRequire } from 'node:module'
import { root } from './root.mjs'

const require = createRequire(import.meta.url)
const projects = ['tsconfig.json', ...(isInstalled('fastify') ? ['packages/server/tsconfig.json'] : [])]
for (const project of projects) {
  const tsc = spawnSync(process.execPath, [require.resolve('typescript/bin/tsc'), '-p', path.join(root, project)], { stdio: 'inherit' })
  if (tsc.status !== 0) process.exit(tsc.status ?? 1)
}
// It asks the server for its OpenAPI document, which takes no addon.
if (isInstalled('fastify') && isInstalled('vite')) {
  const studio = spawnSync(process.execPath, [path.join(root, 'packages', 'studio', 'scripts', 'build.mjs')], { stdio: 'inherit' })
  if (studio.status !== 0) process.exit(studio.status ?? 1)
}

const { compile, whatCompilingTakes, whyNotLoadable } = require('../dist/native/compile.js')
const given = process.env.ASDM_BINARY
if (process.env.ASDM_SKIP_BUILD === '1') console.log('asdm: ASDM_SKIP_BUILD is set: no addon is compiled')
else if (given && whyNotLoadable(path.resolve(process.env.INIT_CWD ?? '.', given)) === undefined) console.log('asdm: ASDM_BINARY is set and loads: no addon is compiled')
else if (compile({ root }) !== 0) {
  console.error(`asdm: ${whatCompilingTakes()}`)
  process.exitCode = 1
}

function isInstalled(name) {
  try {
    return require.resolve(name) !== ''
  } catch {
    return false
  }
}
