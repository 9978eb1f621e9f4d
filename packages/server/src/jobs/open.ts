import type { Logger } from 'pino'
import type { ModelStore } from '../models/store'
import type { Settings } from '../options'
import { openResults } from '../results/open'
import { connect } from '../redis/connection'
import { Front } from '../redis/front'
import { RedisLedger } from '../redis/ledger'
import { SqliteLedger } from '../sqlite/ledger'
import { TaskMaker } from '../tasks/local'
import { imageOfResult, TaskRunner } from '../tasks/runner'
import { JobQueue, type QueueEvents } from './queue'
import { LocalRunner } from './runner'

/** Whether a queue's name is the address of a Redis. */
export function isRedis(queue: string | undefined): queue is `redis${string}` {
  return queue !== undefined && /^rediss?:\/\//.test(queue)
}

/** The queue of many machines. @throws AsdmError `PACKAGE_MISSING` */
async function openRedisQueue(url: string, settings: Settings, events: QueueEvents): Promise<JobQueue> {
  const store = await openResults(settings.results ?? '')
  const redis = await connect(url)
  const front = new Front(redis, store, settings.taskMs)
  const runner = new TaskRunner(store, async (task, context) => front.perform(task, context), Infinity, async () => {
    await front.close()
    await store.close()
  })
  return new JobQueue(runner, settings, events, { ledger: new RedisLedger(redis, store), imageOf: result => imageOfResult(store, result) })
}

/**
 * The queue that the options ask for: in memory, or in a file.
 * @throws AsdmError `PACKAGE_MISSING`
 */
export async function openQueue(settings: Settings, models: ModelStore, events: QueueEvents, _log: Logger): Promise<JobQueue> {
  if (settings.queue === undefined) return new JobQueue(new LocalRunner(models), settings, events)
  if (isRedis(settings.queue)) return openRedisQueue(settings.queue, settings, events)
  const store = await openResults(settings.results ?? `${settings.queue}.results`)
  const maker = new TaskMaker(models, store, settings.load)
  const runner = new TaskRunner(store, async (task, { job, signal, report }) => {
    const began = (): void => {
      job.state = 'running'
      job.changed()
    }
    return (await maker.make(task, { signal, preview: job.request.preview, report, began })).result
  }, 1, () => store.close())
  const ledger = await SqliteLedger.open(settings.queue, store)
  return new JobQueue(runner, settings, events, { ledger, imageOf: result => imageOfResult(store, result) })
}
