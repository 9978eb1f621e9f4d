import { execFileSync, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import test from 'ava'
import { unpacked } from '../../lib/files/package-root'
import { ABI } from '../../lib/native/binding'
import { locateAddon } from '../../lib/native/load'
import { packageManager } from '../../lib/native/package-manager'
import { platformPackage } from '../../lib/native/platform'
import { platformPackages } from '../../lib/native/platform-packages'
import { root } from '../support/fixtures'
import { runScript } from './support'

const binary = locateAddon().file
const report = `
  try { const { file, source, addon } = require(process.argv[1]).locateAddon(); console.log(JSON.stringify({ file, source, abi: addon.abi })) }
  catch (error) { console.log(JSON.stringify({ name: error.name, code: error.code, message: error.message })) }`

interface Report { file?: string, source?: string, abi?: number, name?: string, code?: string, message?: string }

const folders: string[] = []
test.after.always(() => { for (const folder of folders) fs.rmSync(folder, { recursive: true, force: true }) })

function temporary(): string {
  const folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'asdm-loader-')))
  folders.push(folder)
  return folder
}

/** The compiled loader, and the floors below it, which it is made of. */
function copyLoader(to: string): void {
  const compiled = path.dirname(require.resolve('../../lib/index'))
  for (const floor of ['base', 'files', 'native'])
    fs.cpSync(path.join(compiled, floor), path.join(to, floor), { recursive: true, filter: file => !/\.(map|d\.ts)$/.test(file) })
}

/** An installed asdm of the compiled loader alone, with the given files beside it; `{binary}` stands for the real one. */
function installed(files: Record<string, string>): { folder: string, locate(env?: NodeJS.ProcessEnv): Report } {
  const folder = temporary()
  const own = path.join(folder, 'node_modules', 'asdm')
  fs.mkdirSync(own, { recursive: true })
  fs.writeFileSync(path.join(own, 'package.json'), JSON.stringify({ name: 'asdm' }))
  copyLoader(path.join(own, 'dist'))
  for (const [name, content] of Object.entries(files)) {
    const file = path.join(folder, 'node_modules', name)
    fs.mkdirSync(path.dirname(file), { recursive: true })
    if (content === '{binary}') fs.copyFileSync(binary, file)
    else fs.writeFileSync(file, content)
  }
  return {
    folder,
    locate(env = {}) {
      const { ASDM_BINARY: _, ...rest } = process.env
      const output = execFileSync(
        process.execPath, ['-e', report, path.join(own, 'dist', 'native', 'load.js')], { encoding: 'utf8', env: { ...rest, ...env } },
      )
      return JSON.parse(output) as Report
    },
  }
}

test('the local build is found', t => {
  t.is(installed({ 'asdm/build/Release/asdm.node': '{binary}' }).locate().source, 'build')
  const debug = installed({ 'asdm/build/Debug/asdm.node': '{binary}' }).locate()
  t.deepEqual([debug.source, debug.abi], ['build', ABI])
})

test('the platform package comes first', t => {
  const app = installed({ [`${platformPackage()}/asdm.node`]: '{binary}', 'asdm/build/Release/asdm.node': '{binary}' })
  t.deepEqual(app.locate(), { file: path.join(app.folder, 'node_modules', platformPackage(), 'asdm.node'), source: 'package', abi: ABI })
})

test('a prebuilt binary that does not load is passed over', t => {
  t.is(installed({ [`${platformPackage()}/asdm.node`]: 'no binary', 'asdm/build/Release/asdm.node': '{binary}' }).locate().source, 'build')
})

test('a prebuilt binary that crashes while loading is passed over', t => {
  const folder = temporary()
  const file = path.join(folder, 'crash.node')
  fs.writeFileSync(path.join(folder, 'crash.cpp'), '#include <cstdlib>\nstatic const int crash = (std::abort(), 0);\n')
  if (spawnSync('g++', ['-shared', '-fPIC', path.join(folder, 'crash.cpp'), '-o', file]).status !== 0) return t.pass()
  const app = installed({ 'asdm/build/Release/asdm.node': '{binary}', [`${platformPackage()}/package.json`]: '{}' })
  fs.copyFileSync(file, path.join(app.folder, 'node_modules', platformPackage(), 'asdm.node'))
  t.is(app.locate().source, 'build')
})

test('when nothing loads, every attempt and the remedy are told', t => {
  const { name, code, message } = installed({ 'asdm/build/Release/asdm.node': 'no binary' }).locate()
  t.deepEqual([name, code], ['AsdmError', 'NATIVE_NOT_FOUND'])
  t.true(
    message!.includes(platformPackage()) && /Release[\\/]asdm\.node: \S/.test(message!)
    && /Debug[\\/]asdm\.node: no such file/.test(message!),
    message,
  )
  t.regex(message!, /does not load on this machine.*asdm build.*C\+\+17 compiler/)
})

