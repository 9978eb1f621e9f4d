import path from 'node:path'
import { Command } from 'commander'
import { AsdmError } from '../base/errors'
import { packageRoot } from '../files/package-root'
import { compile, whatCompilingTakes, whyNotLoadable } from '../native/compile'
import { locateAddon } from '../native/load'

/** `asdm build`: compiles the native binary where no prebuilt one fits. Exit code 1 where that fails. */
export function buildCommand(): Command {
  return new Command('build')
    .description('compile the native binary on this machine, where none loads (it takes a C++17 compiler, make and Python 3)')
    .option('--force', 'compile although a binary loads')
    .option('--jobs <n>', 'compiler processes; all cores if left out')
    .allowExcessArguments(false)
    .action((flags: { force?: boolean, jobs?: string }) => {
      if (flags.force !== true) {
        const file = loads()
        if (file !== undefined) {
          process.stdout.write(`${file} loads; nothing is compiled (--force compiles)\n`)
          return
        }
      }
      const root = packageRoot()
      if (root === undefined)
        throw new AsdmError('NATIVE_NOT_FOUND', `Expected asdm's package.json above ${__dirname} but found none; a bundle has none`)
      if (compile({ root, jobs: flags.jobs }) !== 0) throw new AsdmError('NATIVE_NOT_FOUND', whatCompilingTakes())
      const file = path.join(root, 'build', 'Release', 'asdm.node')
      const reason = whyNotLoadable(file)
      if (reason !== undefined) throw new AsdmError('NATIVE_NOT_FOUND', `Expected ${file}, compiled just now, to load but: ${reason}`)
      process.stdout.write(`${file}\n`)
    })
}

function loads(): string | undefined {
  try {
    return locateAddon().file
  } catch (error) {
    if (error instanceof AsdmError) return undefined
    throw error
  }
}
