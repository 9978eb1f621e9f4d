// npm run test:nodes [-- --node 22 --node 24] [-- ava options or compiled test files]
// Runs the tests with other versions of Node.js than the installed one: 22 and 24 if none is named. Their binaries are those of the npm
// registry, as the package `node` installs them, kept in build/nodes. The addons are the ones of this checkout: Node-API's interface
// does not change between versions.
import os from 'node:os'
import path from 'node:path'
import { $, argv, cd } from 'zx'
import { nodeOf } from './cross.mjs'
import { root } from './root.mjs'

cd(root)
const versions = [argv.node ?? [22, 24]].flat().map(String)
await $({ stdio: 'inherit' })`npm run pretest`

let failed = false
for (const version of versions) {
  const executable = process.platform === 'win32' ? path.join('bin', 'node.exe') : path.join('bin', 'node')
  const node = path.resolve(await nodeOf(path.join(root, 'build', 'nodes'), `node-${process.platform === 'win32' ? 'win' : process.platform}-${os.arch()}`, executable, version))
  console.log(`Node.js ${(await $({ quiet: true })`${node} --version`).stdout.trim()}`)
  // Tests that start `node`, `npx` or scripts find this one, too.
  const env = { ...process.env, PATH: path.dirname(node) + path.delimiter + process.env.PATH }
  const { exitCode } = await $({ env, nothrow: true, stdio: 'inherit' })`${node} node_modules/ava/entrypoints/cli.mjs --timeout=10m ${argv._}`
  failed ||= exitCode !== 0
}
process.exit(failed ? 1 : 0)
