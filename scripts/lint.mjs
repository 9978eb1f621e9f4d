// npm run lint: ESLint over TypeScript and scripts; npm run format (--fix) mends what can be mended. What has not changed since the last
// run is not looked at again (.cache/eslint).
import { spawnSync } from 'node:child_process'
import { root } from './root.mjs'

const fix = process.argv.includes('--fix') ? ['--fix'] : []
const eslint = ['node_modules/eslint/bin/eslint.js', '.', '--cache', '--cache-location', '.cache/eslint/', '--max-warnings', '0', ...fix]
process.exitCode = spawnSync(process.execPath, eslint, { cwd: root, stdio: 'inherit' }).status ?? 1
