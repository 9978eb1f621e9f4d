import { spawn } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { readSettings } from '../../lib/image/settings'
import { withAlpha } from '../../lib/image/pixels'
import { decodePng } from '../../lib/image/png/decode'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { fixture, maxAbsDiff, repoPath } from '../support/fixtures'

const main = path.join(__dirname, '..', '..', 'lib', 'cli', 'main.js')
const emoji = repoPath('models', 'emoji')

interface Run {
  code: number | null
  signal: string | null
  stdout: string
  stderr: string
}

interface Surroundings { cwd?: string, stopAfterMs?: number, env?: NodeJS.ProcessEnv }

/** Runs the CLI in a process of its own; with `stopAfterMs` it gets Ctrl-C that long after it has loaded the addon. */
function asdm(args: string[], { cwd, stopAfterMs, env = {} }: Surroundings = {}): Promise<Run> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, ...args], { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', text => { stdout += text })
    child.stderr.setEncoding('utf8').on('data', text => { stderr += text })
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
    if (stopAfterMs !== undefined) void loads(child.pid!).then(() => setTimeout(() => child.kill('SIGINT'), stopAfterMs))
  })
}

/** Resolves once a process has loaded the addon, which Linux tells; elsewhere after two seconds. */
async function loads(pid: number): Promise<void> {
  for (let maps = ''; !maps.includes('asdm.node');) {
    try {
      maps = fs.readFileSync(`/proc/${pid}/maps`, 'utf8')
    } catch {
      return sleep(2000)
    }
    await sleep(50)
  }
}

function temporary(t: ExecutionContext): string {
  const folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'asdm-cli-')))
  t.teardown(() => fs.rmSync(folder, { recursive: true }))
  return folder
}

test('generate writes the picture of the library and says where it is', async t => {
  const cwd = temporary(t)
  const { code, stdout, stderr } = await asdm(['generate', '--model', emoji, '--out', 'a.png', '-s', '3', '-g', '3', '--seed', '7', 'a 3d emoji', 'of red apple'], { cwd })
  t.is(code, 0, stderr)
  t.is(stdout, `${path.join(cwd, 'a.png')}\n`)
  const picture = withAlpha(await decodePng(fs.readFileSync(path.join(cwd, 'a.png')), 'it', () => {}))
  const sd = await StableDiffusion.load(emoji, { threads: 1 })
  const [image] = await sd.generate({ prompt: 'a 3d emoji of red apple', guidanceScale: 3, steps: 3, seed: 7 })
  await sd.dispose()
  t.is(maxAbsDiff(picture.rgba, image.rgba), 0)
  t.deepEqual(await readSettings(path.join(cwd, 'a.png')), JSON.parse(JSON.stringify(image.settings)))
})

test('seeds of several images: counted on, listed, random', async t => {
  const cwd = temporary(t)
  const seedsOf = async (...flags: string[]): Promise<unknown[]> => {
    const { code, stdout, stderr } = await asdm(['generate', '-m', emoji, '-s', '1', '--json', '-o', 'out/', ...flags, 'heart'], { cwd })
    t.is(code, 0, stderr)
    return (JSON.parse(stdout) as { seed: unknown }[]).map(({ seed }) => seed)
  }
  t.deepEqual(await seedsOf('-c', '2', '--seed', '7', '--seeds', 'per-image'), [7, 8])
  t.deepEqual(await seedsOf('--seed', '9,3'), [9, 3])
  const [random] = await seedsOf('--seed', '-1')
  t.true(Number.isInteger(random) && random as number >= 0)
  t.true(fs.existsSync(path.join(cwd, 'out', `heart-${random as number}.png`)))
})

test('several pictures get numbers; without --out, prompt and seed make the name', async t => {
  const cwd = temporary(t)
  const { code, stdout } = await asdm(['generate', '-m', emoji, '-s', '1', '-c', '2', '--seed', '18446744073709551615', '--json', 'Pizza & cola!'], { cwd })
  t.is(code, 0)
  const rows = JSON.parse(stdout)
  t.deepEqual(rows.map((row: { file: string }) => row.file), [1, 2].map(i => path.join(cwd, `pizza-cola-18446744073709551615-${i}.png`)))
  t.is(rows[0].seed, '18446744073709551615')
  t.is(rows[0].guidanceScale, 3)
  t.is(rows[1].index, 1)
  t.is((await readSettings(rows[1].file))?.seed, 2n ** 64n - 1n)
})

