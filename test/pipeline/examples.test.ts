import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import test from 'ava'
import { readSettings } from '../../lib/image/settings'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { fixture, repoPath } from '../support/fixtures'

const emoji = repoPath('models', 'emoji')

/** Runs one of the examples, which import the built package by its name. */
function run(script: string, args: string[], cwd: string): string {
  const result = spawnSync(process.execPath, [script, ...args], { cwd, encoding: 'utf8' })
  if (result.status !== 0) throw new Error(result.stderr)
  return result.stdout
}

test('examples are short', t => {
  for (const file of fs.readdirSync(repoPath('examples')).filter(name => name.endsWith('.mjs')))
    t.true(fs.readFileSync(repoPath('examples', file), 'utf8').split('\n').length <= 60, file)
})

test("the loop built from the parts gives the pipeline's picture", async t => {
  const request = { prompt: 'a 3d emoji of octopus', negativePrompt: 'flat', guidanceScale: 3, steps: 6, seed: 42 }
  const sd = await StableDiffusion.load(emoji)
  const [image] = await sd.generate(request)
  await sd.dispose()
  const script = `import { draw } from ${JSON.stringify(pathToFileURL(repoPath('examples', 'text-loop.mjs')).href)}
    const { rgba } = await draw(${JSON.stringify(emoji)}, ${JSON.stringify(request)})
    process.stdout.write(Buffer.from(rgba).toString('base64'))`
  const output = spawnSync(process.execPath, ['--input-type=module', '-e', script], { cwd: repoPath(), encoding: 'utf8' })
  t.is(output.status, 0, output.stderr)
  t.is(output.stdout, Buffer.from(image.rgba).toString('base64'))
})

test('the other examples write their pictures', async t => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'asdm-examples-'))
  t.teardown(() => fs.rmSync(folder, { recursive: true }))
  t.true(run(repoPath('examples', 'generate.mjs'), ['a 3d emoji of red apple', 'apple.png', emoji], folder).includes('step 20 of 20'))
  t.like(await readSettings(path.join(folder, 'apple.png')), { prompt: 'a 3d emoji of red apple', seed: 7 })
  run(repoPath('examples', 'img2img.mjs'), [emoji], folder)
  t.like(await readSettings(path.join(folder, 'pear.png')), { from: 'image' })
  t.like(await readSettings(path.join(folder, 'half.png')), { from: 'inpaint' })
})

test('a distillation runs with a tiny model', t => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'asdm-distill-'))
  t.teardown(() => fs.rmSync(folder, { recursive: true }))
  const out = path.join(folder, 'made')
  const printed = run(repoPath('examples', 'distill.mjs'), [fixture('sd15-tiny'), 'light', out, '4'], folder)
  t.regex(printed, /step 4 of 4: loss [\d.]+, \d+ min left/)
  t.regex(printed, /held-out loss [\d.]+/)
  t.regex(fs.readFileSync(path.join(out, 'report.html'), 'utf8'), /^<!doctype html>/)
})
