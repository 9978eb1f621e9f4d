// Runs at `npm install`, from a published tarball as in a checkout, with nothing but Node: leaves a native binary that loads.
// Takes the prebuilt package of the platform where there is one; else compiles with node-gyp.
//   ASDM_BINARY=<path>   that binary is used at run time, so nothing is compiled if it loads
//   ASDM_SKIP_BUILD=1    nothing is compiled
//   JOBS=<n>             compiler processes, all cores by default
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const require = createRequire(import.meta.url)

const say = message => console.log(`asdm: ${message}`)

// Every symbol is resolved at once, so that one that is missing is found now.
const loading = 'process.dlopen({ exports: {} }, process.argv[1], require("os").constants.dlopen.RTLD_NOW ?? 1)'

/** Undefined when the binary loads in a child process, which a broken one may crash; else the reason. */
export function whyNotLoadable(file) {
  const child = spawnSync(process.execPath, ['-e', loading, file], { encoding: 'utf8', env: { ...process.env, NODE_OPTIONS: '' } })
  if (child.status === 0) return undefined
  return /^.*Error: .*$/m.exec(child.stderr ?? '')?.[0] ?? `loading it ended with ${child.signal ?? `code ${child.status}`}`
}

/** The package that holds the prebuilt binary for this platform; lib/native/platform.ts knows the same names. */
function prebuiltPackages() {
  const names = [`@asdm/${process.platform}-${process.arch}`]
  if (process.platform === 'linux') names.push(`@asdm/linuxmusl-${process.arch}`)
  return names
}

function usePrebuilt() {
  for (const name of prebuiltPackages()) {
    let file
    try {
      file = require.resolve(`${name}/asdm.node`)
    } catch {
      continue
    }
    const reason = whyNotLoadable(file)
    if (reason === undefined) {
      say(`using the prebuilt binary of ${name}`)
      return true
    }
    say(`the prebuilt binary of ${name} does not load (${reason}); compiling instead`)
  }
  return false
}

/** The node-gyp that comes with the package manager at work, or with the npm beside this Node, or one on the path. */
function nodeGyp() {
  const besideNpm = npm => path.join(path.dirname(npm), '..', 'node_modules', 'node-gyp', 'bin', 'node-gyp.js')
  const prefix = path.dirname(path.dirname(process.execPath))
  const candidates = [
    process.env.npm_config_node_gyp,
    process.env.npm_execpath && besideNpm(process.env.npm_execpath),
    path.join(prefix, 'lib', 'node_modules', 'npm', 'node_modules', 'node-gyp', 'bin', 'node-gyp.js'),
    path.join(path.dirname(process.execPath), 'node_modules', 'npm', 'node_modules', 'node-gyp', 'bin', 'node-gyp.js'),
  ]
  const script = candidates.find(file => file && file.endsWith('.js') && fs.existsSync(file))
  return script === undefined ? { command: 'node-gyp', prefix: [], shell: process.platform === 'win32' } : { command: process.execPath, prefix: [script], shell: false }
}

/** The headers that were installed with this Node, if they are of its version: then none need to be downloaded. */
function headers() {
  const prefix = path.dirname(path.dirname(process.execPath))
  try {
    const text = fs.readFileSync(path.join(prefix, 'include', 'node', 'node_version.h'), 'utf8')
    const part = name => new RegExp(`#define NODE_${name}_VERSION (\\d+)`).exec(text)?.[1]
    return [part('MAJOR'), part('MINOR'), part('PATCH')].join('.') === process.versions.node ? prefix : undefined
  } catch {
    return undefined
  }
}

/**
 * Compiles into build/<Release or Debug>. Leaves other things in build/ alone (`node-gyp rebuild` would not).
 * @returns the exit code
 */
export function compile({ debug = false, jobs = process.env.JOBS ?? os.availableParallelism() } = {}) {
  const { command, prefix, shell } = nodeGyp()
  const options = [debug ? '--debug' : '--release', `--jobs=${jobs}`]
  if (process.env.npm_config_nodedir === undefined && headers() !== undefined) options.push(`--nodedir=${headers()}`)
  const child = spawnSync(command, [...prefix, 'configure', 'build', ...options], { cwd: root, stdio: 'inherit', shell })
  if (child.error !== undefined) console.error(`asdm: node-gyp does not start: ${child.error.message}`)
  return child.status ?? 1
}

const runs = (command, ...options) => spawnSync(command, options.length ? options : ['--version'], { stdio: 'ignore', shell: process.platform === 'win32' }).status === 0

/** What is missing for compiling, in words, with the remedy. */
function remedy() {
  const missing = []
  const compilers = [process.env.CXX, 'g++', 'clang++', 'c++'].filter(Boolean)
  const python = [process.env.npm_config_python, process.env.PYTHON, 'python3', 'python', 'py'].filter(Boolean)
  if (!python.some(name => runs(name))) missing.push('Python 3')
  if (process.platform !== 'win32' && !compilers.some(name => runs(name))) missing.push('a C++17 compiler')
  if (process.platform !== 'win32' && !['make', 'gmake'].some(name => runs(name))) missing.push('make')
  const install = {
    linux: 'on Debian or Ubuntu: apt-get install g++ make python3; on Fedora: dnf install gcc-c++ make python3; on Alpine: apk add g++ make python3',
    darwin: 'install Xcode\'s command line tools: xcode-select --install',
    win32: 'install Python 3 and Visual Studio\'s "Desktop development with C++"',
  }[process.platform] ?? 'install a C++17 compiler, make and Python 3'
  return missing.length > 0
    ? `compiling the native binary needs ${missing.join(' and ')}, not found here. Remedy: ${install}. Then: npm rebuild asdm`
    : `compiling the native binary failed, see the messages above. It takes a C++17 compiler (GCC 9, clang 9 or Visual Studio 2019 at least), make and Python 3; ${install}. Then: npm rebuild asdm`
}

function main() {
  const given = process.env.ASDM_BINARY
  if (given) {
    const reason = whyNotLoadable(path.resolve(process.env.INIT_CWD ?? '.', given))
    if (reason === undefined) return say('ASDM_BINARY is set and loads: nothing is compiled')
    say(`ASDM_BINARY is set but does not load (${reason}); compiling`)
  }
  if (process.env.ASDM_SKIP_BUILD === '1') return say('ASDM_SKIP_BUILD is set: nothing is compiled')
  if (usePrebuilt()) return
  say('compiling the native binary')
  const file = path.join(root, 'build', 'Release', 'asdm.node')
  if (compile() !== 0) {
    console.error(`asdm: ${remedy()}`)
    process.exitCode = 1
    return
  }
  const reason = whyNotLoadable(file)
  if (reason === undefined) return
  console.error(`asdm: the binary was compiled but does not load: ${reason}`)
  process.exitCode = 1
}

if (process.argv[1] !== undefined && fs.realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) main()
