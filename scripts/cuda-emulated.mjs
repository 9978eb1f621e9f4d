// Compiles the CUDA kernels against the emulated card, and the program that test/cuda and test/ops run them in (native/cuda/testing).
//   node scripts/cuda-emulated.mjs [--if-possible] [--model]   compiles what changed, to build/cuda-emulated/kernels, and prints its path
// --model: to build/cuda-emulated/model instead, which bench/cuda/model.ts asks what ops need.
// --if-possible: is content where there is no such compiler; tests then say that they were skipped.
// Any GCC or clang on Linux or macOS will do: CXX, or g++. Half a minute at first.
import { execFile } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const folder = path.join(root, 'build', 'cuda-emulated')
// Of several words, where the compiler is one that another program calls: "ccache g++".
const [compiler, ...before] = (process.env.CXX ?? 'g++').trim().split(/\s+/)
// -O1: -O2 takes twice as long to compile and runs a tenth faster.
const options = ['-std=c++17', '-O1', '-fPIC', '-ffp-contract=off', '-fno-math-errno', '-Wall', '-Wextra', '-Wshadow', '-Wno-unused-parameter', '-Wno-unknown-pragmas',
  '-Wno-missing-field-initializers', '-Inative/testing/remote', '-Inative']

const filesOf = (directory, pattern) => fs.readdirSync(path.join(root, directory)).filter(file => pattern.test(file)).map(file => `${directory}/${file}`).sort()

/** The emulation and the kernels, without a program around them. */
export const emulatedSources = () => [...filesOf('native/cuda/kernels', /\.(cu|cpp)$/), ...filesOf('native/cuda/emulation', /\.cpp$/)]

/** Is an object younger than all that went into it, by the list that the compiler left beside it? */
export function isFresh(object) {
  try {
    const made = fs.statSync(object).mtimeMs
    // The compiler's own list: "object: file file \ file".
    const inputs = fs.readFileSync(`${object}.d`, 'utf8').replace(/\\\n/g, ' ').replace(/^[^:]*:/, '').trim().split(/\s+/)
    return inputs.every(input => fs.statSync(path.resolve(root, input)).mtimeMs < made)
  } catch {
    return false
  }
}

/** Compiles sources to objects below `to`, several at a time, those that changed. @returns the objects, and whether one is new */
async function compile(sources, to, more = []) {
  fs.mkdirSync(to, { recursive: true })
  const objects = sources.map(source => path.join(to, `${source.replaceAll('/', '_')}.o`))
  const stale = sources.map((source, i) => ({ source, object: objects[i] })).filter(({ object }) => !isFresh(object))
  const work = async () => {
    for (let next = stale.pop(); next; next = stale.pop()) {
      const { stderr } = await run(compiler, [...before, ...options, ...more, '-MMD', '-MF', `${next.object}.d`, '-x', 'c++', '-c', next.source, '-o', next.object], { cwd: root })
      if (stderr) process.stderr.write(stderr)
    }
  }
  const count = stale.length
  await Promise.all(Array.from({ length: Math.min(count, os.availableParallelism()) }, work))
  return { objects, changed: count > 0 }
}

/** Compiles the program that runs single kernels. @returns its path */
export async function buildEmulatedKernels() {
  const sources = [...emulatedSources(), ...filesOf('native/cuda/testing', /^(?!model_main).*\.cpp$/), ...filesOf('native/testing', /^op_(attention|elementwise|matmul|norm)\.cpp$/),
    'native/testing/tile_emulation.cpp', 'native/testing/remote/main.cpp', ...filesOf('native/core', /\.cpp$/), 'native/backend/device.cpp', 'native/cpu/queue.cpp']
  return link(sources, 'kernels')
}

/** Compiles the program that bench/cuda/model.ts counts with. @returns its path */
export const buildModel = () => link([...emulatedSources(), 'native/cuda/testing/model_main.cpp', ...filesOf('native/core', /\.cpp$/)], 'model')

async function link(sources, name) {
  const program = path.join(folder, name)
  const { objects, changed } = await compile(sources, path.join(folder, 'objects'))
  if (changed || !fs.existsSync(program)) await run(compiler, [...before, ...objects, '-pthread', ...process.platform === 'linux' ? ['-ldl'] : [], '-o', program], { cwd: root })
  return program
}

/** Is there a compiler, on a system that the emulation's fibres know? */
export const canBuild = async () => process.platform !== 'win32' && await run(compiler, [...before, '--version']).then(() => true, () => false)

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv.includes('--if-possible') && !await canBuild()) console.log('skipped: there is no compiler for the emulated card')
  else console.log(await (process.argv.includes('--model') ? buildModel() : buildEmulatedKernels()))
}
