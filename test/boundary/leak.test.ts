import test from 'ava'
import { repoPath } from '../support/fixtures'
import { runScript } from './support'

// What the address sanitizer keeps of freed memory, a quarter of a gigabyte, would look like a leak.
const sanitizer = `${process.env.ASAN_OPTIONS ?? ''}:quarantine_size_mb=1:thread_local_quarantine_size_kb=16`

test('fifty generations leave resident memory flat', async t => {
  t.timeout(240_000)
  const { code, stdout, stderr } = await runScript(`
    const { StableDiffusion } = require(${JSON.stringify(require.resolve('../../lib/index'))})
    const sd = await StableDiffusion.load(${JSON.stringify(repoPath('models', 'emoji'))}, { threads: 2 })
    const generate = seed => sd.generate({ prompt: 'a 3d emoji of red apple', steps: 2, seed })
    const resident = async () => { for (let i = 0; i < 3; i++) { gc(); await support.delay(20) } return process.memoryUsage.rss() }
    // Garbage collection and malloc make single samples jump by megabytes; what leaks raises the lowest ones.
    const lowest = async () => {
      const samples = []
      for (let sample = 0; sample < 5; sample++) { for (let i = 0; i < 5; i++) await generate(i); samples.push(await resident()) }
      return Math.min(...samples)
    }
    for (let i = 0; i < 5; i++) await generate(i)
    // Compiled code and the heap settle late, which raises one stretch; a leak raises every one.
    const stretches = [await lowest(), await lowest(), await lowest()]
    console.log(Math.min(stretches[1] - stretches[0], stretches[2] - stretches[1]))
    await sd.dispose()
  `, { flags: ['--expose-gc', '--max-semi-space-size=1'], env: { MALLOC_ARENA_MAX: '1', ASAN_OPTIONS: sanitizer }, timeout: 240_000 })
  t.is(code, 0, stderr)
  const grown = Number(stdout)
  t.true(grown < 2e6, `${(grown / 1e6).toFixed(1)} MB more at least with each 25 generations`)
})
