import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { readSettings } from '../../lib/image/settings'
import { repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

const main = path.join(__dirname, '..', '..', 'lib', 'cli', 'main.js')
const emoji = repoPath('models', 'emoji')
const asdm = (...args: string[]): { status: number | null, stdout: string, stderr: string } =>
  spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' })

test('plan prints a grid: steps across, blocks down', t => {
  const { status, stdout, stderr } = asdm('plan', 'deepcache:2,4;guidance:0.5', '-m', emoji, '--steps', '6')
  t.is(status, 0, stderr)
  const lines = stdout.split('\n')
  t.true(lines[0].startsWith('plan "deepcache:2,4;guidance:0.5" for 6 steps of '))
  t.deepEqual(lines.slice(2, 16), [
    'step                0    5',
    'conv_in             ██████', 'down_blocks.0       ██████', 'down_blocks.1       █▒█▒█▒', 'down_blocks.2       █·█·█·', 'down_blocks.3       █·█·█·', 'mid_block           █·█·█·',
    'up_blocks.0         █·█·█·', 'up_blocks.1         █·█·█·', 'up_blocks.2         █▒█▒█▒', 'up_blocks.3         ██████', 'conv_out            ██████', 'unconditional pass  ███···',
    'tenths computed     █6█353',
  ])
  t.regex(stdout, /multiply-accumulates, 62\.1 %: 1\.61 times as fast, by this count; 48\.0 KiB of features kept/)
})

test('plan writes a file that generate takes; the picture holds it', async t => {
  const folder = temporaryFolder(t)
  const [plan, picture] = [path.join(folder, 'plan.json'), path.join(folder, 'a.png')]
  const shown = asdm('plan', 'uniform:2,mid_block', '-m', emoji, '-s', '4', '--out', plan, '--json')
  t.is(shown.status, 0, shown.stderr)
  const json = JSON.parse(shown.stdout)
  t.deepEqual(json.plan, JSON.parse(fs.readFileSync(plan, 'utf8')))
  t.true(json.share < 1 && json.share > 0.5)
  t.deepEqual(json.grid.find((row: { block: string }) => row.block === 'mid_block').cells, ['full', 'inherited', 'full', 'inherited'])
  const made = asdm('generate', '-m', emoji, '-s', '4', '--seed', '1', '--plan', plan, '--out', picture, 'a 3d emoji of red apple')
  t.is(made.status, 0, made.stderr)
  t.deepEqual((await readSettings(picture))!.plan, json.plan)
})

test('further UNets: in the grid by a letter, and in pictures', async t => {
  const folder = temporaryFolder(t)
  const plan = 'unet:light,0,0.5;uniform:9,up_blocks.2'
  const mapped = `${plan};map:light,full,up_blocks.2`
  const flags = ['-m', emoji, '-s', '4', '--unet', `light=${emoji}`]
  const shown = asdm('plan', mapped, ...flags)
  t.is(shown.status, 0, shown.stderr)
  // The main UNet's first step takes what the other one computed; nothing else is inherited by the light one, which no rule is about.
  t.regex(shown.stdout, /^up_blocks\.2 +██==$/m)
  t.regex(asdm('plan', plan, ...flags).stdout, /^up_blocks\.2 +███=$/m)
  t.regex(shown.stdout, /^UNet +llff$/m)
  t.regex(shown.stdout, /^UNets: l light {3}f full$/m)
  const files = ['a.png', 'b.png'].map(name => path.join(folder, name))
  const made = [
    asdm('generate', ...flags, '-g', '3', '--seed', '1', '--plan', mapped, '-o', files[0], 'a 3d emoji of cat'),
    asdm('generate', ...flags, '-g', '3', '--seed', '1', '--plan', plan, '-o', files[1], 'a 3d emoji of cat'),
  ]
  for (const { status, stderr } of made) t.is(status, 0, stderr)
  t.notDeepEqual(...files.map(file => fs.readFileSync(file)) as [Buffer, Buffer])
  for (const [args, message] of [[['--unet', 'light'], /name=path/], [['--unet', 'a=x', '--unet', 'a=y'], /a was given twice/]] as const) {
    const { status, stderr } = asdm('plan', mapped, '-m', emoji, ...args)
    t.is(status, 2)
    t.regex(stderr, message)
  }
  for (const [args, message] of [
    [['--unet', 'full=x'], /names of unets/], [['--unet', `light=${folder}`], /config\.json/],
    [[], /name a UNet that was loaded but received "light"/],
  ] as const) {
    const { status, stderr } = asdm('plan', mapped, '-m', emoji, ...args)
    t.is(status, 1)
    t.regex(stderr, message)
  }
})

test('an adaptive plan is shown as a range', t => {
  const { status, stdout, stderr } = asdm('plan', 'adaptive:0.5,1,up_blocks.3.1', '-m', emoji, '-s', '4')
  t.is(status, 0, stderr)
  t.regex(stdout, /^mid_block +█\?\?\?$/m)
  t.regex(stdout, /^tenths at most +████$/m)
  t.regex(stdout, /^tenths at least +█1█1$/m)
  t.regex(stdout, /\? decided when the step comes/)
  t.regex(stdout, /5\d\.\d % to 100\.0 %, as adaptive rules decide: up to 1\.\d\d times as fast/)
})

test('a wrong plan ends with a message and code 1', t => {
  for (const args of [
    ['plan', 'deepcahce:3', '-m', emoji], ['generate', '--plan', 'deepcache:3,99', '-m', emoji, 'x'], ['plan', 'missing.json', '-m', emoji],
  ]) {
    const { status, stderr } = asdm(...args)
    t.is(status, 1)
    t.regex(stderr, /^asdm: Expected .*\((INVALID_ARGUMENT|FILE_NOT_FOUND)\)\n$/s)
  }
})
