import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'

interface CompileOptions {
  /** The folder of asdm: a checkout, or an installed package. */
  root: string
  debug?: boolean | undefined
  /** Compiler processes; all cores if left out. */
  jobs?: number | string | undefined
}

// Every symbol is resolved at once, so that one that is missing is found now.
const loading = 'process.dlopen({ exports: {} }, process.argv[1], require("os").constants.dlopen.RTLD_NOW ?? 1)'

/** Undefined when the binary loads in a child process, which a broken one may crash; else the reason. */
export function whyNotLoadable(file: string): string | undefined {
  const env = { ...process.env, NODE_OPTIONS: '' }
  const child = spawnSync(process.execPath, ['-e', loading, file], { encoding: 'utf8', env })
  if (child.status === 0) return undefined
  return /^.*Error: .*$/m.exec(child.stderr ?? '')?.[0] ?? `loading it ended with ${child.signal ?? `code ${child.status}`}`
}

/**
 * Compiles the native addon with node-gyp into `build/Release` (or `Debug`) of asdm's folder. A checkout keeps its object files, so that
 * the next time only what changed is compiled; an installed package is compiled in a temporary folder and gets nothing but the binary.
 * @returns the exit code of node-gyp, 0 if all went well
 */
export function compile({ root, debug = false, jobs = process.env.JOBS ?? os.availableParallelism() }: CompileOptions): number {
  const options = [debug ? '--debug' : '--release', `--jobs=${jobs}`]
  const found = headers()
  if (process.env.npm_config_nodedir === undefined && found !== undefined) options.push(`--nodedir=${found}`)
  const run = (cwd: string): number => {
    const { command, prefix, shell } = nodeGyp()
    const child = spawnSync(command, [...prefix, 'configure', 'build', ...options], { cwd, stdio: 'inherit', shell })
    if (child.error !== undefined) process.stderr.write(`asdm: node-gyp does not start: ${child.error.message}\n`)
    return child.status ?? 1
  }
  if (fs.existsSync(path.join(root, 'binding.gyp'))) return run(root)

  const work = fs.mkdtempSync(path.join(os.tmpdir(), 'asdm-build-'))
  try {
    fs.cpSync(path.join(root, 'native'), path.join(work, 'native'), { recursive: true })
    fs.writeFileSync(path.join(work, 'binding.gyp'), '{ \'includes\': [\'native/addon.gypi\'] }\n')
    const code = run(work)
    if (code !== 0) return code
    const kind = debug ? 'Debug' : 'Release'
    fs.mkdirSync(path.join(root, 'build', kind), { recursive: true })
    fs.copyFileSync(path.join(work, 'build', kind, 'asdm.node'), path.join(root, 'build', kind, 'asdm.node'))
    return 0
  } finally {
    fs.rmSync(work, { recursive: true, force: true })
  }
}

/** The node-gyp that comes with the package manager at work, or with the npm beside this Node, or one on the path. */
function nodeGyp(): { command: string, prefix: string[], shell: boolean } {
  const script = path.join('node-gyp', 'bin', 'node-gyp.js')
  const prefix = path.dirname(path.dirname(process.execPath))
  const manager = process.env.npm_execpath
  const candidates = [
    process.env.npm_config_node_gyp,
    manager && path.join(path.dirname(manager), '..', 'node_modules', script), // npm
    manager && path.join(path.dirname(manager), '..', 'dist', 'node_modules', script), // pnpm
    path.join(prefix, 'lib', 'node_modules', 'npm', 'node_modules', script),
    path.join(path.dirname(process.execPath), 'node_modules', 'npm', 'node_modules', script),
  ]
  const file = candidates.find(candidate => candidate?.endsWith('.js') === true && fs.existsSync(candidate))
  if (file === undefined) return { command: 'node-gyp', prefix: [], shell: process.platform === 'win32' }
  return { command: process.execPath, prefix: [file], shell: false }
}

/** The headers that were installed with this Node, if they are of its version: then none need to be downloaded. */
function headers(): string | undefined {
  const prefix = path.dirname(path.dirname(process.execPath))
  try {
    const text = fs.readFileSync(path.join(prefix, 'include', 'node', 'node_version.h'), 'utf8')
    const part = (name: string): string | undefined => new RegExp(`#define NODE_${name}_VERSION (\\d+)`).exec(text)?.[1]
    return [part('MAJOR'), part('MINOR'), part('PATCH')].join('.') === process.versions.node ? prefix : undefined
  } catch {
    return undefined
  }
}

const runs = (command: string): boolean =>
  spawnSync(command, ['--version'], { stdio: 'ignore', shell: process.platform === 'win32' }).status === 0

/** What compiling lacks on this machine, in words, with the command that installs it. */
export function whatCompilingTakes(): string {
  const missing: string[] = []
  const compilers = [process.env.CXX, 'g++', 'clang++', 'c++']
  const python = [process.env.npm_config_python, process.env.PYTHON, 'python3', 'python', 'py']
  if (!python.some(name => name && runs(name))) missing.push('Python 3')
  if (process.platform !== 'win32' && !compilers.some(name => name && runs(name))) missing.push('a C++17 compiler')
  if (process.platform !== 'win32' && !['make', 'gmake'].some(name => runs(name))) missing.push('make')
  const install: Partial<Record<NodeJS.Platform, string>> = {
    linux: 'on Debian or Ubuntu: apt-get install g++ make python3; on Fedora: dnf install gcc-c++ make python3; '
      + 'on Alpine: apk add g++ make python3',
    darwin: 'install Xcode\'s command line tools: xcode-select --install',
    win32: 'install Python 3 and Visual Studio\'s "Desktop development with C++"',
  }
  const how = install[process.platform] ?? 'install a C++17 compiler, make and Python 3'
  return missing.length > 0
    ? `compiling the native binary needs ${missing.join(' and ')}, not found here; ${how}`
    : 'compiling the native binary failed, see the messages above. It takes a C++17 compiler (GCC 9, clang 9 or Visual Studio 2019 at '
      + `least), make and Python 3; ${how}`
}
