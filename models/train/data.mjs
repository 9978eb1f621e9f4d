// Builds the data set that the emoji model is trained on and evaluated with.
//   npm run emoji:data -- [--out build/emoji-data] [--tools build/emoji-tools] [--size 64] [--limit n]
// Installs the icon sets and the renderer into the folder of tools (see package.json beside this file), draws every icon, and writes
// drawings.bin (pixels, 3 bytes each, drawing after drawing), drawings.json (what they are) and LICENSES.md. --limit draws only the first n
// of each style, for a try.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { caption, evaluationSets, heldOut, isWanted, styles, wordsByName } from './captions.mjs'
import { drawIcon } from './render.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))
const root = path.resolve(here, '..', '..')

/** SHA-256 of drawings.bin at 64 pixels with the locked packages, on Linux x64. Other processors may round a few pixels differently. */
const knownPixels = 'e88fad4b5c95013366fd335c58d85e7ca4f1244fa51e0064608054f9d734e9ef'

/** Installs what package-lock.json says, unless the folder has exactly that already. Scripts of packages are not run. */
function install(tools) {
  const files = ['package.json', 'package-lock.json']
  const current = file =>
    fs.existsSync(path.join(tools, file))
    && fs.readFileSync(path.join(tools, file), 'utf8') === fs.readFileSync(path.join(here, file), 'utf8')
  if (files.every(current) && fs.existsSync(path.join(tools, 'node_modules', '.package-lock.json'))) return
  fs.mkdirSync(tools, { recursive: true })
  // The lock goes last: an installation that broke off is begun anew.
  fs.rmSync(path.join(tools, 'package-lock.json'), { force: true })
  fs.copyFileSync(path.join(here, 'package.json'), path.join(tools, 'package.json'))
  fs.copyFileSync(path.join(here, 'package-lock.json'), path.join(tools, 'package-lock.json'))
  console.log('installing icon sets and renderer')
  try {
    execFileSync('npm', [
      'ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error',
    ], { cwd: tools, stdio: 'inherit', shell: process.platform === 'win32' })
  } catch (error) {
    fs.rmSync(path.join(tools, 'package-lock.json'), { force: true })
    throw new Error('npm could not install the icon sets and the renderer, see above', { cause: error })
  }
}

/** What a set's package says of itself. */
function describe(name, require) {
  const info = require(`${name}/info.json`)
  return { title: info.name, version: require(`${name}/package.json`).version, author: info.author, license: info.license }
}

/**
 * The choice of held-out drawings follows from the icon sets' names and order. Should other versions of the sets give another choice,
 * models
 * would be judged by drawings that the shipped one was trained on; so that is an error.
 */
function checkHeldOut(drawings, held) {
  const recorded = JSON.parse(fs.readFileSync(path.join(here, 'held-out.json'), 'utf8'))
  const key = ({ style, name }) => `${style}/${name}`
  const wanted = new Set(Object.entries(recorded).flatMap(([style, names]) => names.map(name => key({ style, name }))))
  const chosen = new Set([...held].map(i => key(drawings[i])))
  const differing = [...new Set([...wanted, ...chosen])].filter(each => wanted.has(each) !== chosen.has(each))
  if (differing.length > 0)
    throw new Error(
      `Expected the held-out drawings of held-out.json but ${differing.length} differ, as ${differing.slice(0, 3).join(', ')}: use the `
      + 'locked versions of the icon sets',
    )
}

function licensesText(sets, emojibase) {
  const rows = Object.entries(sets).map(([style, set]) =>
    `- \`${style}\`: ${set.title} by ${set.author.name} (${set.author.url}), ${set.license.title} (${set.license.spdx}), `
    + `${set.license.url}; from the npm package ${set.package} ${set.version}`)
  return `# Whose drawings these are

drawings.bin holds pictures rendered from these icon sets, at a smaller size and on white, without other changes:

${rows.join('\n')}

Words in drawings.json come from the npm package emojibase-data ${emojibase.version}, by Miles Johnson, ${emojibase.license}.

Who passes the pictures on names their authors and licences; CC-BY-4.0 and Apache-2.0 ask for that.
`
}

