/** Within webpack's bundles alone: its own require, and Node's. */
declare const __webpack_require__: unknown
declare const __non_webpack_require__: NodeJS.Require

/**
 * The binary of a platform's package. Every name stands here in full and in a plain require, so that tools that follow those
 * (`@vercel/nft`, and with it Next.js and other hosts) take the binary along; within `try`, so that bundlers do not fail for the
 * packages that are not installed. webpack would parse the binary as a module and fail, so there Node's own require is asked.
 * @throws where it is not installed, or there is no package for the platform
 */
export function packagedBinary(name: string): string {
  try {
    if (typeof __webpack_require__ !== 'undefined') return __non_webpack_require__.resolve(`${name}/asdm.node`)
    switch (name) {
      case '@asdm/linux-x64': return require.resolve('@asdm/linux-x64/asdm.node')
      case '@asdm/linux-arm64': return require.resolve('@asdm/linux-arm64/asdm.node')
      case '@asdm/linuxmusl-x64': return require.resolve('@asdm/linuxmusl-x64/asdm.node')
      case '@asdm/linuxmusl-arm64': return require.resolve('@asdm/linuxmusl-arm64/asdm.node')
      case '@asdm/darwin-x64': return require.resolve('@asdm/darwin-x64/asdm.node')
      case '@asdm/darwin-arm64': return require.resolve('@asdm/darwin-arm64/asdm.node')
      case '@asdm/win32-x64': return require.resolve('@asdm/win32-x64/asdm.node')
      case '@asdm/win32-arm64': return require.resolve('@asdm/win32-arm64/asdm.node')
    }
  } catch (cause) {
    throw new Error('not installed', { cause })
  }
  throw new Error('there is no such package')
}

/** The platforms' packages there are. Exported for tests and scripts. */
export const platformPackages: readonly string[] = [
  '@asdm/linux-x64', '@asdm/linux-arm64', '@asdm/linuxmusl-x64', '@asdm/linuxmusl-arm64', '@asdm/darwin-x64', '@asdm/darwin-arm64',
  '@asdm/win32-x64', '@asdm/win32-arm64',
]

/** The names of all platforms' packages that are installed. */
export function installedPackages(): string[] {
  return platformPackages.filter(name => {
    try {
      return packagedBinary(name) !== ''
    } catch {
      return false
    }
  })
}
