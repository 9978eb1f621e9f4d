import fs from 'node:fs'
import type { Tensor } from '../base/tensor'
import { readSafetensorsHeader, writeSafetensors } from '../files/safetensors'

/** Float32 tensors of a small safetensors file. */
export async function readTensors(file: string): Promise<Record<string, Tensor>> {
  const bytes = fs.readFileSync(file)
  const { tensors } = await readSafetensorsHeader(file)
  return Object.fromEntries([...tensors].map(([name, { shape, begin, end }]) =>
    [name, { shape: [...shape], data: new Float32Array(new Uint8Array(bytes.subarray(begin, end)).buffer) }]))
}

/** Writes float32 tensors as safetensors. */
export async function writeTensors(file: string, tensors: Record<string, Tensor>): Promise<void> {
  await writeSafetensors(file, Object.entries(tensors).map(([name, { data, shape }]) =>
    ({ name, dtype: 'F32', shape, data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) })))
}
