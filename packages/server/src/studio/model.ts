import type { StableDiffusion } from 'asdm'
import { bad } from '../images'
import type { ModelStore } from '../models/store'
import { bytesOfModel } from '../models/memory'

/** Shapes of a request, in latent pixels and tokens. */
export interface LatentShape {
  batch: number
  height: number
  width: number
  length: number
}

/** What is asked of a model: its name and, where they are not its own, the size and number of images. */
export interface SizedModel {
  model?: string
  width?: number
  height?: number
  count?: number
}

/** Runs something with a model, which is loaded for it where it is not, and stays. */
export async function withModel<Result>(
  models: ModelStore, name: string | undefined, signal: AbortSignal, use: (sd: StableDiffusion, name: string) => Promise<Result> | Result,
): Promise<Result> {
  const lease = await models.use((await models.find(name)).name, [], signal)
  try {
    return await use(lease.sd, lease.name)
  } finally {
    lease.release()
  }
}

/** @throws AsdmError `INVALID_ARGUMENT` for a side that is no multiple of the VAE's factor */
export function latentShape(sd: StableDiffusion, { width, height, count = 1 }: SizedModel, guided: boolean): LatentShape {
  const { default: side, multiple } = sd.sizes
  const sideOf = (name: string, pixels = side): number => {
    if (pixels % multiple !== 0) throw bad(`${name} to be a multiple of ${multiple}`, String(pixels))
    return pixels / multiple
  }
  return {
    batch: guided ? 2 * count : count, height: sideOf('height', height), width: sideOf('width', width),
    length: sd.textEncoder.config.maxPositionEmbeddings,
  }
}

/** What `POST /api/models/describe` answers: what a model can do, and the units of its parts with their parameters and cost. */
export function describeModel(sd: StableDiffusion, name: string, size: SizedModel, dtype: 'fp32' | 'bf16' | 'int8' | undefined) {
  const latent = latentShape(sd, size, true)
  const { length } = latent
  const { batch, ...image } = latent
  const unet = sd.unet.describe(latent)
  const parts = {
    'text encoder': sd.textEncoder.describe({ batch: 2, length }), 'UNet': unet,
    'VAE decoder': sd.vae.describe({ batch: batch / 2, height: image.height, width: image.width }),
  }
  return {
    name, sizes: sd.sizes, defaults: sd.defaults, samplers: [...sd.samplers], bytes: bytesOfModel(sd, dtype),
    sampler: sd.schedulerConfig._class_name as string,
    // A UNet that takes the guidance scale as an input runs no unconditional pass.
    guided: sd.unet.config.timeCondDim === undefined,
    prefixes: [...prefixesOf(sd)],
    units: unet.units.map(({ name, op, parameters, macs }) => ({ name, op, parameters, macs })),
    parts: Object.entries(parts).map(([part, { parameters, macs, arenaBytes }]) => ({ name: part, parameters, macs, arenaBytes })),
  }
}

const layerUnit = /^((?:down_blocks|up_blocks)\.\d+|mid_block)\.(?:resnets|attentions)\.(\d+)$/

/** What plans may inherit: blocks, layers, units. */
export function prefixesOf({ unet }: StableDiffusion): Set<string> {
  const prefixes = new Set(unet.tapNames())
  for (const name of [...prefixes]) {
    const [, block, layer] = layerUnit.exec(name) ?? []
    if (block !== undefined) prefixes.add(`${block}.${layer}`)
  }
  return prefixes
}
