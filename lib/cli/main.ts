#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { Command, CommanderError } from 'commander'
import { AsdmError } from '../base/errors'
import { assembleCommand } from './assemble'
import { benchCommand } from './bench'
import { buildCommand } from './build'
import { convertCommand } from './convert'
import { distillCommand } from './distill'
import { doctorCommand } from './doctor'
import { evalCommand } from './eval'
import { exportOnnxCommand } from './export-onnx'
import { generateCommand } from './generate'
import { inspectCommand } from './inspect'
import { planCommand } from './plan'
import { profileCommand } from './profile'
import { pullCommand } from './pull'
import { scoreCommand } from './score'
import { serveCommand, workerCommand } from './serve'

/** Exit codes: 0 done, 1 an error of asdm, 2 wrong usage, 130 stopped by Ctrl-C. */
async function main(argv: string[]): Promise<number> {
  const stop = new AbortController()
  const onInterrupt = (): void => {
    // The second Ctrl-C does not wait for anything.
    if (stop.signal.aborted) process.exit(130)
    stop.abort()
  }
  process.on('SIGINT', onInterrupt)
  process.stdout.on('error', ignoreClosedPipe)
  const program = new Command('asdm')
    .description('Stable Diffusion on your own CPU')
    .version(packageVersion())
    .showSuggestionAfterError()
    .enablePositionalOptions()
    .exitOverride()
  const commands = [
    generateCommand, inspectCommand, planCommand, profileCommand, evalCommand, scoreCommand, benchCommand, assembleCommand, distillCommand,
    pullCommand, convertCommand, exportOnnxCommand, serveCommand, workerCommand, doctorCommand, buildCommand,
  ]
  for (const command of commands) program.addCommand(command(stop.signal).exitOverride())
  try {
    await program.parseAsync(argv)
    return typeof process.exitCode === 'number' ? process.exitCode : 0
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    if ((error as Error | undefined)?.name === 'AbortError' && stop.signal.aborted) {
      process.stderr.write('Stopped.\n')
      return 130
    }
    if (error instanceof AsdmError) {
      process.stderr.write(`asdm: ${error.message} (${error.code})\n`)
      return 1
    }
    throw error
  } finally {
    process.off('SIGINT', onInterrupt)
  }
}

/** `asdm inspect ... | head` closes the pipe early; that is no failure. */
function ignoreClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error
  process.exit(0)
}

/** The version in the package.json above this file. */
function packageVersion(): string {
  for (let folder = __dirname; path.dirname(folder) !== folder; folder = path.dirname(folder)) {
    try {
      const { name, version } = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8')) as { name?: string, version?: string }
      if (name === 'asdm') return version ?? 'unknown'
    } catch {
      // None here: look further up.
    }
  }
  return 'unknown'
}

void main(process.argv).then(code => { process.exitCode = code })
