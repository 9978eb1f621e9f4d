// Keeps the reference data small in the repository.
//   node scripts/fixtures.mjs pack <source folder>   source folder -> test/fixtures (maintainers, when references change)
//   node scripts/fixtures.mjs unpack                 test/fixtures -> build/fixtures (runs before `npm test`)
// A packed file is a safetensors file whose tensor bytes are grouped by significance (all first bytes of a tensor, then
// all second bytes, ...) and compressed with brotli; unpacking gives back the identical tensors. The header is kept as it is.
// Random weights are not stored: of their files only a list of tensors remains, *.drawn.json, with the seed from which unpacking draws
// them (scripts/fixture-weights.mjs) and the checksum that what was drawn must have.
import fs from 'node:fs'
import path from 'node:path'
import zlib from 'node:zlib'
import { fileURLToPath } from 'node:url'
import { drawWeights, seeds, sha256 } from './fixture-weights.mjs'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const packedDir = path.join(root, 'test', 'fixtures')
const unpackedDir = path.join(root, 'build', 'fixtures')
const widths = { F64: 8, I64: 8, F32: 4, I32: 4, F16: 2, BF16: 2, I16: 2, U8: 1, I8: 1, BOOL: 1 }

// Reference tensors, by set and name, that no test reads yet (gradients, per-step copies of what the per-step latents already pin down),
// or only a part of (DeepCache); what happens inside a transformer, except in the two whole models; and the longest random tensors but for
// a few seeds: 1x4x16x16 has every seed past the point where the generator renews its state.
const unused = [
  /^torch-rng\/seed(?!(0|42|4294967296)_)\d+_2x4x16x24\b/, /^torch-rng\/seed42_1x4x64x64\b/,
  /^[^/]+\/train\//, /\/unet_outputs$/, /^[^/]+\/deepcache\//, /^ops\/[^/]+\/d(x|y|weight|bias|q|k|v|gamma|beta|proj_|out_|routing_)/,
  /^bk-sdm-.*\/hooks\/.*\.transformer_blocks\./,
]

function parse(bytes) {
  const headerBytes = Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.subarray(8, 8 + headerBytes).toString('utf8'))
  return { header, data: bytes.subarray(8 + headerBytes) }
}

function build(header, data) {
  const text = Buffer.from(JSON.stringify(header))
  const padded = Buffer.concat([text, Buffer.alloc((8 - (text.length % 8)) % 8, 0x20)])
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(padded.length))
  return Buffer.concat([length, padded, data])
}

function regroup(source, width, forward) {
  const count = source.length / width
  const target = Buffer.alloc(source.length)
  for (let i = 0; i < count; i++)
    for (let b = 0; b < width; b++) {
      if (forward) target[b * count + i] = source[i * width + b]
      else target[i * width + b] = source[b * count + i]
    }
  return target
}

function mapTensors(header, data, forward, keep = () => true) {
  const out = {}
  const parts = []
  let offset = 0
  for (const [name, tensor] of Object.entries(header)) {
    if (name === '__metadata__') { out[name] = tensor; continue }
    if (!keep(name)) continue
    const [begin, end] = tensor.data_offsets
    const bytes = regroup(data.subarray(begin, end), widths[tensor.dtype], forward)
    out[name] = { ...tensor, data_offsets: [offset, offset + bytes.length] }
    parts.push(bytes)
    offset += bytes.length
  }
  return { header: out, data: Buffer.concat(parts) }
}

