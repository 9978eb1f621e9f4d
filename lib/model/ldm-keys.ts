/**
 * The names that the original latent diffusion code gives to weights, as diffusers names. Nothing here looks at a shape: where a
 * block stands follows from which blocks there are and what they hold, so any depth and any number of stages works.
 */

const resnetLayers = new Map([
  ['in_layers.0', 'norm1'], ['in_layers.2', 'conv1'], ['emb_layers.1', 'time_emb_proj'], ['out_layers.0', 'norm2'], ['out_layers.3', 'conv2'],
  ['skip_connection', 'conv_shortcut'],
])

const unetEnds = new Map([
  ['time_embed.0', 'time_embedding.linear_1'], ['time_embed.2', 'time_embedding.linear_2'],
  ['input_blocks.0.0', 'conv_in'], ['out.0', 'conv_norm_out'], ['out.2', 'conv_out'],
])

type UnitKind = 'resnet' | 'transformer' | 'downsample' | 'upsample'

/** Most blocks that are looked at; SD 1.5 has 12 input and 12 output blocks. */
const maxBlocks = 400

/**
 * Names of a UNet's weights.
 * @param names names without `model.diffusion_model.`
 * @returns old name -> diffusers name; a name that fits nowhere keeps itself
 */
export function unetNames(names: Iterable<string>): Map<string, string> {
  const all = [...names]
  const units = findUnits(all)
  const places = new Map<string, string>()
  placeUnits('input_blocks', 1, 'down_blocks', units, places)
  placeUnits('output_blocks', 0, 'up_blocks', units, places)
  let resnet = 0
  let attention = 0
  for (let i = 0; units.has(`middle_block.${i}`); i++) {
    const kind = units.get(`middle_block.${i}`)
    places.set(`middle_block.${i}`, kind === 'resnet' ? `mid_block.resnets.${resnet++}` : `mid_block.attentions.${attention++}`)
  }
  return new Map(all.map(name => [name, unetName(name, units, places)]))
}

function unetName(name: string, units: ReadonlyMap<string, UnitKind>, places: ReadonlyMap<string, string>): string {
  const { unit, rest } = split(name)
  const place = places.get(unit)
  if (place !== undefined) {
    const [, layer = '', field = ''] = /^(.*?)\.?(weight|bias)$/.exec(rest) ?? []
    const resnetLayer = resnetLayers.get(layer)
    switch (units.get(unit)) {
      case 'resnet': return resnetLayer !== undefined ? `${place}.${resnetLayer}.${field}` : name
      case 'transformer': return `${place}.${rest}`
      case 'downsample': return layer === 'op' ? `${place}.conv.${field}` : name
      case 'upsample': return layer === 'conv' ? `${place}.conv.${field}` : name
    }
  }
  const [, layer = '', field = ''] = /^(.*)\.(weight|bias)$/.exec(name) ?? []
  const end = unetEnds.get(layer)
  return end !== undefined ? `${end}.${field}` : name
}

/** `input_blocks.4.1.proj_in.weight` is `proj_in.weight` of the unit `input_blocks.4.1`; the middle block has one number less. */
function split(name: string): { unit: string, rest: string } {
  const [, unit = '', rest = name] = /^((?:(?:input|output)_blocks\.\d{1,3}|middle_block)\.\d{1,2})\.(.+)$/.exec(name) ?? []
  return { unit, rest }
}

function findUnits(names: readonly string[]): Map<string, UnitKind> {
  const units = new Map<string, UnitKind>()
  for (const name of names) {
    const { unit, rest } = split(name)
    if (unit === '') continue
    if (/^(?:in_layers|emb_layers|out_layers|skip_connection)\./.test(rest)) units.set(unit, 'resnet')
    else if (/^(?:proj_in|proj_out|norm|transformer_blocks)\./.test(rest)) units.set(unit, 'transformer')
    else if (rest.startsWith('op.')) units.set(unit, 'downsample')
    else if (rest.startsWith('conv.')) units.set(unit, 'upsample')
  }
  return units
}

/**
 * Walks the blocks in running order. A stage of the way down ends with a block that holds a downsampler, one of the way up with a block
 * that also holds an upsampler.
 */
