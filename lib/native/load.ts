import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { AsdmError } from '../base/errors'
import { ABI, type Addon } from './binding'
import { packageRoot, unpacked } from '../files/package-root'
import { platformPackage } from './platform'
import { packagedBinary } from './platform-packages'
import { remedy } from './remedy'
import { wrapAddon, type RawAddon } from './wrap'

/** Where the addon came from. */
export interface LoadedAddon {
  addon: Addon
  /** The binary's path. */
  file: string
  /** 'environment' (`ASDM_BINARY`), 'package' (a prebuilt one for this platform) or 'build' (compiled on this machine). */
  source: 'environment' | 'package' | 'build'
  /** Plugins with further devices that were found: `reason` says why one does not load. */
  plugins: { file: string, reason: string | undefined }[]
}

interface Candidate {
  source: LoadedAddon['source']
  label: string
  /** Finds the file; throws where there is none. */
  find(): string
}

const requireFromHere = createRequire(__filename)
const found = new Map<string, LoadedAddon>()

/**
 * Loads the native addon. Looked for in this order: the path in the environment variable `ASDM_BINARY` (if set, nothing else is
 * tried), the prebuilt package of the platform (`@asdm/linux-x64`, ...), what `asdm build` compiled: `build/Release/asdm.node` and
 * `build/Debug/asdm.node`; where asdm was bundled, `asdm.node` beside the bundle instead of the latter.
 * A prebuilt binary is first loaded in a child process, so that one that crashes (wrong C library, for example) is passed over;
 * `ASDM_PROBE=0` leaves that out (it takes some 50 ms), and so does Electron, whose executable runs no scripts.
 * @throws AsdmError `NATIVE_NOT_FOUND` with every attempt and its reason, and what to do about it
 */
export function loadAddon(): Addon {
  return locateAddon().addon
}

/** As {@link loadAddon}, and says which binary it is. */
export function locateAddon(): LoadedAddon {
  const forced = process.env.ASDM_BINARY ?? ''
  const known = found.get(forced)
  if (known !== undefined) return known
  const attempts: string[] = []
  let broken = false
  for (const { source, label, find } of candidates(forced)) {
    let there = false
    try {
      const file = find()
      there = true
      if (source === 'package') probe(file)
      const addon = wrapAddon(open(file))
      const loaded = { addon, file, source, plugins: loadPlugins(addon, file) }
      found.set(forced, loaded)
      return loaded
    } catch (error) {
      broken ||= there
      attempts.push(`  ${label}: ${firstLine(error)}`)
    }
  }
  throw new AsdmError('NATIVE_NOT_FOUND',
    `Expected a native binary of asdm for ${process.platform}-${process.arch} but none loads:\n${attempts.join('\n')}\n`
    + remedy({ forced, broken }))
}

function candidates(forced: string): Candidate[] {
  if (forced !== '') return [{ source: 'environment', label: `ASDM_BINARY=${forced}`, find: () => existing(path.resolve(forced)) }]
  const name = platformPackage()
  const packaged: Candidate = { source: 'package', label: `package ${name}`, find: () => outside(packagedBinary(name)) }
  // The first two in full, for tools that follow such paths; the others where compiled files lie elsewhere, as in tests.
  const built = new Set([
    path.join(__dirname, '..', '..', 'build', 'Release', 'asdm.node'), path.join(__dirname, '..', '..', 'build', 'Debug', 'asdm.node'),
  ])
  const root = packageRoot()
  if (root === undefined) {
    const beside = path.join(__dirname, 'asdm.node')
    return [packaged, { source: 'package', label: beside, find: () => existing(outside(beside)) }]
  }
  for (const kind of ['Release', 'Debug']) built.add(path.join(root, 'build', kind, 'asdm.node'))
  return [packaged, ...[...built].map((file): Candidate => ({ source: 'build', label: file, find: () => existing(outside(file)) }))]
}

/** The file's place outside an Electron archive, if it has one. */
function outside(file: string): string {
  const place = unpacked(file)
  return fs.existsSync(place) ? place : file
}

/**
 * Loads the plugins with devices that are installed: the library that the environment variable `ASDM_DEVICE_PLUGIN` names, else the
 * platform's package for CUDA, which is tried in a child process first.
 */
function loadPlugins(addon: Addon, binary: string): LoadedAddon['plugins'] {
  const forced = process.env.ASDM_DEVICE_PLUGIN ?? ''
  let file = path.resolve(forced)
  if (forced === '') {
    try {
      file = unpacked(requireFromHere.resolve(`${platformPackage()}-cuda/asdm_cuda.node`))
    } catch {
      return []
    }
  }
  try {
    if (forced === '') probe(binary, file)
    addon.loadDevices(file)
    return [{ file, reason: undefined }]
  } catch (error) {
    return [{ file, reason: firstLine(error) }]
  }
}

function existing(file: string): string {
  if (!fs.existsSync(file)) throw new Error('no such file')
  return file
}

function open(file: string): RawAddon {
  const raw = requireFromHere(file) as RawAddon | undefined
  if (raw?.abi !== ABI) throw new Error(`it speaks version ${String(raw?.abi)} of the native interface, this asdm version ${ABI}`)
  return raw
}

// Every symbol is resolved at once, so that one that is missing is found now.
const loading = 'const m = { exports: {} }; process.dlopen(m, process.argv[1], require("os").constants.dlopen.RTLD_NOW ?? 1); '
  + 'if (process.argv[2] !== undefined) { m.exports.loadDevices(process.argv[2]); m.exports.devices() }'

/** Loads the binary, and a plugin with devices, in another process and fails as that one fails. */
function probe(file: string, plugin?: string): void {
  const isNode = /^node(js)?(\.exe)?$/i.test(path.basename(process.execPath)) && process.versions.electron === undefined
  if (!isNode || process.env.ASDM_PROBE === '0') return
  const child = spawnSync(process.execPath, ['-e', loading, file, ...plugin === undefined ? [] : [plugin]], {
    env: { ...process.env, NODE_OPTIONS: '' }, encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'], timeout: 20_000, windowsHide: true,
  })
  // No process to be had says nothing about the binary.
  if (child.error !== undefined && child.status === null && child.signal === null) return
  if (child.signal !== null) throw new Error(`loading it in a child process ended with ${child.signal}`)
  if (child.status !== 0)
    throw new Error(/^.*Error: .*$/m.exec(child.stderr)?.[0] ?? `loading it in a child process ended with code ${child.status}`)
}

function firstLine(error: unknown): string {
  return String((error as Error | undefined)?.message ?? error).replace(/\n.*/s, '')
}
