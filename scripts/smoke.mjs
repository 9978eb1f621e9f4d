// npm run smoke [-- names of cases]
// Packs asdm, its binary for this platform and the emoji model as a release would, installs them with the package managers that there
// are, each with scripts blocked, and draws an image with each; then in bundles, in an asar archive, below a path with spaces and other
// letters. The package managers and bundlers are those of the npm registry, kept in build/smoke. The binary of this checkout is used.
// Projects lie in a temporary folder, since some tools would find this checkout above them. Minutes.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { createRequire } from 'node:module'
import { $, argv, cd } from 'zx'
import { root } from './root.mjs'
import { serveRegistry } from './smoke/registry.mjs'

cd(root)
const require = createRequire(import.meta.url)
const { platformPackage } = require('../dist/native/platform.js')
const { platformPackages } = require('../dist/native/platform-packages.js')
const out = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'asdm-smoke-')))
const tools = path.join(root, 'build', 'smoke', 'tools')
process.on('exit', () => fs.rmSync(out, { recursive: true, force: true }))
const upstream = (await $({ quiet: true })`npm config get registry`).stdout.trim()
const main = JSON.parse(fs.readFileSync('package.json', 'utf8'))
const here = platformPackage()

/** The environment of a user's shell: without what npm sets for its scripts, without our own variables. */
const clean = Object.fromEntries(Object.entries(process.env).filter(([key]) => !/^(npm_|ASDM_|INIT_CWD|NODE_OPTIONS|NODE_PATH)/i.test(key)))

const write = (file, content) => {
  fs.mkdirSync(path.dirname(file), { recursive: true })
  fs.writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content, null, 2))
}

const draw = `
const { StableDiffusion } = require('asdm')
const fs = require('node:fs')
;(async () => {
  const sd = await StableDiffusion.load('emoji', { threads: 1 })
  const [image] = await sd.generate({ prompt: 'a 3d emoji of red apple', steps: 2, seed: 7, width: 192, height: 192 })
  await image.save('apple.png')
  await sd.dispose()
  console.log(require('node:crypto').createHash('sha256').update(image.rgba).digest('hex'))
})().catch(error => { console.error(error.code === undefined ? error.stack : error.code + ': ' + error.message); process.exitCode = 1 })
`

/** Packs a folder with another package.json. @returns its manifest and tarball */
async function pack(name, files, manifest) {
  const folder = path.join(out, 'packages', name)
  for (const file of files) fs.cpSync(path.join(root, file), path.join(folder, path.relative(name === 'asdm' ? '.' : path.dirname(files[0]), file)), { recursive: true })
  const { scripts: _, devDependencies: __, ...published } = manifest
  write(path.join(folder, 'package.json'), published)
  const [{ filename }] = JSON.parse((await $({ cwd: folder, quiet: true })`npm pack --json --ignore-scripts --pack-destination=${path.join(out, 'packages')}`).stdout)
  return { manifest: published, file: path.join(out, 'packages', filename) }
}

async function packages() {
  fs.rmSync(path.join(out, 'packages'), { recursive: true, force: true })
  const optionalDependencies = Object.fromEntries(platformPackages.map(name => [name, main.version]))
  const folder = here.replace('@asdm/', '')
  const binary = path.join(out, 'packages', folder, 'asdm.node')
  fs.mkdirSync(path.dirname(binary), { recursive: true })
  fs.copyFileSync(require('../dist/native/load.js').locateAddon().file, binary)
  const manifestOf = name => JSON.parse(fs.readFileSync(path.join(root, 'npm', name.replace('@asdm/', ''), 'package.json'), 'utf8'))
  const others = platformPackages.filter(name => name !== here)
  const whole = main.files.filter(name => !name.startsWith('!') && fs.existsSync(name))
  return [
    await pack('asdm', ['README.md', 'LICENSE', ...whole], { ...main, optionalDependencies }),
    await pack(folder, [], manifestOf(here)),
    await pack('emoji', fs.readdirSync('models/emoji').map(name => `models/emoji/${name}`), JSON.parse(fs.readFileSync('models/emoji/package.json', 'utf8'))),
    // Deno downloads binaries for other C libraries, too: the rest are packages without their binary.
    ...await Promise.all(others.map(name => pack(name.replace('@asdm/', ''), [], manifestOf(name)))),
  ]
}

