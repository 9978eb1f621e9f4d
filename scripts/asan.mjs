// npm run test:asan [-- ava options or compiled test files]
// Builds both addons with the address and undefined-behaviour sanitizers (build-asan/; GCC or clang, and CMake) and runs the tests
// that drive native code on them. First a planted bug must be caught, so that a pass means something.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { $, argv, cd, glob } from 'zx'
import { root } from './install.mjs'

if (process.platform !== 'linux') throw new Error(`Expected Linux, where the sanitizer's runtime can be preloaded into Node, but this is ${process.platform}`)
cd(root)
const out = path.join(root, 'build-asan')
const compiler = process.env.CXX ?? 'g++'
const inherit = { stdio: 'inherit' }

await $(inherit)`npx cmake-js build --out ${out} --parallel ${os.availableParallelism()} --CDASDM_SANITIZE=ON --CDASDM_TESTING=ON`
await $(inherit)`node scripts/fixtures.mjs unpack`
await $(inherit)`npx tsc -p test/tsconfig.json`

// Node itself is not instrumented: the runtime has to be there first, and the C++ library with it, so that exceptions are seen.
const library = async name => (await $`${compiler} -print-file-name=${name}`).stdout.trim()
const preload = [await library('libasan.so'), await library('libubsan.so'), await library('libstdc++.so')].join(' ')
// V8 and Node leave memory to the process's end, so only our own leaks count: those with a frame of the addon, which has no
// blanket suppression. On process.exit() V8 is not even torn down.
const suppressions = path.join(out, 'leaks.txt')
fs.writeFileSync(suppressions, ['node::', 'v8::', 'uv_', 'uv__', 'ares_', 'OPENSSL', 'CRYPTO_'].map(name => `leak:${name}\n`).join(''))
const env = {
  ...process.env,
  LD_PRELOAD: preload,
  ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=0:allocator_may_return_null=1:detect_stack_use_after_return=0',
  LSAN_OPTIONS: `suppressions=${suppressions}:print_suppressions=0`,
  UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
  ASDM_BINARY: path.join(out, 'Release', 'asdm.node'),
  ASDM_TESTING_BINARY: path.join(out, 'Release', 'asdm_testing.node'),
  ASDM_SANITIZED: '1',
}

const planted = path.join(out, 'planted')
fs.writeFileSync(`${planted}.cpp`, `
#include <node_api.h>
NAPI_MODULE_INIT() {
  volatile int length = 8;
  float* block = new float[length];
  for (int i = 0; i < length; i++) block[i] = 1;
  napi_value value;
  napi_create_double(env, block[length], &value);
  delete[] block;
  return value;
}
`)
const headers = (await $`npx cmake-js print-cmakejs-include`.quiet()).stdout.trim().split('\n').pop().split(';').flatMap(folder => ['-I', folder])
await $`${compiler} -shared -fPIC -fsanitize=address,undefined ${headers} ${planted}.cpp -o ${planted}.node`
const caught = await $({ env, nothrow: true, quiet: true })`node -e ${`require(${JSON.stringify(`${planted}.node`)})`}`
if (caught.exitCode === 0 || !caught.stderr.includes('heap-buffer-overflow'))
  throw new Error(`Expected the sanitizer to report the planted heap-buffer-overflow but the process ended with ${caught.exitCode}:\n${caught.stderr}`)
console.log('the planted bug is caught; running the tests')

// Whole-model tests and those that measure memory are left out: they take long here and tell nothing new.
const folders = argv._.length > 0 ? argv._ : await glob(['build/ts/test/{ops,graph,weights,boundary,runtime,native}/**/*.test.js', '!**/leak.test.js'])
const run = await $({ ...inherit, nothrow: true, env })`node node_modules/ava/entrypoints/cli.mjs --concurrency=1 --timeout=20m ${folders}`
process.exit(run.exitCode ?? 1)
