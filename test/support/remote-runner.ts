import { execFileSync, spawn } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import type { DType } from '../../lib/components/options'
import type { OpRunner } from './op-runner'

/** The parts of a request to native/testing/remote/main.cpp, which describes it. */
function encoded(op: string, set: string, dtype: string, threads: number, args: Record<string, unknown>): Buffer {
  const parts: Buffer[] = []
  const u32 = (value: number) => {
    const buffer = Buffer.alloc(4)
    buffer.writeUInt32LE(value)
    parts.push(buffer)
  }
  const bytes = (value: Buffer) => {
    u32(value.length)
    parts.push(value)
  }
  const given = Object.entries(args).filter(([, value]) => value !== undefined && value !== null)
  for (const text of [op, set, dtype]) bytes(Buffer.from(text))
  u32(threads)
  u32(given.length)
  for (const [name, value] of given) {
    bytes(Buffer.from(name))
    if (ArrayBuffer.isView(value)) {
      parts.push(Buffer.of(2))
      bytes(Buffer.from(value.buffer, value.byteOffset, value.byteLength))
    } else if (typeof value === 'string') {
      parts.push(Buffer.of(1))
      bytes(Buffer.from(value))
    } else {
      const number = Buffer.alloc(9)
      number.writeDoubleLE(Number(value), 1)
      parts.push(number)
    }
  }
  const all = Buffer.concat(parts), length = Buffer.alloc(4)
  length.writeUInt32LE(all.length)
  return Buffer.concat([length, all])
}

/**
 * Runs kernels in a process started by a command line, as `npm run test:arm` has one: calls wait for it, through two named pipes. It ends
 * when this thread does, and closes them. `names` keeps sets of these names alone, if there are some.
 */
export function remoteRunner(command: string, names?: string[]): OpRunner {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'asdm-remote-')), [input, output] = ['in', 'out'].map(name => path.join(folder, name))
  execFileSync('mkfifo', [input, output])
  spawn('sh', ['-c', `exec ${command} < "$0" > "$1"`, input, output], { stdio: ['ignore', 'ignore', 'inherit'] }).unref()
  const to = fs.openSync(input, 'w'), from = fs.openSync(output, 'r')
  fs.rmSync(folder, { recursive: true })
  const read = (count: number): Buffer => {
    const buffer = Buffer.alloc(count)
    for (let done = 0; done < count;) {
      const got = fs.readSync(from, buffer, done, count - done, null)
      if (got === 0) throw new Error(`Expected an answer but the process "${command}" has ended`)
      done += got
    }
    return buffer
  }
  const call = (op: string, set: string, dtype: DType, threads: number, args: Record<string, unknown>): Buffer => {
    const request = encoded(op, set, dtype, threads, args)
    for (let done = 0; done < request.length;) done += fs.writeSync(to, request, done)
    const head = read(5), payload = read(head.readUInt32LE(1))
    if (head[0] !== 0) throw new Error(payload.toString())
    return payload
  }
  const sets = (op: string, dtype: DType): string[] =>
    call(op, '', dtype, 0, {}).toString().split(' ').filter(name => name !== '' && (names === undefined || names.includes(name)))
  return {
    sets: (dtype = 'fp32') => sets('sets', dtype),
    emulatedSets: (dtype = 'fp32') => sets('emulatedSets', dtype),
    externalMemory: () => 0,
    tiles: () => { throw new Error('only the addon has the tile registers by themselves') },
    run(op, set, threads, args, dtype = 'fp32') {
      const bytes = call(op, set, dtype, threads, args)
      return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))
    },
  }
}
