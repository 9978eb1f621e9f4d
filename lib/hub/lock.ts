import { randomBytes } from 'node:crypto'
import { link, readFile, rename, stat, unlink, utimes, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { throwIfAborted } from '../base/errors'
import { fileError, isFileError, writeError } from '../files/files'
import { makeFolders } from '../files/folders'
import type { HubIO } from './io'

const pollMs = 100

/**
 * Runs `work` while no other process (or thread, or call) holds the lock. The lock is a file that its holder touches every few
 * seconds; one whose process has ended, or that nobody touched for long, is taken over. Waiting ends with the signal.
 *
 * It spares work done twice. What keeps a model whole does not rest on it: blobs get their names when they are complete.
 * @throws AsdmError `FILE_WRITE`; what `work` throws; an `AbortError` when the signal fires while waiting
 */
export async function withLock<T>(
  file: string, io: HubIO, signal: AbortSignal | undefined, onWait: () => void, work: () => Promise<T>,
): Promise<T> {
  const own = `${os.hostname()} ${process.pid} ${randomBytes(8).toString('hex')}`
  try {
    await makeFolders(path.dirname(file))
    await acquire(file, own, io, signal, onWait)
  } catch (error) {
    throw isFileError(error) ? writeError(error, file) : error
  }
  const beat = setInterval(() => {
    const now = new Date()
    void holder(file).then(found => (found?.text === own ? utimes(file, now, now) : undefined)).catch(() => {})
  }, io.lock.heartbeatMs)
  beat.unref()
  try {
    return await work()
  } finally {
    clearInterval(beat)
    if ((await holder(file).catch(() => undefined))?.text === own) await unlink(file).catch(() => {})
  }
}

async function acquire(file: string, own: string, io: HubIO, signal: AbortSignal | undefined, onWait: () => void): Promise<void> {
  let seen = ''
  let since = performance.now()
  for (let waited = false; ; waited = true) {
    throwIfAborted(signal)
    if (await create(file, own)) return
    const found = await holder(file)
    if (found === undefined) continue
    if (!waited) onWait()
    // Whether it is touched is seen by its time changing, not by comparing clocks, which may differ between machines.
    const state = `${found.text} ${found.touched}`
    if (state !== seen) [seen, since] = [state, performance.now()]
    if (hasEnded(found.text) || performance.now() - since > io.lock.staleMs) await remove(file, found.text)
    // Not in step: of several that wait, two would else find the same holder gone at the same moment, and the slower one could move the
    // quicker one's lock away.
    else await io.sleep(pollMs * (1 + Math.random()), signal)
  }
}

/** Creates the lock with its text in one step: nobody sees it empty. */
async function create(file: string, own: string): Promise<boolean> {
  const temporary = `${file}.${randomBytes(8).toString('hex')}`
  await writeFile(temporary, own, { flag: 'wx' })
  try {
    await link(temporary, file)
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') return false
    // A file system without hard links (FAT): the lock may be seen empty for a moment, which counts as a holder that lives.
    if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'ENOSYS' && code !== 'EMLINK' && code !== 'EOPNOTSUPP') throw error
    return await writeFile(file, own, { flag: 'wx' }).then(() => true, (second: unknown) => {
      if ((second as NodeJS.ErrnoException).code === 'EEXIST') return false
      throw second
    })
  } finally {
    await unlink(temporary).catch(() => {})
  }
}

async function holder(file: string): Promise<{ text: string, touched: number } | undefined> {
  try {
    const [text, { mtimeMs }] = await Promise.all([readFile(file, 'utf8'), stat(file)])
    return { text, touched: mtimeMs }
  } catch (error) {
    if (fileError(error, file).code === 'FILE_NOT_FOUND') return undefined
    // Windows answers this while a file is being removed.
    if ((error as NodeJS.ErrnoException).code === 'EPERM' || (error as NodeJS.ErrnoException).code === 'EBUSY')
      return { text: '', touched: 0 }
    throw error
  }
}

/** Was the holder a process of this machine that is no more? */
function hasEnded(text: string): boolean {
  const [host, pid] = text.split(' ')
  if (host !== os.hostname() || !/^\d+$/.test(pid ?? '')) return false
  try {
    process.kill(Number(pid), 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}

/** Removes a lock whose holder is gone. It is moved away first: if another was faster and the lock is already a new one, it is put back. */
async function remove(file: string, stale: string): Promise<void> {
  const aside = `${file}.${randomBytes(8).toString('hex')}`
  try {
    await rename(file, aside)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    // Another removed it, or, on Windows, reads it just now.
    if (code === 'ENOENT' || code === 'EPERM' || code === 'EBUSY' || code === 'EACCES') return
    throw error
  }
  if (await readFile(aside, 'utf8') !== stale) await link(aside, file).catch(() => {})
  await unlink(aside)
}
