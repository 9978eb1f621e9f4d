import type { Job } from '../jobs/job'
import type { KeptJob, Ledger } from '../jobs/ledger'
import { decodeJob, encodeEnd, encodeJob } from '../jobs/record'
import type { ResultStore } from '../results/store'
import { openDatabase, type Database } from './database'

/** Jobs in a SQLite database. What was written survives the process and the machine's loss of power. */
export class SqliteLedger implements Ledger {
  readonly #database: Database
  readonly #store: ResultStore

  private constructor(database: Database, store: ResultStore) {
    this.#database = database
    this.#store = store
  }

  /** @throws AsdmError `PACKAGE_MISSING`; what opening the file gives */
  static async open(file: string, store: ResultStore): Promise<SqliteLedger> {
    const database = await openDatabase(file)
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000')
    database.exec('CREATE TABLE IF NOT EXISTS jobs (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, job TEXT NOT NULL, end TEXT)')
    database.exec('CREATE INDEX IF NOT EXISTS unfinished ON jobs (number) WHERE end IS NULL')
    return new SqliteLedger(database, store)
  }

  async unfinished(): Promise<KeptJob[]> {
    const rows = this.#database.prepare('SELECT job FROM jobs WHERE end IS NULL ORDER BY number').all() as { job: string }[]
    return Promise.all(rows.map(({ job }) => decodeJob(job, undefined, this.#store)))
  }

  async find(id: string): Promise<KeptJob | undefined> {
    const row = this.#database.prepare('SELECT job, end FROM jobs WHERE id = ?').get(id) as { job: string, end: string | null } | undefined
    return row === undefined ? undefined : decodeJob(row.job, row.end, this.#store)
  }

  async save(job: Job): Promise<void> {
    const written = await encodeJob(job, this.#store)
    this.#database.prepare('INSERT INTO jobs (id, job) VALUES (?, ?)').run(job.id, written)
  }

  async end(job: Job): Promise<void> {
    this.#database.prepare('UPDATE jobs SET end = ? WHERE id = ?').run(encodeEnd(job), job.id)
  }

  async close(): Promise<void> {
    this.#database.close()
  }
}
