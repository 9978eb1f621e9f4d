// npm run prebuild                  builds the binaries of all platforms that this machine can, into npm/<platform>/; says which it cannot,
//                                   and why
// npm run prebuild -- linux-x64     only these
// npm run prebuild -- --manifests   only rewrites the package.json files of all platforms
// npm run prebuild -- --release [--repository https://github.com/owner/name]
//                                   names all of them as optionalDependencies in package.json, and the repository, which provenance is
//                                   checked against; fails unless every binary is there
//   ASDM_SYSROOT_LINUX_X64, ASDM_SYSROOT_LINUX_ARM64   folder of an older Debian (libc6-dev, libstdc++-*-dev, libgcc-*-dev unpacked), to
//                                   link against
// See npm/README.md.
import fs from 'node:fs'
import path from 'node:path'
import { createRequire } from 'node:module'
import { $, argv } from 'zx'
import { buildAddons, missing } from './cross.mjs'
import { elfNeeds, newestGlibc } from './elf.mjs'
import { root } from './root.mjs'

const require = createRequire(import.meta.url)
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
  const needs = elfNeeds(fs.readFileSync(file))
  const foreign = needs.libraries.filter(name => /^lib(std)?c\+\+|^libgcc/.test(name))
  if (foreign.length > 0) throw new Error(`Expected the C++ library to be linked into ${file} but it names ${foreign.join(', ')}`)
  if (needs.versions.includes('GLIBC_PRIVATE')) throw new Error(`Expected ${file} to leave glibc's private symbols alone: parts of it were linked in statically`)
  const [major, minor] = newestGlibc(needs) ?? oldestGlibc
  if (major > oldestGlibc[0] || minor > oldestGlibc[1])
    throw new Error(`Expected ${file} to need glibc ${oldestGlibc.join('.')} at most but it needs ${major}.${minor}; set ASDM_SYSROOT_* to an older system, or build on one`)
}

/** Compiles with clang against an older Debian, for this CPU or another. */
async function crossLinux({ folder, cpu }, sysroot) {
  const lacking = await missing(['cmake', 'ninja', 'clang++-14', 'ld.lld'])
  if (lacking.length > 0) throw new Error(`it takes ${lacking.join(', ')}`)
  const [processor, target] = cpu === 'arm64' ? ['aarch64', 'aarch64-linux-gnu'] : ['x86_64', 'x86_64-linux-gnu']
  const out = path.join(root, 'build', `prebuild-${folder}`)
  const { ASDM_BINARY: file } = await buildAddons(out, [
    '-DCMAKE_SYSTEM_NAME=Linux', `-DCMAKE_SYSTEM_PROCESSOR=${processor}`, '-DCMAKE_CXX_COMPILER=clang++-14', `-DCMAKE_CXX_COMPILER_TARGET=${target}`,
    `-DCMAKE_SYSROOT=${sysroot}`, '-DCMAKE_SHARED_LINKER_FLAGS=-fuse-ld=lld', '-DCMAKE_EXE_LINKER_FLAGS=-fuse-ld=lld', '-DASDM_TESTING=OFF',
  ])
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

async function build(platform) {
  const { libc } = require('../dist/native/platform.js')
  const isHere = platform.os === process.platform && platform.cpu === process.arch && (platform.libc ?? '') === libc()
  const sysroot = process.env[`ASDM_SYSROOT_${platform.folder.toUpperCase().replace('-', '_')}`]
  if (platform.libc === 'glibc' && sysroot) return crossLinux(platform, sysroot)
  if (isHere) return here()
  if (platform.folder === 'win32-x64' && process.platform === 'linux') return crossWindows()
  throw new Error(platform.libc === 'glibc' ? 'it takes a sysroot of an older Debian' : 'it is built on such a system alone')
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
  const unknown = argv._.filter(name => !platforms.some(({ folder }) => folder === name))
  if (unknown.length > 0) throw new Error(`Expected one of ${platforms.map(({ folder }) => folder).join(', ')} but received ${unknown.join(', ')}`)
  for (const platform of platforms.filter(({ folder }) => argv._.length === 0 || argv._.includes(folder))) {
    try {
      const file = await build(platform)
      if (platform.os === 'linux') checkLinux(file)
      fs.copyFileSync(file, binaryOf(platform.folder))
      console.log(`npm/${platform.folder}/asdm.node, ${(fs.statSync(file).size / 1e6).toFixed(1)} MB`)
    } catch (error) {
      console.log(`npm/${platform.folder}: not built, ${error.message}`)
      if (argv._.length > 0) process.exitCode = 1
    }
  }
}
