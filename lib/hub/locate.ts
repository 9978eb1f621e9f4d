import { AsdmError, shown } from '../base/errors'
import { shownPath, statIfAny } from '../files/files'
import { isPickleName } from '../files/pickle'
import { systemIO, type HubIO } from './io'
import { checkRepositoryName, isRepositoryName } from './names'
import { findInCache, findOrPull, type PulledModel, type PullProgress } from './pull'

export interface HubLocateOptions {
  revision?: string | undefined
  variant?: string | undefined
  /** Ask the hub for `owner/name` that is not in its cache, as `hf:owner/name` does. */
  download?: boolean | undefined
  signal?: AbortSignal | undefined
  onDownload?: ((progress: PullProgress) => void) | undefined
}

/** What says that a name is one on the hub, and that the hub may be asked for it. */
const hubPrefix = 'hf:'

/** Could this be the name of a model on the hub, `owner/name`, and is nothing of this name here? */
async function isHubName(name: string): Promise<boolean> {
  return isRepositoryName(name) && !/\.safetensors$/i.test(name) && !isPickleName(name) && await statIfAny(name) === undefined
}

/**
 * Where a model lies that is named by its path, by `hf:owner/name`, or by `owner/name` where there is nothing at such a path. The hub is
 * asked
 * only for the second, or with `download`: whoever owns a name there decides what is run, and a mistyped path looks like a name. Without,
 * the
 * third is looked up in the hub's cache.
 * @returns a path, and the variant of its weights: the one asked for, or the one that was pulled
 * @throws AsdmError as `pullModel`; `FILE_NOT_FOUND` for a name that is neither here nor in the cache; `INVALID_ARGUMENT` for a revision of
 * a path
 */
export async function locateOnHub(
  name: string, { revision, variant, download = false, signal, onDownload }: HubLocateOptions, io: HubIO = systemIO,
): Promise<{ path: string, variant: string | undefined }> {
  const prefixed = name.startsWith(hubPrefix)
  if (!prefixed && !await isHubName(name)) {
    if (revision !== undefined)
      throw new AsdmError('INVALID_ARGUMENT', `Expected a revision only of a model on the hub but ${shown(name)} is a path`)
    return { path: name, variant }
  }
  const repository = prefixed ? checkRepositoryName(name.slice(hubPrefix.length)) : name
  const given = Object.fromEntries(Object.entries({
    revision, variant, signal, onProgress: onDownload,
  }).filter(([, value]) => value !== undefined))
  const found = prefixed || download ? await findOrPull(repository, given, io) : await findHere(repository, given, io)
  return { path: found.path, variant: variant ?? found.variant }
}

async function findHere(name: string, options: object, io: HubIO): Promise<PulledModel> {
  let problem = 'is not in the hub\'s cache either'
  try {
    const found = await findInCache(name, options, io)
    if (found !== undefined) return found
  } catch (error) {
    if (!(error instanceof AsdmError) || error.code === 'INVALID_ARGUMENT') throw error
    problem = `is in the hub's cache only in part (${error.message})`
  }
  throw new AsdmError('FILE_NOT_FOUND',
    `Expected a model at ${shownPath(name)} but there is nothing, and a model of this name ${problem}; to download it from the hub, say `
    + `${hubPrefix}${name}, { download: true } or asdm pull ${name}`)
}
