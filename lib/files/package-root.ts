import fs from 'node:fs'
import path from 'node:path'

/** This package's folder: the first one upwards that has the package.json of asdm. Undefined inside a bundle. */
export function packageRoot(): string | undefined {
  for (let folder = __dirname; ; folder = path.dirname(folder)) {
    try {
      if ((JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8')) as { name?: string }).name === 'asdm') return folder
    } catch { /* none here, or not JSON: go on upwards */ }
    if (path.dirname(folder) === folder) return undefined
  }
}

/**
 * Where a file lies unpacked. Electron packs an app into an archive, of whatever name, beside which unpacked files lie in a folder of
 * nearly the same name; a library must be outside.
 */
export function unpacked(file: string): string {
  return file.replace(/([^/\\]\.asar)([/\\])/, '$1.unpacked$2')
}