const wanted = {
  npm11: 'npm:npm@11', npm12: 'npm:npm@12', pnpm: '10', yarn: 'npm:@yarnpkg/cli-dist@4', bun: '1', deno: '2', esbuild: '*', webpack: '5', vite: '7',
  asar: 'npm:@electron/asar@4', rebuild: 'npm:@electron/rebuild@4', nft: 'npm:@vercel/nft@1',
}
async function installTools() {
  write(path.join(tools, 'package.json'), { private: true, dependencies: wanted })
  await $({ cwd: tools, env: clean })`npm install --ignore-scripts --no-audit --no-fund --loglevel=error`
}
const tool = (...parts) => path.join(tools, 'node_modules', ...parts)
/** The executable that a package without scripts leaves in its package for this platform. */
const executable = (scope, file) => {
  const folder = fs.readdirSync(tool(scope)).map(name => tool(scope, name, file)).filter(place => fs.existsSync(place))
  return folder.find(place => !/musl|baseline/.test(place)) ?? folder[0]
}

const registry = await serveRegistry(await packages(), upstream)
if (argv.install !== false) await installTools()
const expected = (await $({ quiet: true, cwd: root, env: clean })`node -e ${draw.replace('require(\'asdm\')', `require(${JSON.stringify(root)})`).replace('\'emoji\'', '\'models/emoji\'').replace('await image.save(\'apple.png\')', '')}`).stdout.trim()

/** A project that wants asdm and the model, with settings for every package manager. */
function project(name, parent = out) {
  const folder = path.join(parent, `project-${name}`)
  fs.rmSync(folder, { recursive: true, force: true })
  write(path.join(folder, 'package.json'), { name: 'project', version: '1.0.0', private: true, dependencies: { asdm: main.version, '@asdm/emoji': main.version } })
  write(path.join(folder, 'draw.cjs'), draw)
  write(path.join(folder, '.npmrc'), `registry=${registry.url}\nignore-scripts=true\nminimum-release-age=0\n`)
  write(path.join(folder, '.yarnrc.yml'), [
    `npmRegistryServer: "${registry.url}"`, 'unsafeHttpWhitelist: ["127.0.0.1", "*"]', 'enableScripts: false', 'enableTelemetry: false', 'enableGlobalCache: false',
    `nodeLinker: ${name === 'yarn-pnp' ? 'pnp' : 'node-modules'}`, 'enableImmutableInstalls: false', 'npmMinimalAgeGate: 0', '',
  ].join('\n'))
  write(path.join(folder, 'bunfig.toml'), `[install]\nregistry = "${registry.url}"\n`)
  return folder
}

/** Caches of their own, since some are kept by name and version, which stay while what is packed changes. */
const caches = {
  npm_config_store_dir: path.join(out, 'pnpm-store'), YARN_ENABLE_MIRROR: '0', BUN_INSTALL_CACHE_DIR: path.join(out, 'bun-cache'),
  DENO_DIR: path.join(out, 'deno'),
}
const shell = (cwd, env = {}) => $({ cwd, env: { ...clean, ...caches, ...env }, quiet: true, nothrow: true, timeout: '8m' })
const drawn = (result, what) => {
  assert.equal(result.exitCode, 0, `${what}: ${result.stdout}${result.stderr}`)
  assert.equal(result.stdout.trim().split('\n').at(-1), expected, what)
}
const done = (result, what) => assert.equal(result.exitCode, 0, `${what}: ${result.stdout.slice(-3000)}${result.stderr.slice(-3000)}`)

/** Installs, draws, and holds that nothing was compiled. */
async function install(name, installing, drawing, parent) {
  const cwd = project(name, parent)
  const run = shell(cwd)
  done(await installing(run), 'installation')
  assert.ok(!fs.existsSync(path.join(cwd, 'node_modules', 'asdm', 'build')), 'nothing is compiled')
  drawn(await drawing(run), 'drawing')
  assert.ok(fs.statSync(path.join(cwd, 'apple.png')).size > 1000)
  return cwd
}

