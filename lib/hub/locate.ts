import { AsdmError, shown } from '../base/errors'
import { statIfAny } from '../files/files'
import { isPickleName } from '../files/pickle'
import { systemIO, type HubIO } from './io'
import { isRepositoryName } from './names'
import { findOrPull, type PullProgress } from './pull'

export interface HubLocateOptions {
  revision?: string | undefined
  variant?: string | undefined
  signal?: AbortSignal | undefined
  onDownload?: ((progress: PullProgress) => void) | undefined
}

/** Is this the name of a model on the hub, `owner/name`, and nothing that lies here? What is here goes first. */
export async function isHubName(name: string): Promise<boolean> {
  return isRepositoryName(name) && !/\.safetensors$/i.test(name) && !isPickleName(name) && await statIfAny(name) === undefined
}

/**
 * Where a model lies that is named by its path or, where there is nothing at such a path, by its name on the hub: from the hub's
 * cache if it is whole there, or else pulled.
 * @returns a path, and the variant of its weights: the one asked for, or the one that was pulled
 * @throws AsdmError as `pullModel`, in whose messages it is also said that there is no such folder; `INVALID_ARGUMENT` for a revision of a path
 */
export async function locateOnHub(name: string, { revision, variant, signal, onDownload }: HubLocateOptions, io: HubIO = systemIO): Promise<{ path: string, variant: string | undefined }> {
  if (!await isHubName(name)) {
    if (revision !== undefined) throw new AsdmError('INVALID_ARGUMENT', `Expected a revision only of a model on the hub but ${shown(name)} is a path`)
    return { path: name, variant }
  }
  const given = Object.fromEntries(Object.entries({ revision, variant, signal, onProgress: onDownload }).filter(([, value]) => value !== undefined))
  try {
    const found = await findOrPull(name, given, io)
    return { path: found.path, variant: variant ?? found.variant }
  } catch (error) {
    // A slip in a relative path looks like a name on the hub.
    if (error instanceof AsdmError && /^(?:HUB_ACCESS|HUB_NOT_FOUND|NETWORK|OFFLINE)$/.test(error.code))
      throw new AsdmError(error.code, `${error.message}; there is no folder of this name here either`, { cause: error })
    throw error
  }
}
