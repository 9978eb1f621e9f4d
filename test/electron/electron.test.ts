import { execFile, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import test from 'ava'
import { repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

const run = promisify(execFile)
const example = (file: string): string => repoPath('examples', 'electron', file)
const standIn = repoPath('test', 'electron', 'stand-in.cjs')

/** Runs a script beside the example's main code; `electron` is the stand-in, `page` its window's contents. */
async function inMain(script: string): Promise<Record<string, unknown>> {
  const whole = `
    const electron = require('electron')
    require(${JSON.stringify(example('main.js'))})
    setImmediate(async () => {
      const page = electron.windows[0].webContents
      try { console.log(JSON.stringify(await (async () => { ${script} })())) } catch (error) { console.error(error); process.exitCode = 1 }
      process.exit()
    })`
  const env = { ...process.env, ASDM_MODEL: repoPath('models', 'emoji') }
  const { stdout } = await run(process.execPath, ['--require', standIn, '-e', whole], { cwd: repoPath(), env, maxBuffer: 2 ** 24 })
  return JSON.parse(stdout) as Record<string, unknown>
}

test('the main process draws through a utility process, with progress', async t => {
  const result = await inMain(`
    const image = await electron.invoke('asdm:generate', page, { prompt: 'a 3d emoji of red apple', steps: 3, seed: 7, model: '/etc' })
    const { options, file } = electron.windows[0]
    return { width: image.width, bytes: image.rgba.length, kind: image.rgba.constructor.name, seed: image.seed, sent: page.sent, web: options.webPreferences, file }`)
  t.like(result, { width: 64, bytes: 64 * 64 * 4, seed: '7', file: example('index.html') })
  t.like(result['web'] as object, { contextIsolation: true, sandbox: true, nodeIntegration: false, preload: example('preload.js') })
  const steps = (result['sent'] as [string, { index: number, of: number }][]).map(([channel, { index, of }]) => [channel, index, of])
  t.deepEqual(steps, [1, 2, 3].map(index => ['asdm:progress', index, 3]))
})

test('what a page sends is checked', async t => {
  const result = await inMain(`
    const refused = []
    for (const bad of [{ prompt: 5, steps: 3 }, { prompt: 'x', steps: 0 }, { prompt: 'x', steps: 1e9 }, { prompt: 'x'.repeat(1001), steps: 1 }, { prompt: 'x', steps: 1, seed: '1' }])
      refused.push(await electron.invoke('asdm:generate', page, bad).then(() => 'taken', error => error.message))
    return { refused, forked: electron.forked.length }`)
  t.true((result['refused'] as string[]).every(message => message.startsWith('Expected')), String(result['refused']))
  t.is(result['forked'], 0)
})

test('a request is aborted, and a crash of the utility process ends its requests alone', async t => {
  const result = await inMain(`
    const request = { prompt: 'a', steps: 50, seed: 1 }
    const ends = promise => promise.then(() => 'done', error => error.message)
    const aborted = ends(electron.invoke('asdm:generate', page, request))
    while (page.sent.length === 0) await new Promise(resolve => setTimeout(resolve, 5))
    await electron.invoke('asdm:abort', page)
    const first = await aborted
    const crashed = ends(electron.invoke('asdm:generate', page, request))
    electron.forked[0].kill()
    const second = await crashed
    const third = await ends(electron.invoke('asdm:generate', page, { ...request, steps: 1 }))
    return { first, second, third, forked: electron.forked.length }`)
  t.regex(String(result['first']), /abort/i)
  t.regex(String(result['second']), /ended with/)
  t.like(result, { third: 'done', forked: 2 })
})

const chromium = ['chromium', 'chromium-browser', 'google-chrome'].find(name => spawnSync(name, ['--version']).status === 0)

test('the page shows the image, in Chromium', async t => {
  if (chromium === undefined) return t.pass()
  const folder = temporaryFolder(t)
  // The page as it is but for its policy, which would refuse the lines that stand in for the preload script and press the button.
  const html = fs.readFileSync(example('index.html'), 'utf8').replace(/<meta http-equiv[^>]*>/, '')
  const preload = `
    <script>
      window.asdm = {
        onProgress: listener => { window.progress = listener },
        abort: () => Promise.resolve(),
        generate: ({ prompt, steps }) => {
          window.progress({ index: 3, of: steps, etaMs: 1500 })
          window.seen = document.getElementById('status').textContent
          const rgba = new Uint8Array(8 * 4 * 4).map((_, i) => i % 4 === 3 ? 255 : i)
          return Promise.resolve({ width: 8, height: 4, rgba, seed: prompt + steps })
        },
      }
    </script>`
  const press = `
    <script>
      document.getElementById('draw').click()
      setTimeout(() => {
        const canvas = document.querySelector('canvas')
        const { data } = canvas.getContext('2d').getImageData(0, 0, 8, 4)
        document.body.dataset.result = [canvas.width, canvas.height, canvas.dataset.seed, window.seen, data.every((value, i) => value === (i % 4 === 3 ? 255 : i))].join('|')
      }, 50)
    </script>`
  fs.writeFileSync(path.join(folder, 'index.html'), html.replace('<script src=', `${preload}<script src=`).replace('</html>', `${press}</html>`))
  fs.copyFileSync(example('renderer.js'), path.join(folder, 'renderer.js'))
  const args = ['--headless=new', '--no-sandbox', '--disable-gpu', `--user-data-dir=${folder}/profile`, '--virtual-time-budget=3000', '--dump-dom']
  const { stdout } = await run(chromium, [...args, pathToFileURL(path.join(folder, 'index.html')).href], { maxBuffer: 2 ** 24 })
  t.is(/data-result="([^"]*)"/.exec(stdout)?.[1], '8|4|a 3d emoji of red apple20|step 3 of 20, 1.5 s left|true', stdout)
})