const node = run => run`node draw.cjs`
const npm = version => run => run`node ${tool(version, 'bin', 'npm-cli.js')} install --no-audit --no-fund`
const strange = path.join(out, 'a path, ünïcode и пробелы')

/** A project that npm installed, for what follows. */
let ready
const installed = async () => ready ??= await install('ready', npm('npm11'), node)

async function bundle(name, build, external) {
  const app = await installed()
  const folder = path.join(app, `bundle-${name}-${external ? 'external' : 'inlined'}`)
  write(path.join(folder, 'draw.cjs'), draw)
  const file = path.join(folder, 'bundle.cjs')
  done(await build(path.join(folder, 'draw.cjs'), file, external), `${name} builds`)
  if (external) return drawn(await shell(folder)`node bundle.cjs`, name)
  // Inlined: out of the project's reach it says what is missing, and with the binary beside it, it draws.
  const away = path.join(out, 'away', path.basename(folder))
  fs.rmSync(away, { recursive: true, force: true })
  fs.mkdirSync(path.join(away, 'node_modules', '@asdm'), { recursive: true })
  fs.copyFileSync(file, path.join(away, 'bundle.cjs'))
  fs.cpSync(path.join(app, 'node_modules', '@asdm', 'emoji'), path.join(away, 'node_modules', '@asdm', 'emoji'), { recursive: true })
  const alone = await shell(away)`node bundle.cjs`
  assert.equal(alone.exitCode, 1)
  assert.match(alone.stderr, /Copy that beside the bundle: cp node_modules\/@asdm\/[\w-]+\/asdm\.node/, name)
  fs.copyFileSync(path.join(app, 'node_modules', here, 'asdm.node'), path.join(away, 'asdm.node'))
  drawn(await shell(away)`node bundle.cjs`, `${name}, with the binary beside it`)
}

const bundlers = {
  esbuild: (entry, file, external) => shell(path.dirname(entry))`node ${tool('esbuild', 'bin', 'esbuild')} ${entry} --bundle --platform=node --outfile=${file} ${external ? ['--external:asdm'] : []}`,
  webpack: (entry, file, external) => {
    const config = { mode: 'production', target: 'node', entry, output: { path: path.dirname(file), filename: path.basename(file) }, ...(external && { externals: { asdm: 'commonjs asdm' } }) }
    const script = `require(${JSON.stringify(tool('webpack'))})(${JSON.stringify(config)}, (error, stats) => { if (error || stats.hasErrors()) { console.error(String(error ?? stats.toString('errors-only'))); process.exitCode = 1 } })`
    return shell(path.dirname(entry))`node -e ${script}`
  },
  vite: (entry, file, external) => {
    const rollupOptions = { ...(external && { external: ['asdm'] }), output: { entryFileNames: path.basename(file), format: 'cjs' } }
    const config = { root: path.dirname(entry), logLevel: 'error', configFile: false, ...(external ? {} : { ssr: { noExternal: true } }), build: { ssr: entry, outDir: path.dirname(file), emptyOutDir: false, rollupOptions } }
    return shell(path.dirname(entry))`node --input-type=module -e ${`const { build } = await import(${JSON.stringify(tool('vite', 'dist', 'node', 'index.js'))}); await build(${JSON.stringify(config)})`}`
  },
}

/** An app's folder as Electron's archive shows it: a folder named as the archive, with empty files for those unpacked beside it. */
async function archive() {
  const app = path.join(out, 'asar-app')
  fs.rmSync(app, { recursive: true, force: true })
  fs.cpSync(await installed(), app, { recursive: true, verbatimSymlinks: true, filter: file => !/bundle-/.test(file) })
  const asar = await import(tool('asar', JSON.parse(fs.readFileSync(tool('asar', 'package.json'), 'utf8')).main ?? 'lib/asar.js'))
  const file = path.join(out, 'asar', 'app-x64.asar')
  fs.rmSync(path.dirname(file), { recursive: true, force: true })
  await asar.createPackageWithOptions(app, file, { unpackDir: '**/node_modules/{asdm,@asdm}' })
  const shown = path.join(out, 'asar-shown', 'app-x64.asar')
  fs.rmSync(path.dirname(shown), { recursive: true, force: true })
  asar.extractAll(file, shown)
  fs.cpSync(`${file}.unpacked`, `${shown}.unpacked`, { recursive: true })
  const libraries = fs.readdirSync(shown, { recursive: true }).filter(name => name.endsWith('.node'))
  assert.equal(libraries.length, 1)
  // Electron shows what lies unpacked as if it were there, but the system cannot load it from there.
  for (const name of libraries) fs.writeFileSync(path.join(shown, name), '')
  return shown
}

