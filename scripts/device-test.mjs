// npm run test:device
// All graph tests on the testing addon's device, whose memory the host cannot address (native/testing/handle_device.h): what touches
// values or weights other than through a device ends the process, or fails.
import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { root } from './root.mjs'

const plugin = path.join(root, 'build', 'Release', 'asdm_testing.node')
const run = (command, args) => {
  const env = { ...process.env, ASDM_DEVICE: 'handles', ASDM_DEVICE_PLUGIN: plugin }
  return spawnSync(process.execPath, [path.join(root, 'node_modules', command), ...args], { cwd: root, stdio: 'inherit', env }).status ?? 1
}
process.exitCode = run('typescript/bin/tsc', ['-p', 'test/tsconfig.json'])
if (process.exitCode === 0) process.exitCode = run('ava/entrypoints/cli.mjs', ['build/ts/test/graph/*.test.js'])
