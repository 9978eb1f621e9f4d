import type { Logger } from 'pino'
import type { ModelStore } from '../models/store'
import type { Settings } from '../options'
import { openResults } from '../results/open'
import { SqliteLedger } from '../sqlite/ledger'
import { TaskMaker } from '../tasks/local'
import { imageOfResult, TaskRunner } from '../tasks/runner'
import { JobQueue, type QueueEvents } from './queue'
import { LocalRunner } from './runner'

/**
 * The queue that the options ask for: in memory, or in a file.
 * @throws AsdmError `PACKAGE_MISSING`
 */
export async function openQueue(settings: Settings, models: ModelStore, events: QueueEvents, _log: Logger): Promise<JobQueue> {
  if (settings.queue === undefined) return new JobQueue(new LocalRunner(models), settings, events)
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
