// Random weights of reference models, drawn instead of stored. `randomise` in the script that made them draws each tensor from a seed
// that follows from the model's seed and the tensor's name alone; so do these lines, with the project's own generator.
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

/** The seed of each model whose weights are drawn, by the file that has them. */
export const seeds = {
  'sd15-tiny/unet/diffusion_pytorch_model.safetensors': 1501,
  'sd15-tiny/vae/diffusion_pytorch_model.safetensors': 1502,
  'sd15-tiny/text_encoder/model.safetensors': 1503,
  'sd21-tiny/unet/diffusion_pytorch_model.safetensors': 2101,
  'sd21-tiny/vae/diffusion_pytorch_model.safetensors': 2102,
  'sd21-tiny/text_encoder/model.safetensors': 2103,
  'bk-sdm-base-tiny/unet/diffusion_pytorch_model.safetensors': 3101,
  'bk-sdm-small-tiny/unet/diffusion_pytorch_model.safetensors': 3102,
  'bk-sdm-tiny-tiny/unet/diffusion_pytorch_model.safetensors': 3103,
}

const olderNames = [['.query.', '.to_q.'], ['.key.', '.to_k.'], ['.value.', '.to_v.'], ['.proj_attn.', '.to_out.0.']]

/** The name that a parameter had when it was drawn; files have the names of older versions, too. */
function parameter(key) {
  if (key.startsWith('text_model.')) return key.slice('text_model.'.length)
  return olderNames.reduce((name, [older, newer]) => (name.includes('mid_block.attentions.0') ? name.replace(older, newer) : name), key)
}

/** What is added to a tensor's normal values, and what they are scaled by: gains that keep activations near unit size. */
function distribution(name, shape) {
  const has = (...parts) => parts.some(part => name.includes(part))
  if (shape.length === 1) return name.endsWith('.weight') ? { base: 1, scale: 0.2 } : { base: 0, scale: 0.1 }
  if (shape.length === 2 && has('embedding') && !has('linear')) return { base: 0, scale: has('token') ? 0.5 : 0.2 }
  let gain = 1
  if (has('to_q', 'to_k', 'q_proj', 'k_proj')) gain = 1.5
  else if (has('conv2', 'proj_out', 'to_out', 'net.2', 'out_proj', 'fc2')) gain = 0.7
  else if (has('conv_out')) gain = has('decoder') ? 0.8 : 1.2
  return { base: 0, scale: gain * shape.slice(1).reduce((product, size) => product * size, 1) ** -0.5 }
}

/** CRC-32 as zlib has it, which Node's own zlib lends only since 20.15. */
function crc32(text) {
  let crc = ~0
  for (const byte of Buffer.from(text)) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0)
  }
  return ~crc >>> 0
}

const cell = new Float32Array(1)
const bits = new Uint32Array(cell.buffer)

/** The upper 16 bits of a float32, rounded to even. */
function bfloat16(value) {
  cell[0] = value
  return (bits[0] + 0x7fff + ((bits[0] >>> 16) & 1)) >>> 16
}

/** A float32's nearest float16, ties to even; only for magnitudes below 65,520. */
function float16(value) {
  const magnitude = Math.abs(value)
  cell[0] = magnitude
  const exponent = Math.max((bits[0] >>> 23) - 127, -14)
  const scaled = magnitude * 2 ** (10 - exponent) // the mantissa as a whole number and what is to be rounded off
  const floor = Math.floor(scaled)
  const rest = scaled - floor
  const mantissa = floor + (rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? 1 : 0)
  return (value < 0 || Object.is(value, -0) ? 0x8000 : 0) + (exponent + 14) * 1024 + mantissa // a carry moves into the exponent
}

const rounded = {
  F32: values => values,
  F16: values => Uint16Array.from(values, float16),
  BF16: values => Uint16Array.from(values, bfloat16),
}

let TorchGenerator

/** The compiled generator, asked for only when something is drawn. */
function generator(seed) {
  const file = new URL('../dist/random/torch-generator.js', import.meta.url)
  if (!fs.existsSync(file)) throw new Error('Expected lib/ to be compiled but dist/ lacks random/torch-generator.js. Run: npm run build:ts')
  TorchGenerator ??= createRequire(import.meta.url)(fileURLToPath(file)).TorchGenerator
  return new TorchGenerator(seed)
}

function drawTensor(seed, key, dtype, shape) {
  if (dtype === 'I64') return BigInt64Array.from({ length: shape[1] }, (_, i) => BigInt(i)) // position_ids
  const name = parameter(key)
  const { base, scale } = distribution(name, shape)
  const factor = Math.fround(scale)
  const { data } = generator(crc32(`${seed}/${name}`)).randn(shape)
  for (let i = 0; i < data.length; i++) data[i] = base === 0 ? data[i] * factor : base + Math.fround(data[i] * factor)
  return rounded[dtype](data)
}

/**
 * The tensors of a file, drawn: one after the other, as the file has them.
 * @param {{ seed: number, tensors: [name: string, dtype: string, shape: number[]][] }} file
 */
export function drawWeights({ seed, tensors }) {
  return Buffer.concat(tensors.map(tensor => {
    const { buffer, byteLength } = drawTensor(seed, ...tensor)
    return Buffer.from(buffer, 0, byteLength)
  }))
}

export const sha256 = bytes => createHash('sha256').update(bytes).digest('hex')
