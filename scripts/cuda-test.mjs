// npm run test:cuda [-- compiled test files]
// All that can be proved of the CUDA kernels without a card: test/ops, every kernel of every set on the emulated card against float64, as
// the CPU's are; test/cuda; and, where nvcc is, a build for every architecture and what ptxas says of it. On two cores some 25 minutes.
import { execFileSync, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildEmulatedKernels } from './cuda-emulated.mjs'
import { buildCuda, findNvcc } from './cuda.mjs'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const program = await buildEmulatedKernels()
execFileSync('npx', ['tsc', '-p', 'test/tsconfig.json'], { cwd: root, stdio: 'inherit' })
const nvcc = await findNvcc()
if (nvcc) await buildCuda()
else console.log('skipped: there is no nvcc, so nothing was compiled for a card')

const testsIn = (folder, without = []) =>
  fs.readdirSync(path.join(root, 'build/ts/test', folder)).filter(file => file.endsWith('.test.js') && !without.includes(file)).map(file => `build/ts/test/${folder}/${file}`)
// Tile registers and Winograd's transforms are the CPU's own; kernels for training CUDA has none yet.
const files = process.argv.length > 2 ? process.argv.slice(2) : [...testsIn('cuda'), ...testsIn('ops', ['tiles.test.js', 'winograd.test.js', 'gradients.test.js'])]
const env = { ...process.env, ASDM_TESTING_COMMAND: program, ASDM_CUDA_BUILT: nvcc ? '1' : '' }
process.exitCode = spawnSync('node', ['node_modules/ava/entrypoints/cli.mjs', '--timeout=60m', ...files], { cwd: root, stdio: 'inherit', env }).status ?? 1
