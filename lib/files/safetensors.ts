import { randomBytes } from 'node:crypto'
import { open, rename, unlink, type FileHandle } from 'node:fs/promises'
import { AsdmError, shown, throwIfAborted } from '../base/errors'
import { readAt, shownPath, sync, targetError, withFile } from './files'
import { isPickleStart, pickleError } from './pickle'
import { dtypeBytes, parseHeader, tensorBytes } from './safetensors-header'

/** The format allows 100 MB; a checkpoint's header takes 0.3 MB, some LoRAs' metadata a few MB, and reading one holds the event loop. */
const maxHeaderBytes = 32 * 2 ** 20

/** One tensor of a file: row-major, little-endian, bytes [begin, end) counted from the start of the file. */
export interface StoredTensor {
  dtype: string
  shape: number[]
  begin: number
  end: number
}

interface SafetensorsHeader {
  /** By name, in the order of the header. */
  tensors: Map<string, StoredTensor>
  metadata: Map<string, string>
  /** Length of the whole file. */
  fileBytes: number
}

/**
 * Reads the header of a safetensors file, and nothing else of it. The tensors are known to lie inside the file, side by side,
 * without gap or overlap, each as long as its shape and dtype say.
 * @throws AsdmError `FILE_NOT_FOUND`, `FILE_READ`, `BAD_SAFETENSORS`, or `UNSUPPORTED_FORMAT` for a pickle under a wrong name
 */
export async function readSafetensorsHeader(file: string): Promise<SafetensorsHeader> {
  return withFile(file, async (handle, fileBytes) => {
    const fail = (problem: string): AsdmError =>
      new AsdmError('BAD_SAFETENSORS', `Expected ${shownPath(file)} to be a safetensors file but ${problem}`)
    if (fileBytes < 8) throw fail(fileBytes === 0 ? 'it is empty' : `it has only ${fileBytes} bytes`)
    const start = await readAt(handle, 0, 8, file)
    const headerBytes = start.readBigUInt64LE(0)
    if (headerBytes > BigInt(maxHeaderBytes) || 8n + headerBytes > BigInt(fileBytes)) {
      if (isPickleStart(start)) throw pickleError(file)
      if (start.toString('latin1') === 'version ') throw fail('it is a Git LFS pointer, not the file itself: run git lfs pull')
      throw fail(headerBytes > BigInt(maxHeaderBytes)
        ? `it announces a header of ${headerBytes} bytes, more than ${maxHeaderBytes}`
        : `its header of ${headerBytes} bytes does not fit into its ${fileBytes} bytes: the file is truncated or of another kind`)
    }
    const dataStart = 8 + Number(headerBytes)
    const { entries, metadata } = parseHeader(decode(await readAt(handle, 8, Number(headerBytes), file), fail), fail)
    const sorted = [...entries].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end)
    let next = 0
    for (const [name, { begin, end }] of sorted) {
      const tensor = `tensor ${shown(name)}`
      if (begin < next) throw fail(`${tensor} begins at ${begin}, inside the one before, which ends at ${next}`)
      if (begin > next) throw fail(`there is a gap of ${begin - next} bytes before ${tensor}`)
      if (dataStart + end > fileBytes)
        throw fail(`${tensor} ends at byte ${dataStart + end}, after the end of the file at ${fileBytes}: the file is truncated`)
      next = end
    }
    if (dataStart + next < fileBytes) throw fail(`${fileBytes - dataStart - next} bytes follow its last tensor`)
    const tensors = new Map<string, StoredTensor>()
    for (const [name, { dtype, shape, begin, end }] of entries)
      tensors.set(name, { dtype, shape, begin: dataStart + begin, end: dataStart + end })
    return { tensors, metadata, fileBytes }
  })
}

function decode(bytes: Uint8Array, fail: (problem: string) => AsdmError): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw fail('its header is not UTF-8')
  }
}

/** A tensor to write. `data` is its bytes, or a function that yields them in pieces, for tensors that are not to be held whole. */
export interface TensorToWrite {
  name: string
  dtype: string
  shape: readonly number[]
  data: ArrayBufferView | (() => AsyncIterable<Uint8Array> | Iterable<Uint8Array>)
}

/**
 * Writes a safetensors file. The bytes go to a temporary file beside it, which takes the name only when it is complete and on
 * the disk; whatever was there before stays until then. Wide dtypes come first, then by name, so that every tensor is aligned
 * and the same tensors give the same file.
 * @throws AsdmError `INVALID_ARGUMENT` for bad names, dtypes or lengths, `FILE_NOT_FOUND` without a folder to write into, `FILE_WRITE` when
 * the file system refuses
 */
