import { randomBytes } from 'node:crypto'
import { access, open, rename, unlink, type FileHandle } from 'node:fs/promises'
import path from 'node:path'
import { AsdmError } from '../base/errors'
import { shownPath, statIfAny, sync, targetError } from './files'
import { makeFolders } from './folders'

/**
 * Writes a file whole or not at all: the bytes go to a temporary file beside it, which then takes its name.
 * @param folders makes the folders above it
 * @returns the absolute path
 * @throws AsdmError `FILE_NOT_FOUND` when the folder is missing, `FILE_WRITE` when the system refuses
 */
export async function writeWhole(file: string, bytes: Uint8Array, { folders = false } = {}): Promise<string> {
  const target = path.resolve(file)
  const temporary = temporaryBeside(target)
  let handle: FileHandle | undefined
  try {
    if (folders) await makeFolders(path.dirname(target))
    handle = await open(temporary, 'wx')
    await handle.writeFile(bytes)
    await sync(handle)
    await handle.close()
    handle = undefined
    await rename(temporary, target)
  } catch (error) {
    await handle?.close().catch(() => {})
    await unlink(temporary).catch(() => {})
    throw targetError(error, target)
  }
  return target
}

/**
 * Makes sure that {@link writeWhole} can write a file, as far as can be told before there is something to write: that it is no folder, and
 * that its folder, or the nearest one that exists where folders are made, takes new files. Leaves nothing behind.
 * @throws AsdmError as {@link writeWhole}
 */
export async function checkWritable(file: string, { folders = false } = {}): Promise<void> {
  const target = path.resolve(file)
  try {
    if ((await statIfAny(target))?.isDirectory() === true)
      throw new AsdmError('FILE_WRITE', `Expected to write ${shownPath(target)} but it is a folder`)
    let folder = path.dirname(target)
    while (folders && await statIfAny(folder) === undefined && path.dirname(folder) !== folder) folder = path.dirname(folder)
    await access(folder)
    const probe = temporaryBeside(path.join(folder, path.basename(target)))
    await (await open(probe, 'wx')).close()
    await unlink(probe)
  } catch (error) {
    throw targetError(error, target)
  }
}

function temporaryBeside(target: string): string {
  return `${target}.${process.pid}-${randomBytes(6).toString('hex')}.tmp`
}