test('a picture can be handed in, with every other option', async t => {
  const cwd = temporary(t)
  const first = await asdm(['generate', '-m', emoji, '-s', '1', '--seed', '1', '-o', 'in/', 'heart'], { cwd })
  const image = first.stdout.trim()
  t.is(path.dirname(image), path.join(cwd, 'in'))
  const { code, stderr } = await asdm(['generate', '-m', emoji, '-s', '2', '--seed', '1', '-o', 'b.png', '-n', 'blue', '--sampler', 'euler', '--image', image, '--mask', image, '--strength', '0.9',
    '--clip-skip', '1', '--prompt-weighting', '-W', '64', '-H', '64', '-t', '1', '--cpu', 'auto', '--dtype', 'fp32', '--device', 'cpu', '--eta', '0', '(star:1.2)'], { cwd })
  t.is(code, 0, stderr)
  t.like(await readSettings(path.join(cwd, 'b.png')), { negativePrompt: 'blue', sampler: 'euler', from: 'inpaint', strength: 0.9, clipSkip: 1, promptWeighting: true })
})

test('an error is one sentence with its code, and exit code 1', async t => {
  for (const [args, code] of [
    [['generate', '-m', fixture('none'), 'x'], 'FILE_NOT_FOUND'],
    [['generate', '-m', emoji, '-s', '0', 'x'], 'INVALID_ARGUMENT'],
    [['generate', '-m', emoji, '-W', '65', 'x'], 'INVALID_ARGUMENT'],
    [['generate', '-m', emoji, '-s', '1', '-o', path.join(__filename, 'x.png'), 'x'], 'FILE_WRITE'],
    [['inspect', fixture('none')], 'FILE_NOT_FOUND'],
    [['inspect', emoji, '-W', '65'], 'INVALID_ARGUMENT'],
  ] as [string[], string][]) {
    const run = await asdm(args)
    t.is(run.code, 1, args.join(' '))
    t.regex(run.stderr, new RegExp(`^asdm: .+ \\((${code}|FILE_NOT_FOUND)\\)\\n$`), args.join(' '))
    t.is(run.stdout, '')
  }
})

test('what cannot be written is refused before anything is loaded', async t => {
  const cwd = temporary(t)
  const missing = path.join(cwd, 'no-such-model')
  const refusals: [string[], string][] = [
    [['-o', 'a.gif'], 'INVALID_ARGUMENT'], [['-o', 'a.jpg', '--format', 'png'], 'INVALID_ARGUMENT'], [['--format', 'bmp'], 'INVALID_ARGUMENT'],
    [['-o', 'a.png', '--quality', '5'], 'INVALID_ARGUMENT'], [['-o', path.join(__filename, 'a.png')], 'FILE_WRITE'],
    [['-o', path.join('/proc', 'a.png')], process.platform === 'linux' ? 'FILE_NOT_FOUND|FILE_WRITE' : '.*'],
  ]
  // Root may write everywhere.
  if (process.getuid?.() !== 0 && process.platform !== 'win32') {
    fs.mkdirSync(path.join(cwd, 'readonly'), { mode: 0o555 })
    refusals.push([['-o', path.join('readonly', 'a.png')], 'FILE_WRITE'])
  }
  for (const [args, code] of refusals) {
    const { code: exit, stderr } = await asdm(['generate', '-m', missing, ...args, 'x'], { cwd })
    t.is(exit, 1)
    t.regex(stderr, new RegExp(`\\((${code})\\)\\n$`), args.join(' '))
    t.notRegex(stderr, /no-such-model/)
  }
  t.deepEqual(fs.readdirSync(cwd).filter(name => name !== 'readonly'), [])
})

test('images are written as JPEG, fitted and kept outside of the mask', async t => {
  const cwd = temporary(t)
  const first = await asdm(['generate', '-m', emoji, '-s', '1', '--seed', '1', '-W', '80', '-H', '48', '-o', 'a.jpg', '--quality', '95', 'heart'], { cwd })
  t.is(first.code, 0, first.stderr)
  t.deepEqual([...fs.readFileSync(path.join(cwd, 'a.jpg')).subarray(0, 3)], [0xff, 0xd8, 0xff])
  const args = ['-s', '2', '--seed', '1', '-W', '64', '-H', '64', '--image', 'a.jpg', '--mask', 'a.jpg', '--fit', 'contain', '--keep-outside', '-o', 'b.png']
  const { code, stderr } = await asdm(['generate', '-m', emoji, ...args, 'star'], { cwd })
  t.is(code, 0, stderr)
  t.like(await readSettings(path.join(cwd, 'b.png')), { fit: 'contain', keepOutside: true, from: 'inpaint' })
})

test('wrong usage gives exit code 2', async t => {
  for (const args of [['generate', 'x'], ['generate', '-m', emoji], ['generate', '-m', emoji, '--stepps', '3', 'x'], ['generate', '-m', emoji, '-s', 'x', 'y'], ['generate', '-m', emoji, '--seed', '-2', 'y'], ['paint'], ['inspect'], ['doctor', 'x']])
    t.is((await asdm(args)).code, 2, args.join(' '))
  for (const args of [['--help'], ['--version'], ['generate', '--help'], ['help', 'inspect']]) t.is((await asdm(args)).code, 0, args.join(' '))
})

