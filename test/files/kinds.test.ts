import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import { fileExists, openFile, readText, readWhole, withFile } from '../../lib/files/files'
import { readSettings } from '../../lib/image/settings'
import { loadPlan } from '../../lib/plan/file'
import { loadRecipe } from '../../lib/assembly/recipe'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

const code = async (promise: Promise<unknown>): Promise<string> =>
  promise.then(() => 'fine', (error: unknown) => error instanceof AsdmError ? error.code : String(error))

/** A named pipe that nobody writes to, a device without end, and a folder. */
function strange(folder: string): string[] {
  const names = [folder]
  if (process.platform !== 'win32') {
    execFileSync('mkfifo', [path.join(folder, 'pipe')])
    names.push(path.join(folder, 'pipe'), '/dev/zero')
  }
  return names
}

test('what is no regular file is refused at once, whoever opens it', async t => {
  for (const file of strange(temporaryFolder(t)))
    for (const open of [openFile, fileExists, loadPlan, loadRecipe, readSettings, StableDiffusion.load,
      (name: string) => readWhole(name, 1e6), (name: string) => readText(name, 1e6), (name: string) => withFile(name, async () => {}),
    ] as ((file: string) => Promise<unknown>)[]) {
      if (open === StableDiffusion.load && fs.statSync(file).isDirectory()) continue
      t.regex(await code(open(file)), /^(FILE_READ|UNSUPPORTED_FORMAT|BAD_JSON)$/, `${open.name || open.toString()} of ${file}`)
    }
})

test('a strange file in a model folder is an error, not absent', async t => {
  if (process.platform === 'win32') return t.pass()
  for (const name of ['model_index.json', 'unet/config.json', 'tokenizer/vocab.json', 'scheduler/scheduler_config.json', 'unet/diffusion_pytorch_model.safetensors'])
    for (const kind of ['pipe', 'folder']) {
      const folder = path.join(temporaryFolder(t), 'model')
      fs.cpSync(repoPath('models', 'emoji'), folder, { recursive: true })
      const file = path.join(folder, name)
      fs.rmSync(file, { force: true })
      if (kind === 'pipe') execFileSync('mkfifo', [file])
      else fs.mkdirSync(file)
      t.is(await code(StableDiffusion.load(folder, { threads: 1 })), 'FILE_READ', `${name} as a ${kind}`)
    }
})

test('files are read whole, within a bound, until an abort', async t => {
  const file = path.join(temporaryFolder(t), 'file')
  fs.writeFileSync(file, Buffer.alloc(10_000_000, 7))
  t.true((await readWhole(file, 10_000_000)).equals(Buffer.alloc(10_000_000, 7)))
  t.is(await code(readWhole(file, 9_999_999)), 'FILE_READ')
  await t.throwsAsync(readWhole(file, 1e9, AbortSignal.abort()), { any: true, name: 'AbortError' })
  t.false(await fileExists(`${file}.none`))
  t.true(await fileExists(file))
})
