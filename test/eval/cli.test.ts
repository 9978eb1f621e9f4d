import { execFile } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { readSettings } from '../../lib/image/settings'
import type { EvaluationReport } from '../../lib/eval/report'
import { fixture, repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'
import { makeDrawings } from './support'

const main = repoPath('build', 'ts', 'lib', 'cli', 'main.js')

function asdm(cwd: string, ...args: string[]): Promise<{ code: number, stdout: string, stderr: string }> {
  return new Promise(resolve => {
    execFile(
      process.execPath, [main, ...args], { cwd, maxBuffer: 2 ** 26 },
      (error, stdout, stderr) => resolve({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1, stdout, stderr }),
    )
  })
}

const withoutTimes = (json: string): unknown => ({ ...JSON.parse(json) as EvaluationReport, measured: undefined })

test('eval prints a table, or JSON that is the same each time; a run that was written serves as reference', async t => {
  const folder = temporaryFolder(t)
  makeDrawings(path.join(folder, 'drawings'))
  const args = ['eval', 'emoji', '--drawings', 'drawings', '--count', '2', '--steps', '2', '--guidance', '3']
  const first = await asdm(folder, ...args, '--out', 'runs/full')
  t.is(first.code, 0, first.stderr)
  t.regex(first.stdout, /^emoji: 4 images of 64x64, DDIMScheduler, 2 steps, guidance 3, fp32 on \w+, seeds from 1000\n/)
  t.regex(first.stdout, /^set +images +top-1 +top-5 +Fréchet +dB to drawing$/m)
  for (const set of ['seen', 'held-out', 'all']) t.regex(first.stdout, new RegExp(`^${set} +[24]( +[\\d.]+){4}$`, 'm'))
  t.true(first.stdout.endsWith(`\n${fs.realpathSync(path.join(folder, 'runs', 'full'))}\n`))
  const report = fs.readFileSync(path.join(folder, 'runs', 'full', 'report.json'), 'utf8')
  t.deepEqual(withoutTimes((await asdm(folder, ...args, '--json', '--threads', '1')).stdout), withoutTimes(report))
  t.deepEqual(fs.readdirSync(path.join(folder, 'runs', 'full', 'images')), ['00000.png', '00001.png', '00002.png', '00003.png'])
  t.is(await readSettings(path.join(folder, 'runs', 'full', 'images', '00000.png')), undefined)

  const planned = ['--plan', 'deepcache:2,0', '--json']
  const [against, plain] = await Promise.all([
    asdm(folder, ...args, ...planned, '--reference', 'runs/full'), asdm(folder, ...args, ...planned, '--reference', 'plain'),
  ])
  t.is(plain.code, 0, plain.stderr)
  t.deepEqual(withoutTimes(plain.stdout), withoutTimes(against.stdout))
  const { sets, reference, settings } = JSON.parse(plain.stdout) as EvaluationReport
  t.is(reference?.about.model, 'emoji')
  t.is(settings.plan?.name, 'deepcache:2,0')
  t.true(sets.all!.likeness!.psnr.least > 5 && sets.all!.likeness!.psnr.least < 100 && sets.all!.top5! >= 0)
  const shown = await asdm(
    folder, ...args, '--plan', 'deepcache:2,0', '--reference', 'runs/full', '--judge', repoPath('models', 'emoji', 'vae'),
  )
  t.regex(shown.stdout, /PSNR +least +SSIM +least +equal$/m)
  t.regex(shown.stdout, /^PSNR and SSIM: to emoji, fp32, on \w+, 2 steps, without a plan;/m)
})

test('without drawings there are prompts: given, or built in', async t => {
  const folder = temporaryFolder(t)
  fs.writeFileSync(path.join(folder, 'prompts.txt'), 'a cat\r\n\n a dog, left \n')
  const given = await asdm(
    folder, 'eval', fixture('sd15-tiny'), '--prompts', 'prompts.txt', '-s', '1', '--seed', '3', '--json', '-W', '32', '-H', '32',
  )
  t.is(given.code, 0, given.stderr)
  const report = JSON.parse(given.stdout) as EvaluationReport
  t.deepEqual(report.images.map(({ prompt, seed }) => [prompt, seed]), [['a cat', 3], [' a dog, left ', 4]])
  t.deepEqual(Object.keys(report.sets), ['prompts'])
  const built = await asdm(folder, 'eval', fixture('sd15-tiny'), '-n', '2', '-s', '1', '-W', '32', '-H', '32')
  t.regex(built.stdout, /^prompts +2$/m)
})

test('what is wrong is said before the model is loaded', async t => {
  const folder = temporaryFolder(t)
  const code = async (pattern: RegExp, ...args: string[]): Promise<void> => {
    const { code, stderr, stdout } = await asdm(folder, 'eval', 'no-model', ...args)
    t.is(code, 1, stderr)
    t.is(stdout, '')
    t.regex(stderr, pattern)
  }
  await code(
    /drawings in none but there is no such folder; in a checkout of asdm, npm run emoji:data makes build\/emoji-data \(FILE_NOT_FOUND\)/,
    '-d', 'none',
  )
  await code(/none\/?.*report\.json.*FILE_NOT_FOUND/, '-r', 'none')
  await code(/Expected --plan with --reference plain/, '-r', 'plain')
  await code(/prompts\.txt.*FILE_NOT_FOUND/, '--prompts', 'prompts.txt')
  await code(/no-model.*FILE_NOT_FOUND/)
})
