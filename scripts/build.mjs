// For developers: npm run build -- [--debug] [--cmake] [--jobs N]
// Compiles the native addons (node-gyp, or cmake-js into build-cmake/), then the TypeScript.
import os from 'node:os'
import { $, argv, cd } from 'zx'
import { compile, root } from './install.mjs'

cd(root)
$.verbose = true
const jobs = argv.jobs ?? os.availableParallelism()
if (argv.cmake) await $`npx cmake-js build --out build-cmake --parallel ${jobs} ${argv.debug ? ['--debug'] : []}`
else if (compile({ debug: Boolean(argv.debug), jobs }) !== 0) process.exit(1)
await $`npx tsc -p tsconfig.json`
