import fs from 'node:fs'
import path from 'node:path'
import { packageRoot } from '../files/package-root'
import { addCommand, packageManager, runCommand } from './package-manager'
import { platformPackage } from './platform'
import { installedPackages } from './platform-packages'

/** What is known of a search for the binary that found none. */
interface FailedSearch {
  /** Value of `ASDM_BINARY`, '' where it is not set. */
  forced: string
  /** A file was there but did not load. */
  broken: boolean
}

/** One or two sentences on why no binary loads, with the exact command or setting that mends it. */
export function remedy({ forced, broken }: FailedSearch): string {
  if (forced !== '') return 'Unset ASDM_BINARY, or set it to a binary that was built for this platform and this version of asdm.'
  const root = packageRoot()
  if (root === undefined) {
    const name = platformPackage()
    return `asdm was bundled into ${__filename}, and a bundle cannot hold its native binary. Copy that beside the bundle: `
      + `cp node_modules/${name}/asdm.node ${path.dirname(__filename)}; or keep asdm external (esbuild: --external:asdm; webpack: `
      + 'externals: { asdm: \'commonjs asdm\' }; Vite: build.rollupOptions.external: [\'asdm\']) and ship node_modules/asdm and '
      + 'node_modules/@asdm with the bundle.'
  }
  if (/[^/\\]\.asar[/\\]/.test(__filename)) {
    return 'asdm lies in an asar archive, from which the system loads no libraries: have its files unpacked (electron-builder: '
      + 'asarUnpack: ["**/node_modules/{asdm,@asdm}/**"]; electron-forge: packagerConfig.asar.unpack: '
      + '"**/node_modules/{asdm,@asdm}/**").'
  }
  const manager = packageManager()
  const name = platformPackage()
  const version = releasedVersion(root)
  const build = `${runCommand(manager, 'build')} (takes a C++17 compiler: g++, clang or Visual Studio; make and Python 3)`
  if (broken) return `The binary that is there does not load on this machine. Compile it here: ${build}`
  const others = installedPackages().filter(other => other !== name)
  if (version === undefined) {
    const why = others.length > 0 ? `${others.join(', ')} is for another platform.` : 'No prebuilt binary is installed.'
    return `${why} Compile one: ${build}`
  }
  const why = others.length > 0
    ? `${others.join(', ')} is installed, which is for another platform: node_modules was installed there or copied from there.`
    : `${name} was left out of this installation (optional dependencies omitted, or a lock file that was made on another platform).`
  return `${why} Add it: ${addCommand(manager, `${name}@${version}`)}. Or compile it: ${build}`
}

/**
 * The version of this platform's package that asdm's package.json names. Undefined where it names none: in a clone, and in versions
 * without prebuilt binaries.
 */
function releasedVersion(root: string): string | undefined {
  const json = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')) as { optionalDependencies?: Record<string, string> }
  return json.optionalDependencies?.[platformPackage()]
}
