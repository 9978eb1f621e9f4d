import fs from 'node:fs'

/** C library of this Linux, which a binary must match; '' on other systems. Exported for tests and scripts. */
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
