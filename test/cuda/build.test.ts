import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import test from 'ava'
import type { DeviceInfo } from '../../lib/native/binding'
import { repoPath } from '../support/fixtures'

// What nvcc made of the kernels. `npm run test:cuda` compiles them before; without that, or without nvcc, there is nothing to look at.
const built = process.env['ASDM_CUDA_BUILT'] === '1' ? test : test.skip

interface Kernel { name: string, arch: number, registers: number, stack: number, spillStores: number, spillLoads: number }

interface Report { cuda: string, kernels: Kernel[] }
const report = () => JSON.parse(fs.readFileSync(repoPath('build', 'cuda', 'report.json'), 'utf8')) as Report

/** Kernels that a UNet's time is spent in, and threads of a block, by names of native/cuda/kernels. */
const hot: [name: RegExp, threads: number, blocks: number][] = [
  [/ProductMma<.*LargeTile/, 256, 1],
  [/ProductMma<.*SmallTile/, 128, 3],
  [/AttentionMma<(48|64),/, 128, 3],
  [/AttentionMma<(80|128|160),/, 128, 2],
  [/Group(Moments|Scales|Apply)</, 256, 1],
  [/LayerNorm</, 128, 8],
]

built('hot kernels keep their numbers in registers, on every architecture', t => {
  const { kernels } = report()
  t.deepEqual([...new Set(kernels.map(kernel => kernel.arch))].sort((a, b) => a - b), [75, 80, 86, 89, 90, 100, 120])
  for (const [name] of hot) t.true(kernels.some(kernel => name.test(kernel.name)), `${name} was compiled`)
  for (const { name, arch, spillStores, spillLoads } of kernels)
    if (hot.some(([pattern]) => pattern.test(name))) t.is(spillStores + spillLoads, 0, `${name} on sm_${arch} spills`)
})

built('as many blocks of them fit a multiprocessor as they say', t => {
  const registersOfAMultiprocessor = 65536
  for (const { name, arch, registers } of report().kernels)
    for (const [pattern, threads, blocks] of hot)
      if (pattern.test(name)) t.true(Math.ceil(registers / 8) * 8 * threads * blocks <= registersOfAMultiprocessor, `${name} on sm_${arch} takes ${registers} registers`)
})

built('the plugin is small, and needs no library but the C++ runtime', t => {
  const plugin = fs.readFileSync(repoPath('build', 'cuda', 'asdm_cuda.so'))
  t.true(plugin.length < 30 * 2 ** 20, `${plugin.length} bytes`)
  // Names of needed libraries stand in the dynamic string table.
  for (const library of ['libcublas', 'libcudnn', 'libcudart.so', 'libnvrtc', 'libcuda.so.1\0\0']) t.false(plugin.includes(library), library)
})

built('the plugin loads without a driver, and says what is missing', t => {
  // In a process of its own: a library stays loaded, and a driver may crash.
  const program = 'const { addon } = require(process.argv[1]).locateAddon(); addon.loadDevices(process.argv[2]); console.log(JSON.stringify(addon.devices()))'
  const plugin = repoPath('build', 'cuda', 'asdm_cuda.so'), loader = repoPath('dist', 'native', 'load.js')
  const devices = JSON.parse(execFileSync(process.execPath, ['-e', program, loader, plugin], { encoding: 'utf8' })) as DeviceInfo[]
  t.is(devices[0]!.name, 'cpu')
  t.true(devices.length > 1)
  // Each GPU, or that there is none.
  for (const { name, reason } of devices.slice(1)) {
    t.regex(name, /^cuda(:\d+)?$/)
    if (name === 'cuda') t.regex(String(reason), /^expected an NVIDIA (driver of CUDA 12 or later|GPU) but CUDA's runtime says: .+/)
    else t.regex(String(reason), /compute capability is below 7\.5|does not run models on GPUs yet/)
  }
})
