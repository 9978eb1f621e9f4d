// npm run lint: ESLint over TypeScript and scripts, clang-format over C++. npm run format (--fix) mends what can be mended.
// What has not changed since the last run is not looked at again (.cache/eslint). Where clang-format 14 is not installed, C++ is left
// out, which the last line says.
import { spawnSync } from 'node:child_process'
import { root } from './install.mjs'

/** The version whose layout the code has; others lay some lines out differently. */
const wanted = 14

const fix = process.argv.includes('--fix')
const run = (command, args, options = {}) => spawnSync(command, args, { cwd: root, encoding: 'utf8', maxBuffer: 2 ** 28, ...options })

const eslint = ['node_modules/eslint/bin/eslint.js', '.', '--cache', '--cache-location', '.cache/eslint/', '--max-warnings', '0', ...fix ? ['--fix'] : []]
let failed = run(process.execPath, eslint, { stdio: 'inherit' }).status !== 0

const clangFormat = [`clang-format-${wanted}`, 'clang-format'].find(name => new RegExp(`version ${wanted}\\.`).test(run(name, ['--version']).stdout ?? ''))
const listed = run('git', ['ls-files', '-z', '--', 'native/*.h', 'native/*.cpp', 'native/*.cu', 'native/*.cuh', 'bench/*.h', 'bench/*.cpp'])
const files = (listed.stdout ?? '').split('\0').filter(Boolean)
if (clangFormat === undefined) console.log(`C++ was not looked at: clang-format ${wanted} is not installed (apt-get install clang-format-${wanted})`)
else if (files.length > 0)
  failed = run(clangFormat, [...fix ? ['-i'] : ['--dry-run', '-Werror'], ...files], { stdio: 'inherit' }).status !== 0 || failed
process.exitCode = failed ? 1 : 0
