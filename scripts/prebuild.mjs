// Puts the binary that was compiled here into its package, npm/<platform>/, ready for `npm publish npm/<platform>`.
//   zx scripts/prebuild.mjs [--file build/Release/asdm.node]   run on each platform, after `npm ci`
//   zx scripts/prebuild.mjs --manifests                        only rewrites the package.json files of all platforms
// See npm/README.md.
import fs from 'node:fs'
import path from 'node:path'
import { argv } from 'zx'
import { root, whyNotLoadable } from './install.mjs'

/** One package per operating system, processor and (on Linux) C library, named as lib/native/platform.ts looks for it. */
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

const main = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'))

/** The package.json of a platform's package. */
export function manifest({ folder, os, cpu, libc }) {
  return {
    name: `@asdm/${folder}`,
    version: main.version,
    description: `Prebuilt native binary of asdm for ${folder}`,
    license: main.license,
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

for (const platform of platforms) {
  const folder = path.join(root, 'npm', platform.folder)
  fs.mkdirSync(folder, { recursive: true })
  fs.writeFileSync(path.join(folder, 'package.json'), `${JSON.stringify(manifest(platform), null, 2)}\n`)
}

if (!argv.manifests) {
  const { libc } = await import('../dist/native/platform.js')
  const platform = platforms.find(({ os, cpu, libc: library }) => os === process.platform && cpu === process.arch && (library ?? '') === libc())
  if (platform === undefined) throw new Error(`Expected one of ${platforms.map(({ folder }) => folder).join(', ')} but this is ${process.platform}-${process.arch}`)
  const file = path.resolve(root, argv.file ?? 'build/Release/asdm.node')
  const reason = whyNotLoadable(file)
  if (reason !== undefined) throw new Error(`Expected ${file} to load here but: ${reason}`)
  const target = path.join(root, 'npm', platform.folder, 'asdm.node')
  fs.copyFileSync(file, target)
  console.log(`npm/${platform.folder}/asdm.node, ${(fs.statSync(target).size / 1e6).toFixed(1)} MB`)
}
