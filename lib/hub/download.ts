import { createHash } from 'node:crypto'
import { rename, stat, unlink, type FileHandle } from 'node:fs/promises'
import path from 'node:path'
import { AsdmError, shown, throwIfAborted } from '../base/errors'
import { isFileError, openFile, sync, writeError } from '../files/files'
import { makeFolders } from '../files/folders'
import type { RepoCache } from './cache'
import { Broken, type HubClient } from './http'
import type { HubIO } from './io'
import type { RepoFile } from './listing'

const hashPieceBytes = 1 << 20

interface BlobProgress {
  /** Bytes of the file that are on the disk; fewer than before where a download begins anew. */
  onBytes(bytes: number): void
  /** Bytes of the file whose hash is known. */
  onVerify(bytes: number): void
}

/**
 * Fetches one file into the cache's blobs. What has arrived stays when the connection breaks, the disk is full or the process
 * ends, and is built on the next time. The blob gets its name only when the bytes on the disk have the announced length and hash;
 * where bytes of an earlier attempt turn out to be wrong, it is fetched once more from the start.
 * @throws AsdmError `BAD_DOWNLOAD`, `NETWORK`, `HUB_ACCESS`, `HUB_NOT_FOUND`, `HUB_RESPONSE`, `FILE_WRITE`; an `AbortError` when the signal
 * of the client fires
 */
export async function fetchBlob(
  client: HubClient, cache: RepoCache, file: RepoFile, commit: string, io: HubIO, progress: BlobProgress,
): Promise<void> {
  const partial = cache.partial(file)
  try {
    await makeFolders(path.dirname(partial))
    for (;;) {
      const kept = await fetchBytes(client, partial, file, commit, io, progress)
      const problem = await mismatch(partial, file, client.signal, progress.onVerify)
      if (problem === undefined) break
      await unlink(partial)
      if (!kept)
        throw new AsdmError('BAD_DOWNLOAD', `Expected ${shown(file.path)} of ${client.repository} with the announced hash but ${problem}`)
    }
    await rename(partial, cache.blob(file))
  } catch (error) {
    throw isFileError(error) ? writeError(error, partial) : error
  }
}

/** Completes the file at `partial`; says whether it began with bytes that were there before. */
async function fetchBytes(
  client: HubClient, partial: string, file: RepoFile, commit: string, io: HubIO, { onBytes }: BlobProgress,
): Promise<boolean> {
  const bad = async (problem: string): Promise<AsdmError> => {
    await unlink(partial).catch(() => {})
    return new AsdmError('BAD_DOWNLOAD', `Expected ${file.size} bytes of ${shown(file.path)} of ${client.repository} but ${problem}`)
  }
  let have = await lengthOf(partial)
  if (have > file.size) {
    await unlink(partial)
    have = 0
  }
  let kept = have > 0
  let arrived = 0
  onBytes(have)
  const attempt = async (): Promise<void> => {
    const headers: Record<string, string> = have > 0 ? { range: `bytes=${have}-` } : {}
    await client.request(client.fileUrl(commit, file.path), headers, async (response, alive) => {
      if (response.status === 416) {
        // The server's file ends before ours does, or it does not like the request: from the start, then.
        kept = false
        have = 0
        await unlink(partial)
        throw new Broken('it has no more bytes of a file that is not complete')
      }
      if (response.status === 206) {
        const [, start, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers.get('content-range') ?? '') ?? []
        if (total !== undefined && total !== '*' && Number(total) !== file.size) throw await bad(`the server's file has ${total}`)
        if (start === undefined || Number(start) !== have)
          throw new AsdmError('HUB_RESPONSE',
            `Expected bytes from ${have} on of ${shown(file.path)} of ${client.repository} but received `
            + shown(response.headers.get('content-range')))
      } else {
        const length = response.headers.get('content-length')
        if (length !== null && Number(length) !== file.size) throw await bad(`the server's file has ${length}`)
        // An answer without a range is the whole file.
        if (have > 0) await unlink(partial)
        kept = false
        have = 0
      }
      await withPartial(partial, io, async handle => {
        for await (const piece of (response.body ?? []) as AsyncIterable<Uint8Array>) {
          alive()
          if (have + piece.byteLength > file.size) throw await bad('more arrived')
          await writeAt(handle, piece, have, partial)
          have += piece.byteLength
          arrived += piece.byteLength
          onBytes(have)
        }
      })
      if (have < file.size) throw new Broken(`the connection ended after ${have} of ${file.size} bytes of ${shown(file.path)}`)
    }, have > 0 ? [200, 206, 416] : [200])
  }
  if (have < file.size || have === 0) await client.retry(attempt, () => arrived)
  return kept
}

async function lengthOf(file: string): Promise<number> {
  try {
    return (await stat(file)).size
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0
    throw error
  }
}

/** Opens the file, whose bytes stay, or creates it; what was written is on the disk when it is closed. */
async function withPartial(partial: string, io: HubIO, use: (handle: FileHandle) => Promise<void>): Promise<void> {
  let handle: FileHandle
  try {
    handle = await io.open(partial, 'r+').catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      return io.open(partial, 'wx')
    })
  } catch (error) {
    throw writeError(error, partial)
  }
  try {
    await use(handle)
  } finally {
    await sync(handle).finally(() => handle.close()).catch((error: unknown) => { throw writeError(error, partial) })
  }
}

async function writeAt(handle: FileHandle, bytes: Uint8Array, position: number, file: string): Promise<void> {
  try {
    for (let done = 0; done < bytes.byteLength;)
      done += (await handle.write(bytes, done, bytes.byteLength - done, position + done)).bytesWritten
  } catch (error) {
    throw writeError(error, file)
  }
}

/**
 * Compares a file on the disk with what the hub announced.
 * @returns what is wrong, as the end of a sentence, or `undefined`
 */
export async function mismatch(
  place: string, { size, etag }: RepoFile, signal: AbortSignal | undefined, onBytes: (bytes: number) => void,
): Promise<string | undefined> {
  const hash = etag.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`)
  const handle = await openFile(place)
  try {
    const { size: length } = await handle.stat()
    if (length !== size) return `it has ${length} bytes instead of ${size}`
    const buffer = Buffer.allocUnsafe(Math.min(size, hashPieceBytes))
    for (let at = 0; at < size;) {
      throwIfAborted(signal)
      const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, size - at), at)
      if (bytesRead === 0) return `it ends after ${at} of ${size} bytes`
      hash.update(buffer.subarray(0, bytesRead))
      at += bytesRead
      onBytes(at)
    }
  } finally {
    await handle.close()
  }
  const actual = hash.digest('hex')
  return actual === etag ? undefined : `its ${etag.length === 64 ? 'SHA-256' : "SHA-1 as git's blob"} is ${actual} instead of ${etag}`
}
