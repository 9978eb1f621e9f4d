/**
 * What a LoRA does to one layer: a difference of low rank that is added to its weight W [out, in, ...], and for DoRA the norms that its
 * rows (or columns) get afterwards.
 *
 * | kind  | difference                                                              | paper                                    |
 * | ----- | ----------------------------------------------------------------------- | ---------------------------------------- |
 * | LoRA  | up down                                                                  | Hu et al. 2021, https://arxiv.org/abs/2106.09685 |
 * | LoCon | up mid down: a kernel between two matrices (Tucker)                       | Yeh et al. 2023, https://arxiv.org/abs/2309.14859 |
 * | LoHa  | (w1_a w1_b) times (w2_a w2_b), element by element                          | the same, after Hyeon-Woo et al. 2021     |
 * | LoKr  | the Kronecker product of w1 and w2, each whole or a product                | the same                                  |
 * | full  | itself                                                                   |                                          |
 * | DoRA  | W' = m (W + d) / norm(W + d)                                             | Liu et al. 2024, https://arxiv.org/abs/2402.09353 |
 *
 * The difference counts alpha / rank times, 1 where the file has no alpha.
 */
import { AsdmError } from '../base/errors'
import type { Slices } from '../base/slices'
import { shownPath } from '../files/files'
import { oneLine, type FoundTensor } from '../model/weights'
import type { StoredDType, WeightProduct } from '../native/configs'
import type { LoraPart, Piece } from './keys'
import { mostElements, multiply, readNumbers, transpose, type Numbers } from './numbers'

/** A layer's matrices, not read yet. */
export interface Adapter {
  part: LoraPart
  layer: string
  pieces: ReadonlyMap<Piece, FoundTensor>
  /** alpha / rank as the file's metadata have it, for layers whose alpha is not among their matrices. */
  metadataScale: number | undefined
  /** The file, for messages. */
  file: string
}

/** Which matrices a kind needs, and which it may have beside alpha, DoRA's magnitudes, and a difference of the bias. */
const kinds: readonly { needs: readonly Piece[], may: readonly Piece[] }[] = [
  { needs: ['down', 'up'], may: ['mid'] },
  { needs: ['hada_w1_a', 'hada_w1_b', 'hada_w2_a', 'hada_w2_b', 'hada_t1', 'hada_t2'], may: [] },
  { needs: ['hada_w1_a', 'hada_w1_b', 'hada_w2_a', 'hada_w2_b'], may: [] },
  ...(['lokr_w1', 'lokr_w1_a'] as const).flatMap(first => (['lokr_w2', 'lokr_w2_a'] as const).map(second => ({
    needs: [first, ...(first === 'lokr_w1_a' ? ['lokr_w1_b' as const] : []), second, ...(second === 'lokr_w2_a' ? ['lokr_w2_b' as const] : [])],
    may: second === 'lokr_w2_a' ? ['lokr_t2' as const] : [],
  }))),
  { needs: ['diff'], may: [] },
]

/** Is there nothing but a difference of the bias? */
export function changesBiasAlone(pieces: ReadonlyMap<Piece, unknown>): boolean {
  return pieces.has('diff_b') && [...pieces.keys()].every(piece => piece === 'diff_b' || piece === 'alpha')
}

/**
 * Checks that a layer's matrices are those of one kind.
 * @throws AsdmError `TENSOR_MISSING` for half a product, or matrices of two kinds
 */
export function checkAdapter({ layer, pieces, file }: Adapter): void {
  const own = [...pieces.keys()].filter(piece => !['alpha', 'magnitude', 'dora_scale', 'diff_b'].includes(piece))
  const fits = own.length === 0
    ? changesBiasAlone(pieces)
    : kinds.some(({ needs, may }) =>
        needs.every(piece => pieces.has(piece)) && own.every(piece => needs.includes(piece) || may.includes(piece)))
  if (!fits)
    throw new AsdmError('TENSOR_MISSING',
      `Expected the matrices of one kind of LoRA for ${oneLine(layer)} in ${shownPath(file)} but received only ${[...pieces.keys()].join(', ')}`)
}

/** The matrices of a layer, read and asked for by name. */
class Matrices {
  constructor(private readonly adapter: Adapter, private readonly read: ReadonlyMap<Piece, Numbers>) {}