async function main() {
  const { values } = parseArgs({ options: {
    out: {
      type: 'string', default: path.join(root, 'build', 'emoji-data'),
    }, tools: { type: 'string', default: path.join(root, 'build', 'emoji-tools') },
    size: { type: 'string', default: '64' }, limit: { type: 'string' },
  } })
  const [size, limit] = [Number(values.size), values.limit === undefined ? Infinity : Number(values.limit)]
  if (!Number.isInteger(size) || size < 8 || size > 1024)
    throw new Error(`Expected --size to be a whole number from 8 to 1024 but received ${values.size}`)
  if (!(limit >= 1)) throw new Error(`Expected --limit to be a number of drawings for each style but received ${values.limit}`)
  const [out, tools] = [path.resolve(values.out), path.resolve(values.tools)]
  install(tools)
  const require = createRequire(path.join(tools, 'package.json'))
  const sharp = require('sharp')
  sharp.concurrency(1)

  const drawings = []
  const pixels = []
  const sets = {}
  for (const [style, { word, package: name }] of Object.entries(styles)) {
    const set = require(`${name}/icons.json`)
    const icons = Object.entries(set.icons).filter(([icon]) => isWanted(icon)).slice(0, limit)
    for (const [icon, body] of icons) {
      const data = await drawIcon(sharp, body, set, size).catch(error => {
        throw new Error(
          `${icon} of ${name} cannot be drawn: ${error.message}`, { cause: error },
        )
      })
      drawings.push({ style, name: icon })
      pixels.push(data)
    }
    sets[style] = { word, package: name, ...describe(name, require), drawings: icons.length }
    console.log(`${style}: ${icons.length} drawings`)
  }

  const held = heldOut(drawings)
  if (limit === Infinity) checkHeldOut(drawings, held)
  const bytes = Buffer.concat(pixels)
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  const emojibase = require('emojibase-data/package.json')
  const manifest = {
    format: 'asdm-drawings', version: 1, width: size, height: size, count: drawings.length,
    pixels: { file: 'drawings.bin', bytes: bytes.length, sha256 },
    renderer: { sharp: sharp.versions.sharp, vips: sharp.versions.vips, rsvg: sharp.versions.rsvg },
    styles: sets,
    evaluation: evaluationSets(drawings, held),
    drawings: drawings.map((drawing, i) => ({ ...drawing, caption: caption(drawing), heldOut: held.has(i) })),
    words: Object.fromEntries(wordsByName(require('emojibase-data/en/data.json'))),
  }

  // Whole or not at all: the folder gets its name when everything is in it.
  const temporary = `${out}.${process.pid}.tmp`
  fs.rmSync(temporary, { recursive: true, force: true })
  fs.mkdirSync(temporary, { recursive: true })
  fs.writeFileSync(path.join(temporary, 'drawings.bin'), bytes)
  fs.writeFileSync(path.join(temporary, 'drawings.json'), `${JSON.stringify(manifest)}\n`)
  fs.writeFileSync(path.join(temporary, 'LICENSES.md'), licensesText(sets, emojibase))
  if (fs.existsSync(out)) {
    if (!fs.existsSync(path.join(out, 'drawings.json')) && fs.readdirSync(out).length > 0)
      throw new Error(`Expected ${out} to be empty or to hold drawings, but it holds something else`)
    fs.rmSync(out, { recursive: true })
  }
  fs.renameSync(temporary, out)
  const known = size !== 64 || limit !== Infinity
    ? ''
    : sha256 === knownPixels
      ? ', the known pixels'
      : ', not the known pixels: this processor or renderer rounds differently'
  console.log(`${out}: ${drawings.length} drawings of ${size}x${size}, ${held.size} held out${known}`)
}

main().catch(error => {
  console.error(error.message)
  process.exitCode = 1
})