const other = platformPackage() === '@asdm/darwin-arm64' ? '@asdm/win32-x64' : '@asdm/darwin-arm64'
const release = JSON.stringify({ name: 'asdm', optionalDependencies: { [platformPackage()]: '1.2.3', [other]: '1.2.3' } })

test('each cause has its own remedy, with the command of the package manager in use', t => {
  const messageOf = (files: Record<string, string>, env: NodeJS.ProcessEnv = {}): string => {
    const { code, message } = installed(files).locate({ npm_config_user_agent: '', ...env })
    t.is(code, 'NATIVE_NOT_FOUND')
    return message!
  }
  t.regex(messageOf({}), /No prebuilt binary is installed\. Compile one: npx asdm build/)
  const omitted = new RegExp(`left out of this installation.*npm install ${platformPackage()}@1\\.2\\.3\\. Or.*npx asdm build`)
  t.regex(messageOf({ 'asdm/package.json': release }), omitted)
  const elsewhere = {
    'asdm/package.json': release, [`${other}/asdm.node`]: 'x', [`${other}/package.json`]: JSON.stringify({ name: other }),
  }
  t.regex(messageOf(elsewhere), new RegExp(`${other} is installed, which is for another platform`))
  const commands = {
    'npm/11.0.0 node/v22': ['npm install ', 'npx asdm build'], 'pnpm/10.0.0 npm/? node/v22': ['pnpm add ', 'pnpm exec asdm build'],
    'yarn/4.0.0 npm/? node/v22': ['yarn add ', 'yarn asdm build'], 'bun/1.3.0 npm/? node/v22': ['bun add ', 'bunx asdm build'],
    'deno/2.0.0 npm/? deno/2.0.0': ['deno add npm:', 'deno run -A npm:asdm build'],
  }
  for (const [agent, [add, build]] of Object.entries(commands)) {
    const message = messageOf({ 'asdm/package.json': release }, { npm_config_user_agent: agent })
    t.true(message.includes(`${add}${platformPackage()}@1.2.3`) && message.includes(build), message)
  }
})

test('the package manager is known by its lock file where none runs', t => {
  const files: [file: string, manager: ReturnType<typeof packageManager>][] = [
    ['package-lock.json', 'npm'], ['pnpm-lock.yaml', 'pnpm'], ['yarn.lock', 'yarn'], ['.pnp.cjs', 'yarn'], ['bun.lock', 'bun'],
    ['bun.lockb', 'bun'], ['deno.lock', 'deno'],
  ]
  for (const [file, manager] of files) {
    const folder = temporary()
    fs.writeFileSync(path.join(folder, file), '')
    fs.mkdirSync(path.join(folder, 'packages', 'app'), { recursive: true })
    t.is(packageManager(path.join(folder, 'packages', 'app'), {}), manager, file)
    t.is(packageManager(folder, { npm_config_user_agent: 'bun/1.3.0' }), 'bun')
  }
})

test('in an archive of any name unpacked files are used, and their lack is told', t => {
  const app = installed({ 'asdm/build/Release/asdm.node': '{binary}' })
  const archive = path.join(temporary(), 'app-x64.asar')
  fs.cpSync(app.folder, archive, { recursive: true })
  const { ASDM_BINARY: _, ...env } = process.env
  const load = path.join(archive, 'node_modules', 'asdm', 'dist', 'native', 'load.js')
  const locate = (): Report => JSON.parse(execFileSync(process.execPath, ['-e', report, load], { encoding: 'utf8', env })) as Report
  const inside = path.join('node_modules', 'asdm', 'build', 'Release', 'asdm.node')
  fs.mkdirSync(path.dirname(path.join(`${archive}.unpacked`, inside)), { recursive: true })
  fs.renameSync(path.join(archive, inside), path.join(`${archive}.unpacked`, inside))
  t.deepEqual(locate(), { file: path.join(`${archive}.unpacked`, inside), source: 'build', abi: ABI })
  fs.rmSync(`${archive}.unpacked`, { recursive: true })
  t.regex(locate().message!, /asar archive.*asarUnpack/)
})

test('in a bundle the binary is found beside it, and its lack is told', t => {
  const folder = temporary()
  copyLoader(folder)
  const { ASDM_BINARY: _, ...env } = process.env
  const output = execFileSync(process.execPath, ['-e', report, path.join(folder, 'native', 'load.js')], { encoding: 'utf8', env })
  const { code, message } = JSON.parse(output) as Report
  t.is(code, 'NATIVE_NOT_FOUND')
  t.regex(message!, /was bundled into .*cp node_modules\/@asdm\/[\w-]+\/asdm\.node .*keep asdm external.*--external:asdm/)
  t.notRegex(message!, /asdm build/)
  const beside = path.join(folder, 'native', 'asdm.node')
  fs.copyFileSync(binary, beside)
  const found = execFileSync(process.execPath, ['-e', report, path.join(folder, 'native', 'load.js')], { encoding: 'utf8', env })
  t.like(JSON.parse(found), { file: beside, abi: ABI })
})

