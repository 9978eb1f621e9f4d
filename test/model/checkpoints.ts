import fs from 'node:fs'
import path from 'node:path'
import { readSafetensorsHeader, writeSafetensors, type TensorToWrite } from '../../lib/files/safetensors'
import type { Part } from '../../lib/model/checkpoint'
import type { UNetConfig, WeightSource } from '../../lib/native/configs'
import { fixture } from '../support/fixtures'
import { ldmUNetName, ldmVAEName, openClipName } from './ldm-names'

/** The bytes of a source, read without the library. */
export function bytesOf({ file, begin, end }: Pick<WeightSource, 'file' | 'begin' | 'end'>): Buffer {
  const handle = fs.openSync(file, 'r')
  const bytes = Buffer.alloc(end - begin)
  fs.readSync(handle, bytes, 0, bytes.length, begin)
  fs.closeSync(handle)
  return bytes
}

/** All tensors of a file, held. */
export async function tensorsIn(file: string): Promise<TensorToWrite[]> {
  const { tensors } = await readSafetensorsHeader(file)
  return [...tensors].map(([name, { dtype, shape, begin, end }]) => ({ name, dtype, shape, data: bytesOf({ file, begin, end }) }))
}

/** Copies a reference checkpoint into `folder`, where a test may damage it. */
export function copyCheckpoint(set: string, folder: string): string {
  const target = path.join(folder, set)
  fs.cpSync(fixture(set), target, { recursive: true, filter: file => !path.basename(file).startsWith('expected.') })
  return target
}

export function editJson(file: string, change: (json: any) => void): void {
  const json = JSON.parse(fs.readFileSync(file, 'utf8'))
  change(json)
  fs.writeFileSync(file, JSON.stringify(json))
}

/** Writes a reference checkpoint as one file with the original names; `change` may alter the tensors first. */
export async function writeLdm(
  set: string, unet: UNetConfig, vaeStages: number, file: string, change: (tensors: TensorToWrite[]) => TensorToWrite[] = same => same,
  metadata = {},
): Promise<void> {
  const out: TensorToWrite[] = []
  for (const tensor of await tensorsIn(fixture(set, 'unet/diffusion_pytorch_model.safetensors')))
    out.push({ ...tensor, name: ldmUNetName(tensor.name, unet.layersPerBlock, unet.upCrossAttention) })
  for (const tensor of await tensorsIn(fixture(set, 'vae/diffusion_pytorch_model.safetensors'))) {
    // The original writes the attention's matrices as 1x1 convolutions.
    const matrix = tensor.name.includes('mid_block.attentions') && tensor.shape.length === 2
    out.push({ ...tensor, name: ldmVAEName(tensor.name, vaeStages), shape: matrix ? [...tensor.shape, 1, 1] : tensor.shape })
  }
  const text = await tensorsIn(fixture(set, 'text_encoder/model.safetensors'))
  out.push(
    ...set === 'sd21-tiny' ? openClip(text) : text.map(tensor => ({ ...tensor, name: `cond_stage_model.transformer.${tensor.name}` })),
  )
  await writeSafetensors(file, change(out), metadata)
}

/** OpenCLIP's form of a text encoder: projections stacked, and a last layer (made up here), which SD 2.x does not use. */
function openClip(text: TensorToWrite[]): TensorToWrite[] {
  const names = text.map(({ name }) => Number(/layers\.(\d+)\./.exec(name)?.[1] ?? -1))
  const layers = Math.max(...names) + 1
  const all = [...text]
  for (const tensor of text) {
    if (tensor.name.includes(`layers.${layers - 1}.`))
      all.push({
        ...tensor, name: tensor.name.replace(`layers.${layers - 1}.`, `layers.${layers}.`),
        data: Buffer.alloc((tensor.data as Buffer).length, 0x3f),
      })
  }
  const out: TensorToWrite[] = []
  for (const tensor of all) {
    if (/self_attn\.[kv]_proj/.test(tensor.name)) continue
    if (!tensor.name.includes('self_attn.q_proj')) {
      out.push({ ...tensor, name: openClipName(tensor.name) })
      continue
    }
    const stack = ['q', 'k', 'v'].map(letter => all.find(({ name }) => name === tensor.name.replace('q_proj', `${letter}_proj`))!)
    out.push({
      name: openClipName(tensor.name), dtype: tensor.dtype, shape: [3 * tensor.shape[0], ...tensor.shape.slice(1)],
      data: Buffer.concat(stack.map(({ data }) => data as Buffer)),
    })
  }
  const width = text.find(({ name }) => name === 'final_layer_norm.weight')!.shape[0]
  out.push({ name: 'cond_stage_model.model.text_projection', dtype: 'F32', shape: [width, width], data: Buffer.alloc(4 * width * width) })
  out.push({ name: 'cond_stage_model.model.logit_scale', dtype: 'F32', shape: [], data: Buffer.alloc(4) })
  return out
}

/** The weights by name, with their bytes, for comparisons. */
export function contents({ weights }: Part<unknown>): Map<string, { dtype: string, shape: number[], bytes: Buffer }> {
  return new Map(weights.map(source => [source.name, { dtype: source.dtype, shape: source.shape, bytes: bytesOf(source) }]))
}
