import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import { expandPlan } from '../../lib/plan/expand'
import { loadPlan } from '../../lib/plan/file'
import { modeFields } from '../../lib/plan/mode'
import { unetFacts } from '../../lib/plan/names'
import { parsePlan } from '../../lib/plan/parse'
import { mostExtrapolation } from '../../lib/plan/plan'
import { resolvePlan } from '../../lib/plan/source'
import { sd15 } from '../graph/support'
import { repoPath } from '../support/fixtures'
import { rounds, seeded, seedOf } from '../support/random'
import { temporaryFolder } from '../support/temporary'

const names = [
  'conv_in', 'mid_block', 'mid_block.resnets.0', 'up_blocks.1', 'up_blocks.1.resnets.1', 'up_blocks.1.attentions.1',
  'up_blocks.1.attentions.1.transformer_blocks.0.attn2', 'down_blocks.0',
]
const context = { unets: { full: unetFacts(sd15, names), light: unetFacts(sd15, names.slice(2)) }, steps: 10, stochastic: false }
const good = {
  version: 1, name: 'both', extrapolate: 0.75, guidance: {
    otherwise: 'inherit', when: [{ mode: 'window', from: 0.5, to: 1 }],
  }, unets: [{ unet: 'light', from: 0.25 }],
  rules: [
    {
      inherit: ['up_blocks.1.1', { prefix: 'mid_block.resnets.0', feature: 'output' }],
      when: [{ mode: 'uniform', every: 3 }, { mode: 'warmup', steps: 2 }, { mode: 'final', steps: 1 }],
    },
    { inherit: ['up_blocks.1'], when: { mode: 'phases', split: 0.5, early: 2, late: 3 }, unet: 'light' },
    { inherit: [], when: [{ mode: 'list', full: [0, 9] }, { mode: 'quadratic', every: 2, center: 0.1, power: 2 }] },
    { inherit: ['mid_block'], when: [{ mode: 'adaptive', threshold: 0.5, most: 3, probe: 'conv_in' }, { mode: 'final', steps: 1 }] },
  ],
  maps: [
    { from: { unet: 'full', prefix: 'up_blocks.1' }, to: { unet: 'light', prefix: 'up_blocks.1' } },
    {
      from: { unet: 'light', prefix: 'mid_block.resnets.0', feature: 'output' },
      to: { unet: 'full', prefix: 'mid_block.resnets.0', feature: 'output' }, mutual: true,
    },
  ],
}
const [adaptive, map] = [(good.rules[3].when as object[])[0], good.maps[0]]
const back = { from: map.to, to: map.from }

