import { AsdmError, shown } from '../base/errors'

/** `owner/name`, as the hub allows them: letters, digits, `-`, `_`, `.`, not `--` or `..`, no `-` or `.` at either end. */
export function isRepositoryName(text: string): boolean {
  return text.length <= 96 && /^[a-z\d_](?:[\w.-]*\w)?\/\w(?:[\w.-]*\w)?$/i.test(text) && !/--|\.\./.test(text)
    && !/\.(?:git|ipynb)$/i.test(text)
}

/** @throws AsdmError `INVALID_ARGUMENT` */
export function checkRepositoryName(value: unknown): string {
  if (typeof value !== 'string' || !isRepositoryName(value))
    throw new AsdmError('INVALID_ARGUMENT', `Expected the name of a repository, owner/name, but received ${shown(value)}`)
  return value
}

/**
 * A branch, tag, `refs/pr/1`, or commit. It becomes part of an address and of a path.
 * @throws AsdmError `INVALID_ARGUMENT`
 */
export function checkRevision(value: unknown): string {
  if (typeof value !== 'string' || value.length > 200 || !/^[\w.+-]+(?:\/[\w.+-]+)*$/.test(value)
    || value.split('/').some(part => /^\.|\.$|\.\.|\.lock$/.test(part)))
    throw new AsdmError('INVALID_ARGUMENT', `Expected revision to be a branch, a tag or a commit but received ${shown(value)}`)
  return value
}

export function isCommit(text: string): boolean {
  return /^[0-9a-f]{40}$/.test(text)
}

/** Does this name of a file in a repository stay inside it, on every system? */
export function isSafePath(file: string): boolean {
  return file !== '' && file.length <= 4096 && !/[\\\0]/.test(file) && !/^[a-z]:/i.test(file)
    && file.split('/').every(part => part !== '' && part !== '.' && part !== '..')
}
