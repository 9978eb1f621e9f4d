import { AsdmError, shown } from '../base/errors'
import { Broken, type HubClient } from './http'
import { isCommit, isSafePath } from './names'
import { hubPackage } from './package'

/** More files than any model's repository has. */
const maxFiles = 100_000

/** A file of a repository, as the hub announces it. */
export interface RepoFile {
  path: string
  size: number
  /** Of files in large file storage the SHA-256, of the others the SHA-1 of git's blob; also the file's name among the blobs. */
  etag: string
}

/**
 * The commit that a revision stands for.
 * @throws AsdmError as {@link HubClient.request}, {@link HubClient.retry}
 */
export async function resolveRevision(client: HubClient, revision: string): Promise<string> {
  if (isCommit(revision)) return revision
  const { modelInfo } = await hubPackage()
  const { sha } = await answer(client, 'the commit of a revision', () =>
    modelInfo({ name: client.repository, revision, additionalFields: ['sha'], hubUrl: client.settings.endpoint, fetch: client.fetch }))
  if (typeof sha !== 'string' || !isCommit(sha))
    throw new AsdmError('HUB_RESPONSE', `Expected the hub to give the commit of ${client.repository} but received ${shown(sha)}`)
  return sha
}

/**
 * All files of a repository at a commit.
 * @throws AsdmError as {@link HubClient.request}, {@link HubClient.retry}; `HUB_RESPONSE` for a name that would leave the repository's
 * folder
 */
export async function listRepository(client: HubClient, commit: string): Promise<RepoFile[]> {
  const { listFiles } = await hubPackage()
  return answer(client, 'a list of files', async () => {
    const files: RepoFile[] = []
    for await (const entry of listFiles({
      repo: { type: 'model', name: client.repository }, revision: commit, recursive: true, hubUrl: client.settings.endpoint,
      fetch: client.fetch,
    })) {
      if (typeof entry.path !== 'string' || !isSafePath(entry.path))
        throw new AsdmError('HUB_RESPONSE',
          `Expected names of files inside ${client.repository} but received ${shown(entry.path)}, which leads out of it`)
      if (entry.type !== 'file') continue
      const { size, oid: etag } = entry.lfs ?? entry
      if (!Number.isSafeInteger(size) || size < 0 || typeof etag !== 'string'
        || !(entry.lfs === undefined ? /^[0-9a-f]{40}$/ : /^[0-9a-f]{64}$/).test(etag))
        throw new AsdmError('HUB_RESPONSE',
          `Expected size and hash of ${shown(entry.path)} in ${client.repository} but received ${shown(size)} and ${shown(etag)}`)
      if (files.length === maxFiles)
        throw new AsdmError('HUB_RESPONSE', `Expected at most ${maxFiles} files in ${client.repository} but received more`)
      files.push({ path: entry.path, size, etag })
    }
    return files
  })
}

/** The package trusts answers to be of the documented form and fails with whatever error comes of it where they are not. */
async function answer<T>(client: HubClient, what: string, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask()
  } catch (error) {
    if (error instanceof AsdmError || error instanceof Broken || (error as Error | undefined)?.name === 'AbortError') throw error
    throw new AsdmError(
      'HUB_RESPONSE', `Expected ${what} from the hub at ${client.settings.endpoint} but its answer is of another form`, { cause: error },
    )
  }
}
