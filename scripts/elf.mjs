// What a shared library of Linux asks of the system, read from its ELF file (64 bits, little-endian: all platforms there are packages for).

const NEEDED = 1, STRTAB = 5, VERNEED = 0x6ffffffe, VERNEEDNUM = 0x6fffffff, LOAD = 1, DYNAMIC = 2

/**
 * @param {Buffer} bytes
 * @returns {{ libraries: string[], versions: string[] }} the libraries it names, and the symbol versions it needs of them, as GLIBC_2.28
 * @throws where it is not such a file
 */
export function elfNeeds(bytes) {
  if (bytes.readUInt32BE(0) !== 0x7f454c46 || bytes[4] !== 2 || bytes[5] !== 1) throw new Error('Expected a 64-bit little-endian ELF file')
  const number = at => Number(bytes.readBigUInt64LE(at))
  const [start, size, count] = [number(32), bytes.readUInt16LE(54), bytes.readUInt16LE(56)]
  const segments = Array.from({ length: count }, (_, i) => {
    const at = start + i * size
    return { type: bytes.readUInt32LE(at), offset: number(at + 8), address: number(at + 16), bytes: number(at + 32) }
  })
  const fileOffset = address => {
    const segment = segments.find(each => each.type === LOAD && address >= each.address && address < each.address + each.bytes)
    if (segment === undefined) throw new Error(`Expected address ${address} to lie in the file`)
    return address - segment.address + segment.offset
  }
  const dynamic = segments.find(each => each.type === DYNAMIC)
  if (dynamic === undefined) throw new Error('Expected a shared library')
  const entries = Array.from({ length: dynamic.bytes / 16 },
    (_, i) => [number(dynamic.offset + i * 16), number(dynamic.offset + i * 16 + 8)])
  const value = tag => entries.find(([each]) => each === tag)?.[1]
  const strings = fileOffset(value(STRTAB))
  const text = offset => bytes.toString('latin1', strings + offset, bytes.indexOf(0, strings + offset))

  const versions = []
  if (value(VERNEED) !== undefined) {
    for (let i = 0, at = fileOffset(value(VERNEED)); i < value(VERNEEDNUM); i++, at += bytes.readUInt32LE(at + 12)) {
      const names = bytes.readUInt16LE(at + 2)
      for (let j = 0, name = at + bytes.readUInt32LE(at + 8); j < names; j++, name += bytes.readUInt32LE(name + 12))
        versions.push(text(bytes.readUInt32LE(name + 8)))
    }
  }
  return { libraries: entries.filter(([tag]) => tag === NEEDED).map(([, offset]) => text(offset)), versions: [...new Set(versions)].sort() }
}

/**
 * Why a file does not run on systems with this glibc, or with musl, as [2, 28]; undefined where it does. The C++ library has to be linked
 * in: systems have old ones, or none.
 */
export function problemOnOldSystems({ libraries, versions }, [major, minor]) {
  const foreign = libraries.filter(name => /^lib(std)?c\+\+|^libgcc/.test(name))
  if (foreign.length > 0) return `it takes ${foreign.join(', ')} of the system`
  if (versions.includes('GLIBC_PRIVATE')) return 'it takes private symbols of glibc: parts of that were linked in'
  const newest = versions.map(version => /^GLIBC_(\d+)\.(\d+)/.exec(version)).filter(Boolean).map(([, ...numbers]) => numbers.map(Number))
    .sort((a, b) => a[0] - b[0] || a[1] - b[1]).at(-1)
  if (newest !== undefined && (newest[0] > major || (newest[0] === major && newest[1] > minor))) return `it takes glibc ${newest.join('.')}`
}
