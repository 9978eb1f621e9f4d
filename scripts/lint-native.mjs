// npm run lint:native [-- --cxx g++]: every C++ source through a compiler's front end with all warnings as errors, a file per core at a
// time; clang++ where there is one, else g++. Sources whose text, and that of the headers below native/, has not changed since they last
// passed are left out (.cache/lint-native).
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import { spawn, spawnSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { root } from './root.mjs'

const { values } = parseArgs({ options: { cxx: { type: 'string' } } })
const cxx = values.cxx ?? ['clang++', 'g++'].find(name => spawnSync(name, ['--version']).status === 0) ?? 'c++'
const require = createRequire(import.meta.url)
const { library, addon, testing } = JSON.parse(fs.readFileSync(path.join(root, 'native', 'sources.json'), 'utf8'))
const flags = [
  '-fsyntax-only', '-std=c++17', '-Wall', '-Wextra', '-Wshadow', '-Werror', '-Wno-unknown-warning-option', '-Wno-uninitialized',
  '-Wno-maybe-uninitialized', '-ffp-contract=off', '-fno-math-errno', '-DNAPI_VERSION=8', '-DNODE_API_NO_EXTERNAL_BUFFERS_ALLOWED',
  '-DNAPI_CPP_EXCEPTIONS', '-Inative', '-isystem', require('node-api-headers').include_dir, '-isystem', require('node-addon-api').include_dir.replaceAll('"', ''),
]
const headers = fs.readdirSync(path.join(root, 'native'), { recursive: true }).map(String).filter(file => /\.(h|def)$/.test(file)).sort()
const shared = createHash('sha256').update([cxx, ...flags].join('\0'))
for (const file of headers) shared.update(fs.readFileSync(path.join(root, 'native', file)))
const base = shared.digest('hex')

const passed = path.join(root, '.cache', 'lint-native')
fs.mkdirSync(passed, { recursive: true })
const left = [...library, ...addon, ...testing].map(file => {
  const key = createHash('sha256').update(base).update(file).update(fs.readFileSync(path.join(root, file))).digest('hex')
  return { file, mark: path.join(passed, key) }
}).filter(({ mark }) => !fs.existsSync(mark))

let failures = 0
async function worker() {
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    const { file, mark } = next
    const code = await new Promise(resolve => {
      const child = spawn(cxx, [...flags, file], { cwd: root, stdio: 'inherit' })
      child.on('error', error => { console.error(`${cxx}: ${error.message}`); resolve(1) })
      child.on('exit', resolve)
    })
    if (code === 0) fs.writeFileSync(mark, '')
    else failures++
  }
}
await Promise.all(Array.from({ length: os.availableParallelism() }, worker))
process.exitCode = failures === 0 ? 0 : 1
