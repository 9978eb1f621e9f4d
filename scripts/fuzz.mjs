// npm run fuzz -- [--times N] [--seed N] [ava options]: the fuzz tests of the test run, N times as many cases (100 by default) and with
// seeds moved by a random number, which is printed so that a failure can be repeated.
import fs from 'node:fs'
import { $, argv, cd, glob } from 'zx'
import { root } from './root.mjs'

cd(root)
const times = argv.times ?? 100
const seed = argv.seed ?? Math.floor(Math.random() * 2 ** 31)
console.log(`fuzzing ${times} times as long; to repeat: npm run fuzz -- --times ${times} --seed ${seed}`)
await $({ stdio: 'inherit' })`node scripts/fixtures.mjs unpack`
await $({ stdio: 'inherit' })`npx tsc -p test/tsconfig.json`
// Those that ask test/support/random.ts how often to try.
const files = (await glob('build/ts/test/**/*.test.js')).filter(file => /\brounds\)?\(/.test(fs.readFileSync(file, 'utf8')))
const env = { ...process.env, ASDM_FUZZ: String(times), ASDM_FUZZ_SEED: String(seed) }
const run = await $({ stdio: 'inherit', nothrow: true, env })`npx ava --timeout=60m ${argv._} ${files}`
process.exit(run.exitCode ?? 1)
