// npm run build:cuda [-- --arch 86,90]
// Compiles the CUDA kernels with nvcc (CUDA 12 or 13; NVCC names another) for every architecture and for PTX, warnings as errors, and links
// them and the static CUDA runtime into build/cuda/asdm_cuda.so: no other library, but the driver's that the runtime opens by itself.
// Beside it goes report.json: what ptxas says of each kernel on each architecture. --arch: fewer architectures, for a quick look.
import { execFile } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { isFresh } from './cuda-emulated.mjs'

const run = promisify(execFile)
const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const folder = path.join(root, 'build', 'cuda')

/** Compute capabilities that get machine code; the last one's PTX is for those that come after it. */
export const architectures = [75, 80, 86, 89, 90, 100, 120]

/** nvcc, where there is one. @returns its path and CUDA's version, or null */
export async function findNvcc() {
  const nvcc = process.env.NVCC ?? 'nvcc'
  try {
    const { stdout } = await run(nvcc, ['--version'])
    return { nvcc, version: /release (\d+\.\d+)/.exec(stdout)?.[1] ?? 'unknown' }
  } catch {
    return null
  }
}

const targets = list => list.flatMap(arch => ['-gencode', `arch=compute_${arch},code=sm_${arch}`])
const ptx = list => ['-gencode', `arch=compute_${Math.max(...list)},code=compute_${Math.max(...list)}`]
// -fmad=false: contraction is written where it is meant, as on the CPU. Diagnostics are errors; 20012 is about CUDA 12's own headers.
const options = ['-std=c++17', '-O3', '-fmad=false', '--expt-relaxed-constexpr', '-Werror', 'all-warnings', '-Xptxas', '-v,-warn-spills', '-Inative',
  '-Xcompiler', '-fPIC,-fvisibility=hidden,-Wall']

/** What ptxas says of kernels: registers, bytes of spills, of stack and of fixed shared memory, by architecture. */
export function readReport(text) {
  const kernels = []
  let current
  for (const line of text.split('\n')) {
    const entry = /Compiling entry function '(\S+)' for 'sm_(\d+)\w?'/.exec(line)
    if (entry) kernels.push(current = { symbol: entry[1], arch: Number(entry[2]), registers: 0, stack: 0, spillStores: 0, spillLoads: 0 })
    const spills = /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line)
    if (spills && current) [current.stack, current.spillStores, current.spillLoads] = spills.slice(1).map(Number)
    const used = /Used (\d+) registers/.exec(line)
    if (used && current) current.registers = Number(used[1])
  }
  return kernels
}

/** Names of C++ as people write them, template arguments included. */
async function demangled(symbols) {
  if (symbols.length === 0) return []
  const child = run('c++filt', [])
  child.child.stdin.end(symbols.join('\n'))
  return (await child).stdout.trim().split('\n')
}

/** Compiles everything for some architectures. @returns the plugin's path, and ptxas' report */
export async function buildCuda(list = architectures, to = folder) {
  const found = await findNvcc()
  if (!found) throw new Error('Expected nvcc, of CUDA 12 or 13, on the PATH or in NVCC')
  const objectsIn = path.join(to, `objects-${list.join('-')}`)
  fs.mkdirSync(objectsIn, { recursive: true })
  const sources = ['native/cuda/kernels', 'native/cuda/plugin'].flatMap(directory =>
    fs.readdirSync(path.join(root, directory)).filter(file => /\.(cu|cpp)$/.test(file)).map(file => `${directory}/${file}`))
  const waiting = [...sources], reports = [], objects = sources.map(source => path.join(objectsIn, `${path.basename(source)}.o`))
  const work = async () => {
    for (let source = waiting.pop(); source; source = waiting.pop()) {
      // What ptxas said stays beside the object: a file that did not change is not compiled again.
      const object = objects[sources.indexOf(source)], said = `${object}.txt`
      if (!isFresh(object) || !fs.existsSync(said)) {
        const args = [...options, ...targets(list), ...ptx(list), '-MMD', '-MF', `${object}.d`, '-x', 'cu', '-c', source, '-o', object]
        const { stderr, stdout } = await run(found.nvcc, args, { cwd: root, maxBuffer: 1 << 28 })
        fs.writeFileSync(said, stdout + stderr)
      }
      reports.push(...readReport(fs.readFileSync(said, 'utf8')))
    }
  }
  await Promise.all(Array.from({ length: os.availableParallelism() }, work))
  const plugin = path.join(to, 'asdm_cuda.so')
  await run(found.nvcc, ['-shared', '-cudart', 'static', ...targets(list), ...objects, '-o', plugin, '-Xlinker', '--no-undefined'], { cwd: root })
  const names = await demangled(reports.map(kernel => kernel.symbol))
  reports.forEach((kernel, i) => { kernel.name = names[i] })
  fs.writeFileSync(path.join(to, 'report.json'), `${JSON.stringify({ cuda: found.version, kernels: reports }, null, 1)}\n`)
  return { plugin, kernels: reports }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const given = process.argv.indexOf('--arch')
  const list = given > 0 ? process.argv[given + 1].split(',').map(Number) : architectures
  const { plugin, kernels } = await buildCuda(list)
  const spilling = kernels.filter(kernel => kernel.spillStores > 0)
  console.log(`${plugin}: ${(fs.statSync(plugin).size / 2 ** 20).toFixed(1)} MB, ${kernels.length} kernels, ${spilling.length} with spills`)
  for (const kernel of spilling) console.log(`  sm_${kernel.arch} ${kernel.registers} registers, ${kernel.spillStores} bytes of spills: ${kernel.name}`)
}
