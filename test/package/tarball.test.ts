import { execFile } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { locateAddon } from '../../lib/native/load'
import { libc, platformPackage } from '../../lib/native/platform'
import { repoPath, root } from '../support/fixtures'

// The package as users get it: packed, installed in a project of its own, used in both module systems and by TypeScript. The native
// binary of this checkout is used through ASDM_BINARY, except where ASDM_TEST_INSTALL=1 asks for the whole installation.
const run = promisify(execFile)
const whole = process.env.ASDM_TEST_INSTALL === '1'
const npm = process.env.npm_execpath?.endsWith('.js') === true ? [process.execPath, process.env.npm_execpath] : ['npm']
const quiet = ['--no-audit', '--no-fund', '--no-update-notifier', '--loglevel=error', '--prefer-offline']

interface Packed { filename: string, size: number, files: { path: string, size: number }[] }

/** Environment without what `npm test` set for its own scripts. */
function cleanEnv(extra: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = {}
  for (const [key, value] of Object.entries(process.env))
    if (!/^npm_(package|lifecycle|command|config_local_prefix)|^(INIT_CWD|NODE_OPTIONS|LD_PRELOAD|NODE_PATH)$/i.test(key)) env[key] = value
  return { ...env, ...extra }
}

async function runNpm(folder: string, args: string[], env: NodeJS.ProcessEnv): Promise<string> {
  const [command, ...prefix] = npm
  return (await run(command, [...prefix, ...args, ...quiet], {
    cwd: folder, env, maxBuffer: 2 ** 26, shell: process.platform === 'win32' && prefix.length === 0,
  })).stdout
}

let folder = ''
let packed: Packed
const binary = locateAddon().file

test.before('pack and install', async t => {
  t.timeout(600_000)
  folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'asdm-package-')))
  // Lifecycle scripts are left out: dist/ was compiled by `npm ci` and a test must not rewrite it.
  packed = (JSON.parse(
    await runNpm(root, ['pack', '--json', '--ignore-scripts', `--pack-destination=${folder}`], cleanEnv()),
  ) as Packed[])[0]
  fs.writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ name: 'project', version: '1.0.0', private: true }))
  await runNpm(
    folder, ['install', '--no-package-lock', `./${packed.filename}`], cleanEnv(whole ? { ASDM_BINARY: '' } : { ASDM_BINARY: binary }),
  )
})

test.after.always('remove', () => fs.rmSync(folder, { recursive: true, force: true }))

const runtimeEnv = (): NodeJS.ProcessEnv => cleanEnv(whole ? { ASDM_BINARY: '' } : { ASDM_BINARY: binary })

async function node(file: string, content: string): Promise<string> {
  fs.writeFileSync(path.join(folder, file), content)
  return (await run(process.execPath, [file], { cwd: folder, env: runtimeEnv() })).stdout.trim()
}

