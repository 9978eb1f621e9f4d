import { execFile } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import { locateModel } from '../../lib/hub/locate-model'
import { fixture, repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

const run = promisify(execFile)

/** Where the model `emoji` is for a program that runs in `folder`, with the library's compiled files at `lib`; or the code of the error. */
async function located(folder: string, lib: string, name = 'emoji'): Promise<string> {
  const script = `require(${JSON.stringify(path.join(lib, 'hub', 'locate-model.js'))}).locateModel(${JSON.stringify(name)}).then(found => `
    + 'console.log(found.path), error => console.log(error.code, error.message))'
  return (await run(process.execPath, ['-e', script], { cwd: folder, env: { ...process.env, NODE_PATH: '' } })).stdout.trim()
}

/** A folder that looks like the model's package. */
function fakePackage(folder: string): string {
  const made = path.join(folder, 'node_modules', '@asdm', 'emoji')
  fs.mkdirSync(made, { recursive: true })
  fs.writeFileSync(path.join(made, 'package.json'), '{"name":"@asdm/emoji","version":"0.0.0"}')
  fs.writeFileSync(path.join(made, 'model_index.json'), '{}')
  return fs.realpathSync(made)
}

/** The compiled library, copied to where no package.json of asdm lies above it; it finds what it depends on by a link. */
function strayLibrary(folder: string): string {
  const stray = path.join(folder, 'stray')
  fs.cpSync(repoPath('build', 'ts', 'lib'), path.join(stray, 'lib'), { recursive: true })
  fs.mkdirSync(path.join(stray, 'node_modules', '@huggingface'), { recursive: true })
  for (const name of ['@huggingface/hub', 'pngjs'])
    fs.symlinkSync(repoPath('node_modules', name), path.join(stray, 'node_modules', name), 'junction')
  return path.join(stray, 'lib')
}

test('in a checkout emoji is the model in models/', async t => {
  t.deepEqual(await locateModel('emoji'), { path: repoPath('models', 'emoji'), variant: undefined })
  t.deepEqual(await locateModel('emoji', { variant: 'fp16' }), { path: repoPath('models', 'emoji'), variant: 'fp16' })
  t.is(await located(temporaryFolder(t), repoPath('build', 'ts', 'lib')), repoPath('models', 'emoji'))
})

test("the package is found from the working directory, before asdm's own, and from asdm's own folder", async t => {
  const folder = temporaryFolder(t)
  const lib = strayLibrary(folder)
  const [here, elsewhere] = ['here', 'elsewhere'].map(name => path.join(folder, name))
  for (const made of [here, elsewhere]) fs.mkdirSync(path.join(made, 'deeper'), { recursive: true })
  t.regex(await located(elsewhere, lib), /^FILE_NOT_FOUND Expected the package @asdm\/emoji, .*npm install @asdm\/emoji/)
  const beside = fakePackage(path.dirname(lib))
  t.is(await located(elsewhere, lib), beside)
  const ours = fakePackage(here)
  t.is(await located(here, lib), ours)
  t.is(await located(path.join(here, 'deeper'), lib), ours)
  t.is(await located(elsewhere, lib), beside)
})

test('something of that name here goes first, as do paths', async t => {
  const folder = temporaryFolder(t)
  fs.mkdirSync(path.join(folder, 'emoji'))
  t.is(await located(folder, repoPath('build', 'ts', 'lib')), 'emoji')
  t.is(await located(folder, repoPath('build', 'ts', 'lib'), './emoji'), './emoji')
  for (const name of [fixture('sd15-tiny'), './none', 'constructor', '__proto__', 'Emoji'])
    t.deepEqual(await locateModel(name), { path: name, variant: undefined })
})

test('the package has no revisions', async t => {
  const error = await t.throwsAsync(locateModel('emoji', { revision: 'main' }), { instanceOf: AsdmError })
  t.is(error?.code, 'INVALID_ARGUMENT')
  t.regex(error!.message, /@asdm\/emoji/)
})
