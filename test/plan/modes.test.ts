import test from 'ava'
import { combine, gateGuidance, list, phases, quadratic, switchUNet, uniform } from '../../lib/plan/builders'
import { expandPlan } from '../../lib/plan/expand'
import { formatPlan } from '../../lib/plan/file'
import { fullSteps, type Mode } from '../../lib/plan/mode'
import { parsePlan } from '../../lib/plan/parse'
import type { Plan } from '../../lib/plan/plan'

const full = (mode: Mode, count: number): string => fullSteps(mode, count).map(yes => (yes ? '#' : '.')).join('')
const inherit = ['mid_block']
/** `#` full, `.` inheriting. */
const drawn = (plan: Plan, count: number, guided = true): string =>
  expandPlan(plan, count, guided).map(step => (step.inherit.length > 0 ? '.' : '#')).join('')

test('which steps each mode makes full', t => {
  t.is(full({ mode: 'uniform', every: 3 }, 10), '#..#..#..#')
  t.is(full({ mode: 'uniform', every: 1 }, 4), '####')
  t.is(full({ mode: 'list', full: [0, 2, 9] }, 10), '#.#......#')
  t.is(full({ mode: 'list', full: [0, 2, 10, 999] }, 4), '#.#.')
  t.is(full({ mode: 'window', from: 0.2, to: 0.8 }, 10), '##......##')
  t.is(full({ mode: 'window', from: 0, to: 1 }, 4), '....')
  t.is(full({ mode: 'phases', split: 0.5, early: 1, late: 3 }, 10), '######..#.')
  t.is(full({ mode: 'phases', split: 0.3, early: 2, late: 4 }, 10), '#.##...#..')
  t.is(full({ mode: 'warmup', steps: 3 }, 6), '###...')
  t.is(full({ mode: 'final', steps: 2 }, 6), '....##')
  t.is(full({ mode: 'final', steps: 9 }, 6), '######')
})

test('quadratic has as many full steps as uniform, the denser the nearer to its center', t => {
  t.is(full({ mode: 'quadratic', every: 3, center: 0, power: 1 }, 13), '#..#..#..#..#')
  t.is(full({ mode: 'quadratic', every: 5, center: 0, power: 2 }, 20), '#.#.....#..........#')
  // By docs/plans.md: c = 4.5, x = -2.121, -0.707, 0.707, 2.121, so 4.5 less or more 4.5, 0.5.
  t.is(full({ mode: 'quadratic', every: 3, center: 0.5, power: 2 }, 10), '#...##...#')
  // c = 0, x = 0, 1.5, 3 and steps 0, 1.5 ** 4 = 5.06, 81, of the cube of 4.33 = 81: each a step behind the one before.
  t.is(full({ mode: 'quadratic', every: 1, center: 0, power: 8 }, 4), '####')
  for (const count of [1, 2, 7, 20, 51])
    for (const every of [1, 2, 3, 8]) for (const center of [0, 0.3, 1]) for (const power of [1, 1.4, 3, 8]) {
      const steps = full({ mode: 'quadratic', every, center, power }, count)
      t.is(steps.split('#').length - 1, Math.ceil(count / every), `${count} ${every} ${center} ${power}`)
    }
  const middle = full({ mode: 'quadratic', every: 4, center: 0.5, power: 3 }, 41)
  t.true(middle.slice(14, 27).split('#').length > middle.slice(0, 14).split('#').length)
})

test('rules: the first step is full, modes add full steps, rules differ', t => {
  t.is(drawn(list({ full: [4], inherit }), 8), '#...#...')
  t.is(drawn(uniform({ every: 4, inherit, warmup: 2, final: 1 }), 10), '##..#...##')
  t.is(drawn(uniform({ every: 4, inherit, window: [0.25, 0.75] }), 12), '###.#...####')
  t.is(drawn(phases({ early: 2, late: 3, inherit }), 8), '#.#.#..#')
  t.is(drawn(quadratic({ every: 5, inherit }), 20), '#.#.....#..........#')
  const both: Plan = {
    version: 1,
    rules: [
      { inherit: ['mid_block'], when: { mode: 'uniform', every: 2 } },
      { inherit: ['up_blocks.1', 'mid_block'], when: { mode: 'uniform', every: 3 } },
    ],
  }
  t.deepEqual(
    expandPlan(both, 4, true).map(step => step.inherit.map(({ prefix }) => prefix).join()),
    ['', 'mid_block,up_blocks.1', 'up_blocks.1,mid_block', 'mid_block'],
  )
})

