import { createRequire } from 'node:module'
import path from 'node:path'
import { AsdmError, shown } from '../base/errors'
import { fileExists, statIfAny } from '../files/files'
import { packageRoot, unpacked } from '../files/package-root'
import { systemIO, type HubIO } from './io'
import { locateOnHub, type HubLocateOptions } from './locate'

/** Models that are published as npm packages of their own, by the names that they are loaded by. */
const packagedModels: ReadonlyMap<string, string> = new Map([['emoji', '@asdm/emoji']])

/**
 * Where a model lies that is named by one of these, tried in this order: a path at which something is; `emoji`, the model that comes as
 * the npm package `@asdm/emoji`; `hf:owner/name`, a model on the hub; `owner/name`, one in the hub's cache, or with `download` on the hub.
 * What is none of them is a path, too, and gives its own error when it is read.
 * @returns a path, and the variant of its weights: the one asked for, or the one that was pulled
 * @throws AsdmError `FILE_NOT_FOUND` for a package that is not installed; `INVALID_ARGUMENT` for a revision of what is not on the hub; for
 * a model on the hub as `pullModel`
 */
export async function locateModel(
  name: string, options: HubLocateOptions = {}, io: HubIO = systemIO,
): Promise<{ path: string, variant: string | undefined }> {
  const packaged = packagedModels.get(name)
  if (packaged === undefined || await statIfAny(name) !== undefined) return locateOnHub(name, options, io)
  if (options.revision !== undefined) throw new AsdmError('INVALID_ARGUMENT', `Expected a revision only of a model on the hub but ${shown(name)} is the package ${packaged}`)
  return { path: await findPackaged(name, packaged), variant: options.variant }
}

/**
 * The folder of a model's package: as Node.js finds it from the working directory, or from asdm itself, or in a checkout of asdm, where
 * it lies in `models/`.
 */
async function findPackaged(name: string, packaged: string): Promise<string> {
  for (const from of [workingFolder(), __dirname]) {
    const folder = from && resolvePackage(packaged, from)
    if (folder !== undefined) return folder
  }
  const root = packageRoot()
  const inCheckout = root && path.join(root, 'models', name)
  if (inCheckout !== undefined && await fileExists(path.join(inCheckout, 'model_index.json'))) return inCheckout
  throw new AsdmError('FILE_NOT_FOUND', `Expected the package ${packaged}, which holds the model ${shown(name)}, but it is not installed (npm install ${packaged}), and there is nothing of this name here either`)
}

function resolvePackage(packaged: string, from: string): string | undefined {
  try {
    // The native loader reads files, not archives.
    return unpacked(path.dirname(createRequire(path.join(from, 'package.json')).resolve(`${packaged}/package.json`)))
  } catch {
    return undefined
  }
}

function workingFolder(): string | undefined {
  try {
    return process.cwd()
  } catch {
    // It has been removed.
    return undefined
  }
}