test('Ctrl-C stops a generation cleanly with exit code 130', async t => {
  if (process.platform === 'win32') return t.pass()
  const cwd = temporary(t)
  const run = await asdm(['generate', '-m', emoji, '-s', '500', '-W', '512', '-H', '512', '-o', 'a.png', 'x'], { cwd, stopAfterMs: 2000 })
  t.is(run.signal, null)
  t.is(run.code, 130, run.stderr)
  t.is(run.stderr, 'Stopped.\n')
  t.deepEqual(fs.readdirSync(cwd), [])
})

test('inspect lists parts, blocks and sums', async t => {
  const json = await asdm(['inspect', emoji, '--json'])
  t.is(json.code, 0, json.stderr)
  const report = JSON.parse(json.stdout)
  t.deepEqual(report.parts.map((part: { name: string }) => part.name), ['text encoder', 'UNet', 'VAE decoder', 'VAE encoder'])
  for (const part of report.parts) {
    t.is(part.blocks.reduce((sum: number, block: { parameters: number }) => sum + block.parameters, 0), part.parameters)
    t.is(part.blocks.reduce((sum: number, block: { macs: number }) => sum + block.macs, 0), part.macs)
    // The shipped weights are float16.
    t.is(part.storedBytes, part.parameters * 2)
    t.true(part.arenaBytes > 0)
  }
  t.true(Math.abs(report.parts[1].parameters / 15.5e6 - 1) < 0.01)
  const larger = JSON.parse((await asdm(['inspect', emoji, '--json', '-W', '128', '-H', '128'])).stdout)
  t.true(larger.parts[1].macs > 3.9 * report.parts[1].macs)
  const text = await asdm(['inspect', emoji])
  t.is(text.code, 0)
  t.deepEqual(report.defaults, { guidanceScale: 3, steps: 20, clipSkip: 0 })
  t.true(report.samplers.includes('euler') && !report.samplers.includes('pndm'))
  for (const word of ['guidance 3, 20 steps', 'samplers ddim, ddpm, euler', 'down_blocks.0', 'mid_block', 'up_blocks.3', 'DDIMScheduler', 'MACs', 'decoder']) t.true(text.stdout.includes(word), word)
})

test('doctor says what was found', async t => {
  const json = await asdm(['doctor', '--json'])
  t.is(json.code, 0, json.stderr)
  const report = JSON.parse(json.stdout)
  t.true(report.binary.found)
  t.true(report.cpu.usable.includes('portable'))
  t.true(report.threads.default >= 1)
  t.true(report.memory.totalBytes > 0)
  t.like(report.devices[0], { name: 'cpu', reason: null })
  t.like(report.devices[1], { name: 'cuda', reason: 'no plugin for it is installed' })
  const text = await asdm(['doctor'])
  t.is(text.code, 0)
  for (const word of ['binary', 'instruction set', 'device', 'threads', 'memory']) t.regex(text.stdout, new RegExp(word, 'i'))
})

test('doctor ends with code 1 where something is wrong', async t => {
  const bogus = await asdm(['doctor'], { env: { ASDM_CPU: 'bogus' } })
  t.is(bogus.code, 1)
  t.regex(bogus.stdout, /Problem: ASDM_CPU asks for the kernel set "bogus"/)
  const device = await asdm(['doctor'], { env: { ASDM_DEVICE: 'cuda' } })
  t.is(device.code, 1)
  t.regex(device.stdout, /Problem: ASDM_DEVICE asks for the device "cuda", which cannot be used here; unset it, or choose one of cpu\./)
  const plugin = await asdm(['doctor'], { env: { ASDM_DEVICE_PLUGIN: '/nowhere/plugin.so' } })
  t.is(plugin.code, 0, 'the CPU can be used')
  t.regex(plugin.stdout, /Device: +plugin, \S*plugin\.so: cannot be used, Expected/)
  const none = await asdm(['doctor', '--json'], { env: { ASDM_BINARY: '/nowhere/asdm.node' } })
  t.is(none.code, 1)
  t.regex((JSON.parse(none.stdout) as { problems: string[] }).problems.join(), /Unset ASDM_BINARY/)
  const slower = await asdm(['doctor', '--json'], { env: { ASDM_CPU: 'portable' } })
  t.is(slower.code, 0, 'a hint is no problem')
})

test('build compiles nothing where a binary loads', async t => {
  const { code, stdout } = await asdm(['build'])
  t.is(code, 0)
  t.regex(stdout, /asdm\.node loads; nothing is compiled/)
})
