import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { repoPath } from '../support/fixtures'

const read = (...parts: string[]): string => fs.readFileSync(repoPath(...parts), 'utf8')
const sources = JSON.parse(read('native', 'sources.json')) as Record<string, string[]>
const withoutComments = (text: string): string => text.replace(/#.*$/gm, '')

// But for the one that `npm run test:arm` alone compiles, and CUDA's, which have builds of their own.
test('sources.json lists the .cpp files on the disk, each once', t => {
  const onDisk = fs.readdirSync(repoPath('native'), { recursive: true, encoding: 'utf8' }).map(file =>
    `native/${file.split(path.sep).join('/')}`).filter(file => file.endsWith('.cpp') && !/^native\/(testing\/remote|cuda)\//.test(file)).sort()
  t.deepEqual(Object.values(sources).flat().sort(), onDisk)
  t.deepEqual(Object.keys(sources).sort(), ['addon', 'library', 'testing'])
  for (const [group, files] of Object.entries(sources))
    for (const file of files)
      t.is(file.startsWith('native/napi/') ? 'addon' : file.startsWith('native/testing/') ? 'testing' : 'library', group, file)
})

test('both builds take their sources from sources.json alone', t => {
  const [gyp, cmake] = [withoutComments(read('native', 'addon.gypi')), withoutComments(read('CMakeLists.txt'))]
  for (const text of [gyp, cmake]) t.notRegex(text, /\.(cpp|cc|cxx|c)\b/)
  for (const group of Object.keys(sources)) {
    t.true(gyp.includes(`require(\\'./native/sources.json\\').${group}.join`), `addon.gypi compiles ${group}`)
    t.true(
      cmake.includes(`asdm_sources(${group} files)`) || new RegExp(`asdm_addon\\(\\w+ ${group}\\)`).test(cmake),
      `CMakeLists.txt compiles ${group}`,
    )
  }
})

test('what node-gyp compiled is what sources.json lists', t => {
  for (const [target, group] of [['asdm_core', 'library'], ['asdm', 'addon'], ['asdm_testing', 'testing']]) {
    const file = repoPath('build', `${target}.target.mk`)
    if (!fs.existsSync(file)) return t.pass() // compiled by another tool
    const objects = [...fs.readFileSync(file, 'utf8').matchAll(
      /\$\(obj\)\.target\/\$\(TARGET\)\/(native\/\S+)\.o\b/g,
    )].map(match => `${match[1]}.cpp`)
    t.deepEqual([...new Set(objects)].sort(), [...sources[group]].sort(), target)
  }
})

test('both builds define and compile the same way', t => {
  const [gyp, cmake] = [read('native', 'addon.gypi'), read('CMakeLists.txt')]
  for (const word of [
    'NAPI_VERSION=8', 'NODE_API_NO_EXTERNAL_BUFFERS_ALLOWED', '-O3', '-ffp-contract=off', '-fno-math-errno', '-fexceptions',
    '-Wno-unknown-warning-option', '-static-libstdc++', '-static-libgcc', '-Wl,--exclude-libs,ALL', '-Wl,-Bsymbolic',
  ])
    for (const [name, text] of Object.entries({ gyp, cmake })) t.true(text.includes(word), `${name}: ${word}`)
  t.true(gyp.includes('-std=c++17') && /CMAKE_CXX_STANDARD 17/.test(cmake))
  t.true(gyp.includes('-fvisibility=hidden') && /CMAKE_CXX_VISIBILITY_PRESET hidden/.test(cmake))
  // Instruction sets are chosen by regions in the sources: a flag for a whole file could leak them into shared code.
  for (const text of [gyp, cmake]) t.notRegex(withoutComments(text), /-m(avx|fma|arch|tune|sse)|-ffast-math|-Ofast|\/arch:/)
})

// node-gyp merges Node's own settings into the file's: they win over plain ones of target_defaults, and forbid exceptions.
test('what Visual Studio and Xcode are told comes after what Node itself wants', t => {
  const gyp = withoutComments(read('native', 'addon.gypi'))
  const [plain, late] = [
    gyp.slice(0, gyp.indexOf('\'target_conditions\'')), gyp.slice(gyp.indexOf('\'target_conditions\''), gyp.indexOf('\'targets\'')),
  ]
  for (const setting of ['msvs_settings', 'xcode_settings'])
    t.deepEqual([plain.includes(setting), late.includes(setting)], [false, true], setting)
  for (const setting of ["'ExceptionHandling': 1", "'GCC_ENABLE_CPP_EXCEPTIONS': 'YES'", "'defines!': ['_HAS_EXCEPTIONS=0']"])
    t.true(late.includes(setting), setting)
})

test('the Node-API version is pinned in one place each and agrees', t => {
  const main = JSON.parse(read('package.json')) as { binary: { napi_versions: number[] } }
  t.deepEqual(main.binary.napi_versions, [8])
  t.regex(read('native', 'napi', 'js.h'), /#define NAPI_VERSION 8/)
})

test('the packages for prebuilt binaries fit the main one', t => {
  const main = JSON.parse(read('package.json')) as {
    version: string
    license: string
    engines: object
    optionalDependencies?: Record<string, string>
  }
  const folders = fs.readdirSync(
    repoPath('npm'), { withFileTypes: true },
  ).filter(entry => entry.isDirectory()).map(entry => entry.name).sort()
  t.true(folders.length >= 6)
  for (const folder of folders) {
    const own = JSON.parse(read('npm', folder, 'package.json')) as Record<string, unknown> & {
      os: string[]
      cpu: string[]
      libc?: string[]
    }
    t.is(own.name, `@asdm/${folder}`)
    t.deepEqual([own.version, own.license, own.engines], [main.version, main.license, main.engines], folder)
    t.is(`${own.os[0]}${own.libc?.[0] === 'musl' ? 'musl' : ''}-${own.cpu[0]}`, folder)
    t.is(own.os[0] === 'linux', own.libc !== undefined, folder)
  }
  const named = Object.entries(main.optionalDependencies ?? {}).filter(([name]) => name.startsWith('@asdm/'))
  if (named.length > 0)
    t.deepEqual(named.sort(), folders.map(folder => [`@asdm/${folder}`, main.version]).sort(), 'all or none are named, with this version')
})

test('scripts/sources.mjs agrees', t => {
  t.notThrows(() => execFileSync(process.execPath, [repoPath('scripts', 'sources.mjs')], { stdio: 'pipe' }))
})