test('every wrong place is named', t => {
  const wrong: [unknown, RegExp][] = [
    [
      null, /plan to be an object but received null/,
    ], [[], /plan to be an object/], [{}, /plan\.version to be 1/], [{ version: '1' }, /plan\.version/], [
      { version: 1 }, /either rules or steps.*neither/,
    ],
    [
      { version: 1, rules: [], steps: [] }, /both/,
    ], [{ version: 1, rule: [] }, /"rule"; did you mean "rules"/], [{ version: 1, rules: {} }, /plan\.rules to be an array/],
    [
      { version: 1, rules: [{}] }, /plan\.rules\[0\]\.inherit to be an array/,
    ], [{ version: 1, rules: [{ inherit: [] }] }, /plan\.rules\[0\]\.when to be a mode/],
    [{ version: 1, rules: [{ inherit: [], when: [] }] }, /plan\.rules\[0\]\.when to have at least one/],
    [{ version: 1, rules: [{ inherit: [], when: { mode: 'unifrom', every: 3 } }] }, /plan\.rules\[0\]\.when\.mode to be "uniform" or/],
    [
      { version: 1, rules: [{ inherit: [], when: { mode: 'uniform', every: 0 } }] },
      /plan\.rules\[0\]\.when\.every to be a whole number from 1/,
    ],
    [
      { version: 1, rules: [{ inherit: [], when: { mode: 'uniform' } }] }, /when\.every.*undefined/,
    ], [{ version: 1, rules: [{ inherit: [], when: { mode: 'uniform', every: 2, to: 1 } }] }, /"to"/],
    [{ version: 1, rules: [{ inherit: [], when: { mode: 'window', from: 0.6, to: 0.5 } }] }, /when\.to to be at least/],
    [{ version: 1, rules: [{ inherit: [], when: { mode: 'list', full: [0, -1] } }] }, /when\.full\[1\]/],
    [
      { version: 1, rules: [good.rules[0], { inherit: ['mid_block', 7], when: good.rules[1].when }] },
      /plan\.rules\[1\]\.inherit\[1\] to be a prefix/,
    ],
    [
      { version: 1, rules: [{ inherit: [{ prefix: 'a', feature: 'skip' }], when: good.rules[1].when }] },
      /plan\.rules\[0\]\.inherit\[0\]\.feature to be "output" or "branch"/,
    ],
    [
      { version: 1, rules: [{ inherit: ['up_blocks.1.2'], when: good.rules[1].when }] },
      /plan\.rules\[0\]\.inherit\[0\] to name.*"up_blocks\.1\.2"; the nearest are up_blocks\.1\.1, /,
    ],
    [{ version: 1, rules: [{ inherit: ['conv_in'], when: good.rules[1].when, unet: 'light' }] }, /plan\.rules\[0\]\.inherit\[0\]/],
    [{ version: 1, rules: [{ inherit: [{ prefix: 'mid_block', feature: 'branch' }], when: good.rules[1].when }] }, /residual unit/],
    [
      { version: 1, rules: [], guidance: { otherwise: 'full', when: good.rules[1].when } }, /plan\.guidance\.otherwise/,
    ], [{ version: 1, rules: [], unets: [{ unet: 'x' }] }, /plan\.unets\[0\]\.unet.*known are/],
    [
      { version: 1, steps: [{ inherit: ['x'] }] }, /plan\.steps\[0\]\.inherit\[0\]/,
    ], [{ version: 1, steps: [{ guidance: 'none' }] }, /plan\.steps\[0\]\.guidance/], [{ version: 1, steps: [null] }, /plan\.steps\[0\]/],
    [
      { version: 1, steps: [], guidance: {} }, /plan\.guidance only beside rules/,
    ], [{ version: 1, steps: new Array(1001).fill({}) }, /plan\.steps to be an array of at most 1000/],
    [
      { version: 1, rules: new Array(200).fill({ inherit: new Array(4000).fill('mid_block'), when: good.rules[1].when }) },
      /at most 4096 prefixes in all/,
    ],
    [{ version: 1, rules: [{ inherit: [], when: { ...adaptive, most: 0 } }] }, /plan\.rules\[0\]\.when\.most to be a whole number from 1/],
    [
      { version: 1, rules: [{ inherit: [], when: { ...adaptive, threshold: -1 } }] }, /plan\.rules\[0\]\.when\.threshold/,
    ], [{ version: 1, rules: [{ inherit: [], when: { ...adaptive, probe: 3 } }] }, /plan\.rules\[0\]\.when\.probe to be a text/],
    [
      { version: 1, rules: [{ inherit: [], when: [good.rules[0].when, { ...adaptive, probe: 'conv_on' }].flat() }] },
      /plan\.rules\[0\]\.when\[3\]\.probe to name.*the nearest are conv_in/,
    ],
    [{ version: 1, rules: [{ inherit: [], when: [adaptive, adaptive] }] }, /plan\.rules\[0\]\.when to have at most one adaptive/],
    [{ version: 1, rules: new Array(5).fill({ inherit: ['mid_block'], when: adaptive }) }, /at most 4 adaptive.*plan\.rules\[4\]\.when/],
    [{ version: 1, rules: [], guidance: { otherwise: 'inherit', when: adaptive } }, /plan\.guidance\.when.*adaptive is not/],
    [
      { version: 1, rules: [], maps: {} }, /plan\.maps to be an array/,
    ], [
      { version: 1, rules: [], maps: [map, 3] }, /plan\.maps\[1\] to be an object/,
    ], [{ version: 1, rules: [], maps: [{ from: map.from }] }, /plan\.maps\[0\]\.to to be an object/],
    [
      { version: 1, rules: [], maps: [{ ...map, mutual: 1 }] }, /plan\.maps\[0\]\.mutual/,
    ], [{ version: 1, rules: [], maps: [{ ...map, form: 1 }] }, /plan\.maps\[0\] to have only known keys.*"from"/],
    [{ version: 1, rules: [], maps: [{ from: map.from, to: { ...map.to, feature: 'x' } }] }, /plan\.maps\[0\]\.to\.feature/],
    [
      { version: 1, rules: [], maps: [map, { from: map.from, to: { ...map.to, prefix: 'up_blocks.2' } }] },
      /plan\.maps\[1\]\.to\.prefix to name.*"up_blocks\.2"/,
    ],
    [
      { version: 1, rules: [], maps: [{ from: { ...map.from, unet: 'tiny' }, to: map.to }] },
      /plan\.maps\[0\]\.from\.unet to name a UNet.*"tiny"/,
    ],
    [{ version: 1, rules: [], maps: [{ from: map.from, to: { ...map.to, unet: 'full' } }] }, /plan\.maps\[0\] to join two UNets/],
    [
      { version: 1, rules: [], maps: [map, back] }, /circle.*plan\.maps\[1\] leads back.*mutual/,
    ], [{ version: 1, rules: [], maps: [map, map] }, /plan\.maps\[1\] to give "up_blocks\.1"/],
    [
      { version: 1, rules: [], maps: [map, { ...back, mutual: true }] }, /plan\.maps\[1\] to give/,
    ], ['map:full,light', /plan/], ['map:full,full,mid_block', /join two/], ['adaptive:1', /most|inherit/],
    [
      'deepcache', /whole number.*deepcache:interval,branch/,
    ], [
      'deepcache:3,99', /branch of deepcache from 0 to 11/,
    ], ['deepcache:3;x:1', /plan/], ['', /plan/], ['uniform:2', /inherit\[0\]/], ['guidance:2', /when\.from/],
    [
      { version: 1, rules: [], extrapolate: true }, /plan\.extrapolate to be a number from 0 to 2/,
    ], [
      { version: 1, steps: [], extrapolate: 2.1 }, /plan\.extrapolate/,
    ], ['extrapolate:3', /plan\.extrapolate.*extrapolate:factor/], ['extrapolate:', /plan\.extrapolate/],
    [
      `uniform:2,${'mid_block+'.repeat(20_000)}mid_block`, /100000 characters/,
    ], [7, /plan to be an object/], [() => 3, /plan to be an object/],
  ]
  for (const [value, message] of wrong)
    t.throws(() => resolvePlan(value, context), { instanceOf: AsdmError, code: 'INVALID_ARGUMENT', message }, String(message))
  t.notThrows(() => expandPlan(resolvePlan(good, context), 10, true))
})

