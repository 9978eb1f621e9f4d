// npm run test:arm [-- ava options or compiled test files]
// Compiles all kernels for 64-bit ARM (aarch64-linux-gnu-g++; Debian and Ubuntu: g++-aarch64-linux-gnu) and runs the tests of ops on its sets,
// neondot and neon, in an emulator (qemu-aarch64; qemu-user), or as they are on such a machine. No Node for ARM is
// needed, so nothing else of asdm is run.
// CXX names another compiler. Two minutes.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { $, argv, cd, glob, which } from 'zx'
import { root } from './install.mjs'

cd(root)
const native = process.arch === 'arm64'
const compiler = process.env.CXX ?? (native ? 'g++' : 'aarch64-linux-gnu-g++')
const emulator = native ? '' : 'qemu-aarch64'
for (const command of [compiler, emulator].filter(Boolean))
  if (await which(command, { nothrow: true }) === null) throw new Error(`Expected the command ${command} to be installed`)

const out = path.join(root, 'build', 'arm')
fs.mkdirSync(out, { recursive: true })
const sources = await glob(['native/{core,cpu}/**/*.cpp', 'native/testing/{op,tile}_*.cpp', 'native/testing/remote/main.cpp', '!**/op_runner.cpp', '!**/op_tiles.cpp'])
const options = ['-std=c++17', '-O2', '-g1', '-ffp-contract=off', '-fno-math-errno', '-Wall', '-Inative/testing/remote', '-Inative']
const objects = sources.map(source => path.join(out, `${source.replaceAll('/', '-')}.o`))
const waiting = sources.map((source, i) => [source, objects[i]])
await Promise.all(Array.from({ length: os.availableParallelism() }, async () => {
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) await $({ stdio: 'inherit' })`${compiler} ${options} -c ${next[0]} -o ${next[1]}`
}))
const kernels = path.join(out, 'kernels')
await $({ stdio: 'inherit' })`${compiler} -static ${objects} -pthread -o ${kernels}`

await $({ stdio: 'inherit' })`npx tsc -p test/tsconfig.json`
const files = argv._.length > 0 ? argv._ : await glob(['build/ts/test/ops/*.test.js', '!**/tiles.test.js'])
const env = { ...process.env, ASDM_TESTING_COMMAND: `${emulator} ${kernels}`, ASDM_TESTING_SETS: 'neondot,neon' }
const run = await $({ stdio: 'inherit', nothrow: true, env })`node node_modules/ava/entrypoints/cli.mjs --timeout=20m ${files}`
process.exit(run.exitCode ?? 1)
