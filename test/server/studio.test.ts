import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { presetNames, StableDiffusion } from '../../lib'
import { repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'
import { ask, ended, modelFolder, started } from './support'

const built = fs.existsSync(repoPath('packages', 'studio', 'dist', 'index.html'))

test('a model is described: its defaults, samplers, what plans may inherit, and its units, which add up', async t => {
  const { url } = await started(t)
  const { status, json } = await ask(`${url}/api/models/describe`, {})
  t.is(status, 200)
  await using sd = await StableDiffusion.load(repoPath('models', 'emoji'), { threads: 1 })
  t.deepEqual(json.samplers, sd.samplers)
  t.deepEqual(json.sizes, sd.sizes)
  t.true(json.prefixes.includes('up_blocks.3.1') && json.prefixes.includes('mid_block'))
  const { macs, parameters } = json.parts.find(({ name }: any) => name === 'UNet')
  t.is(json.units.reduce((sum: number, unit: any) => sum + unit.macs, 0), macs)
  t.is(json.units.reduce((sum: number, unit: any) => sum + unit.parameters, 0), parameters)
  const wrong = await ask(`${url}/api/models/describe`, { width: 66 })
  t.is(wrong.json.error.message, 'Expected width to be a multiple of 4 but received 66')
})

test('what a plan costs is what its run reports', async t => {
  const { url } = await started(t)
  const steps = { version: 1, steps: [{}, { inherit: ['up_blocks.1', { prefix: 'mid_block.attentions.0', feature: 'output' }] }, { guidance: 'inherit' }, {}] }
  const plans = [
    { plan: 'balanced', steps: 20 }, { plan: 'fast', steps: 10, sampler: 'euler-ancestral' }, { plan: steps, steps: 4 },
    { plan: 'quality', steps: 4, count: 2 },
    { plan: { version: 1, rules: [{ inherit: ['up_blocks.2'], when: { mode: 'uniform', every: 2 } }], extrapolate: 1 }, steps: 5, guidanceScale: 1 },
  ]
  for (const request of plans) {
    const { status, json } = await ask(`${url}/api/plans/cost`, request)
    t.is(status, 200, JSON.stringify(json))
    const { statistics: [run], images: [image] } = await ended(url, (await ask(`${url}/api/jobs`, { prompt: 'a red heart', ...request })).json.id)
    for (const key of ['macs', 'fullMacs', 'textMacs', 'textBytes', 'keptBytes']) t.is(json[key], run[key], key)
    t.is(json.passes, run.stepMs.length)
    json.steps.forEach((step: any, i: number) => t.is(step.macs * json.passes / (json.fullMacs - json.textMacs), run.stepShares[i]))
    t.deepEqual(json.plan, image.settings.plan)
    for (const { program, values } of json.steps) {
      t.true(json.programs[program].length > 0)
      const runs = new Set(json.programs[program].map((unit: number) => json.units[unit]))
      for (const { name } of values) t.true(json.units.includes(name) && !runs.has(name))
    }
  }
  const full = (await ask(`${url}/api/plans/cost`, { steps: 3 })).json
  t.is(full.macs, full.fullMacs)
  t.is(full.programs.length, 1)
})

test('plans that do not fit are refused in words', async t => {
  const { url } = await started(t)
  const rule = { inherit: ['up_blocks.9'], when: { mode: 'uniform', every: 2 } }
  for (const [plan, message] of [
    ['nonsense', /one of quality, balanced, fast, fastest but received "nonsense"/], [{ version: 1, rules: [rule] }, /received "up_blocks\.9"/],
    [{ version: 1, steps: [{}] }, /plan\.steps to hold 20/], [{ version: 1, rules: [], unets: [{ unet: 'light' }] }, /received "light"/],
    [{ version: 1, steps: Array.from({ length: 20 }, () => ({ inherit: ['mid_block'] })) }, /plan\.steps\[0\]/],
  ] as const) {
    const { status, json } = await ask(`${url}/api/plans/cost`, { plan })
    t.is(status, 400)
    t.regex(json.error.message, message)
  }
})

test('recipes are listed and assembled into the folder, where that is allowed', async t => {
  const models = modelFolder(t, 'emoji')
  const { url } = await started(t, { models })
  const { json: { recipes, assemble } } = await ask(`${url}/api/recipes`)
  t.true(assemble)
  t.true(recipes.some(({ name }: any) => name === 'bk-small'))
  const recipe = { version: 1, name: 'x', checkpoints: { sd: null }, target: { from: 'sd' }, rest: 'sd', units: { 'down_blocks.0.attentions.0': { drop: true } } }
  const made = await ask(`${url}/api/recipes/assemble`, { recipe, checkpoints: { sd: 'emoji' }, name: 'smaller' })
  t.deepEqual([made.status, made.json], [200, { name: 'smaller' }])
  t.true(fs.existsSync(path.join(models, 'smaller', 'assembly.json')))
  t.true((await ask(`${url}/api/models`)).json.some(({ name }: any) => name === 'smaller'))
  const [before, after] = await Promise.all(['emoji', 'smaller'].map(async model => (await ask(`${url}/api/models/describe`, { model })).json.units.length as number))
  t.true(after! < before!)
  const again = await ask(`${url}/api/recipes/assemble`, { recipe, checkpoints: { sd: 'emoji' }, name: 'smaller' })
  t.is(again.status, 409)
  for (const [body, code] of [
    [{ recipe, checkpoints: { sd: '../emoji' }, name: 'b' }, 404], [{ recipe, checkpoints: { sd: 'emoji' }, name: '../b' }, 400],
    [{ recipe: { ...recipe, checkpoints: { sd: '/etc' } }, checkpoints: {}, name: 'b' }, 400], [{ recipe: {}, checkpoints: {}, name: 'b' }, 400],
  ] as const) t.is((await ask(`${url}/api/recipes/assemble`, body)).status, code)
  t.deepEqual(fs.readdirSync(models).sort(), ['emoji', 'smaller'])

  const closed = await started(t, { models, assemble: false })
  t.is((await ask(`${closed.url}/api/recipes/assemble`, { recipe, checkpoints: { sd: 'emoji' }, name: 'c' })).status, 403)
  t.false((await ask(`${closed.url}/api/recipes`)).json.assemble)
})

test('a model is profiled by the command, one at a time, and not beside a job', async t => {
  const { url } = await started(t, { load: { threads: 1 } })
  const first = ask(`${url}/api/profile`, {})
  await new Promise(resolve => setTimeout(resolve, 50))
  t.is((await ask(`${url}/api/profile`, {})).status, 409)
  const { status, json } = await first
  t.is(status, 200, JSON.stringify(json))
  t.is(json.threads, 1)
  const sum = (rows: any[]): number => rows.reduce((total, { ms }) => total + ms, 0)
  for (const rows of [json.blocks, json.units, json.kinds]) t.true(Math.abs(sum(rows) - json.whole.ms) < 1e-6 * json.whole.ms)
  const { json: { id } } = await ask(`${url}/api/jobs`, { prompt: '', steps: 1000 })
  t.is((await ask(`${url}/api/profile`, {})).json.error.code, 'CONFLICT')
  await ask(`${url}/api/jobs/${id}`, undefined, { method: 'DELETE' })
})

test('settings are read from PNGs, and choices are listed', async t => {
  const loras = temporaryFolder(t)
  fs.writeFileSync(path.join(loras, 'thick.safetensors'), '')
  const { url } = await started(t, { loras })
  const { json: { id } } = await ask(`${url}/api/jobs`, { prompt: 'a red heart', steps: 2, seed: '18446744073709551615' })
  const { images: [image] } = await ended(url, id)
  const png = Buffer.from(await (await fetch(url + image.url)).arrayBuffer()).toString('base64')
  t.deepEqual((await ask(`${url}/api/settings`, { image: png })).json.settings, image.settings)
  const plain = fs.readFileSync(repoPath('docs', 'images', 'emoji.png')).toString('base64')
  t.deepEqual((await ask(`${url}/api/settings`, { image: plain })).json, {})
  t.is((await ask(`${url}/api/settings`, { image: '/etc/passwd!' })).status, 400)
  t.like((await ask(`${url}/api/choices`)).json, { loras: ['thick'], presets: [...presetNames], maxImages: 16 })
})

const withStudio = built ? test : test.skip
withStudio('the built studio is served, compressed, without a token, and may be left out', async t => {
  const { url } = await started(t, { token: 'a-long-token' })
  const page = await fetch(url)
  const html = await page.text()
  const [asset = ''] = /\/assets\/[\w.-]+\.js/.exec(html) ?? []
  const script = await fetch(url + asset)
  t.is(script.headers.get('cache-control'), 'public, max-age=31536000, immutable')
  t.is(script.headers.get('content-encoding'), 'gzip')
  t.is((await fetch(url + asset, { headers: { 'if-none-match': script.headers.get('etag')! } })).status, 304)
  const folder = repoPath('packages', 'studio', 'dist', 'assets')
  t.is(await script.text(), fs.readFileSync(path.join(folder, path.basename(asset)), 'utf8'))
  t.is((await fetch(`${url}/assets/../../package.json`)).status, 401)
  t.is((await fetch(`${url}/api/models`)).status, 401)
  const none = await started(t, { studio: false })
  t.is((await fetch(none.url)).status, 404)
})
