/**
 * `asdm bench` with whatever else this machine has to compare with: onnxruntime-node (npm run bench:peers installs it), PyTorch, and
 * stable-diffusion.cpp.
 *
 *   npm run bench -- [--shape sd15] [--suite unet] [--python python3] [--sd sd-cli] [--without PyTorch] [the options of asdm bench]
 *
 * The report goes to build/bench/report unless --out names another folder.
 */
import { execFileSync } from 'node:child_process'
import path from 'node:path'
import { Command } from 'commander'
import { AsdmError } from '../lib/base/errors'
import { bench, benchOptions, type BenchFlags } from '../lib/cli/bench'
import { packageRoot } from '../lib/files/package-root'
import { findPeers } from './peers/find'
import { sdName, sdPeer } from './peers/sd'

const root = packageRoot()!

/** The commit that is checked out, with a + where files differ from it. */
function commit(): string | undefined {
  try {
    const git = (...args: string[]): string =>
      execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
    return `${git('rev-parse', '--short=10', 'HEAD')}${git('status', '--porcelain', '--untracked-files=no') === '' ? '' : '+'}`
  } catch {
    return undefined
  }
}

async function main(): Promise<void> {
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort())
  const work = path.join(root, 'build', 'bench')
  const command = benchOptions(new Command('bench'))
    .option('--python <command>', 'the Python to try PyTorch with', 'python3')
    .option('--sd <command>', 'the command line of stable-diffusion.cpp (sd-cli, then sd, on the PATH)')
    .option('--without <peers...>', 'peers to leave out')
    .allowExcessArguments(false)
    .action(async (flags: BenchFlags & { python: string, sd?: string, without?: string[] }) => {
      const found = commit()
      const without = flags.without ?? []
      await bench({ work, out: path.join(work, 'report'), ...flags }, {
        signal: stop.signal, ...(found !== undefined && { commit: found }), findPeers: request =>
          findPeers(request, { python: flags.python, without }),
        imagePeers: {
          names: without.includes(sdName) ? [] : [sdName],
          find: async request =>
            (without.includes(sdName)
              ? { found: [], absent: [{ name: sdName, absent: 'it was left out by --without.' }] }
              : sdPeer(request, flags.sd)),
        },
      })
    })
  try {
    await command.parseAsync(process.argv)
  } catch (error) {
    process.exitCode = 1
    if (error instanceof AsdmError) process.stderr.write(`bench: ${error.message} (${error.code})\n`)
    else if ((error as Error).name === 'AbortError') process.stderr.write('Stopped.\n')
    else throw error
  }
}

void main()
