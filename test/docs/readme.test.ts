import { execFile } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { samplerNames } from '../../lib/samplers'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { repoPath, root } from '../support/fixtures'

/** The texts whose examples are run. */
const texts = new Map(['README.md', 'docs/guide.md'].map(file => [file, fs.readFileSync(repoPath(file), 'utf8')]))
const options = fs.readFileSync(repoPath('docs', 'options.md'), 'utf8')
const run = promisify(execFile)

/** Fenced code of a language, with the file and the line it begins at. */
function blocks(language: string): { text: string, place: string }[] {
  return [...texts].flatMap(([file, text]) =>
    [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)].filter(match => match[1] === language)
      .map(match => ({ text: match[2], place: `${path.basename(file, '.md')}-${text.slice(0, match.index).split('\n').length}` })))
}

/** The rows of the table under a heading: the words in code style of each first cell. */
function firstCells(heading: string): string[] {
  const section = options.split(/^#+ /m).find(part => part.startsWith(heading)) ?? ''
  return section.split('\n').filter(line => line.startsWith('| `')).flatMap(line =>
    [...line.split('|')[1].matchAll(/`(.+?)`/g)].map(match => match[1]))
}

// One after the other: each runs a model in a process of its own, on all cores.

/** A folder inside the checkout, so that examples can import asdm by its name, with a way to the models. */
function workFolder(name: string): string {
  const folder = repoPath('build', 'readme', `${name}-${process.pid}`)
  fs.rmSync(folder, { recursive: true, force: true })
  fs.mkdirSync(folder, { recursive: true })
  fs.symlinkSync(repoPath('models'), path.join(folder, 'models'), 'junction')
  return folder
}

const remove = (folder: string): void => fs.rmSync(folder, { recursive: true, force: true })

test('there are examples', t => {
  t.true(blocks('js').length >= 6)
  t.true(blocks('console').length >= 4)
})

for (const { text, place } of blocks('js'))
  test.serial(`the example at ${place} runs and prints what it says`, async t => {
    const folder = workFolder(`js-${place}`)
    t.teardown(() => remove(folder))
    fs.writeFileSync(path.join(folder, 'example.mjs'), text)
    const { stdout } = await run(process.execPath, ['example.mjs'], { cwd: folder })
    const printed = stdout.split('\n')
    for (const [, wanted] of text.matchAll(/\/\/ -> (.*)$/gm)) {
      const at = printed.indexOf(wanted)
      t.true(at >= 0, `${JSON.stringify(wanted)} in ${JSON.stringify(stdout)}`)
      printed.splice(0, at + 1)
    }
  })

/** Samples of the command line: what differs between machines is left out. */
function plain(command: string, line: string): string {
  if (command.startsWith('asdm doctor')) return line.split(':')[0]
  return line.replace(/activations .*$/, 'activations').trimEnd()
}

for (const { text, place } of blocks('console'))
  test.serial(`the command at ${place} prints what it says`, async t => {
    const folder = workFolder(`console-${place}`)
    t.teardown(() => remove(folder))
    const [first, ...wanted] = text.trimEnd().split('\n')
    const command = first.replace(/^\$ /, '')
    const [name, ...args] = command.split(' ')
    t.is(name, 'asdm')
    const { stdout } = await run(process.execPath, [repoPath('dist', 'cli', 'main.js'), ...args], { cwd: folder })
    const printed = stdout.replaceAll(fs.realpathSync(folder), '/home/you').replaceAll(folder, '/home/you')
      .split('\n').map(each => plain(command, each))
    for (const sample of wanted.filter(each => each !== '...')) {
      // Problems that doctor finds here are none of the text's.
      if (command === 'asdm doctor' && !sample.includes(':')) continue
      const at = printed.indexOf(plain(command, sample))
      t.true(at >= 0, `${JSON.stringify(sample)} in ${stdout}`)
      printed.splice(0, at + 1)
    }
  })

/** The options that a call knows, as it tells those who ask for one it does not know. */
async function knownOptions(call: (options: never) => Promise<unknown>): Promise<string[]> {
  const { message } = await call({ prompt: 'x', [' '.repeat(40)]: 1 } as never).then(() => ({ message: '' }), (error: Error) => error)
  return (/known are (.*)$/.exec(message)?.[1] ?? '').split(', ')
}

test('the tables list the options there are', async t => {
  const sd = await StableDiffusion.load(repoPath('models', 'emoji'), { threads: 1 })
  t.teardown(() => sd.dispose())
  t.deepEqual(firstCells('Options of `generate`').sort(), (await knownOptions(options => sd.generate(options))).sort())
  t.deepEqual(
    firstCells('Options of `StableDiffusion.load').sort(), (await knownOptions(options => StableDiffusion.load('x', options))).sort(),
  )
  t.deepEqual(/^Samplers: (.*), for models/m.exec(options)?.[1].replaceAll('`', '').split(', '), [...samplerNames])
})

test('the environment variables are those that are read', t => {
  const files = ['lib', 'native', 'scripts'].flatMap(folder =>
    fs.readdirSync(repoPath(folder), { recursive: true, encoding: 'utf8' }).map(file => repoPath(folder, file)))
  const read = new Set<string>()
  for (const file of files.filter(name => /\.(ts|cpp|h|mjs)$/.test(name)))
    for (const match of fs.readFileSync(file, 'utf8').matchAll(/(?:\benv\.|getenv\(")((?:ASDM|HF)_\w+|JOBS)/g)) read.add(match[1])
  t.deepEqual(firstCells('Environment variables').sort(), [...read].sort())
})

test('links and npm scripts lead somewhere', t => {
  const { scripts } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> }
  const pages = fs.readdirSync(repoPath('docs')).filter(name => name.endsWith('.md')).map(name => `docs/${name}`)
  for (const file of ['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'SECURITY.md', ...pages]) {
    const text = fs.readFileSync(repoPath(file), 'utf8')
    for (const [, target] of text.matchAll(/\]\((?!http|#)([^)#]+)/g))
      t.true(fs.existsSync(path.join(path.dirname(repoPath(file)), target)), `${file}: ${target}`)
    for (const [, name] of text.matchAll(/npm run ([\w:-]+)/g)) t.true(name in scripts, `${file}: npm run ${name}`)
  }
})

test('ARCHITECTURE.md names files and folders that exist, and every folder of the code', t => {
  const text = fs.readFileSync(repoPath('ARCHITECTURE.md'), 'utf8')
  const named = [...text.matchAll(
    /(?<![\w./-])((?:lib|native|scripts|test|bench|npm|schema|models|assets|examples|recipes|docs|\.ci)\/[\w./-]*)/g,
  )].map(match => match[1].replace(/\.$/, ''))
  t.true(named.length > 50)
  for (const name of new Set(named)) t.true(fs.existsSync(repoPath(name)), name)
  for (const folder of ['lib', 'native', 'native/cpu'])
    for (const entry of fs.readdirSync(repoPath(folder), { withFileTypes: true }))
      if (entry.isDirectory()) t.true(named.includes(`${folder}/${entry.name}/`), `${folder}/${entry.name}/ is not described`)
})
