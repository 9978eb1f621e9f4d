import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { readSettings } from '../../lib/image/generated-image'
import { repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

const main = path.join(__dirname, '..', '..', 'lib', 'cli', 'main.js')
const emoji = repoPath('models', 'emoji')
const asdm = (...args: string[]): { status: number | null, stdout: string, stderr: string } => spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' })

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

test('a wrong plan ends with a message and code 1', t => {
  for (const args of [['plan', 'deepcahce:3', '-m', emoji], ['generate', '--plan', 'deepcache:3,99', '-m', emoji, 'x'], ['plan', 'missing.json', '-m', emoji]]) {
    const { status, stderr } = asdm(...args)
    t.is(status, 1)
    t.regex(stderr, /^asdm: Expected .*\((INVALID_ARGUMENT|FILE_NOT_FOUND)\)\n$/s)
  }
})
