// npm run lint: ESLint over TypeScript and scripts, clang-format and the compiler's warnings over C++. npm run format (--fix) mends what
// can be mended. What has not changed since it last passed is not looked at again (.cache/).
import { execFileSync, spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import path from 'node:path'
import { root } from './root.mjs'

const fix = process.argv.includes('--fix')
const resolve = createRequire(import.meta.url).resolve

/** Runs a script of Node's, its output shown; whether it found nothing. */
function passes(script, ...args) {
  return spawnSync(process.execPath, [script, ...args], { cwd: root, stdio: 'inherit' }).status === 0
}

function eslint() {
  const script = path.join(path.dirname(resolve('eslint/package.json')), 'bin', 'eslint.js')
  return passes(script, '.', '--cache', '--cache-location', '.cache/eslint/', '--max-warnings', '0', ...(fix ? ['--fix'] : []))
}

function clangFormat() {
  const script = path.join(path.dirname(resolve('clang-format-node/package.json')), 'build', 'cli.js')
  const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.cpp', '*.h', '*.cu', '*.cuh'], { cwd: root, encoding: 'utf8' })
  return passes(script, ...(fix ? ['-i'] : ['--dry-run', '-Werror']), ...listed.split('\n').filter(file => file !== ''))
}

const results = [eslint(), clangFormat(), fix || passes(path.join(root, 'scripts', 'lint-native.mjs'))]
process.exitCode = results.every(Boolean) ? 0 : 1
