import { open, statfs, symlink } from 'node:fs/promises'
import { setTimeout as wait } from 'node:timers/promises'
import { throwIfAborted } from '../base/errors'
import { fetchByProxy } from './proxy'

/**
 * What pulling takes from its surroundings. Tests put in their own: a disk that is full, a system without symbolic links, a clock
 * that does not make them wait.
 */
export interface HubIO {
  fetch: typeof fetch
  open: typeof open
  symlink(target: string, file: string): Promise<void>
  /** Bytes free for this user where `folder` lies, `undefined` where that cannot be told. */
  freeBytes(folder: string): Promise<number | undefined>
  /** @throws an `AbortError` when the signal fires */
  sleep(ms: number, signal: AbortSignal | undefined): Promise<void>
  /** How often a lock shows that its holder lives, and how long it may fail to. */
  lock: { heartbeatMs: number, staleMs: number }
}

export const systemIO: HubIO = {
  fetch: fetchByProxy,
  open,
  symlink: (target, file) => symlink(target, file, 'file'),
  freeBytes: async folder => {
    try {
      const { bavail, bsize } = await statfs(folder)
      return bavail * bsize
    } catch {
      return undefined
    }
  },
  sleep: async (ms, signal) => {
    await wait(ms, undefined, { signal }).catch(() => {})
    throwIfAborted(signal)
  },
  lock: { heartbeatMs: 2_000, staleMs: 30_000 },
}
