/**
 * What the names in a LoRA file mean. Files name the layers of UNet and text encoder with dots (diffusers, PEFT) or with underscores
 * (kohya's scripts, LyCORIS), and the matrices of a layer in several ways. Layers have the names of their weights here, without `.weight`.
 */
import type { FoundTensor } from '../model/weights'

/** Parts of a checkpoint that a LoRA may change. */
export type LoraPart = 'unet' | 'text_encoder'

/** One matrix of a layer, by LyCORIS's words for it. */
export type Piece
  = | 'down' | 'up' | 'mid' | 'alpha' | 'magnitude' | 'dora_scale' | 'diff' | 'diff_b'
    | `hada_w${1 | 2}_${'a' | 'b'}` | `hada_t${1 | 2}` | `lokr_w${1 | 2}` | `lokr_w${1 | 2}_${'a' | 'b'}` | 'lokr_t2'

/** The layers of a part, by every name that files have for them. */
export class LayerNames {
  readonly #names = new Map<string, string>()

  /** @param weights names of the part's weights */
  constructor(weights: Iterable<string>) {
    for (const weight of weights) {
      if (!weight.endsWith('.weight')) continue
      const layer = weight.slice(0, -'.weight'.length)
      this.#names.set(layer, layer)
      this.#names.set(layer.replaceAll('.', '_'), layer)
    }
  }

  find(name: string): string | undefined {
    return this.#names.get(name)
  }
}

/** How files end the names of a layer's matrices: PEFT's, diffusers' older two, kohya's and LyCORIS's. */
const endings: readonly (readonly [RegExp, (match: RegExpExecArray) => Piece])[] = [
  [/\.lora_(A|B)(?:\.[\w-]+)?\.weight$/, match => (match[1] === 'A' ? 'down' : 'up')],
  [/(?:\.lora_linear_layer|\.lora|_lora)\.(down|up)\.weight$/, match => match[1] as Piece],
  [/\.lora_(down|up|mid)\.weight$/, match => match[1] as Piece],
  [/\.lora_magnitude_vector(?:\.[\w-]+)?$/, () => 'magnitude'],
  [/\.(alpha|dora_scale|diff|diff_b|hada_w[12]_[ab]|hada_t[12]|lokr_w[12](?:_[ab])?|lokr_t2)$/, match => match[1] as Piece],
]

/** Projections in the names of diffusers' attention processors, as layers. */
const projections: Readonly<Record<LoraPart, Readonly<Record<string, string>>>> = {
  unet: { to_out: 'to_out.0' },
  text_encoder: { to_q: 'q_proj', to_k: 'k_proj', to_v: 'v_proj', to_out: 'out_proj' },
}

/** A tensor of the file that has its place. */
interface PlacedPiece {
  part: LoraPart
  /** The layer, or where the checkpoint has none of that name, what the file calls it. */
  layer: string
  known: boolean
  piece: Piece
  tensor: FoundTensor
}

/**
 * Where a tensor of a LoRA file belongs.
 * @returns `undefined` for one whose ending says no matrix of a LoRA
 */
export function placePiece(tensor: FoundTensor, layers: Readonly<Record<LoraPart, LayerNames>>): PlacedPiece | undefined {
  for (const [ending, pieceOf] of endings) {
    const match = ending.exec(tensor.name)
    if (match === null) continue
    const place = placeLayer(tensor.name.slice(0, match.index), layers)
    return { ...place, piece: pieceOf(match), tensor }
  }
  return undefined
}

function placeLayer(file: string, layers: Readonly<Record<LoraPart, LayerNames>>): Pick<PlacedPiece, 'part' | 'layer' | 'known'> {
  const name = file.replace(/^base_model\.model\./, '')
  const [, prefix, rest] = /^(unet\.|text_encoder\.|lora_unet_|lora_te1?_|lycoris_)?(.*)$/s.exec(name) as unknown as [string, string?, string?]
  const parts: readonly LoraPart[] = prefix === undefined || prefix === 'lycoris_'
    ? ['unet', 'text_encoder']
    : prefix.includes('unet') ? ['unet'] : ['text_encoder']
  for (const part of parts) {
    const layer = layers[part].find(layerName(rest ?? '', part))
    if (layer !== undefined) return { part, layer, known: true }
  }
  return { part: parts[0]!, layer: file, known: false }
}

/** A layer's name without what only some programs put into it. */
function layerName(name: string, part: LoraPart): string {
  let plain = part === 'text_encoder' ? name.replace(/^text_model[._]/, '') : name
  // `attn1.processor.to_q` of diffusers' attention processors; text encoders have it without `processor`.
  const projection = /^(.*?)(?:\.processor)?\.(to_(?:q|k|v|out))$/s.exec(plain)
  if (projection !== null) plain = `${projection[1]}.${projections[part][projection[2]!] ?? projection[2]}`
  return plain
}
