import { constants, fsync, type Stats } from 'node:fs'
import { open, stat, type FileHandle } from 'node:fs/promises'
import { promisify } from 'node:util'
import { AsdmError, shown, throwIfAborted } from '../base/errors'

/** Does this error come from the file system (or from its argument checks), and not from a mistake in the code around it? */
export function isFileError(error: unknown): boolean {
  return typeof (error as NodeJS.ErrnoException | null)?.code === 'string' && (error as Error).name !== 'AbortError'
    && !(error instanceof AsdmError)
}

/** Turns an error of `node:fs` into an {@link AsdmError} that names the file. Errors that already are one pass through. */
export function fileError(error: unknown, file: string): AsdmError {
  if (error instanceof AsdmError) return error
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'ENOENT' || code === 'ENOTDIR')
    return new AsdmError('FILE_NOT_FOUND', `Expected a file at ${shownPath(file)} but there is none`, { cause: error })
  if (code === 'ERR_INVALID_ARG_VALUE' || code === 'ERR_INVALID_ARG_TYPE')
    return new AsdmError('INVALID_ARGUMENT', `Expected a path but received ${shown(file)}`, { cause: error })
  return new AsdmError('FILE_READ', `Expected ${shownPath(file)} to be readable but the system says ${code ?? message}`, { cause: error })
}

/** Turns an error of `node:fs` while writing into an {@link AsdmError} that names the file. Errors that already are one pass through. */
export function writeError(error: unknown, file: string): AsdmError {
  if (error instanceof AsdmError) return error
  const { code, message } = error as NodeJS.ErrnoException
  const problem = code === 'ENOSPC' || code === 'EDQUOT' ? 'there is no room left'
    : code === 'EROFS' ? 'its file system is read-only'
      : code === 'EACCES' || code === 'EPERM' ? 'this user may not'
        : `the system says ${code ?? message}`
  return new AsdmError('FILE_WRITE', `Expected to write ${shownPath(file)} but ${problem}`, { cause: error })
}

/**
 * What writing a file threw: for an error of `node:fs` an {@link AsdmError}, `FILE_NOT_FOUND` where its folder is missing, else as
 * {@link writeError}; any other error as it is.
 */
export function targetError(error: unknown, target: string): unknown {
  if (!isFileError(error)) return error
  return (error as NodeJS.ErrnoException).code === 'ENOENT'
    ? new AsdmError('FILE_NOT_FOUND', `Expected a folder to write ${shownPath(target)} into but there is none`, { cause: error })
    : writeError(error, target)
}

/** A path for a message; control characters, which hostile names may hold, are escaped. */
export function shownPath(file: string): string {
  const escaped = JSON.stringify(file).slice(1, -1)
  return process.platform === 'win32' ? escaped.replaceAll('\\\\', '\\') : escaped
}

/** What lies at a path, or `undefined` where there is nothing. Links are followed. */
export async function statIfAny(file: string): Promise<Stats | undefined> {
  try {
    return await stat(file)
  } catch (error) {
    const found = fileError(error, file)
    if (found.code === 'FILE_NOT_FOUND') return undefined
    throw found
  }
}

/** {@link statIfAny} of something to write, whose errors are those of writing. @throws AsdmError `FILE_WRITE` */
export async function statTarget(file: string): Promise<Stats | undefined> {
  try {
    return await statIfAny(file)
  } catch (error) {
    throw error instanceof AsdmError && error.cause !== undefined ? writeError(error.cause, file) : error
  }
}

export async function isFile(file: string): Promise<boolean> {
  return (await statIfAny(file))?.isFile() ?? false
}

export async function isFolder(file: string): Promise<boolean> {
  return (await statIfAny(file))?.isDirectory() ?? false
}

/**
 * Is there a file of this name?
 * @throws AsdmError `FILE_READ` when it is a folder, a device or a named pipe, which nobody means to have there
 */
export async function fileExists(file: string): Promise<boolean> {
  const found = await statIfAny(file)
  if (found !== undefined && !found.isFile()) throw notRegular(file, found)
  return found !== undefined
}