test('features: branches of residual units, outputs of everything else, unless the plan says so', t => {
  const prefixes = [
    'up_blocks.1', 'up_blocks.1.0', 'mid_block', 'conv_in', 'down_blocks.0.downsamplers.0', 'a.transformer_blocks.0',
    'up_blocks.1.resnets.0', 'b.attentions.1', 'b.attn1', 'b.attn2', 'b.ff',
  ]
  const [, second] = expandPlan(uniform({ every: 2, inherit: [...prefixes, { prefix: 'b.ff', feature: 'output' }] }), 2, true)
  t.deepEqual(second.inherit.map(({ feature }) => feature[0]).join(''), 'oooooobbbbbo')
})

test('guidance and UNets step by step', t => {
  const kinds = (plan: Plan, guided = true): string => expandPlan(plan, 6, guided).map(({ guidance }) => guidance[0]).join('')
  t.is(kinds(gateGuidance(0.5)), 'fffccc')
  t.is(kinds(gateGuidance(0, 'inherit')), 'fiiiii')
  t.is(kinds(gateGuidance(0)), 'cccccc')
  // Fractions of the run: 0.3 <= k / 6 < 0.51 for k = 2 and 3.
  t.is(kinds({ version: 1, rules: [], guidance: { otherwise: 'conditional', when: { mode: 'window', from: 0.3, to: 0.51 } } }), 'ffccff')
  t.is(kinds(gateGuidance(0), false), 'ffffff')
  const combined = combine(
    switchUNet('light'), switchUNet('lighter', 0, 0.2), uniform({ every: 9, inherit }), gateGuidance(0.5),
  )({ unets: {}, steps: 6, stochastic: false })
  t.deepEqual(
    expandPlan(combined, 6, true).map(({ unet, inherit: list }) => `${unet}${list.length}`),
    ['lighter0', 'lighter0', 'light0', 'full0', 'full1', 'full1'],
  )
  // A first guided step has no unconditional features to inherit.
  const late: Plan = {
    version: 1, rules: [{ inherit, when: { mode: 'uniform', every: 9 } }],
    guidance: { otherwise: 'conditional', when: { mode: 'list', full: [3, 4] } },
  }
  t.is(drawn(late, 6), '#..#..')
})

test('steps must fit the run and have sources', t => {
  const plan = (steps: object[]): Plan => parsePlan({ version: 1, steps })
  t.is(drawn(plan([{}, { inherit }, { inherit: [] }]), 3), '#.#')
  const wrong: [object[], RegExp][] = [
    [
      [{}, {}], /plan\.steps to hold 3.*received 2/,
    ], [[{ inherit }, {}, {}], /plan\.steps\[0\]\.inherit\[0\] inherits, "mid_block", but it is the first one/],
    [
      [{ guidance: 'conditional' }, { inherit }, {}], /plan\.steps\[1\]\.inherit\[0\].*unconditional half/,
    ], [[{ guidance: 'inherit' }, {}, {}], /plan\.steps\[0\]\.guidance/],
    [[{}, { unet: 'light', inherit }, {}], /plan\.steps\[1\]\.inherit\[0\]/],
  ]
  for (const [steps, message] of wrong) t.throws(() => expandPlan(plan(steps), 3, true), { code: 'INVALID_ARGUMENT', message })
  t.is(drawn(list({ full: [0, 12], inherit }), 4), '#...')
})

test('a printed plan parses to itself', t => {
  for (const plan of [
    uniform({ every: 3, inherit, final: 1 }), gateGuidance(0.5), switchUNet('light'),
    { version: 1 as const, steps: [{}, { inherit, guidance: 'inherit' as const }] },
  ])
    t.deepEqual(parsePlan(JSON.parse(formatPlan(plan))), plan)
})