  has(piece: Piece): boolean { return this.read.has(piece) }

  get(piece: Piece): Numbers { return this.read.get(piece)! }

  /** As a matrix of that many rows and columns, of which one may be left open. @throws AsdmError `TENSOR_SHAPE` */
  matrix(piece: Piece, rows: number | undefined, columns: number | undefined): { data: Float32Array, rows: number, columns: number } {
    const { data, shape } = this.get(piece)
    const [height, width] = [rows ?? data.length / columns!, columns ?? data.length / rows!]
    if (!(Number.isInteger(height) && Number.isInteger(width) && height > 0 && width > 0 && height * width === data.length))
      throw this.#wrong(piece, rows ?? '?', columns ?? '?', shape)
    return { data, rows: height, columns: width }
  }

  /** A kernel [rows, columns, ...]. @throws AsdmError `TENSOR_SHAPE` */
  kernel(piece: Piece, kernelSize: number): { data: Float32Array, rows: number, columns: number } {
    const { data, shape } = this.get(piece)
    const [rows = 0, columns = 0] = shape
    if (shape.length < 2 || rows * columns * kernelSize !== data.length || data.length === 0) throw this.#wrong(piece, 'rank', 'rank', shape)
    return { data, rows, columns }
  }

  #wrong(piece: Piece, rows: number | string, columns: number | string, shape: readonly number[]): AsdmError {
    const { layer, file, pieces } = this.adapter
    return new AsdmError('TENSOR_SHAPE',
      `Expected ${oneLine(pieces.get(piece)!.name)} in ${shownPath(file)} to be a matrix [${rows},${columns}] for ${oneLine(layer)} of this model `
      + `but received [${shape}]: the LoRA was made for another base model`)
  }
}

/**
 * Adds a LoRA to the weight and the bias of its layer, in place.
 * @param weight W as [out, in, ...] @param weightShape its shape @param amount how much of it, negative to take away
 * @param bias of the layer, where it has one
 * @throws AsdmError `TENSOR_SHAPE`, `TENSOR_DTYPE`, `TENSOR_MISSING`, `FILE_READ`; an `AbortError`
 */
export async function applyAdapter(
  adapter: Adapter, weight: Float32Array, weightShape: readonly number[], bias: Float32Array | undefined, amount: number, slices: Slices,
): Promise<void> {
  const read = new Map<Piece, Numbers>()
  for (const [piece, tensor] of adapter.pieces) read.set(piece, await readNumbers(tensor))
  const matrices = new Matrices(adapter, read)
  if (read.has('diff_b')) {
    if (bias === undefined)
      throw new AsdmError('TENSOR_SHAPE',
        `Expected ${oneLine(adapter.layer)} to have a bias, which ${shownPath(adapter.file)} changes, but it has none`)
    const { data } = matrices.matrix('diff_b', bias.length, 1)
    data.forEach((value, i) => { bias[i]! += amount * value })
    if (changesBiasAlone(read)) return
  }
  const out = weightShape[0] ?? 1
  const kernelSize = weightShape.slice(2).reduce((product, size) => product * size, 1)
  const difference = await differenceOf(matrices, out, weight.length / out, kernelSize, slices)
  const scale = amount * scaleOf(adapter, matrices, difference.rank)
  for (let i = 0; i < weight.length; i++) weight[i]! += Math.fround(scale * difference.data[i]!)
  if (slices.over) await slices.next()
  const norms = read.has('magnitude') ? 'magnitude' : read.has('dora_scale') ? 'dora_scale' : undefined
  if (norms !== undefined) renorm(matrices, norms, weight, weightShape)
}

/**
 * What a LoRA adds, where that is nothing but up times down, for the addon to merge as it reads the weight.
 * @param weightShape of the layer @param amount how much of it
 * @returns undefined for all else, also where the matrices do not fit: {@link applyAdapter} says what is wrong
 */
