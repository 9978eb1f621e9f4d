import { statIfAny } from '../assembly/files'
import { isPickleName } from '../assembly/pickle'
import { AsdmError } from '../errors'
import { systemIO, type HubIO } from './io'
import { isRepositoryName } from './names'
import { findOrPull, type PullProgress } from './pull'

export interface HubLocateOptions {
  revision?: string
  variant?: string
  signal?: AbortSignal
  onDownload?: (progress: PullProgress) => void
}

/** Is this the name of a model on the hub, `owner/name`, and nothing that lies here? What is here goes first. */
export async function isHubName(name: string): Promise<boolean> {
  return isRepositoryName(name) && !/\.safetensors$/i.test(name) && !isPickleName(name) && await statIfAny(name) === undefined
}

/**
 * A model on the hub, for loading: from the cache if it is whole there, or else pulled.
 * @param name for which {@link isHubName} holds
 * @returns its folder, and the variant of its weights where they have one
 * @throws AsdmError as `pullModel`; the message also says that there is no such folder
 */
export async function locateOnHub(name: string, { onDownload, ...options }: HubLocateOptions, io: HubIO = systemIO): Promise<{ path: string, variant: string | undefined }> {
  const given = Object.fromEntries(Object.entries({ ...options, onProgress: onDownload }).filter(([, value]) => value !== undefined))
  try {
    const { path, variant } = await findOrPull(name, given, io)
    return { path, variant }
  } catch (error) {
    // A slip in a relative path looks like a name on the hub.
    if (error instanceof AsdmError && /^(?:HUB_ACCESS|HUB_NOT_FOUND|NETWORK|OFFLINE)$/.test(error.code))
      throw new AsdmError(error.code, `${error.message}; there is no folder of this name here either`, { cause: error })
    throw error
  }
}
