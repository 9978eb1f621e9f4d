import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { distillKeys, parseDistillation } from '../../lib/train/distill-options'
import { distill, type DistillOptions, type DistillProgress } from '../../lib/train/distill'
import { encodePng } from '../../lib/image/png/encode'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { fixture, repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

const teacher = fixture('sd15-tiny')
const recipe = {
  version: 1, checkpoints: { sd: null }, target: { from: 'sd' }, rest: 'sd',
  units: { 'down_blocks.0.1': { drop: true }, 'up_blocks.3.attentions.1': { drop: true }, 'up_blocks.3.attentions.2.transformer_blocks.0.attn1': { drop: true } },
}

/** A folder with a recipe and images with captions. */
async function workshop(t: ExecutionContext, form: 'captions' | 'imagefolder' = 'captions', count = 6) {
  const folder = temporaryFolder(t)
  const data = path.join(folder, 'data')
  fs.mkdirSync(data)
  fs.writeFileSync(path.join(folder, 'recipe.json'), JSON.stringify(recipe))
  const rows: string[] = []
  for (let i = 0; i < count; i++) {
    const rgba = new Uint8ClampedArray(4 * 40 * 32).map((_, at) => (at % 4 === 3 ? 255 : (at * (i + 3)) % 251))
    fs.writeFileSync(path.join(data, `${i}.png`), await encodePng(rgba, 40, 32, {}))
    if (form === 'captions') fs.writeFileSync(path.join(data, `${i}.txt`), `image number ${i}\n`)
    rows.push(JSON.stringify({ file_name: `${i}.png`, text: `image number ${i}` }))
  }
  if (form === 'imagefolder') fs.writeFileSync(path.join(data, 'metadata.jsonl'), `${rows.join('\n')}\n`)
  const options: DistillOptions = {
    teacher, recipe: path.join(folder, 'recipe.json'), data, out: path.join(folder, 'made'), size: 32, batch: 2, rate: 1e-3, warmup: 1, validation: 2,
    checkpointEvery: 1, validateEvery: 2, sheetEvery: 0, sheetPrompts: ['a cat'], sampleSteps: 2, threads: 2,
  }
  return { folder, data, options }
}

const weightsOf = (folder: string) => fs.readFileSync(path.join(folder, 'unet', 'diffusion_pytorch_model.safetensors'))

test('a recipe distilled in stages, stopped and gone on with, gives the bits of one that was not; the result is a model like any other', async t => {
  const { folder, options } = await workshop(t)
  const stages = [
    { steps: 2, train: ['up_blocks.2', 'conv_out'], losses: { semantic: { weight: 0 } } },
    { steps: 3, losses: { feature: { units: ['up_blocks.3'], weight: 0.5 }, semantic: { weight: 0.1 }, task: { minSnr: 5 } } },
  ]
  const seen: DistillProgress[] = []
  const whole = await distill({ ...options, stages, onProgress: (progress: DistillProgress) => seen.push(progress) })
  t.is(whole.folder, options.out)
  t.deepEqual(seen.filter(({ phase }) => phase === 'train').map(({ done, of }) => [done, of]), [1, 2, 3, 4, 5].map(step => [step, 5]))
  // Blocks that nothing trained lies behind are left out.
  t.deepEqual(Object.keys(whole.curves.train[0]!.losses).sort(), ['feature.up_blocks.2', 'feature.up_blocks.3', 'output', 'task'])
  t.true(Object.keys(whole.curves.train[4]!.losses).includes('semantic.mid_block.attentions.0.transformer_blocks.0.attn2'))
  t.deepEqual(whole.curves.validation.map(({ step }) => step), [2, 4, 5])
  t.true(whole.curves.train.every(({ loss, norm }) => Number.isFinite(loss) && norm > 0))

  const out = path.join(folder, 'again')
  for (const [stopAt, at] of [[1, 1], [3, 3]] as const) {
    const { folder: none, steps } = await distill({ ...options, out, stages, stopAt })
    t.deepEqual([none, steps], [undefined, at])
  }
  const rest = await distill({ ...options, out, stages, threads: 1 })
  t.true(weightsOf(out).equals(weightsOf(options.out)))
  t.deepEqual(rest.curves, whole.curves)
  t.deepEqual(fs.readdirSync(`${out}.training`).filter(name => name.startsWith('step-')), ['step-00000004', 'step-00000005'])

  const settings = JSON.parse(fs.readFileSync(path.join(out, 'distillation.json'), 'utf8'))
  t.deepEqual(parseDistillation(settings), rest.settings)
  t.regex(fs.readFileSync(path.join(out, 'report.html'), 'utf8'), /<img class="sheet"[^>]*data:image\/png;base64,/)
  const sd = await StableDiffusion.load(out, { threads: 2 })
  const [image] = await sd.generate({ prompt: 'a cat', steps: 1, width: 32, height: 32, seed: 1 })
  t.is(image!.width, 32)
  await sd.dispose()
  await t.throwsAsync(distill({ ...options, out, stages, rate: 1e-4 }), { code: 'INVALID_ARGUMENT', message: /but rate differ/ })
})

test('without images the teacher draws latents of prompts; an imagefolder is read likewise', async t => {
  const { folder, options: { data: _, ...options } } = await workshop(t)
  const prompts = path.join(folder, 'prompts.txt')
  fs.writeFileSync(prompts, 'a cat\n\na dog\n')
  const drawn = await distill({ ...options, prompts, samples: 4, steps: 1, dtype: 'fp32' })
  t.is(drawn.curves.validation.length, 1)
  const other = await workshop(t, 'imagefolder')
  t.is((await distill({ ...other.options, steps: 1 })).steps, 1)
})

test('what does not fit is said before training, by name', async t => {
  const { folder, data, options } = await workshop(t)
  const refused = async (more: Record<string, unknown>, code: string, message: RegExp) => {
    const error = await t.throwsAsync(distill({ ...options, steps: 1, ...more }), { code, message }, String(message))
    t.false(fs.existsSync(options.out), error?.message)
  }
  await refused({ student: teacher }, 'INVALID_ARGUMENT', /either a student or a recipe but received both/)
  await refused({ data: undefined }, 'INVALID_ARGUMENT', /either data or prompts but received neither/)
  await refused({ losses: { feature: { units: ['mid_blok'] } } }, 'INVALID_ARGUMENT', /"mid_blok"; did you mean "mid_block"/)
  await refused({ losses: { task: { weight: 0 }, output: { weight: 0 }, feature: { weight: 0 } } }, 'INVALID_ARGUMENT', /weight above 0/)
  await refused({ train: ['up_blocks.9'] }, 'INVALID_ARGUMENT', /"up_blocks.9"/)
  await refused({ size: 33 }, 'INVALID_ARGUMENT', /multiple of/)
  await refused({ learningRate: 1 }, 'INVALID_ARGUMENT', /"learningRate"/)
  await refused({ styles: ['flat'] }, 'INVALID_ARGUMENT', /drawings.json/)
  await refused({ data: path.join(folder, 'none') }, 'FILE_NOT_FOUND', /folder of images/)
  await refused({ recipe: undefined, student: fixture('sd21-tiny') }, 'SHAPE_MISMATCH', /crossAttentionDim/)
  fs.rmSync(path.join(data, '3.txt'))
  await refused({}, 'FILE_NOT_FOUND', /1 of 6 images have none: 3\.png/)
  fs.writeFileSync(path.join(data, 'metadata.jsonl'), '{"file_name":"0.png","text":"a"}\n{"file_name":"9.png","text":"b"}\n')
  await refused({}, 'FILE_NOT_FOUND', /1 of 2 are missing: 9\.png/)
  fs.writeFileSync(path.join(data, 'metadata.jsonl'), '{"file_name":"../0.png","text":"a"}\n')
  await refused({}, 'BAD_JSON', /line 1 .* leads out of the folder/)
  fs.writeFileSync(path.join(data, 'metadata.jsonl'), '{"file_name":"0.png"}\n')
  await refused({}, 'BAD_JSON', /line 1 .* its text is/)
  fs.writeFileSync(path.join(data, 'metadata.jsonl'), '\n')
  await refused({}, 'FILE_NOT_FOUND', /there are none/)
})

test('a training that diverges stops with step and unit, and the last checkpoint stays', async t => {
  const { options } = await workshop(t)
  await t.throwsAsync(distill({ ...options, steps: 20, rate: 1, warmup: 0, clip: 0, decay: 10 }), { code: 'TRAINING_DIVERGED', message: /^Expected finite (?:losses|gradients) at step \d+ but .* stays/ })
  t.true(fs.readdirSync(`${options.out}.training`).some(name => name.startsWith('step-')))
  t.false(fs.existsSync(options.out))
})

test('the schema has the settings that are read, with their defaults', t => {
  const { properties, $defs: { losses } } = JSON.parse(fs.readFileSync(repoPath('schema', 'distill.schema.json'), 'utf8'))
  t.deepEqual(Object.keys(properties).sort(), [...distillKeys].sort())
  const parsed = parseDistillation({ teacher: 'a', recipe: 'b', data: 'c' }) as unknown as Record<string, unknown>
  for (const [key, { default: standard }] of Object.entries<{ default?: unknown }>(properties))
    if (standard !== undefined && key !== 'steps') t.is(parsed[key], standard, key)
  const { stages: [stage] } = parseDistillation({ teacher: 'a', recipe: 'b', data: 'c' })
  t.is(stage!.steps, properties.steps.default)
  for (const [name, { properties: { weight } }] of Object.entries<any>(losses.properties))
    t.is(stage!.losses[name as 'task'].weight, weight.default, name)
})

test('asdm distill prints complete settings, and says what is wrong', t => {
  const asdm = (...args: string[]) => spawnSync(process.execPath, [repoPath('dist', 'cli', 'main.js'), 'distill', ...args], { encoding: 'utf8' })
  const printed = asdm('--teacher', 'emoji', '--recipe', 'light', '--data', 'd', '--steps', '7', '--print')
  t.is(printed.status, 0, printed.stderr)
  t.is((JSON.parse(printed.stdout) as { stages: { steps: number }[] }).stages[0]!.steps, 7)
  t.regex(asdm('--teacher', 'emoji', '--print').stderr, /either a student or a recipe/)
  t.regex(asdm('--help').stdout, /--stop-at[\s\S]*Examples:/)
})
