import { AsdmError, shown } from '../base/errors'
import { openClipName, unetNames, vaeNames } from '../model/ldm-keys'

/**
 * Diffusers' names as those of the original latent diffusion code: the way back of `lib/model/ldm-keys.ts`, which every result is
 * compared with.
 */

const resnetLayers = new Map([
  ['norm1', 'in_layers.0'], ['conv1', 'in_layers.2'], ['time_emb_proj', 'emb_layers.1'], ['norm2', 'out_layers.0'], ['conv2', 'out_layers.3'],
  ['conv_shortcut', 'skip_connection'],
])

const unetEnds = new Map([
  ['time_embedding.linear_1', 'time_embed.0'], ['time_embedding.linear_2', 'time_embed.2'],
  ['conv_in', 'input_blocks.0.0'], ['conv_norm_out', 'out.0'], ['conv_out', 'out.2'],
])

/**
 * @param names a UNet's weights
 * @returns diffusers name -> name without `model.diffusion_model.`
 * @throws AsdmError `UNSUPPORTED_CONFIG` for a UNet that the original names cannot tell
 */
export function ldmUNetNames(names: readonly string[]): Map<string, string> {
  const places = unetPlaces(names)
  const named = new Map(names.map(name => {
    const [, place, kind, rest] = /^((?:(?:down|up)_blocks\.\d+|mid_block)\.(resnets|attentions|downsamplers|upsamplers)\.\d+)\.(.+)$/.exec(
      name,
    )
    ?? []
    const [, layer = '', field = ''] = /^(.+)\.(weight|bias)$/.exec(rest ?? name) ?? []
    if (place === undefined) {
      const end = unetEnds.get(layer)
      return [name, end !== undefined ? `${end}.${field}` : name]
    }
    const inner = kind === 'resnets'
      ? `${resnetLayers.get(layer) ?? layer}.${field}`
      : kind === 'downsamplers'
        ? `op.${field}`
        : rest
    return [name, `${places.get(place) ?? place}.${inner}`]
  }))
  return checked(named, unetNames([...named.values()]), 'UNet', /^(?!)/)
}

/** Where each resnet, transformer and sampler stands among the numbered blocks. */
function unetPlaces(names: readonly string[]): Map<string, string> {
  const units = new Set<string>()
  for (const name of names) {
    const unit = /^(?:(?:down|up)_blocks\.\d+|mid_block)\.(?:resnets|attentions|downsamplers|upsamplers)\.\d+(?=\.)/.exec(name)?.[0]
    if (unit !== undefined) units.add(unit)
  }
  const places = new Map<string, string>()
  // The first block of the way down is the convolution before all stages.
  let block = 1
  for (let stage = 0; units.has(`down_blocks.${stage}.resnets.0`); stage++) {
    for (let layer = 0; units.has(`down_blocks.${stage}.resnets.${layer}`); layer++, block++) {
      places.set(`down_blocks.${stage}.resnets.${layer}`, `input_blocks.${block}.0`)
      places.set(`down_blocks.${stage}.attentions.${layer}`, `input_blocks.${block}.1`)
    }
    if (units.has(`down_blocks.${stage}.downsamplers.0`)) places.set(`down_blocks.${stage}.downsamplers.0`, `input_blocks.${block++}.0`)
  }
  let slot = 0
  for (let layer = 0; units.has(`mid_block.resnets.${layer}`); layer++) {
    places.set(`mid_block.resnets.${layer}`, `middle_block.${slot++}`)
    if (units.has(`mid_block.attentions.${layer}`)) places.set(`mid_block.attentions.${layer}`, `middle_block.${slot++}`)
  }
  block = 0
  for (let stage = 0; units.has(`up_blocks.${stage}.resnets.0`); stage++) {
    for (let layer = 0; units.has(`up_blocks.${stage}.resnets.${layer}`); layer++, block++) {
      const attends = units.has(`up_blocks.${stage}.attentions.${layer}`)
      places.set(`up_blocks.${stage}.resnets.${layer}`, `output_blocks.${block}.0`)
      places.set(`up_blocks.${stage}.attentions.${layer}`, `output_blocks.${block}.1`)
      // Its sampler stands in the last block of a stage; each later layer moves it on.
      places.set(`up_blocks.${stage}.upsamplers.0`, `output_blocks.${block}.${attends ? 2 : 1}`)
    }
  }
  return places
}

const vaeAttention = { 'group_norm': 'norm', 'to_q': 'q', 'to_k': 'k', 'to_v': 'v', 'to_out.0': 'proj_out' }

/**
 * @param names a VAE's weights
 * @returns diffusers name -> name without `first_stage_model.`
 * @throws AsdmError `UNSUPPORTED_CONFIG`
 */
