import zlib from 'node:zlib'

/** Part of zlib since Node 20.15 and 22.2. */
const native = (zlib as { crc32?: (data: Uint8Array, crc?: number) => number }).crc32

let table: Int32Array | undefined

/** CRC-32 of PNG (ISO 3309) of `bytes`, going on from that of what came before. */
export const crc32: (bytes: Uint8Array, before?: number) => number = native ?? crc32ByTable

/** {@link crc32} on any Node, a byte at a time. Exported for tests and scripts. */
export function crc32ByTable(bytes: Uint8Array, before = 0): number {
  table ??= Int32Array.from({ length: 256 }, (_, n) => {
    for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1
    return n
  })
  let crc = ~before
  for (const byte of bytes) crc = table[(crc ^ byte) & 255]! ^ (crc >>> 8)
  return ~crc >>> 0
}
