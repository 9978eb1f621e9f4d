import { createHash } from 'node:crypto'
import { ServerError } from '../errors'
import type { Round } from '../jobs/job'
import type { ResultStore } from '../results/store'

/** What JSON has no word for, as it is written: a seed beyond 2^53, bytes by the name of their file, pixels. */
interface Special {
  $big?: string
  $file?: string
  $bytes?: string
}

/** A round as JSON; images that were handed in become files of the store. */
export async function encodeRound(round: Round, store: ResultStore): Promise<unknown> {
  const encode = async (value: unknown): Promise<unknown> => {
    if (typeof value === 'bigint') return { $big: String(value) } satisfies Special
    if (ArrayBuffer.isView(value)) {
      const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
      const name = `${createHash('sha256').update(bytes).digest('hex')}.in`
      if (!await store.has(name)) await store.put(name, bytes)
      return (Buffer.isBuffer(value) ? { $file: name } : { $bytes: name }) satisfies Special
    }
    if (Array.isArray(value)) return Promise.all(value.map(encode))
    if (value === null || typeof value !== 'object') return value
    const entries = Object.entries(value).filter(([, each]) => each !== undefined).sort(([a], [b]) => a < b ? -1 : 1)
    return Object.fromEntries(await Promise.all(entries.map(async ([key, each]) => [key, await encode(each)] as const)))
  }
  return encode(round)
}

/** What {@link encodeRound} wrote. @throws ServerError `RESULT_DAMAGED` where an image that was handed in is gone */
export async function decodeRound(json: unknown, store: ResultStore): Promise<Round> {
  const decode = async (value: unknown): Promise<unknown> => {
    if (Array.isArray(value)) return Promise.all(value.map(decode))
    if (value === null || typeof value !== 'object') return value
    const { $big, $file, $bytes } = value as Special
    if ($big !== undefined) return BigInt($big)
    const name = $file ?? $bytes
    if (name !== undefined) {
      const bytes = await store.get(name)
      if (bytes === undefined) throw new ServerError('RESULT_DAMAGED', `Expected an image that was handed in as ${name} but it is gone`)
      return $file === undefined ? new Uint8Array(bytes) : bytes
    }
    return Object.fromEntries(await Promise.all(Object.entries(value).map(async ([key, each]) => [key, await decode(each)] as const)))
  }
  return await decode(json) as Round
}