test('ASDM_BINARY is used, and nothing else when it fails', t => {
  const app = installed({ 'asdm/build/Release/asdm.node': '{binary}', 'other.node': 'no binary' })
  t.is(app.locate({ ASDM_BINARY: binary }).source, 'environment')
  for (const [given, reason] of [
    ['/nowhere/asdm.node', 'no such file'], [path.join(app.folder, 'node_modules', 'other.node'), 'other.node'],
  ]) {
    const { code, message } = app.locate({ ASDM_BINARY: given })
    t.is(code, 'NATIVE_NOT_FOUND')
    t.true(message!.includes(`ASDM_BINARY=${given}`) && message!.includes(reason) && !message!.includes('Release'), message)
    t.regex(message!, /Unset ASDM_BINARY/)
  }
})

test('a binary of another version of the interface is refused', t => {
  const app = installed({ 'asdm/build/Release/asdm.node': '{binary}' })
  const file = path.join(app.folder, 'node_modules', 'asdm', 'dist', 'native', 'binding.js')
  fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace(`exports.ABI = ${ABI};`, `exports.ABI = ${ABI + 1};`))
  const { code, message } = app.locate()
  t.is(code, 'NATIVE_NOT_FOUND')
  t.true(message!.includes(`version ${ABI} of the native interface, this asdm version ${ABI + 1}`), message)
})

test('paths in an Electron archive lead to the unpacked files', t => {
  t.is(unpacked('/app/resources/app.asar/node_modules/x/asdm.node'), '/app/resources/app.asar.unpacked/node_modules/x/asdm.node')
  t.is(unpacked('C:\\app\\app.asar\\x.node'), 'C:\\app\\app.asar.unpacked\\x.node')
  t.is(unpacked('/a/app-x64.asar/x.node'), '/a/app-x64.asar.unpacked/x.node')
  t.is(unpacked('/app.asar.unpacked/x.node'), '/app.asar.unpacked/x.node')
})

test('every folder of npm/ is a package that the loader knows', t => {
  const folders = fs.readdirSync(path.join(root, 'npm'), { withFileTypes: true }).filter(entry => entry.isDirectory())
  t.deepEqual(folders.map(({ name }) => `@asdm/${name}`).sort(), [...platformPackages].sort())
})

test('the addon needs nothing beyond Node-API 8 and the C library', t => {
  if (process.platform !== 'linux') return t.pass()
  const nm = spawnSync('nm', ['-D', '--undefined-only', binary], { encoding: 'utf8' })
  if (nm.status !== 0) return t.pass()
  const symbols = nm.stdout.split('\n').map(line => line.trim().split(/\s+/)[1] ?? '')
  const own = symbols.filter(name => name.startsWith('_ZN4asdm') || name.startsWith('_ZNK4asdm'))
  t.deepEqual(own, [], 'every function of ours is linked in')
  const ofNode = symbols.filter(name =>
    /^(_ZN2v8|_ZN4node|uv_|node_api_)/.test(name) || name.includes('external_buffer') || name.includes('external_arraybuffer'))
  t.deepEqual(ofNode, [], 'one binary serves every Node and Electron')
  t.deepEqual(symbols.filter(name => /@(GLIBCXX|CXXABI)_/.test(name)), [], 'the C++ library is linked in')
})

test('cpuInfo tells what the loader\'s machine can do', async t => {
  const { addon } = locateAddon()
  const info = addon.cpuInfo()
  t.true(info.usable.length > 0 && info.usable.every(set => info.compiled.includes(set)))
  t.is(info.usable[info.usable.length - 1], 'portable')
  t.true(Number.isInteger(info.cores) && info.cores >= 1 && info.cores <= os.cpus().length)
  if (process.platform !== 'linux' || info.cores < 2) return
  const one = await runScript('console.log(loadAddon().cpuInfo().cores)')
  t.is(Number(one.stdout), info.cores, one.stderr)
  const bound = spawnSync(
    'taskset',
    [
      '-c', '0', process.execPath, '-p',
      `require(${JSON.stringify(path.join(root, 'build', 'ts', 'lib', 'native', 'load.js'))}).loadAddon().cpuInfo().cores`,
    ],
    { encoding: 'utf8' },
  )
  if (bound.error === undefined) t.is(bound.stdout.trim(), '1', bound.stderr)
})
