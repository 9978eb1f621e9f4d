import { execFile } from 'node:child_process'
import { repoPath } from '../support/fixtures'

const main = repoPath('build', 'ts', 'lib', 'cli', 'main.js')

/** Runs the command line and waits for its end. */
export function asdm(cwd: string, ...args: string[]): Promise<{ code: number, stdout: string, stderr: string }> {
  return new Promise(resolve => {
    execFile(
      process.execPath, [main, ...args], { cwd, maxBuffer: 2 ** 26 },
      (error, stdout, stderr) => resolve({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1, stdout, stderr }),
    )
  })
}
