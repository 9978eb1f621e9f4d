// npm run test:tsan
// Builds the thread pool with clang's thread sanitizer (build-tsan/) and runs a stress test on it: several callers, aborts, helpers
// that come and go. First a planted race must be reported, so that a pass means something. Half a minute.
import fs from 'node:fs'
import path from 'node:path'
import { $, cd } from 'zx'
import { root } from './root.mjs'

cd(root)
const out = path.join(root, 'build-tsan')
const compiler = process.env.CXX ?? 'clang++'
const program = path.join(out, 'pool_stress')
fs.mkdirSync(out, { recursive: true })
const flags = ['-std=c++17', '-O1', '-g', '-fsanitize=thread', '-Wall', '-Wextra', '-Wshadow', '-Inative', '-pthread']
const sources = ['scripts/tsan/pool_stress.cpp', 'native/core/thread_pool.cpp', 'native/core/worker_threads.cpp']
await $`${compiler} ${flags} ${sources} -o ${program}`

// On a busy machine two threads may not meet at once.
let caught = false
for (let i = 0; i < 8 && !caught; i++) {
  const { stderr } = await $({ nothrow: true, quiet: true })`${program} planted`
  caught = stderr.includes('ThreadSanitizer: data race')
}
if (!caught) throw new Error('Expected the planted race to be reported but it was not')
console.log('the planted race is caught')
await $({ stdio: 'inherit', env: { ...process.env, TSAN_OPTIONS: 'halt_on_error=1' } })`${program}`
