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

/** Electron packs an app into one file, beside which unpacked files lie in a folder of nearly the same name; a library must be outside. */
export function unpacked(file: string): string {
  return file.replace(/([/\\])app\.asar([/\\])/, '$1app.asar.unpacked$2')
}
