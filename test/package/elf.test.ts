import { execFile } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import test from 'ava'
import { locateAddon } from '../../lib/native/load'
import { repoPath } from '../support/fixtures'

interface Needs { libraries: string[], versions: string[] }
interface Elf {
  elfNeeds(bytes: Buffer): Needs
  problemOnOldSystems(needs: Needs, oldest: [number, number]): string | undefined
}

const run = promisify(execFile)
const elf = import(pathToFileURL(repoPath('scripts', 'elf.mjs')).href) as Promise<Elf>
const onLinux = process.platform === 'linux' ? test : test.skip

onLinux('what a binary needs is what readelf reads of it', async t => {
  const { elfNeeds } = await elf
  for (const file of [locateAddon().file, process.execPath]) {
    const { libraries, versions } = elfNeeds(fs.readFileSync(file))
    const env = { ...process.env, LC_ALL: 'C' }
    const dynamic = (await run('readelf', ['-dW', file], { env })).stdout
    t.deepEqual(libraries, [...dynamic.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map(match => match[1]), file)
    const needed = (await run('readelf', ['-VW', file], { env, maxBuffer: 2 ** 26 })).stdout.split('Version needs section').at(1) ?? ''
    t.deepEqual(versions, [...new Set([...needed.matchAll(/Name: (\S+) +Flags/g)].map(match => match[1]))].sort(), file)
  }
})

onLinux('the addon takes no C++ library of the system', async t => {
  const { elfNeeds, problemOnOldSystems } = await elf
  t.is(problemOnOldSystems(elfNeeds(fs.readFileSync(locateAddon().file)), [9, 0]), undefined)
})

// They are not in git: only a machine that ran `npm run prebuild` has them.
test('prebuilt binaries for Linux run on glibc 2.28, or on musl', async t => {
  const { elfNeeds, problemOnOldSystems } = await elf
  const folders = fs.readdirSync(repoPath('npm')).filter(name => name.startsWith('linux'))
  t.is(folders.length, 4)
  for (const folder of folders) {
    const file = repoPath('npm', folder, 'asdm.node')
    if (!fs.existsSync(file)) continue
    const needs = elfNeeds(fs.readFileSync(file))
    t.is(problemOnOldSystems(needs, [2, 28]), undefined, folder)
    if (folder.startsWith('linuxmusl')) t.deepEqual([needs.libraries.filter(name => !/^libc\./.test(name)), needs.versions], [[], []], folder)
    else t.true(needs.libraries.includes('libc.so.6'), folder)
  }
})

test('newer systems than 2.28 are told by the newest version, as numbers', async t => {
  const { problemOnOldSystems } = await elf
  const problem = (versions: string[], libraries = ['libc.so.6']): string | undefined => problemOnOldSystems({ libraries, versions }, [2, 28])
  t.is(problem(['GLIBC_2.2.5', 'GLIBC_2.28', 'GLIBC_2.3.4', 'GLIBC_2.4']), undefined)
  t.is(problem([]), undefined)
  t.is(problem(['GLIBC_2.2.5', 'GLIBC_2.29', 'GLIBC_2.9']), 'it takes glibc 2.29')
  t.is(problem(['GLIBC_3.0', 'GLIBC_2.34']), 'it takes glibc 3.0')
  t.is(problem(['GLIBC_PRIVATE']), 'it takes private symbols of glibc: parts of that were linked in')
  for (const library of ['libstdc++.so.6', 'libc++.so.1', 'libgcc_s.so.1'])
    t.is(problem(['GLIBC_2.17'], ['libc.so.6', library]), `it takes ${library} of the system`)
})

test('what is no shared library is refused', async t => {
  const { elfNeeds } = await elf
  t.throws(() => elfNeeds(fs.readFileSync(path.resolve(__filename))), { message: 'Expected a 64-bit little-endian ELF file' })
})
