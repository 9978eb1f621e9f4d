// For developers: npm run build -- [--debug] [--cmake] [--jobs N]
// Compiles the TypeScript, then the native addons (node-gyp, or cmake-js into build-cmake/).
import os from 'node:os'
import { $, argv, cd } from 'zx'
import { root } from './root.mjs'

cd(root)
$.verbose = true
const jobs = argv.jobs ?? os.availableParallelism()
await $`npx tsc -p tsconfig.json`
if (argv.cmake) await $`npx cmake-js build --out build-cmake --parallel ${jobs} ${argv.debug ? ['--debug'] : []}`
else {
  const { compile } = await import('../dist/native/compile.js')
  process.exitCode = compile({ root, debug: Boolean(argv.debug), jobs })
}
