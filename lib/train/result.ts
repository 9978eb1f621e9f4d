import { randomBytes } from 'node:crypto'
import { copyFile, mkdir, readdir, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { convert } from '../model/dtype'
import { isFileError, isFile, isFolder, readAt, withFile, writeError } from '../files/files'
import { makeFolders } from '../files/folders'
import { writeSafetensors, type TensorToWrite } from '../files/safetensors'
import { writeWhole } from '../files/write'
import type { Part } from '../model/checkpoint'
import type { StoredDType, UNetConfig, WeightSource } from '../native/configs'
import type { TrainedWeight } from '../native/trainer'
import type { Trainer } from './trainer'

const pieceBytes = 1 << 22

/** What a result is made of. */
interface ResultParts {
  trainer: Trainer
  /** The student's folder, of which everything but the trained weights is kept. */
  student: string
  unet: Part<UNetConfig>
  /** Weights whose average is taken: trained in this stage. */
  averaged(weight: TrainedWeight): boolean
  /** Weights that were trained in earlier stages alone. */
  changed(weight: TrainedWeight): boolean
  dtype: 'fp16' | 'fp32'
  /** Further files by name. */
  files: Readonly<Record<string, string | Uint8Array>>
}

/**
 * Writes the student as a model folder with the moving average of its trained weights. A folder that is there is replaced; it appears
 * whole or not at
 * all.
 * @throws AsdmError `FILE_WRITE`, `TENSOR_DTYPE` for numbers that fp16 cannot hold; an `AbortError` when the signal fires
 */
export async function writeResult(out: string, parts: ResultParts, signal?: AbortSignal): Promise<void> {
  const { trainer, student, unet, averaged, changed, dtype, files } = parts
  const aside = `${out}.${process.pid}-${randomBytes(6).toString('hex')}.tmp`
  const to: StoredDType = dtype === 'fp16' ? 'F16' : 'F32'
  const sources = new Map(unet.weights.map(source => [source.name, source]))
  try {
    await copyModel(student, aside, signal)
    await writeSafetensors(path.join(aside, 'unet', 'diffusion_pytorch_model.safetensors'),
      trainer.weights.filter(({ adapter }) => !adapter).map((weight): TensorToWrite => {
        const { name, shape } = sources.get(weight.name)!
        const rows = averaged(weight) ? 'average' as const : changed(weight) ? 'weight' as const : undefined
        return {
          name, dtype: to, shape,
          data: () => converted(rows === undefined ? stored(sources.get(weight.name)!) : trainer.rows(rows, name), rows === undefined ? sources.get(weight.name)!.dtype : 'F32', to),
        }
      }), { format: 'pt' }, { signal })
    for (const [name, content] of Object.entries(files)) await writeWhole(path.join(aside, name), typeof content === 'string' ? Buffer.from(content) : content)
    await rm(out, { recursive: true, force: true })
    await rename(aside, out)
  } catch (error) {
    await rm(aside, { recursive: true, force: true }).catch(() => {})
    throw isFileError(error) ? writeError(error, out) : error
  }
}

async function* converted(pieces: AsyncIterable<Uint8Array>, from: StoredDType, to: 'F32' | 'F16' | 'BF16'): AsyncGenerator<Uint8Array> {
  for await (const piece of pieces) yield convert(piece, from, to).bytes
}

async function* stored({ file, begin, end }: WeightSource): AsyncGenerator<Uint8Array> {
  for (let at = begin; at < end; at += pieceBytes)
    yield await withFile(file, handle => readAt(handle, at, Math.min(pieceBytes, end - at), file))
}

/** A model's folder without the UNet's weights and without what a training left. */
async function copyModel(from: string, to: string, signal: AbortSignal | undefined): Promise<void> {
  await makeFolders(to)
  for (const name of await readdir(from)) {
    signal?.throwIfAborted()
    const source = path.join(from, name)
    if (await isFolder(source)) {
      await mkdir(path.join(to, name))
      for (const inner of await readdir(source)) {
        const weights = name === 'unet' && /\.safetensors$|\.index\.json$/.test(inner)
        if (!weights && /\.(?:json|txt|safetensors|br)$/.test(inner) && await isFile(path.join(source, inner)))
          await copyFile(path.join(source, inner), path.join(to, name, inner))
      }
    } else if (name === 'model_index.json' || name === 'assembly.json') {
      await copyFile(source, path.join(to, name))
    }
  }
}