test.serial('the tarball holds what is needed and no more', t => {
  const files = packed.files.map(file => file.path)
  t.true(packed.size < 5e6, `${packed.size} bytes`)
  for (const needed of [
    'package.json', 'native/addon.gypi', 'native/sources.json', 'native/napi/addon.cpp', 'native/runtime/model.h',
    'dist/index.js', 'dist/native/compile.js', 'dist/index.d.ts', 'dist/cli/main.js', 'dist/native/load.js',
  ])
    t.true(files.includes(needed), needed)
  t.true(files.some(file => file.startsWith('assets/clip-tokenizer/')))
  const sources = JSON.parse(fs.readFileSync(repoPath('native', 'sources.json'), 'utf8')) as Record<string, string[]>
  for (const file of [...sources.library, ...sources.addon]) t.true(files.includes(file), file)
  t.deepEqual(
    files.filter(file => !file.endsWith('.md') && /\.(safetensors|node|ckpt|o|a)$|^binding\.gyp$|^(scripts|test|models|build|bench|npm|node_modules|native\/testing)\//.test(file)), [],
  )
})

test.serial('no link of the packed texts is dead', t => {
  const files = packed.files.map(file => file.path)
  const texts = files.filter(file => /^(README|ARCHITECTURE)\.md$|^docs\/.*\.md$/.test(file))
  t.true(texts.length > 5)
  for (const text of texts) {
    const source = fs.readFileSync(repoPath(text), 'utf8').replace(/```[\s\S]*?```/g, '')
    for (const [, link = ''] of source.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^(https?:|#)/.test(link)) continue
      const target = path.posix.join(path.posix.dirname(text), link.replace(/#.*$/, ''))
      t.true(files.some(file => file === target || file.startsWith(`${target.replace(/\/$/, '')}/`)), `${text}: ${link}`)
    }
  }
})

test.serial('nothing runs at installation, in any package', t => {
  for (const folder of ['.', 'models/emoji', 'packages/server', 'packages/studio', ...fs.readdirSync(repoPath('npm')).filter(name => !name.includes('.')).map(name => `npm/${name}`)]) {
    const { scripts = {} } = JSON.parse(fs.readFileSync(repoPath(folder, 'package.json'), 'utf8')) as { scripts?: Record<string, string> }
    t.deepEqual(Object.keys(scripts).filter(name => /^(pre|post)?install$/.test(name)), [], folder)
  }
  // Package managers compile whatever has this file, some in spite of "gypfile": false.
  t.false(packed.files.some(file => file.path === 'binding.gyp'))
})

test.serial('the server is a package of its own, which asdm serve asks for', async t => {
  const { dependencies = {} } = JSON.parse(fs.readFileSync(repoPath('packages', 'server', 'package.json'), 'utf8')) as
    { dependencies?: Record<string, string> }
  t.true(Object.keys(dependencies).includes('fastify'))
  for (const name of Object.keys(dependencies)) t.false(fs.existsSync(path.join(folder, 'node_modules', name)), name)
  const command = path.join(folder, 'node_modules', 'asdm', 'dist', 'cli', 'main.js')
  const { code, stderr } = await run(process.execPath, [command, 'serve', '--model', 'emoji'], { cwd: folder, env: runtimeEnv() })
    .then(() => ({ code: 0, stderr: '' }), (error: unknown) => error as { code: number, stderr: string })
  t.is(code, 1)
  t.regex(stderr, /^asdm: Expected the package @asdm\/server .* npm install @asdm\/server \(PACKAGE_MISSING\)\n$/)
})

test.serial('require and import give the same exports', async t => {
  const required = await node(
    'required.cjs', 'console.log(Object.keys(require(\'asdm\')).filter(name => name !== \'default\').sort().join())',
  )
  const imported = await node(
    'imported.mjs',
    'import * as asdm from \'asdm\'; console.log(Object.keys(asdm).filter(name => '
    + '!/^(default|module\\.exports|__esModule)$/.test(name)).sort().join())',
  )
  t.is(imported, required)
  for (const name of ['StableDiffusion', 'UNet', 'VAE', 'TextEncoder', 'Tokenizer', 'createSampler', 'AsdmError'])
    t.true(required.split(',').includes(name), name)
  t.is(
    await node(
      'named.mjs',
      'import { StableDiffusion, AsdmError } from \'asdm\'; console.log(typeof StableDiffusion.load, new AsdmError(\'INTERNAL\', \'x\') '
      + 'instanceof Error)',
    ),
    'function true',
  )
})

test.serial('asdm build compiles where nothing fits, and leaves only the binary', async t => {
  if (!whole) return t.pass()
  t.timeout(600_000)
  const bin = path.join(folder, 'node_modules', 'asdm', 'dist', 'cli', 'main.js')
  await run(process.execPath, [bin, 'build'], { cwd: folder, env: cleanEnv({ ASDM_BINARY: '' }), maxBuffer: 2 ** 26 })
  const build = path.join(folder, 'node_modules', 'asdm', 'build')
  t.deepEqual(fs.readdirSync(build, { recursive: true }).sort(), ['Release', path.join('Release', 'asdm.node')])
})

test.serial('the installed addon loads and computes', async t => {
  const models = JSON.stringify(repoPath('models', 'emoji'))
  const script = `
    const { StableDiffusion } = require('asdm')
    StableDiffusion.load(${models}).then(async sd => {
      const [image] = await sd.generate({ prompt: 'a 3d emoji of red apple', steps: 1, seed: 1 })
      console.log(image.width, image.height, image.rgba.length, Buffer.from(await image.png()).subarray(1, 4).toString())
      await sd.dispose()
    }).catch(error => { console.error(error); process.exitCode = 1 })`
  const [width, height, bytes, kind] = (await node('generate.cjs', script)).split(' ')
  t.is(Number(bytes), Number(width) * Number(height) * 4)
  t.is(kind, 'PNG')
})

test.serial('the command runs', async t => {
  const bin = path.join(folder, 'node_modules', '.bin', process.platform === 'win32' ? 'asdm.cmd' : 'asdm')
  const { stdout } = await run(bin, ['--version'], { cwd: folder, env: runtimeEnv(), shell: process.platform === 'win32' })
  t.is(stdout.trim(), (JSON.parse(fs.readFileSync(repoPath('package.json'), 'utf8')) as { version: string }).version)
})

test.serial('a prebuilt binary beside it is used, and nothing is compiled', async t => {
  const project = path.join(folder, 'prebuilt')
  const platform = path.join(folder, 'platform')
  for (const made of [project, platform]) fs.mkdirSync(made)
  fs.copyFileSync(binary, path.join(platform, 'asdm.node'))
  const kind = `${process.platform}${libc() === 'musl' ? 'musl' : ''}-${process.arch}`
  fs.copyFileSync(repoPath('npm', kind, 'package.json'), path.join(platform, 'package.json'))
  const [{ filename, files }] = JSON.parse(
    await runNpm(platform, ['pack', '--json', `--pack-destination=${folder}`], cleanEnv()),
  ) as Packed[]
  t.deepEqual(files.map(file => file.path).sort(), ['asdm.node', 'package.json'])
  fs.writeFileSync(path.join(project, 'package.json'), JSON.stringify({ name: 'prebuilt', version: '1.0.0', private: true }))
  await runNpm(project, ['install', '--no-package-lock', `../${filename}`, `../${packed.filename}`], cleanEnv({ ASDM_BINARY: '' }))
  t.false(fs.existsSync(path.join(project, 'node_modules', 'asdm', 'build')))
  const script = 'const { locateAddon } = require(require("path").resolve("node_modules/asdm/dist/native/load.js")); '
    + 'console.log(JSON.stringify(locateAddon()))'
  const { source, file } = JSON.parse(
    (await run(process.execPath, ['-e', script], { cwd: project, env: cleanEnv({ ASDM_BINARY: '' }) })).stdout,
  ) as { source: string, file: string }
  t.is(source, 'package')
  t.true(file.includes(platformPackage().replace('/', path.sep)), file)
})

const program = `
import { StableDiffusion, AsdmError, createSampler, type Tensor } from 'asdm'
async function main(): Promise<number> {
  const sd = await StableDiffusion.load('model', { threads: 2 })
  const images = await sd.generate({ prompt: 'x', steps: 2, seed: 1n })
  const width: number = images[0].width
  const tensor: Tensor = { data: new Float32Array(1), shape: [1] }
  // @ts-expect-error a prompt is text
  await sd.generate({ prompt: 5 })
  // @ts-expect-error no such option
  await StableDiffusion.load('model', { colour: 'red' })
  await sd.dispose()
  void createSampler
  return width + tensor.data.length
}
main().catch((error: unknown) => { if (error instanceof AsdmError) console.log(error.code) })
`

for (const [resolution, module, file] of [
  ['node16', 'node16', 'program.mts'], ['node16', 'node16', 'program.cts'], ['bundler', 'esnext', 'program.ts'],
]) {
  test.serial(`types check with moduleResolution ${resolution} in ${file}`, async t => {
    t.timeout(120_000)
    fs.writeFileSync(path.join(folder, file), program)
    const types = path.join(root, 'node_modules', '@types')
    const args = [repoPath(
      'node_modules', 'typescript', 'bin', 'tsc',
    ), '--noEmit', '--strict', '--target', 'es2022', '--lib', 'es2023,esnext.disposable',
    '--module', module, '--moduleResolution', resolution, '--typeRoots', types, '--types', 'node', file]
    const outcome = await run(process.execPath, args, { cwd: folder, env: cleanEnv() }).then(
      () => '', error => String((error as { stdout: string }).stdout),
    )
    t.is(outcome, '')
  })
}

// What a renderer or a web view does with images.
const domProgram = `
import { StableDiffusion, GeneratedImage, type GenerateOptions } from 'asdm'
export async function show(sd: StableDiffusion, canvas: HTMLCanvasElement, options: GenerateOptions): Promise<void> {
  for await (const step of sd.steps(options)) {
    if (step.phase === 'denoise' && step.preview !== undefined) {
      const [{ rgba, width, height }] = step.preview
      canvas.getContext('2d')!.putImageData(new ImageData(rgba, width, height), 0, 0)
    }
  }
  const [image] = await sd.generate(options)
  const data = new ImageData(image.rgba, image.width, image.height)
  const blob = new Blob([await image.png(), await image.toBuffer('webp', { quality: 80 })], { type: 'image/png' })
  const url: string = await image.toDataURL('jpeg')
  const back: GeneratedImage = GeneratedImage.from(structuredClone(image))
  await sd.generate({ prompt: url, image: data, mask: blob })
  void back
}
`

test.serial('images fit the DOM types', async t => {
  t.timeout(120_000)
  fs.writeFileSync(path.join(folder, 'dom.ts'), domProgram)
  const args = [repoPath(
    'node_modules', 'typescript', 'bin', 'tsc',
  ), '--noEmit', '--strict', '--target', 'es2022', '--lib', 'es2023,esnext.disposable,dom,dom.asynciterable',
  '--module', 'esnext', '--moduleResolution', 'bundler', '--typeRoots', path.join(
    root, 'node_modules', '@types',
  ), '--types', 'node', 'dom.ts']
  t.is(
    await run(process.execPath, args, { cwd: folder, env: cleanEnv() }).then(
      () => '', error => String((error as { stdout: string }).stdout),
    ),
    '',
  )
})
