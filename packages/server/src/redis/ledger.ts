import type { Redis } from 'ioredis'
import type { Job } from '../jobs/job'
import type { KeptJob, Ledger } from '../jobs/ledger'
import { decodeJob, encodeEnd, encodeJob } from '../jobs/record'
import type { ResultStore } from '../results/store'
import { keys, rememberSeconds } from './protocol'

/** Jobs in Redis, where every server finds them, for a week. */
export class RedisLedger implements Ledger {
  readonly #redis: Redis
  readonly #store: ResultStore

  constructor(redis: Redis, store: ResultStore) {
    this.#redis = redis
    this.#store = store
  }

  /** Their images are made without a server; the first that is asked for a job goes on with it. */
  async unfinished(): Promise<KeptJob[]> {
    return []
  }

  async find(id: string): Promise<KeptJob | undefined> {
    const { job, end } = await this.#redis.hgetall(keys.job(id))
    return job === undefined ? undefined : decodeJob(job, end, this.#store)
  }

  async save(job: Job): Promise<void> {
    await this.#redis.hset(keys.job(job.id), 'job', await encodeJob(job, this.#store))
    await this.#redis.expire(keys.job(job.id), rememberSeconds)
  }

  async end(job: Job): Promise<void> {
    await this.#redis.hset(keys.job(job.id), 'end', encodeEnd(job))
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}