function placeUnits(from: string, first: number, to: string, units: ReadonlyMap<string, UnitKind>, places: Map<string, string>): void {
  let stage = 0
  let layer = 0
  for (let block = first; block < maxBlocks; block++) {
    const kinds = [0, 1, 2].map(slot => units.get(`${from}.${block}.${slot}`))
    if (kinds.every(kind => kind === undefined)) return
    let ends = false
    kinds.forEach((kind, slot) => {
      const unit = `${from}.${block}.${slot}`
      if (kind === 'resnet') places.set(unit, `${to}.${stage}.resnets.${layer}`)
      else if (kind === 'transformer') places.set(unit, `${to}.${stage}.attentions.${layer}`)
      else if (kind === 'downsample' || kind === 'upsample') {
        places.set(unit, `${to}.${stage}.${kind}rs.0`)
        ends = true
      }
    })
    if (ends) {
      stage++
      layer = 0
    } else {
      layer++
    }
  }
}

const vaeAttention = { norm: 'group_norm', q: 'to_q', k: 'to_k', v: 'to_v', proj_out: 'to_out.0' }

/**
 * Names of a VAE's weights. The decoder's stages are counted from the image in the original, from the latents in diffusers.
 * @param names names without `first_stage_model.`
 * @returns old name -> diffusers name; a name that fits nowhere keeps itself
 */
export function vaeNames(names: Iterable<string>): Map<string, string> {
  const all = [...names]
  let stages = 0
  for (const name of all) stages = Math.max(stages, Number(/^decoder\.up\.(\d{1,2})\./.exec(name)?.[1] ?? -1) + 1)
  return new Map(all.map(name => [name, vaeName(name, stages)]))
}

function vaeName(name: string, stages: number): string {
  const [, coder, rest] = /^(encoder|decoder)\.(.+)$/.exec(name) ?? []
  if (coder === undefined || rest === undefined) return name
  const end = /^norm_out\.(.+)$/.exec(rest)
  if (end !== null) return `${coder}.conv_norm_out.${end[1]}`
  const attention = /^mid\.attn_(\d)\.(norm|q|k|v|proj_out)\.(.+)$/.exec(rest)
  if (attention !== null) return `${coder}.mid_block.attentions.${Number(attention[1]) - 1}.${vaeAttention[attention[2] as keyof typeof vaeAttention]}.${attention[3]}`
  const mid = /^mid\.block_(\d)\.(.+)$/.exec(rest)
  if (mid !== null) return `${coder}.mid_block.resnets.${Number(mid[1]) - 1}.${shortcut(mid[2]!)}`
  const level = /^(down|up)\.(\d{1,2})\.(?:block\.(\d{1,2})|(downsample|upsample))\.(.+)$/.exec(rest)
  if (level === null || (level[1] === 'down') !== (coder === 'encoder')) return name
  const [, direction, number, block, sampler, layer = ''] = level
  const stage = direction === 'down' ? Number(number) : stages - 1 - Number(number)
  return `${coder}.${direction}_blocks.${stage}.`
    + (sampler === undefined ? `resnets.${Number(block)}.${shortcut(layer)}` : `${sampler}rs.0.${layer}`)
}

function shortcut(layer: string): string {
  return layer.replace(/^nin_shortcut\./, 'conv_shortcut.')
}

const openClipEnds = new Map([
  ['positional_embedding', 'embeddings.position_embedding.weight'], ['token_embedding.weight', 'embeddings.token_embedding.weight'],
  ['ln_final.weight', 'final_layer_norm.weight'], ['ln_final.bias', 'final_layer_norm.bias'],
])

const openClipLayers = new Map([
  ['ln_1', 'layer_norm1'], ['ln_2', 'layer_norm2'], ['mlp.c_fc', 'mlp.fc1'], ['mlp.c_proj', 'mlp.fc2'], ['attn.out_proj', 'self_attn.out_proj'],
])

/** What an OpenCLIP tensor is for transformers: one weight, or query, key and value stacked along the first dimension. */
type OpenClipName = { layer: number | undefined } & ({ name: string } | { stacked: [string, string, string] })

/**
 * The name of an OpenCLIP text encoder's weight.
 * @param name name without `cond_stage_model.model.`
 * @returns `undefined` for what is no weight of the text encoder's layers
 */
export function openClipName(name: string): OpenClipName | undefined {
  const end = openClipEnds.get(name)
  if (end !== undefined) return { layer: undefined, name: end }
  const [, number, inner, field] = /^transformer\.resblocks\.(\d{1,3})\.(.+?)[._](weight|bias)$/.exec(name) ?? []
  if (number === undefined || inner === undefined || field === undefined) return undefined
  const layer = Number(number)
  const place = `encoder.layers.${layer}`
  if (inner === 'attn.in_proj') {
    const stacked = ['q', 'k', 'v'].map(letter => `${place}.self_attn.${letter}_proj.${field}`) as [string, string, string]
    return { layer, stacked }
  }
  const found = openClipLayers.get(inner)
  return found !== undefined ? { layer, name: `${place}.${found}.${field}` } : undefined
}
