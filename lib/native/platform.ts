import fs from 'node:fs'
import path from 'node:path'

/** C library of this Linux, which a binary must match; '' on other systems. */
export function libc(): '' | 'glibc' | 'musl' {
  if (process.platform !== 'linux') return ''
  try {
    // The loader's own script names its library; reading it is far cheaper than a process report.
    const text = fs.readFileSync('/usr/bin/ldd', 'latin1')
    if (text.includes('musl')) return 'musl'
    if (text.includes('GNU C Library') || text.includes('GLIBC')) return 'glibc'
  } catch { /* a minimal system without ldd */ }
  const { header } = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } }
  return header.glibcVersionRuntime === undefined ? 'musl' : 'glibc'
}

/** The npm package that holds the binary for this platform, whether it is installed or not. */
export function platformPackage(): string {
  return `@asdm/${process.platform}${libc() === 'musl' ? 'musl' : ''}-${process.arch}`
}

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
