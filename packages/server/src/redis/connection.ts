import { AsdmError } from 'asdm'
import type { Redis } from 'ioredis'

/** The packages for queues on Redis, which are optional. @throws AsdmError `PACKAGE_MISSING` */
export async function loadPackages(): Promise<{ bullmq: typeof import('bullmq'), ioredis: Pick<typeof import('ioredis'), 'Redis'> }> {
  try {
    return { bullmq: await import('bullmq'), ioredis: await import('ioredis') }
  } catch (error) {
    throw new AsdmError('PACKAGE_MISSING',
      'Expected the packages bullmq and ioredis for a queue on Redis but one is not installed; run: npm install bullmq ioredis', { cause: error })
  }
}

/** A connection that waits for a server that is away, and then sends what was asked meanwhile. */
export async function connect(url: string): Promise<Redis> {
  const { ioredis } = await loadPackages()
  const redis = new ioredis.Redis(url, { maxRetriesPerRequest: null, retryStrategy: times => Math.min(100 * times, 1000) })
  // Lost connections are tried again; without a listener each would end the process.
  redis.on('error', () => {})
  return redis
}