test('fuzzed plans give an AsdmError or a plan that means the same', t => {
  const random = seeded(seedOf(2024))
  const leaves = [
    null, true, -1, 0, 1, 2, 0.5, 1e9, NaN, Infinity, '', 'x', 'mid_block', 'full', '__proto__', 'x'.repeat(5000), [], {}, [[]],
    { mode: 'uniform' }, JSON.parse('{"__proto__": {"version": 1}}'),
  ]
  let passed = 0
  for (let round = 0; round < rounds(4000); round++) {
    const plan = structuredClone(
      random.below(2) === 0
        ? good
        : { version: 1, steps: new Array(10).fill({ unet: 'full', inherit: round % 2 === 0 ? [] : ['mid_block'], guidance: 'full' }) },
    ) as never
    for (let change = random.below(3); change >= 0; change--) mutate(plan, random, leaves)
    try {
      const parsed = resolvePlan(plan, context)
      t.deepEqual(parsePlan(JSON.parse(JSON.stringify(parsed))), parsed)
      t.is(expandPlan(parsed, 10, true).length, 10)
      passed++
    } catch (error) {
      if (!(error instanceof AsdmError)) throw error
      t.is(error.code, 'INVALID_ARGUMENT')
      t.true(error.message.length < 1000)
    }
  }
  t.true(passed > 50, String(passed))
})