const cases = {
  npm11: () => install('npm11', npm('npm11'), node),
  npm12: () => install('npm12', npm('npm12'), node),
  pnpm: () => install('pnpm', run => run`node ${tool('pnpm', 'bin', 'pnpm.cjs')} install`, node),
  'yarn-pnp': () => install('yarn-pnp', run => run`node ${tool('yarn', 'bin', 'yarn.js')} install`, run => run`node ${tool('yarn', 'bin', 'yarn.js')} node draw.cjs`),
  'yarn-node-modules': () => install('yarn-node-modules', run => run`node ${tool('yarn', 'bin', 'yarn.js')} install`, node),
  bun: () => install('bun', run => run`${executable('@oven', 'bin/bun')} install`, run => run`${executable('@oven', 'bin/bun')} draw.cjs`),
  deno: () => install('deno', run => run`env NPM_CONFIG_REGISTRY=${registry.url} ${executable('@deno', 'deno')} install --node-modules-dir=auto`, run => run`${executable('@deno', 'deno')} run -A --node-modules-dir=auto draw.cjs`),
  'strange-path': () => install('strange', npm('npm11'), node, strange),
  'no-optional': async () => {
    const cwd = project('no-optional')
    done(await shell(cwd)`node ${tool('npm11', 'bin', 'npm-cli.js')} install --omit=optional --no-audit --no-fund`, 'installation')
    const doctor = await shell(cwd)`node node_modules/asdm/dist/cli/main.js doctor`
    assert.equal(doctor.exitCode, 1)
    assert.match(doctor.stdout, new RegExp(`left out of this installation.*npm install ${here}@${main.version}`))
  },
  tracer: async () => {
    const app = await installed()
    const { fileList } = await (await import(tool('nft', 'out', 'index.js'))).default.nodeFileTrace([path.join(app, 'draw.cjs')], { base: app })
    for (const file of [`node_modules/${here}/asdm.node`, 'node_modules/asdm/assets/clip-tokenizer/merges.txt.br']) assert.ok(fileList.has(file), file)
  },
  'asar': async () => drawn(await shell(out)`node ${path.join(await archive(), 'draw.cjs')}`, 'drawing in an archive'),
  'electron-rebuild': async () => {
    const app = await installed()
    const before = fs.readdirSync(path.join(app, 'node_modules'), { recursive: true }).sort()
    const script = `import(${JSON.stringify(tool('rebuild', 'lib', 'main.js'))}).then(({ rebuild }) => rebuild({ buildPath: ${JSON.stringify(app)}, electronVersion: '39.0.0', force: true }))`
    done(await shell(app)`node -e ${script}`, '@electron/rebuild')
    assert.deepEqual(fs.readdirSync(path.join(app, 'node_modules'), { recursive: true }).sort(), before)
  },
}
for (const [name, build] of Object.entries(bundlers))
  for (const external of [true, false]) cases[`${name}-${external ? 'external' : 'inlined'}`] = () => bundle(name, build, external)

const chosen = argv._.length > 0 ? argv._ : Object.keys(cases)
let failed = 0
for (const name of chosen) {
  const begun = Date.now()
  try {
    const note = await cases[name]()
    console.log(`ok      ${name}, ${((Date.now() - begun) / 1000).toFixed(1)} s${typeof note === 'string' && !path.isAbsolute(note) ? `: ${note}` : ''}`)
  } catch (error) {
    failed++
    console.log(`failed  ${name}: ${error.message}`)
  }
}
registry.close()
console.log(`${chosen.length - failed} of ${chosen.length} cases passed`)
process.exit(failed === 0 ? 0 : 1)
