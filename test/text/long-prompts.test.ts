import fs from 'node:fs'
import test from 'ava'
import type { Warning } from '../../lib/components/warnings'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { encodeText } from '../../lib/text/encode'
import { FeatureCache } from '../../lib/text/feature-cache'
import { encodeChunks } from '../../lib/text/long-prompts'
import { fixture, repoPath } from '../support/fixtures'

let sd: StableDiffusion
test.before(async () => { sd = await StableDiffusion.load(fixture('sd15-tiny'), { threads: 1 }) })
test.after.always(async () => { await sd?.dispose() })

interface Case {
  prompt: string
  negative: string
  weighting: boolean
  clip_skip?: number
  length: number
  rows: number[]
  features: number[][]
  negative_features: number[][]
}

test('features of prompts beyond the window are those of diffusers\' lpw_stable_diffusion', async t => {
  const cases: Case[] = JSON.parse(fs.readFileSync(repoPath('test', 'text', 'long-prompts.json'), 'utf8'))
  for (const each of cases) {
    const { data, shape: [batch, length, width] } = await encodeText(sd.tokenizer, sd.textEncoder, new FeatureCache(), {
      prompts: [each.prompt], negativePrompts: [each.negative], clipSkip: each.clip_skip ?? 0, promptWeighting: each.weighting,
      longPrompts: true,
    }, ({ message }) => t.fail(message), undefined)
    t.deepEqual([batch, length], [2, each.length])
    for (const [i, wanted] of [each.negative_features, each.features].entries())
      for (const [k, row] of each.rows.entries())
        for (let c = 0; c < 8; c++) {
          const off = Math.abs(data[(i * length + row) * width + c] - wanted[k][c])
          // Weighted features are scaled by a quotient of two means near 0, which PyTorch sums in float32.
          t.true(off < (each.weighting ? 2e-5 * (1 + Math.abs(wanted[k][c])) : 5e-6), `row ${row}, ${off} off`)
        }
  }
})

test('a prompt within the window is what it is without longPrompts', async t => {
  const request = { prompt: 'a (cat:1.3) on a mat', negativePrompt: '[blurry]', steps: 2, seed: 1, width: 64, height: 64, promptWeighting: true }
  const [plain] = await sd.generate(request)
  const [long] = await sd.generate({ ...request, longPrompts: true })
  t.deepEqual(long.rgba, plain.rgba)
  t.is(long.settings.longPrompts, true)
  const [beyond] = await sd.generate({ ...request, prompt: 'a cat on a mat, '.repeat(30), longPrompts: true })
  t.is(beyond.width, 64)
})

test('BREAK begins the next window, as in AUTOMATIC1111\'s web UI', t => {
  const { tokenizer } = sd
  const windows = (prompt: string, weighted = false) => encodeChunks(tokenizer, prompt, weighted).windows.map(ids => [...ids])
  const one = (text: string) => [...tokenizer.encode(text)]
  t.deepEqual(windows('a cat BREAK a dog'), [one('a cat'), one('a dog')])
  t.deepEqual(windows('a (cat:1.2) BREAK\na dog', true), [one('a cat'), one('a dog')])
  t.deepEqual(windows('a BREAK BREAK b'), [one('a'), one(''), one('b')])
  t.deepEqual(windows('BREAKFAST breaks a tieBREAK'), [one('BREAKFAST breaks a tieBREAK')])
  t.deepEqual(windows(''), [one('')])
  const room = tokenizer.windowLength - 2
  t.is(windows('! '.repeat(room)).length, 1)
  t.is(windows('! '.repeat(room + 1)).length, 2)
  const weighted = encodeChunks(tokenizer, `${'! '.repeat(room - 1)} (! ! !:1.5)`, true)
  t.is(weighted.windows.length, 2)
  t.deepEqual([...weighted.weights].map((weight, i) => (weight === 1 ? -1 : i)).filter(i => i >= 0), [room, room + 3, room + 4])
})

test('what goes beyond all windows is told, as is other programs\' syntax', async t => {
  const warned = async (prompt: string, options = {}): Promise<Warning[]> => {
    const warnings: Warning[] = []
    await encodeText(sd.tokenizer, sd.textEncoder, new FeatureCache(), {
      prompts: [prompt], negativePrompts: undefined, clipSkip: 0, promptWeighting: false, longPrompts: true, ...options,
    }, warning => warnings.push(warning), undefined)
    return warnings
  }
  const [cut] = await warned(`${'! '.repeat(32 * 75)}the end`)
  t.like(cut, { code: 'PROMPT_TRUNCATED', cut: 'the end' })
  t.is((await warned(`${'x BREAK '.repeat(40)}end`))[0].cut, `${'x '.repeat(8)}end`)
  const codes = async (prompt: string, promptWeighting = true) => (await warned(prompt, { promptWeighting })).map(({ code, message }) => `${code} ${/"(.*)"/.exec(message)?.[1]}`)
  t.deepEqual(await codes('a <lora:style:0.8> cat', false), ['PROMPT_SYNTAX <lora:style:0.8>'])
  t.deepEqual(await codes('a [cat:dog:0.5] and [red|blue] [x:10]'), ['PROMPT_SYNTAX [cat:dog:0.5]', 'PROMPT_SYNTAX [red|blue]'])
  t.deepEqual(await codes('a [cat:dog:0.5] in a [hat] at 10:30', false), [])
  t.deepEqual(await codes('a [hat] (x:1.2) \\[y\\]'), [])
})
