import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { loadRecipe, parseRecipe } from '../../lib/assembly/recipe'
import { AsdmError } from '../../lib/base/errors'
import { repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

const good = (): any => ({
  version: 1, checkpoints: { sd: null, other: 'models/b' }, target: { from: 'sd', layersPerBlock: 1 }, rest: 'sd',
  units: { 'up_blocks.1.1': {
    checkpoint: 'sd', prefix: 'up_blocks.1.2',
  }, 'mid_block': { drop: true }, 'conv_in': {
    average: [{ checkpoint: 'sd' }, { checkpoint: 'other', share: 3, slice: [{ axis: 0, begin: 0, end: 4 }] }],
  },
  'conv_out': {
    experts: [{ checkpoint: 'sd' }, { checkpoint: 'other', prefix: 'conv_in', noise: 0.5, seed: 7, fit: 'end' }],
    router: { activation: 'softmax', start: [0.7, 0.3] },
  },
  },
})

test('a recipe is copied; the shipped ones read', async t => {
  const value = good()
  const recipe = parseRecipe(value)
  t.deepEqual(recipe, value)
  t.not(recipe.units, value.units)
  for (const name of fs.readdirSync(repoPath('recipes')))
    t.is((await loadRecipe(repoPath('recipes', name))).name, path.basename(name, '.json'))
})

const places: [string, (recipe: any) => void, RegExp][] = [
  ['version', r => { r.version = 2 }, /recipe\.version/],
  ['unknown key', r => { r.unit = {} }, /did you mean "units"/],
  ['no checkpoints', r => { r.checkpoints = {} }, /recipe\.checkpoints/],
  ['name', r => { r.checkpoints = { '../a': null } }, /recipe\.checkpoints.*"\.\.\/a"/],
  ['unknown checkpoint', r => { r.units['up_blocks.1.1'].checkpoint = 'ds' }, /recipe\.units\["up_blocks\.1\.1"\]\.checkpoint .*"ds"/],
  ['prefix', r => { r.units['up_blocks.1.1'].prefix = 'a..b' }, /recipe\.units\["up_blocks\.1\.1"\]\.prefix/],
  ['line', r => { r.units['up_blocks.1.1'] = null }, /recipe\.units\["up_blocks\.1\.1"\]/],
  ['drop', r => { r.units.mid_block.drop = false }, /recipe\.units\["mid_block"\]\.drop/],
  ['share', r => { r.units.conv_in.average[1].share = 0 }, /recipe\.units\["conv_in"\]\.average\[1\]\.share/],
  ['slice', r => { r.units['up_blocks.1.1'].slice = [{ axis: 0, begin: 4, end: 4 }] }, /slice\[0\]\.end/],
  ['no experts', r => { r.units.conv_out.experts = [] }, /recipe\.units\["conv_out"\]\.experts/],
  [
    'too many experts', r => { r.units.conv_out.experts = new Array(17).fill({ checkpoint: 'sd' }) },
    /recipe\.units\["conv_out"\]\.experts/,
  ],
  ['an expert', r => { r.units.conv_out.experts[1] = 1 }, /\["conv_out"\]\.experts\[1\]/],
  ['an expert with a share', r => { r.units.conv_out.experts[1].share = 1 }, /experts\[1\].*"share"/],
  ['noise', r => { r.units.conv_out.experts[1].noise = -1 }, /experts\[1\]\.noise/],
  ['seed', r => { r.units.conv_out.experts[1].seed = 0.5 }, /experts\[1\]\.seed/],
  ['router', r => { r.units.conv_out.router = 'mean' }, /\["conv_out"\]\.router/],
  ['activation', r => { r.units.conv_out.router.activation = 'relu' }, /router\.activation/],
  ['start', r => { r.units.conv_out.router.start = 'last' }, /router\.start/],
  ['rates of other experts', r => { r.units.conv_out.router.start = [1] }, /router\.start/],
  ['a rate', r => { r.units.conv_out.router.start = [1, 2] }, /router\.start\[1\]/],
  ['softmax rates of another sum', r => { r.units.conv_out.router.start = [0.5, 0.25] }, /router\.start to be rates that sum to 1.*0\.75/],
  ['no rates', r => { r.units.conv_out.router.start = [0, 0] }, /router\.start/],
  ['experts and drop', r => { r.units.conv_out.drop = true }, /\["conv_out"\] to have only known keys/],
  ['stages', r => { r.target.stages = 0 }, /recipe\.target\.stages/],
]
for (const [name, change, message] of places) {
  test(`a bad recipe is refused at its place: ${name}`, t => {
    const recipe = good()
    change(recipe)
    t.like(t.throws(() => parseRecipe(recipe), { instanceOf: AsdmError, message }), { code: 'INVALID_ARGUMENT' })
  })
}

test('paths outside the folder of the recipe are refused', t => {
  for (const folder of ['/etc', '..', 'a/../../b', 'C:\\models', 'a\\..\\..\\b', '\\\\host\\share', '~\0', '']) {
    const recipe = good()
    recipe.checkpoints.other = folder
    t.throws(() => parseRecipe(recipe), { instanceOf: AsdmError, message: /recipe\.checkpoints\["other"\]/ }, folder)
  }
})

test('a file that is no JSON is refused', async t => {
  const file = path.join(temporaryFolder(t), 'recipe.json')
  fs.writeFileSync(file, '{"version": 1')
  await t.throwsAsync(loadRecipe(file), { instanceOf: AsdmError, code: 'BAD_JSON' } as any)
})

test('whatever comes, a recipe reads or is refused in words', t => {
  let state = 20260
  const random = (below: number): number => {
    state = (Math.imul(state,
      1664525) + 1013904223) >>> 0; return Math.floor(state / 2 ** 32 * below)
  }
  const junk = [
    null, undefined, NaN, Infinity, -1, 0, 1e300, '', '..', '__proto__', 'constructor', [], {}, [[]], true, Symbol('x'), 1n, () => 1,
    'x'.repeat(5000), new Array(5000).fill(0), { drop: true }, new Uint8Array(3),
  ]
  let refused = 0
  for (let i = 0; i < 3000; i++) {
    const recipe = good()
    let at: any = recipe
    for (;;) {
      const keys = Object.keys(at)
      const key = random(8) === 0 || keys.length === 0 ? '__proto__x' : keys[random(keys.length)]
      if (at[key] !== null && typeof at[key] === 'object' && random(4) > 0) { at = at[key]; continue }
      if (random(5) === 0) delete at[key]
      else at[key] = junk[random(junk.length)]
      break
    }
    try {
      parseRecipe(recipe)
    } catch (error) {
      refused++
      if (!(error instanceof AsdmError) || error.code !== 'INVALID_ARGUMENT' || error.message.length > 1000) throw error
    }
  }
  t.true(refused > 1000 && refused < 3000)
})