export async function productOf(adapter: Adapter, weightShape: readonly number[], amount: number): Promise<WeightProduct | undefined> {
  const { pieces } = adapter
  const [up, down, alpha] = [pieces.get('up'), pieces.get('down'), pieces.get('alpha')]
  if (up === undefined || down === undefined || pieces.size !== (alpha === undefined ? 2 : 3)) return undefined
  const [out = 1, rank = 0] = [weightShape[0], down.shape[0]]
  const columns = count(weightShape) / out
  const fit = rank > 0 && count(down.shape) === rank * columns && count(up.shape) === out * rank
  const read = ({ dtype, shape }: FoundTensor): boolean => ['F32', 'F16', 'BF16'].includes(dtype) && count(shape) <= mostElements
  if (!fit || !read(up) || !read(down)) return undefined
  const matrices = new Matrices(adapter, new Map(alpha === undefined ? [] : [['alpha', await readNumbers(alpha)]]))
  const stored = ({ file, dtype, begin, end }: FoundTensor): WeightProduct['up'] => ({ file, dtype: dtype as StoredDType, begin, end })
  return { up: stored(up), down: stored(down), rank, scale: amount * scaleOf(adapter, matrices, rank) }
}

function count(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1)
}

/** alpha / rank. As LyCORIS, an alpha of 0 is none; and what has no rank is not scaled. */
function scaleOf(adapter: Adapter, matrices: Matrices, rank: number | undefined): number {
  if (rank === undefined) return 1
  const alpha = matrices.has('alpha') ? matrices.matrix('alpha', 1, 1).data[0]! : 0
  return alpha === 0 ? adapter.metadataScale ?? 1 : alpha / rank
}

interface Difference {
  data: Float32Array
  rank: number | undefined
}

/** The difference, not scaled: [out, columns]. @param kernelSize numbers of a convolution's kernel, 1 for a matrix */
async function differenceOf(matrices: Matrices, out: number, columns: number, kernelSize: number, slices: Slices): Promise<Difference> {
  if (matrices.has('up')) {
    if (matrices.has('mid')) {
      const mid = matrices.kernel('mid', kernelSize)
      const up = matrices.matrix('up', out, mid.rows).data
      const down = matrices.matrix('down', mid.columns, columns / kernelSize).data
      return { data: await tucker(mid, transpose(up, out, mid.rows), down, kernelSize, slices), rank: mid.columns }
    }
    const rank = matrices.get('down').shape[0] ?? 0
    const down = matrices.matrix('down', rank, columns)
    return { data: await multiply(matrices.matrix('up', out, rank).data, down.data, out, rank, columns, slices), rank }
  }
  if (matrices.has('hada_w1_a')) {
    const factors: Float32Array[] = []
    for (const n of [1, 2] as const) factors.push(await hadamardFactor(matrices, n, out, columns, kernelSize, slices))
    const [first, second] = factors as [Float32Array, Float32Array]
    return { data: first.map((value, i) => value * second[i]!), rank: matrices.get('hada_w1_b').shape[0] }
  }
  if (matrices.has('lokr_w1') || matrices.has('lokr_w1_a')) return kronecker(matrices, out, columns, kernelSize, slices)
  return { data: matrices.matrix('diff', out, columns).data, rank: undefined }
}

async function hadamardFactor(
  matrices: Matrices, n: 1 | 2, out: number, columns: number, kernelSize: number, slices: Slices,
): Promise<Float32Array> {
  if (matrices.has(`hada_t${n}`)) {
    const core = matrices.kernel(`hada_t${n}`, kernelSize)
    const a = matrices.matrix(`hada_w${n}_a`, core.rows, out).data
    return tucker(core, a, matrices.matrix(`hada_w${n}_b`, core.columns, columns / kernelSize).data, kernelSize, slices)
  }
  const rank = matrices.get(`hada_w${n}_b`).shape[0] ?? 0
  return multiply(
    matrices.matrix(`hada_w${n}_a`, out, rank).data, matrices.matrix(`hada_w${n}_b`, rank, columns).data, out, rank, columns, slices,
  )
}

/**
 * A kernel between two matrices: sum over i, j of a[i,p] core[i,j,k] b[j,q], as [p, q, k].
 * @param a [core.rows, p] @param b [core.columns, q]
 */