function notRegular(file: string, found: Stats): AsdmError {
  const kind = found.isDirectory() ? 'a folder' : 'not a regular file'
  return new AsdmError('FILE_READ', `Expected ${shownPath(file)} to be a file but it is ${kind}`)
}

/**
 * Opens a regular file for reading. Its kind is checked before it is opened, since opening a device may do something, and afterwards,
 * since it may have been replaced; a named pipe does not make it wait for a writer.
 * @throws AsdmError `FILE_NOT_FOUND`, or `FILE_READ` when it is a folder, a device, a named pipe, or not readable
 */
export async function openFile(file: string): Promise<FileHandle> {
  try {
    const before = await stat(file)
    if (!before.isFile()) throw notRegular(file, before)
    // Missing on Windows, where no named pipe lies among files.
    const handle = await open(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
    const found = await handle.stat()
    if (found.isFile()) return handle
    await handle.close()
    throw notRegular(file, found)
  } catch (error) {
    throw isFileError(error) ? fileError(error, file) : error
  }
}

/**
 * Opens a regular file as {@link openFile}, hands it to `use` with its size, and closes it.
 * @throws AsdmError as {@link openFile}
 */
export async function withFile<T>(file: string, use: (handle: FileHandle, bytes: number) => Promise<T>): Promise<T> {
  const handle = await openFile(file)
  try {
    return await use(handle, (await handle.stat()).size)
  } catch (error) {
    throw isFileError(error) ? fileError(error, file) : error
  } finally {
    await handle.close()
  }
}

/**
 * Reads a regular file as text.
 * @param mostBytes a longer file is refused unread
 * @throws AsdmError as {@link readWhole}
 */
export async function readText(file: string, mostBytes: number): Promise<string> {
  return (await readWhole(file, mostBytes)).toString('utf8')
}

/** Bytes read before an abort is looked for. */
const bytesAtOnce = 1 << 22

/**
 * Reads a regular file whole.
 * @param mostBytes a longer file is refused unread
 * @throws AsdmError `FILE_NOT_FOUND`; `FILE_READ` when it is a folder, a device, a named pipe, too long, or not readable; an `AbortError`
 */
export async function readWhole(file: string, mostBytes: number, signal?: AbortSignal): Promise<Buffer<ArrayBuffer>> {
  return withFile(file, async (handle, bytes) => {
    if (bytes > mostBytes)
      throw new AsdmError('FILE_READ', `Expected ${shownPath(file)} to have at most ${mostBytes} bytes but it has ${bytes}`)
    const buffer = Buffer.allocUnsafeSlow(bytes)
    for (let done = 0; done < bytes;) {
      throwIfAborted(signal)
      const { bytesRead } = await handle.read(buffer, done, Math.min(bytesAtOnce, bytes - done), done)
      if (bytesRead === 0) throw new AsdmError('FILE_READ', `Expected ${bytes} bytes in ${shownPath(file)} but the file ends after ${done}`)
      done += bytesRead
    }
    throwIfAborted(signal)
    return buffer
  })
}

/**
 * Reads `bytes` bytes at `position`.
 * @throws AsdmError `FILE_READ` when the file ends before that
 */
export async function readAt(handle: FileHandle, position: number, bytes: number, file: string): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(bytes)
  let done = 0
  while (done < bytes) {
    const { bytesRead } = await handle.read(buffer, done, bytes - done, position + done)
    if (bytesRead === 0)
      throw new AsdmError('FILE_READ',
        `Expected ${bytes} bytes at offset ${position} of ${shownPath(file)} but the file ends after ${done}`)
    done += bytesRead
  }
  return buffer
}

/**
 * Waits until what was written is on the disk. Not by `handle.sync()`: under Yarn's Plug'n'Play handles are of its own making, which lack
 * that method.
 */
export async function sync(handle: FileHandle): Promise<void> {
  await promisify(fsync)(handle.fd)
}
