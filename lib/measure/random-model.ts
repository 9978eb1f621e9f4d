import fs from 'node:fs'
import path from 'node:path'
import { AsdmError, shown } from '../base/errors'
import { elementCount } from '../base/tensor'
import { shownPath } from '../files/files'
import { makeFolders } from '../files/folders'
import { writeSafetensors } from '../files/safetensors'
import { parseTextEncoderConfig } from '../model/text-encoder-config'
import { parseUNetConfig } from '../model/unet-config'
import { parseVAEConfig } from '../model/vae-config'
import type { NativeModelSpec, WeightRequest } from '../native/binding'
import { loadAddon } from '../native/load'
import { writePackagedTokenizer } from '../text/packaged-tokenizer'
import { shapes, type ModelShape } from './shapes'

/** IEEE half-precision bits of a float, rounded to nearest even; subnormals become 0, which random weights do not miss. */
function halfBits(value: number, view: DataView): number {
  view.setFloat32(0, value)
  const bits = view.getUint32(0)
  const exponent = ((bits >>> 23) & 0xff) - 112
  if (exponent <= 0) return (bits >>> 16) & 0x8000
  if (exponent >= 31) return ((bits >>> 16) & 0x8000) | 0x7bff
  const rounded = (exponent << 10) + ((bits >>> 13) & 0x3ff)
  const rest = bits & 0x1fff
  return ((bits >>> 16) & 0x8000) | (rounded + (rest > 0x1000 || (rest === 0x1000 && (rounded & 1) === 1) ? 1 : 0))
}

/** A prime number of roughly normal values: repeated with an offset per tensor, so that writing gigabytes takes seconds. */
const blockLength = 262139

function randomBlock(): Float32Array {
  let state = 12345
  const uniform = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 4294967296
  return Float32Array.from({ length: blockLength }, () => (uniform() + uniform() + uniform() + uniform() - 2) * 1.732)
}

/** Standard deviation and mean by the weight's role, so that activations neither die nor explode through the layers. */
function distribution({ name, shape }: WeightRequest): { mean: number, deviation: number } {
  if (shape.length === 1) return name.endsWith('.weight') ? { mean: 1, deviation: 0.1 } : { mean: 0, deviation: 0.05 }
  if (name.includes('embedding.weight')) return { mean: 0, deviation: 0.5 }
  return { mean: 0, deviation: 1 / Math.sqrt(elementCount(shape.slice(1))) }
}

/** Blocks of half-precision numbers by their mean and deviation, of which a model needs few. */
class HalfBlocks {
  readonly #block = randomBlock()
  readonly #view = new DataView(new ArrayBuffer(4))
  readonly #known = new Map<string, Uint16Array>()

  of(mean: number, deviation: number): Uint16Array {
    const key = `${mean} ${deviation}`
    const known = this.#known.get(key) ?? Uint16Array.from(this.#block, value => halfBits(mean + deviation * value, this.#view))
    this.#known.set(key, known)
    return known
  }
}

function* halves(request: WeightRequest, blocks: HalfBlocks, index: number): Generator<Uint8Array> {
  const { mean, deviation } = distribution(request)
  const bits = blocks.of(mean, deviation)
  let left = elementCount(request.shape)
  let offset = (index * 7919) % blockLength
  while (left > 0) {
    const count = Math.min(left, blockLength - offset)
    yield new Uint8Array(bits.buffer, offset * 2, count * 2)
    left -= count
    offset = 0
  }
}

/**
 * Writes a diffusers folder of a published size with random fp16 weights, unless it is there already.
 * @returns the folder
 */
export async function randomModel(name: string, folder: string): Promise<string> {
  const shape = shapes[name]
  if (shape === undefined)
    throw new AsdmError('INVALID_ARGUMENT', `Expected a shape out of ${Object.keys(shapes).join(', ')} but received ${shown(name)}`)
  if (!fs.existsSync(path.join(folder, 'model_index.json'))) await writeRandomModel(shape, folder)
  else await toldWhere(
    folder, () => writePackagedTokenizer(path.join(folder, 'tokenizer'), shape.padToken),
  ) // small, and may be of an older version
  return folder
}

/**
 * Writes a diffusers folder of this shape with random fp16 weights, the same each time; `model_index.json` last.
 * Exported for tests and scripts.
 * @throws AsdmError `FILE_WRITE`
 */
export async function writeRandomModel(shape: ModelShape, folder: string): Promise<void> {
  await toldWhere(folder, () => writeParts(shape, folder))
}

/** @throws AsdmError `FILE_WRITE` for what the system refuses */
async function toldWhere(folder: string, write: () => Promise<void>): Promise<void> {
  try {
    await write()
  } catch (error) {
    if (error instanceof AsdmError) throw error
    throw new AsdmError(
      'FILE_WRITE', `Expected to write a model with random weights to ${shownPath(folder)} but: ${(error as Error).message}`,
      { cause: error },
    )
  }
}

async function writeParts(shape: ModelShape, folder: string): Promise<void> {
  const addon = loadAddon()
  const blocks = new HalfBlocks()
  const write = async (part: string, file: string, json: Record<string, unknown>, specs: NativeModelSpec[]) => {
    await makeFolders(path.join(folder, part))
    fs.writeFileSync(path.join(folder, part, 'config.json'), JSON.stringify(json, null, 1))
    const requests: WeightRequest[] = specs.flatMap(spec => {
      const model = addon.createModel(spec, { dtype: 'fp32', threads: 1, cpu: 'auto' })
      const weights = model.weights()
      model.dispose()
      return weights
    })
    await writeSafetensors(path.join(folder, part, file), requests.map((request, i) => ({
      name: request.name, dtype: 'F16', shape: request.shape, data: () => halves(request, blocks, i),
    })))
  }
  await write(
    'unet', 'diffusion_pytorch_model.fp16.safetensors', shape.unet, [{ kind: 'unet', config: parseUNetConfig(shape.unet, 'unet') }],
  )
  const vae = parseVAEConfig(shape.vae, 'vae')
  await write(
    'vae', 'diffusion_pytorch_model.fp16.safetensors', shape.vae,
    [{ kind: 'vae_encoder', config: vae }, { kind: 'vae_decoder', config: vae }],
  )
  await write(
    'text_encoder', 'model.fp16.safetensors', shape.textEncoder,
    [{ kind: 'text_encoder', config: parseTextEncoderConfig(shape.textEncoder, 'text_encoder') }],
  )
  await makeFolders(path.join(folder, 'scheduler'))
  fs.writeFileSync(path.join(folder, 'scheduler', 'scheduler_config.json'), JSON.stringify(shape.scheduler, null, 1))
  await writePackagedTokenizer(path.join(folder, 'tokenizer'), shape.padToken)
  fs.writeFileSync(path.join(folder, 'model_index.json'), JSON.stringify({
    _class_name: 'StableDiffusionPipeline', scheduler: [
      'diffusers', shape.scheduler._class_name,
    ], text_encoder: ['transformers', 'CLIPTextModel'],
    tokenizer: ['transformers', 'CLIPTokenizer'], unet: ['diffusers', 'UNet2DConditionModel'], vae: ['diffusers', 'AutoencoderKL'],
  }, null, 1))
}
