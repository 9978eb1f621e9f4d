import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { assemble } from '../../lib/assembly/assemble'
import { loadRecipe } from '../../lib/assembly/recipe'
import { changeOf } from '../../lib/score/change'
import { dropRecipe } from '../../lib/score/recipe'
import { scoreUnits, type ScoreOptions, type ScoreReport, type UnitScore } from '../../lib/score/score'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { fixture, repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

const emoji = repoPath('models', 'emoji')
const units = [
  'down_blocks.0.1', 'mid_block', 'up_blocks.3.attentions.1', 'down_blocks.1.resnets.1',
  'up_blocks.2.attentions.0.transformer_blocks.0.attn2',
]
const options: ScoreOptions = {
  prompts: ['a 3d emoji of red apple', 'a flat emoji of cat'], steps: 3, guidanceScale: 3, units, height: 8, width: 8, threads: 1,
}
const withoutTimes = ({ full, units: list, ...rest }: ScoreReport) =>
  ({ ...rest, full: { ...full, passMs: 0 }, units: list.map(unit => ({ ...unit, passMs: 0 })) })

test('the change of latents: nothing for equal ones, and what it is of known ones', t => {
  const full = [Float32Array.of(1, 0), Float32Array.of(3, 4)]
  t.deepEqual(changeOf(full, full), { score: 0, mean: 0, spread: 0, distance: 0 })
  // Means 2, 2 and deviations 1, 2: the unit is the root of 5.
  const moved = changeOf(full, [Float32Array.of(2, 0), Float32Array.of(4, 4)])
  t.deepEqual(
    [moved.mean, moved.spread, moved.distance].map(value => value.toFixed(6)),
    [(1 / Math.sqrt(5)).toFixed(6), '0.000000', (1 / Math.sqrt(5)).toFixed(6)],
  )
  const wider = changeOf(full, [Float32Array.of(1, -2), Float32Array.of(3, 6)])
  t.deepEqual([wider.mean, wider.spread].map(value => value.toFixed(6)), ['0.000000', (2 / Math.sqrt(5)).toFixed(6)])
  t.is(wider.score, wider.mean + wider.spread)
  t.is(changeOf([Float32Array.of(1), Float32Array.of(1)], [Float32Array.of(2), Float32Array.of(2)]).mean, Infinity)
})

test('units are ranked; twice the same, also with other threads; what is saved is what inspect would count', async t => {
  const seen: (string | undefined)[] = []
  const report = await scoreUnits(emoji, { ...options, onProgress: ({ prefix, done, of }) => { if (done <= of) seen.push(prefix) } })
  t.deepEqual(report.units.map(({ prefix }) => prefix).sort(), [...units].sort())
  t.is(seen.length, 6 * 2 * 3)
  t.deepEqual([seen[0], seen[6]], [undefined, units[0]])
  for (const unit of report.units) {
    t.true(unit.score > 0 && unit.distance > 0 && unit.share > 0 && unit.share < 1 && unit.parameters > 0, unit.prefix)
    t.is(unit.perShare, unit.score / unit.share)
    t.is(unit.score, unit.mean + unit.spread)
  }
  t.deepEqual(report.units.map(({ perShare }) => perShare), report.units.map(({ perShare }) => perShare).sort((a, b) => a - b))
  t.deepEqual(withoutTimes(JSON.parse(JSON.stringify(await scoreUnits(emoji, { ...options, threads: 2 })))), withoutTimes(report))
  // The unit's own count, by the prefix of its names.
  const sd = await StableDiffusion.load(emoji, { threads: 1 })
  const rows = sd.unet.describe({ batch: 2, height: 8, width: 8, length: sd.textEncoder.config.maxPositionEmbeddings }).units
  const own = (prefix: string): number => rows.filter(({ name }) => name.startsWith(`${prefix}.`)).reduce((sum, { macs }) => sum + macs, 0)
  const attn2 = report.units.find(({ prefix }) => prefix.endsWith('attn2'))!
  t.is(attn2.macs, own(attn2.prefix))
  t.is(report.full.macs, rows.reduce((sum, { macs }) => sum + macs, 0))
  await sd.dispose()
})

test('by default everything that a UNet can do without, at every level', async t => {
  const model = fixture('sd15-tiny')
  const report = await scoreUnits(model, { prompts: ['a', 'b'], steps: 1, guidanceScale: 1, height: 4, width: 4, threads: 1 })
  const prefixes = report.units.map(({ prefix }) => prefix)
  for (const wanted of [/^down_blocks\.\d\.\d$/, /\.resnets\.\d$/, /\.attentions\.\d$/, /\.attn1$/, /\.attn2$/, /\.ff$/])
    t.true(prefixes.some(prefix => wanted.test(prefix)), String(wanted))
  t.true(report.units.every(({ share }) => share > 0))
})

test('a recipe drops the first of the list that do not overlap, and assembles', async t => {
  const unit = (prefix: string, share: number, perShare: number) => ({ prefix, share, perShare }) as UnitScore
  const report = {
    units: [
      unit('up_blocks.3.attentions.1', 0.1, 1), unit('up_blocks.3.1', 0.2, 2),
      unit('up_blocks.3.attentions.1.transformer_blocks.0.ff', 0.05, 3), unit('mid_block', 0.03, 4), unit('up_blocks.3.0', 0.1, 5),
    ],
  } as ScoreReport
  t.deepEqual(Object.keys(dropRecipe(report, 0.12).units), ['up_blocks.3.attentions.1', 'mid_block'])
  t.deepEqual(Object.keys(dropRecipe(report, 0.05).units), ['up_blocks.3.attentions.1'])
  t.throws(() => dropRecipe(report, 0.5), { code: 'INVALID_ARGUMENT', message: /take 0\.230/ })
  t.throws(() => dropRecipe(report, 0), { code: 'INVALID_ARGUMENT' })

  const folder = temporaryFolder(t)
  const [scores, recipe] = [path.join(folder, 'scores.json'), path.join(folder, 'recipe.json')]
  const main = path.join(__dirname, '..', '..', 'lib', 'cli', 'main.js')
  const args = [
    'score', '-m', emoji, '-p', 'a 3d emoji of cat', '-p', 'a flat emoji of rocket', '-s', '1', '-g', '1', '-t', '1', '-u',
    'down_blocks.0.1', '-u', 'up_blocks.3.attentions.1', '--out', scores, '--recipe', recipe, '--share', '0.05',
  ]
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' })
  t.is(status, 0, stderr)
  t.regex(stdout, /2 latents of 1 steps with ddim, guidance 1; a whole pass: .*\n\nwithout .*score \/ share\n/)
  t.is(JSON.parse(fs.readFileSync(scores, 'utf8')).units.length, 2)
  const loaded = await loadRecipe(recipe)
  const target = path.join(folder, 'light')
  await assemble(loaded, { checkpoints: { sd: emoji }, out: target })
  const light = await StableDiffusion.load(target, { threads: 1 })
  t.deepEqual(light.unet.config.removed, Object.keys(loaded.units))
  t.is((await light.generate({ prompt: 'a', steps: 1, guidanceScale: 1, seed: 1 })).length, 1)
  await light.dispose()
})

test('what makes no sense is refused; an abort stops it', async t => {
  const bad = async (changed: Record<string, unknown>, message: RegExp): Promise<void> => {
    await t.throwsAsync(scoreUnits(emoji, { ...options, ...changed } as ScoreOptions), { code: 'INVALID_ARGUMENT', message })
  }
  await bad({ prompts: ['a'] }, /at least 2 latents/)
  await bad({ prompts: 'a' }, /array of 1 to 4096 texts/)
  await bad({ units: ['up_blocks.9'] }, /can do without but received "up_blocks\.9"/)
  await bad({ units: ['conv_in'] }, /can do without but received "conv_in"/)
  await bad({ units: ['down_blocks.0.downsamplers.0'] }, /can do without/)
  await bad({ steps: 0 }, /steps/)
  await bad({ widht: 8 }, /did you mean "width"/)
  const stop = new AbortController()
  let calls = 0
  const scoring = scoreUnits(emoji, { ...options, signal: stop.signal, onProgress: () => { if (++calls === 8) stop.abort() } })
  t.is(await scoring.then(() => '', (error: Error) => error.name), 'AbortError')
  t.true(calls <= 9)
})