function* files(folder) {
  for (const entry of fs.readdirSync(folder, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) yield path.relative(folder, path.join(entry.parentPath ?? entry.path, entry.name))
}

/**
 * The set `deepcache`: of the DeepCache runs of `sd15-tiny` the latents after the last step, and every fourth pixel of every fourth row of
 * the image.
 */
function deepcacheSet(folder) {
  const runs = JSON.parse(fs.readFileSync(path.join(folder, 'expected.json'), 'utf8').replace(/-?\bInfinity\b/g, 'null')).deepcache
  const { header, data } = parse(fs.readFileSync(path.join(folder, 'expected.safetensors')))
  const floats = name => new Float32Array(Uint8Array.from(data.subarray(...header[name].data_offsets)).buffer)
  const tensors = {}
  const parts = []
  const put = (name, shape, values) => {
    const begin = parts.reduce((sum, part) => sum + part.length, 0)
    parts.push(Buffer.from(Float32Array.from(values).buffer))
    tensors[name] = { dtype: 'F32', shape, data_offsets: [begin, begin + parts.at(-1).length] }
  }
  for (const run of Object.keys(runs.runs)) {
    const [, , height, width] = header[`deepcache/${run}/image`].shape
    put(
      `${run}/latents`, header[`deepcache/${run}/latents`].shape.slice(1),
      floats(`deepcache/${run}/latents`).subarray(-header[`deepcache/${run}/latents`].shape.slice(1).reduce((a, b) => a * b)),
    )
    put(
      `${run}/image`, [1, 3, height / 4, width / 4],
      floats(`deepcache/${run}/image`).filter((_, i) => i % width % 4 === 0 && Math.floor(i / width) % 4 === 0),
    )
  }
  return { json: runs, header: tensors, data: Buffer.concat(parts) }
}

/** The list that stands for a file of random weights; fails unless drawing them gives the file's bits. */
function listDrawn(file, seed, header, data) {
  const { __metadata__: metadata, ...entries } = header
  const tensors = Object.entries(entries).map(([name, { dtype, shape }]) => [name, dtype, shape])
  const plain = Buffer.concat(Object.values(entries).map(({ data_offsets: [begin, end] }) => data.subarray(begin, end)))
  if (!drawWeights({ seed, tensors }).equals(plain)) throw new Error(`Expected ${file} to hold what seed ${seed} draws but it does not`)
  const lines = tensors.map(tensor => JSON.stringify(tensor)).join(',\n')
  return `{"seed":${seed},"sha256":"${sha256(plain)}","metadata":${JSON.stringify(metadata)},"tensors":[\n${lines}\n]}\n`
}

/** The safetensors file that such a list stands for. */
function drawListed(file, list) {
  const data = drawWeights(list)
  if (sha256(data) !== list.sha256)
    throw new Error(
      `Expected the weights of ${file} to have the checksum ${list.sha256} but drawing gave ${sha256(data)}; dist/random differs from when `
      + 'they were listed',
    )
  const header = { __metadata__: list.metadata }
  let offset = 0
  for (const [name, dtype, shape] of list.tensors) {
    const end = offset + widths[dtype] * shape.reduce((product, size) => product * size, 1)
    header[name] = { dtype, shape, data_offsets: [offset, end] }
    offset = end
  }
  return build(header, data)
}

/** Without indentation, which is half of such a file; as text, for some hold Infinity, which is no JSON. */
const dense = text => `${text.replace(/\n\s*/g, '')}\n`

const compress = file => {
  const params = { [zlib.constants.BROTLI_PARAM_QUALITY]: 11, [zlib.constants.BROTLI_PARAM_LGWIN]: 22 }
  return zlib.brotliCompressSync(build(file.header, file.data), { params })
}

const [command, source] = process.argv.slice(2)
if (command === 'pack' && source) {
  for (const file of files(source)) {
    const target = path.join(packedDir, file)
    fs.mkdirSync(path.dirname(target), { recursive: true })
    const bytes = fs.readFileSync(path.join(source, file))
    if (file === path.join('torch-rng', 'expected.json')) {
      const json = JSON.parse(bytes)
      json.cases = json.cases.filter(({ key }) => !unused.some(rule => rule.test(`torch-rng/${key}`)))
      fs.writeFileSync(target, dense(JSON.stringify(json, undefined, 1)))
      continue
    }
    if (path.basename(file) === 'expected.json') { fs.writeFileSync(target, dense(bytes.toString('utf8'))); continue }
    if (!file.endsWith('.safetensors')) { fs.writeFileSync(target, bytes); continue }
    const { header, data } = parse(bytes)
    const seed = seeds[file.split(path.sep).join('/')]
    if (seed !== undefined) { fs.writeFileSync(`${target}.drawn.json`, listDrawn(file, seed, header, data)); continue }
    const expected = path.basename(file) === 'expected.safetensors'
    const grouped = mapTensors(
      header, data, true, name => !expected || !unused.some(rule => rule.test(`${file.split(path.sep)[0]}/${name}`)),
    )
    fs.writeFileSync(target + '.br', compress(grouped))
  }
  if (fs.existsSync(path.join(source, 'sd15-tiny', 'expected.safetensors'))) {
    const { json, header, data } = deepcacheSet(path.join(source, 'sd15-tiny'))
    fs.mkdirSync(path.join(packedDir, 'deepcache'), { recursive: true })
    fs.writeFileSync(path.join(packedDir, 'deepcache', 'expected.json'), dense(JSON.stringify(json, undefined, 1)))
    fs.writeFileSync(path.join(packedDir, 'deepcache', 'expected.safetensors.br'), compress(mapTensors(header, data, true)))
  }
} else if (command === 'unpack') {
  for (const file of files(packedDir)) {
    const from = path.join(packedDir, file)
    const to = path.join(unpackedDir, file.replace(/\.(br|drawn\.json)$/, ''))
    const stamp = fs.statSync(from).mtime
    if (fs.existsSync(to) && fs.statSync(to).mtimeMs === stamp.getTime()) continue
    fs.mkdirSync(path.dirname(to), { recursive: true })
    let bytes = fs.readFileSync(from)
    if (file.endsWith('.br')) {
      const { header, data } = parse(zlib.brotliDecompressSync(bytes))
      const plain = mapTensors(header, data, false)
      bytes = build(plain.header, plain.data)
    } else if (file.endsWith('.drawn.json')) bytes = drawListed(file, JSON.parse(bytes))
    // Written aside and renamed, so that two test runs at once never read half a file.
    const aside = `${to}.${process.pid}`
    fs.writeFileSync(aside, bytes)
    fs.utimesSync(aside, stamp, stamp)
    fs.renameSync(aside, to)
  }
} else {
  console.error('Usage: node scripts/fixtures.mjs pack <source folder> | unpack')
  process.exit(2)
}