async function tucker(
  core: { data: Float32Array, rows: number, columns: number }, a: Float32Array, b: Float32Array, kernelSize: number, slices: Slices,
): Promise<Float32Array> {
  const { rows, columns } = core
  const [p, q] = [a.length / rows, b.length / columns]
  const inner = new Float32Array(rows * q * kernelSize)
  for (let i = 0; i < rows; i++) {
    // core[i] is [columns, k]; its transpose times b gives [k, q].
    const block = core.data.subarray(i * columns * kernelSize, (i + 1) * columns * kernelSize)
    const product = await multiply(transpose(block, columns, kernelSize), b, kernelSize, columns, q, slices)
    inner.set(transpose(product, kernelSize, q), i * q * kernelSize)
  }
  return multiply(transpose(a, rows, p), inner, p, rows, q * kernelSize, slices)
}

async function kronecker(matrices: Matrices, out: number, columns: number, kernelSize: number, slices: Slices): Promise<Difference> {
  let rank: number | undefined
  const product = async (a: Piece, b: Piece): Promise<Numbers> => {
    const [left, right] = [matrices.get(a), matrices.get(b)]
    const inner = right.shape[0] ?? 0
    rank ??= inner
    const rows = matrices.matrix(a, undefined, inner).rows
    const width = matrices.matrix(b, inner, undefined).columns
    return { data: await multiply(left.data, right.data, rows, inner, width, slices), shape: [rows, ...right.shape.slice(1)] }
  }
  const first = matrices.has('lokr_w1') ? matrices.get('lokr_w1') : await product('lokr_w1_a', 'lokr_w1_b')
  const firstRows = first.shape[0] ?? 0
  const firstColumns = first.data.length / firstRows
  const [rows, width] = [out / firstRows, columns / firstColumns]
  let second: Float32Array
  if (matrices.has('lokr_w2')) {
    second = matrices.matrix('lokr_w2', rows, width).data
  } else if (matrices.has('lokr_t2')) {
    const core = matrices.kernel('lokr_t2', kernelSize)
    rank ??= core.columns
    const a = matrices.matrix('lokr_w2_a', core.rows, rows).data
    second = await tucker(core, a, matrices.matrix('lokr_w2_b', core.columns, width / kernelSize).data, kernelSize, slices)
  } else {
    const whole = await product('lokr_w2_a', 'lokr_w2_b')
    matrices.matrix('lokr_w2_a', rows, undefined)
    matrices.matrix('lokr_w2_b', undefined, width)
    second = whole.data
  }
  const data = new Float32Array(out * columns)
  const wide = width / kernelSize
  // [a, b] times [c, d, k]: row a * rows + c, column (b * wide + d) * k.
  for (let row = 0; row < out; row++) {
    const [a, c] = [Math.floor(row / rows), row % rows]
    for (let b = 0; b < firstColumns; b++) {
      const factor = first.data[a * firstColumns + b]!
      const [from, to] = [c * width, row * columns + b * wide * kernelSize]
      for (let d = 0; d < width; d++) data[to + d] = factor * second[from + d]!
    }
    if (slices.over) await slices.next()
  }
  return { data, rank }
}

/**
 * DoRA: gives each row (the weights of an output) the norm that the file has for it; or each column of kernels (those of an input), where
 * it has as many of these, as kohya's and LyCORIS's files may.
 */
function renorm(
  matrices: Matrices, piece: 'magnitude' | 'dora_scale', weight: Float32Array, [out = 1, inputs = 1, ...kernel]: readonly number[],
): void {
  const { data, shape } = matrices.get(piece)
  const byInput = piece === 'dora_scale' && data.length === inputs && shape[0] !== out
  const norms = matrices.matrix(piece, byInput ? inputs : out, 1).data
  const kernelSize = kernel.reduce((product, size) => product * size, 1)
  const groupOf = byInput
    ? (i: number): number => Math.floor(i / kernelSize) % inputs
    : (i: number): number => Math.floor(i / (inputs * kernelSize))
  const squares = new Float64Array(data.length)
  for (let i = 0; i < weight.length; i++) squares[groupOf(i)]! += weight[i]! ** 2
  const factors = norms.map((norm, group) => norm / Math.sqrt(squares[group]!))
  for (let i = 0; i < weight.length; i++) weight[i]! *= factors[groupOf(i)]!
}
