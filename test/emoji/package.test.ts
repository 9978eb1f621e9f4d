import { execFile } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { openCheckpoint } from '../../lib/model/checkpoint'
import { repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

const run = promisify(execFile)
const emoji = (...parts: string[]): string => repoPath('models', 'emoji', ...parts)
const read = (...parts: string[]): string => fs.readFileSync(emoji(...parts), 'utf8')

/** All files below a folder, with slashes. */
const filesIn = (folder: string): string[] =>
  fs.readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(file =>
    fs.statSync(path.join(folder, file)).isFile()).map(file => file.split(path.sep).join('/')).sort()

test('the package holds the model, its card, its licence and its notice, and nothing else', t => {
  const { files, name, version, license, scripts, dependencies } = JSON.parse(read('package.json')) as Record<string, any>
  t.is(name, '@asdm/emoji')
  t.is(license, 'MIT')
  t.is(version, (JSON.parse(fs.readFileSync(repoPath('package.json'), 'utf8')) as { version: string }).version)
  t.deepEqual([scripts, dependencies], [undefined, undefined])
  const included = (file: string): boolean =>
    ['package.json', 'README.md', 'LICENSE', ...files as string[]].some(each => file === each || file.startsWith(`${each}/`))
  t.deepEqual(filesIn(emoji()).filter(file => !included(file)), [])
  for (const file of files as string[]) t.true(fs.existsSync(emoji(file)), file)
  t.is(read('LICENSE'), fs.readFileSync(repoPath('LICENSE'), 'utf8').split('\n').slice(0, 21).join('\n') + '\n')
})

test('the card says what the files say', async t => {
  const card = read('README.md')
  const { unet, vae, textEncoder } = await openCheckpoint(emoji(), {})
  const millions = (weights: readonly { shape: readonly number[] }[]): number =>
    weights.reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0) / 1e6
  const told = (part: string): number => Number(new RegExp(`^\\| \`${part}\` .*\\| ([\\d.]+) M \\|$`, 'm').exec(card)?.[1])
  for (const [part, { weights }] of Object.entries({ unet, vae, text_encoder: textEncoder }))
    t.is(told(part), Number(millions(weights).toPrecision(String(told(part)).replace('.', '').replace(/^0/, '').length)), part)
  t.true(card.includes(`widths ${unet.config.blockOutChannels.join(', ')}`))
  t.true(
    card.includes(`window ${textEncoder.config.maxPositionEmbeddings}`)
    && card.includes(`cut after ${textEncoder.config.maxPositionEmbeddings} tokens`),
  )
  t.true(card.includes(`${Object.keys(JSON.parse(read('tokenizer', 'vocab.json')) as object).length.toLocaleString('en')} tokens`))
  const names = read('names.txt').trimEnd().split('\n')
  t.true(card.includes(`${names.length.toLocaleString('en')} of them`))
  t.deepEqual([...new Set(names)].sort(), names)
  const megabytes = filesIn(emoji()).reduce((sum, file) => sum + fs.statSync(emoji(file)).size, 0) / 1e6
  t.true(card.includes(`${Math.round(megabytes)} MB`), String(megabytes))
  for (const [, target] of card.matchAll(/\]\((?!http)([^)]+)\)/g)) t.true(fs.existsSync(emoji(target)), target)
  const held = JSON.parse(fs.readFileSync(repoPath('models', 'train', 'held-out.json'), 'utf8')) as Record<string, string[]>
  t.is(held.flat.length + held.render.length, 153)
  // A held-out drawing's name is known from the other style.
  for (const name of [...held.flat, ...held.render]) t.true(names.includes(name.replaceAll('-', ' ')), name)
})

test('installed beside a program, the command draws with it by its name', async t => {
  const folder = temporaryFolder(t)
  fs.mkdirSync(path.join(folder, 'node_modules', '@asdm'), { recursive: true })
  fs.symlinkSync(emoji(), path.join(folder, 'node_modules', '@asdm', 'emoji'), 'junction')
  const main = repoPath('build', 'ts', 'lib', 'cli', 'main.js')
  const { stdout } = await run(
    process.execPath, [main, 'generate', 'a 3d emoji of red apple', '--model', 'emoji', '-s', '1', '--seed', '1', '-o', 'apple.png'],
    { cwd: folder },
  )
  t.is(stdout, `${path.join(fs.realpathSync(folder), 'apple.png')}\n`)
  t.true(fs.statSync(path.join(folder, 'apple.png')).size > 500)
  const plan = await run(process.execPath, [main, 'inspect', 'emoji', '--json'], { cwd: folder })
  t.is((JSON.parse(plan.stdout) as { path: string }).path, fs.realpathSync(emoji()))
})
