import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

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
  const folder = temporaryFolder(t), source = path.join(folder, 'probe.cpp'), program = path.join(folder, 'probe')
  fs.writeFileSync(source, `
    #include <cstdio>
    #include <dlfcn.h>
    #include "cuda/plugin/plugin.h"
    int main(int, char** argv) {
      void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
      if (!library) return std::printf("%s", dlerror()), 1;
      auto probe = reinterpret_cast<decltype(&asdmCudaProbe)>(dlsym(library, "asdmCudaProbe"));
      AsdmCudaProbe said;
      AsdmCudaDevice devices[8];
      probe(&said, devices, 8);
      std::printf("%u %u %u %s", said.version, said.state, said.devices, said.reason);
    }`)
  execFileSync('c++', ['-std=c++17', `-I${repoPath('native')}`, source, '-o', program, '-ldl'])
  const said = execFileSync(program, [repoPath('build', 'cuda', 'asdm_cuda.so')], { encoding: 'utf8' })
  // With a GPU it is ready; without, one of the reasons.
  t.regex(said, /^1 (0 [1-9]\d* $|[12] 0 Expected an NVIDIA (driver of CUDA 12 or later|GPU) but CUDA's runtime says: .+)/)
})
