import test from 'ava'
import { ServerError } from '../../packages/server/src/errors'
import { Job, type JobRequest } from '../../packages/server/src/jobs/job'
import { JobQueue } from '../../packages/server/src/jobs/queue'
import { LocalRunner } from '../../packages/server/src/jobs/runner'
import type { ModelStore } from '../../packages/server/src/models/store'
import { parseOptions } from '../../packages/server/src/options'

const request = (image?: Buffer): JobRequest =>
  ({ model: 'emoji', loras: [], rounds: [{ prompt: 'x', image, mask: image }], preview: false, priority: 0, client: 'a' })

test('a job that has ended holds no image that was handed in', t => {
  const job = new Job(request(Buffer.alloc(100)), 'jobs')
  t.is(job.bytes, 100)
  job.end()
  t.is(job.bytes, 0)
  t.deepEqual(job.request.rounds, [{ prompt: 'x' }])
})

test('waiting jobs hold so many bytes of images, and no more', async t => {
  // A model that never comes.
  const models = { use: (_name: string, _loras: unknown, signal: AbortSignal) =>
    new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))) } as unknown as ModelStore
  const queue = new JobQueue(new LocalRunner(models), parseOptions({ model: 'emoji', stopMs: 0 }), { ended: () => {}, failed: error => t.fail(String(error)) })
  const image = Buffer.alloc(2 ** 27)
  for (let i = 0; i < 3; i++) (await queue.submit(request(image), 'jobs')).result().catch(() => {})
  t.is(queue.waiting.length, 2)
  const error = await t.throwsAsync(async () => queue.submit(request(Buffer.alloc(1)), 'jobs'), { instanceOf: ServerError })
  t.is((error as ServerError).code, 'QUEUE_FULL')
  t.is(queue.position(await queue.submit(request(), 'jobs')), 3)
  await queue.stop()
  t.true(queue.jobs.every(({ state }) => state === 'cancelled'))
})
