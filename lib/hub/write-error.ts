import { shownPath } from '../assembly/files'
import { AsdmError } from '../errors'

/** Turns an error of `node:fs` while writing into an {@link AsdmError} that names the file. */
export function writeError(error: unknown, file: string): AsdmError {
  if (error instanceof AsdmError) return error
  const { code, message } = error as NodeJS.ErrnoException
  const problem = code === 'ENOSPC' || code === 'EDQUOT' ? 'there is no room left'
    : code === 'EROFS' ? 'its file system is read-only'
    : code === 'EACCES' || code === 'EPERM' ? 'this user may not'
    : `the system says ${code ?? message}`
  return new AsdmError('FILE_WRITE', `Expected to write ${shownPath(file)} but ${problem}`, { cause: error })
}