test('fuzzed texts give an AsdmError or a plan', t => {
  const random = seeded(seedOf(77))
  const words = [
    'deepcache', 'uniform', 'adaptive', 'map', 'full', 'guidance', 'extrapolate', 'unet', 'light', ':', ',', ';', '+', '3', '0.5', '-1',
    '1e400', 'mid_block', 'conditional', ' ', 'toString', '__proto__', '\0',
  ]
  for (let round = 0; round < rounds(3000); round++) {
    const text = Array.from({ length: random.below(9) }, () => random.pick(words)).join('')
    try {
      resolvePlan(text, context)
    } catch (error) {
      t.true(error instanceof AsdmError, `${JSON.stringify(text)}: ${String(error)}`)
    }
  }
})

test('plan files: broken ones are named with their file', async t => {
  const folder = temporaryFolder(t)
  const file = path.join(folder, 'plan.json')
  await t.throwsAsync(loadPlan(file), { code: 'FILE_NOT_FOUND' })
  for (const [text, code, message] of [
    ['{', 'BAD_JSON', /plan\.json/], ['[]', 'BAD_JSON', /plan\.json/], [`${'['.repeat(100000)}`, 'BAD_JSON', /plan\.json/],
    ['{"version": 1, "rules": [{"inherit": [3]}]}', 'INVALID_ARGUMENT', /plan\.json: plan\.rules\[0\]\.inherit\[0\]/],
  ] as const) {
    fs.writeFileSync(file, text)
    await t.throwsAsync(loadPlan(file), { code, message })
  }
  fs.writeFileSync(file, JSON.stringify({ $schema: 'x', ...good }))
  t.deepEqual(await loadPlan(file), parsePlan(good))
})

test('the published schema has the modes, fields and limits that are read', t => {
  const schema = JSON.parse(fs.readFileSync(repoPath('schema', 'plan.schema.json'), 'utf8'))
  const modes = Object.fromEntries(schema.$defs.mode.oneOf.map((mode: any) => {
    const { mode: name, ...fields } = mode.properties
    t.deepEqual(mode.required, ['mode', ...Object.keys(fields)])
    return [
      name.const,
      Object.fromEntries(Object.entries<any>(fields).map(([key, field]) =>
        [
          key,
          field.type === 'array' ? 'steps' : field.type === 'string' ? 'prefix' : [field.minimum, field.maximum, field.type === 'integer'],
        ])),
    ]
  }))
  t.deepEqual(modes, modeFields)
  const [rules, steps] = schema.oneOf
  t.deepEqual(Object.keys(rules.properties), ['$schema', 'version', 'name', 'rules', 'guidance', 'unets', 'maps', 'extrapolate'])
  t.deepEqual(Object.keys(steps.properties), ['$schema', 'version', 'name', 'steps', 'maps', 'extrapolate'])
  t.deepEqual([schema.$defs.extrapolate.minimum, schema.$defs.extrapolate.maximum], [0, mostExtrapolation])
  t.deepEqual(Object.keys(schema.$defs.step.properties), ['unet', 'inherit', 'guidance'])
  t.deepEqual(Object.keys(schema.$defs.rule.properties), ['inherit', 'when', 'unet'])
  t.deepEqual(Object.keys(schema.$defs.map.properties), ['from', 'to', 'mutual'])
  t.deepEqual(Object.keys(schema.$defs.mapEnd.properties), ['unet', 'prefix', 'feature'])
})

function mutate(value: any, random: ReturnType<typeof seeded>, leaves: readonly unknown[]): void {
  const keys = Object.keys(value)
  if (keys.length === 0) return
  const key = random.pick(keys)
  if (value[key] !== null && typeof value[key] === 'object' && random.below(4) > 0) return mutate(value[key], random, leaves)
  const kind = random.below(4)
  if (kind === 0 && !Array.isArray(value)) delete value[key]
  else if (kind === 1) value[`${key}x`] = random.pick(leaves)
  else value[key] = random.pick(leaves)
}
