import fs from 'node:fs'
import path from 'node:path'

/** A program that installs packages, or a runtime that does so itself. */
type PackageManager = 'npm' | 'pnpm' | 'yarn' | 'bun' | 'deno'

const managers: readonly PackageManager[] = ['npm', 'pnpm', 'yarn', 'bun', 'deno']
const lockFiles: readonly [file: string, manager: PackageManager][] = [
  ['pnpm-lock.yaml', 'pnpm'], ['.pnp.cjs', 'yarn'], ['yarn.lock', 'yarn'], ['bun.lock', 'bun'], ['bun.lockb', 'bun'],
  ['deno.lock', 'deno'], ['package-lock.json', 'npm'],
]

/**
 * The package manager in use: the one that runs this process, else the one whose lock file lies in a folder or above it, else npm.
 * @param folder where the search begins
 */
export function packageManager(folder: string = process.cwd(), env: NodeJS.ProcessEnv = process.env): PackageManager {
  if (process.versions.deno !== undefined) return 'deno'
  if (process.versions.bun !== undefined) return 'bun'
  const running = managers.find(name => env.npm_config_user_agent?.startsWith(`${name}/`))
  if (running !== undefined) return running
  for (let at = path.resolve(folder); ; at = path.dirname(at)) {
    const found = lockFiles.find(([file]) => fs.existsSync(path.join(at, file)))
    if (found !== undefined) return found[1]
    if (path.dirname(at) === at) return 'npm'
  }
}

/** The command that runs `asdm` with arguments, as a user of the package manager types it. */
export function runCommand(manager: PackageManager, args: string): string {
  const prefix = { npm: 'npx asdm', pnpm: 'pnpm exec asdm', yarn: 'yarn asdm', bun: 'bunx asdm', deno: 'deno run -A npm:asdm' }[manager]
  return `${prefix} ${args}`
}

/** The command that adds a package to a project. */
export function addCommand(manager: PackageManager, name: string): string {
  const prefix = { npm: 'npm install', pnpm: 'pnpm add', yarn: 'yarn add', bun: 'bun add', deno: 'deno add' }[manager]
  return `${prefix} ${manager === 'deno' ? 'npm:' : ''}${name}`
}