export async function writeSafetensors(
  file: string, tensors: Iterable<TensorToWrite>, metadata: Readonly<Record<string, string>> = {},
  options: { signal?: AbortSignal | undefined } = {},
): Promise<void> {
  const { header, sorted } = layOut(file, tensors, metadata)
  throwIfAborted(options.signal)
  const temporary = `${file}.${process.pid}-${randomBytes(6).toString('hex')}.tmp`
  let handle: FileHandle | undefined
  try {
    handle = await open(temporary, 'wx')
    await writeAll(handle, header)
    for (const { tensor, bytes } of sorted) {
      let written = 0
      for await (const piece of pieces(tensor)) {
        throwIfAborted(options.signal)
        written += piece.byteLength
        if (written > bytes) break
        await writeAll(handle, piece)
      }
      if (written !== bytes)
        throw new AsdmError('INVALID_ARGUMENT',
          `Expected ${bytes} bytes of tensor ${shown(tensor.name)} (${tensor.dtype} [${tensor.shape}]) but received `
          + `${written > bytes ? 'more' : written}`)
    }
    await sync(handle)
    await handle.close()
    handle = undefined
    throwIfAborted(options.signal)
    await rename(temporary, file)
  } catch (error) {
    await handle?.close().catch(() => {})
    await unlink(temporary).catch(() => {})
    throw targetError(error, file)
  }
}

function layOut(file: string, tensors: Iterable<TensorToWrite>, metadata: Readonly<Record<string, string>>) {
  const bad = (problem: string): AsdmError =>
    new AsdmError('INVALID_ARGUMENT', `Expected tensors that ${shownPath(file)} can hold but ${problem}`)
  const names = new Set<string>(['__metadata__'])
  const sorted = [...tensors].map(tensor => {
    const name = shown(tensor.name)
    if (typeof tensor.name !== 'string' || !isUnicode(tensor.name)) throw bad(`${name} is not a name`)
    if (names.has(tensor.name)) throw bad(`the name ${name} is ${tensor.name === '__metadata__' ? 'reserved' : 'there twice'}`)
    names.add(tensor.name)
    const width = dtypeBytes.get(tensor.dtype)
    if (width === undefined) throw bad(`tensor ${name} has the unknown dtype ${shown(tensor.dtype)}`)
    const bytes = tensor.shape.every(size => Number.isSafeInteger(size) && size >= 0) ? tensorBytes(tensor.dtype, tensor.shape) : undefined
    if (bytes === undefined) throw bad(`tensor ${name} has the impossible shape [${tensor.shape}]`)
    return { tensor, width, bytes }
  }).sort((a, b) => b.width - a.width || (a.tensor.name < b.tensor.name ? -1 : 1))
  const fields: string[] = []
  const texts = Object.entries(metadata)
  if (!texts.every(([key, value]) => typeof value === 'string' && isUnicode(key) && isUnicode(value)))
    throw bad('its metadata are not all text')
  if (texts.length > 0)
    fields.push(`"__metadata__":{${texts.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(',')}}`)
  let next = 0
  for (const { tensor, bytes } of sorted) {
    const shape = JSON.stringify([...tensor.shape])
    fields.push(`${JSON.stringify(tensor.name)}:{"dtype":"${tensor.dtype}","shape":${shape},"data_offsets":[${next},${next + bytes}]}`)
    next += bytes
  }
  const json = Buffer.from(`{${fields.join(',')}}`, 'utf8')
  const padded = Math.ceil(json.length / 8) * 8
  if (padded > maxHeaderBytes || !Number.isSafeInteger(next)) throw bad('they are too many or too large')
  const header = Buffer.alloc(8 + padded, ' ')
  header.writeBigUInt64LE(BigInt(padded), 0)
  json.copy(header, 8)
  return { header, sorted }
}

/** Has it no lone surrogates, which UTF-8 cannot hold? */
function isUnicode(text: string): boolean {
  return !/\p{Surrogate}/u.test(text)
}

function pieces(tensor: TensorToWrite): AsyncIterable<Uint8Array> | Iterable<Uint8Array> {
  if (typeof tensor.data === 'function') return tensor.data()
  return [new Uint8Array(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength)]
}

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  let done = 0
  while (done < bytes.byteLength) done += (await handle.write(bytes, done, bytes.byteLength - done)).bytesWritten
}
