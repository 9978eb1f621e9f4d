// npm run test:asan [-- ava options or compiled test files]
// Builds both addons with the address and undefined-behaviour sanitizers (build-asan/; GCC or clang, and CMake) and runs the
// tests on them. First a planted bug must be caught, so that a pass means something. Five minutes to build, a quarter of an hour to run.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { $, argv, cd, glob } from 'zx'
import { root } from './root.mjs'

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
// Leaks are looked for in a process of their own, below: ava ends its processes without tearing V8 down.
// What ends without tidying up leaves its files here. Not below the checkout, whose model tests would find.
const temporary = fs.mkdtempSync(path.join(os.tmpdir(), 'asdm-asan-'))
const env = {
  ...process.env,
  TMPDIR: temporary,
  LD_PRELOAD: preload,
  ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=0:allocator_may_return_null=1:detect_stack_use_after_return=0',
  UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
  ASDM_BINARY: path.join(out, 'Release', 'asdm.node'),
  ASDM_TESTING_BINARY: path.join(out, 'Release', 'asdm_testing.node'),
  ASDM_SANITIZED: '1',
}

// Two planted bugs: a read past the end of a block while loading, and a block lost at each call of leak().
const planted = path.join(out, 'planted')
fs.writeFileSync(`${planted}.cpp`, `
#include <node_api.h>
static napi_value leak(napi_env, napi_callback_info) {
  static float* volatile block;
  block = new float[1000];
  block = nullptr;
  return nullptr;
}
static napi_value overflow(napi_env, napi_callback_info) {
  volatile int length = 8;
  float* block = new float[length];
  for (int i = 0; i < length; i++) block[i] = 1;
  volatile float read = block[length];
  (void)read;
  delete[] block;
  return nullptr;
}
NAPI_MODULE_INIT() {
  napi_value function;
  napi_create_function(env, nullptr, 0, leak, nullptr, &function);
  napi_set_named_property(env, exports, "leak", function);
  napi_create_function(env, nullptr, 0, overflow, nullptr, &function);
  napi_set_named_property(env, exports, "overflow", function);
  return exports;
}
`)
const headers = (await $`npx cmake-js print-cmakejs-include`.quiet()).stdout.trim().split('\n').pop().split(';').flatMap(folder => ['-I', folder])
await $`${compiler} -shared -fPIC -fsanitize=address,undefined ${headers} ${planted}.cpp -o ${planted}.node`

const leaking = { ...env, ASAN_OPTIONS: env.ASAN_OPTIONS.replace('detect_leaks=0', 'detect_leaks=1') }
const script = async (environment, text) => {
  const { exitCode, stderr } = await $({ env: environment, nothrow: true, quiet: true })`node -e ${text}`
  return { exitCode, stderr }
}
async function mustCatch(call, environment, report) {
  const { exitCode, stderr } = await script(environment, `require(${JSON.stringify(`${planted}.node`)}).${call}()`)
  if (exitCode === 0 || !stderr.includes(report)) throw new Error(`Expected the planted ${report} to be reported but the process ended with ${exitCode}:\n${stderr}`)
}
await mustCatch('overflow', env, 'heap-buffer-overflow')
await mustCatch('leak', leaking, 'LeakSanitizer: detected memory leaks')
console.log('the planted bugs are caught')

const support = JSON.stringify(path.join(root, 'build', 'ts', 'test', 'boundary', 'support.js'))
const leaks = await script(leaking, `
  const support = require(${support})
  const { Worker } = require('node:worker_threads')
  const use = async () => {
    for (const kind of Object.keys(support.specs)) {
      const model = await support.loaded(kind, { threads: 2 })
      await model.forward(support.inputsOf[kind]()).promise
      const cancelled = model.forward(support.inputsOf[kind]())
      cancelled.cancel()
      await cancelled.promise.catch(() => {})
      await model.forward({ ...support.inputsOf[kind](), taps: ['nowhere'] }).promise.catch(() => {})
      try { model.forward({}) } catch {}
      model.dispose()
    }
  }
  void (async () => {
    await use()
    const worker = new Worker('const support = require(' + JSON.stringify(${support}) + '); void support.loaded().then(model => model.forward(support.longInputs(model)))', { eval: true })
    await support.delay(2000)
    await worker.terminate()
    globalThis.kept = await support.loaded() // neither disposed nor collected: freed with the environment
  })()
`)
if (leaks.exitCode !== 0) throw new Error(`Expected no leaks but the process ended with ${leaks.exitCode}:\n${leaks.stderr}`)
console.log('no leaks; running the tests')

// Left out: what installs the package, in processes without the runtime.
const files = argv._.length > 0 ? argv._ : await glob(['build/ts/test/**/*.test.js', '!build/ts/test/package/**'])
const run = await $({ ...inherit, nothrow: true, env })`node node_modules/ava/entrypoints/cli.mjs --concurrency=1 --timeout=20m ${files}`
fs.rmSync(temporary, { recursive: true, force: true })
process.exit(run.exitCode ?? 1)
