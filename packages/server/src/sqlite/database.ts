import { AsdmError } from 'asdm'

/** What is used of `node:sqlite` and of the package better-sqlite3 alike. */
export interface Database {
  exec(sql: string): unknown
  prepare(sql: string): { run(...values: unknown[]): unknown, get(...values: unknown[]): unknown, all(...values: unknown[]): unknown[] }
  close(): void
}

type Open = new (file: string) => Database

/** Opens a database: by Node.js itself from 22.13 on, else by the package better-sqlite3. @throws AsdmError `PACKAGE_MISSING` */
export async function openDatabase(file: string): Promise<Database> {
  const own = await load('node:sqlite') as { DatabaseSync: Open } | undefined
  if (own !== undefined) return new own.DatabaseSync(file)
  const other = await load('better-sqlite3') as { default: Open } | undefined
  if (other !== undefined) return new other.default(file)
  throw new AsdmError('PACKAGE_MISSING',
    `Expected Node.js 22.13 or later, or the package better-sqlite3, in order to keep jobs in a file but received Node.js ${process.version}`)
}

async function load(name: string): Promise<unknown> {
  try {
    return await import(name)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ERR_UNKNOWN_BUILTIN_MODULE' || code === 'MODULE_NOT_FOUND' || code === 'ERR_MODULE_NOT_FOUND') return undefined
    throw error
  }
}