export function ldmVAENames(names: readonly string[]): Map<string, string> {
  let stages = 0
  for (const name of names) stages = Math.max(stages, Number(/^decoder\.up_blocks\.(\d+)\./.exec(name)?.[1] ?? -1) + 1)
  const named = new Map(names.map(name => [name, name
    .replace('.conv_norm_out.', '.norm_out.').replace('.conv_shortcut.', '.nin_shortcut.')
    .replace(/\.mid_block\.resnets\.(\d+)\./, (_, layer) => `.mid.block_${Number(layer) + 1}.`)
    .replace(
      /\.mid_block\.attentions\.(\d+)\.(group_norm|to_q|to_k|to_v|to_out\.0)\./,
      (_, layer: string, inner: keyof typeof vaeAttention) => `.mid.attn_${Number(layer) + 1}.${vaeAttention[inner]}.`,
    )
    .replace(/^encoder\.down_blocks\.(\d+)\.resnets\.(\d+)\./, 'encoder.down.$1.block.$2.').replace(
      /^encoder\.down_blocks\.(\d+)\.downsamplers\.0\./, 'encoder.down.$1.downsample.',
    )
    .replace(
      /^decoder\.up_blocks\.(\d+)\.(?:resnets\.(\d+)|upsamplers\.0)\./,
      (_, stage, layer) => `decoder.up.${stages - 1 - Number(stage)}.${layer === undefined ? 'upsample' : `block.${layer}`}.`,
    )]))
  return checked(named, vaeNames([...named.values()]), 'VAE', /^(?:post_)?quant_conv\.|^(?:en|de)coder\.conv_(?:in|out)\./)
}

/** Is this one of the VAE's matrices that the original code keeps as 1x1 convolutions? */
export function isConvolutionInLdm(name: string): boolean {
  return /\.mid_block\.attentions\.\d+\.(?:to_q|to_k|to_v|to_out\.0)\.weight$/.test(name)
}

const openClipEnds = new Map([
  ['embeddings.position_embedding.weight', 'positional_embedding'], ['embeddings.token_embedding.weight', 'token_embedding.weight'],
  ['final_layer_norm.weight', 'ln_final.weight'], ['final_layer_norm.bias', 'ln_final.bias'],
])

const openClipLayers = new Map([
  ['layer_norm1', 'ln_1'], ['layer_norm2', 'ln_2'], ['mlp.fc1', 'mlp.c_fc'], ['mlp.fc2', 'mlp.c_proj'], ['self_attn.out_proj', 'attn.out_proj'],
])

/**
 * A text encoder's weights as OpenCLIP's: query, key and value of a layer are one tensor, stacked along the first dimension.
 * @returns OpenCLIP's name, without `cond_stage_model.model.` -> one diffusers name, or three in the order of the stack
 * @throws AsdmError `UNSUPPORTED_CONFIG`
 */
export function openClipNames(names: readonly string[]): Map<string, string[]> {
  const all = new Set(names)
  const named = new Map<string, string[]>()
  for (const name of names) {
    const [, layer, inner, field] = /^encoder\.layers\.(\d+)\.(.+)\.(weight|bias)$/.exec(name) ?? []
    const place = `transformer.resblocks.${layer}`
    if (layer === undefined || inner === undefined) named.set(openClipEnds.get(name) ?? name, [name])
    else if (!/^self_attn\.[qkv]_proj$/.test(inner))
      named.set(`${place}.${openClipLayers.get(inner) ?? inner}.${field}`, [name])
    else if (inner === 'self_attn.q_proj')
      named.set(
        `${place}.attn.in_proj_${field}`, ['q', 'k', 'v'].map(letter => `encoder.layers.${layer}.self_attn.${letter}_proj.${field}`),
      )
  }
  const back = [...named].map(([name, ours]) => {
    const place = openClipName(name)
    return [ours, place === undefined ? [] : 'name' in place ? [place.name] : place.stacked] as const
  })
  const given = back.flatMap(([ours]) => ours)
  const wrong = back.find(([ours, theirs]) => String(ours) !== String(theirs))?.[0][0] ?? given.find(name => !all.has(name))
  if (wrong !== undefined || new Set(given).size !== all.size || given.length !== all.size)
    throw unnameable('text encoder', wrong ?? names[0]!)
  return named
}

/** The names must lead back to where they came from, each once. @param same names that are the same in both */
function checked(named: Map<string, string>, back: ReadonlyMap<string, string>, part: string, same: RegExp): Map<string, string> {
  const wrong = [...named].find(([ours, theirs]) => back.get(theirs) !== ours || ours === theirs && !same.test(ours))
  if (wrong !== undefined) throw unnameable(part, wrong[0])
  if (new Set(named.values()).size !== named.size) throw unnameable(part, [...named.keys()][0]!)
  return named
}

function unnameable(part: string, name: string): AsdmError {
  return new AsdmError('UNSUPPORTED_CONFIG',
    `Expected a ${part} whose weights have names in a single file but ${shown(name)} has none, since its blocks are arranged in `
    + 'another way')
}
