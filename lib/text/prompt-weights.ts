import { AsdmError, shown } from '../base/errors'
import { isFloat32Array } from '../base/realms'
import { checkTensor, sizes, type Tensor } from '../base/tensor'
import { MAX_TEXT_LENGTH, type Encoding, type Tokenizer } from './tokenizer'

/** Weight of one pair of round brackets; square ones give its inverse. */
const BRACKET_WEIGHT = 1.1
/**
 * Weights are limited to -100...100, far beyond what makes images, so that no bracketed prompt overflows.
 * Exported for tests and scripts.
 */
export const MAX_WEIGHT = 100

/** A stretch of a prompt and how much it counts; 1 is neutral. */
interface WeightedText {
  text: string
  weight: number
}

type Bracket = '(' | '['
type Item = { text: string } | { open: Bracket, factor: number } | { close: Bracket }

/**
 * Parses prompt weights as AUTOMATIC1111's web UI writes them: `(word:1.2)` counts 1.2 times, `(word)` 1.1 times, `[word]` 1/1.1
 * times; brackets nest and multiply; `\(`, `\)`, `\[`, `\]` and `\\` are literal, any other backslash is dropped. A bracket that
 * is never closed lasts to the end, one that was never opened is literal. Neighbours of equal weight are joined.
 * @returns at least one fragment; weights are limited to {@link MAX_WEIGHT}
 * @throws AsdmError `INVALID_ARGUMENT` when `prompt` is not a string or longer than `MAX_TEXT_LENGTH`
 */
export function parsePromptWeights(prompt: string): WeightedText[] {
  if (typeof prompt !== 'string') throw new AsdmError('INVALID_ARGUMENT', `Expected a prompt but received ${shown(prompt)}`)
  if (prompt.length > MAX_TEXT_LENGTH)
    throw new AsdmError('INVALID_ARGUMENT', `Expected a prompt of at most ${MAX_TEXT_LENGTH} characters but received ${prompt.length}`)

  const fragments: { parts: string[], weight: number }[] = []
  // Each kind of bracket nests by itself, so `(a [b) c]` is allowed; a text's weight is the product of both.
  const weights: Record<Bracket, number[]> = { '(': [1], '[': [1] }
  for (const item of bracketItems(prompt)) {
    if ('open' in item) {
      weights[item.open].push(limited(weights[item.open].at(-1)! * item.factor))
    } else if ('close' in item) {
      weights[item.close].pop()
    } else if (item.text !== '') {
      const weight = limited(weights['('].at(-1)! * weights['['].at(-1)!)
      const last = fragments.at(-1)
      if (last?.weight === weight) last.parts.push(item.text)
      else fragments.push({ parts: [item.text], weight })
    }
  }
  return fragments.length === 0 ? [{ text: '', weight: 1 }] : fragments.map(({ parts, weight }) => ({ text: parts.join(''), weight }))
}

/** Texts and matched brackets; an opening bracket already has the factor that its end gives. */
function bracketItems(prompt: string): Item[] {
  const items: Item[] = []
  const open: Record<Bracket, { open: Bracket, factor: number }[]> = { '(': [], '[': [] }
  const weightedEnd = /:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)/y
  const plain = /[^\\()[\]:]+/y
  for (let at = 0; at < prompt.length;) {
    const char = prompt[at]
    if (char === '\\') {
      const next = prompt.charAt(at + 1)
      const escaped = /[\\()[\]]/.test(next)
      items.push({ text: escaped ? next : '' })
      at += escaped ? 2 : 1
    } else if (char === '(' || char === '[') {
      const bracket = { open: char, factor: char === '(' ? BRACKET_WEIGHT : 1 / BRACKET_WEIGHT } as const
      open[char].push(bracket)
      items.push(bracket)
      at++
    } else if (char === ')' || char === ']') {
      const kind = char === ')' ? '(' : '['
      items.push(open[kind].pop() === undefined ? { text: char } : { close: kind })
      at++
    } else if (char === ':') {
      weightedEnd.lastIndex = at
      const end = open['('].length > 0 ? weightedEnd.exec(prompt) : null
      if (end === null) {
        items.push({ text: ':' })
        at++
      } else {
        open['('].pop()!.factor = Number(end[1])
        items.push({ close: '(' })
        at += end[0].length
      }
    } else {
      plain.lastIndex = at
      const text = plain.exec(prompt)![0]
      items.push({ text })
      at += text.length
    }
  }
  return items
}

const limited = (weight: number): number => Math.min(Math.max(weight, -MAX_WEIGHT), MAX_WEIGHT)

/**
 * Encodes a prompt with weights. Each fragment is tokenized by itself, as AUTOMATIC1111's web UI does, so a bracket within a word
 * splits it.
 * @returns as `Tokenizer.encodeWithDetails`, and `weights` with one weight per token of the window; 1 for start, end and padding
 * @throws AsdmError `INVALID_ARGUMENT` as {@link parsePromptWeights}
 */
export function encodeWeighted(tokenizer: Tokenizer, prompt: string): Encoding & { weights: Float32Array } {
  const fragments = parsePromptWeights(prompt)
  const room = tokenizer.windowLength - 2
  const tokens: number[] = []
  const weights = new Float32Array(tokenizer.windowLength).fill(1)
  let truncated = ''
  for (const [i, { text, weight }] of fragments.entries()) {
    const { ids, end } = tokenizer.take(text, room - tokens.length)
    weights.fill(weight, tokens.length + 1, tokens.length + 1 + ids.length)
    for (const id of ids) tokens.push(id)
    if (end < text.length) {
      truncated = (text.slice(end) + fragments.slice(i + 1).map(fragment => fragment.text).join('')).trim()
      break
    }
  }
  return { ...tokenizer.frame(tokens), truncated, weights }
}

/**
 * Weights text features [batch, length, width] as AUTOMATIC1111's web UI does: every token's features are multiplied by its
 * weight, then all features of the sample by one factor that restores their mean. Where that factor is not a positive number (the
 * mean vanished or changed its sign) the features stay multiplied only. Weights that are all 1 change no bit.
 * @param weights one per token (length), the same for all samples, or batch * length of them
 * @throws AsdmError `INVALID_ARGUMENT` or `SHAPE_MISMATCH`
 */
export function applyPromptWeights(features: Tensor, weights: Float32Array): Tensor {
  checkTensor(features, 'features', 3)
  const [batch, length, width] = sizes(features.shape, 3)
  if (!isFloat32Array(weights))
    throw new AsdmError('INVALID_ARGUMENT', `Expected weights to be a Float32Array but received ${shown(weights)}`)
  if (weights.length !== length && weights.length !== batch * length)
    throw new AsdmError('SHAPE_MISMATCH',
      `Expected ${length} or ${batch * length} weights for features [${features.shape}] but received ${weights.length}`)
  if (!weights.every(Number.isFinite)) throw new AsdmError('INVALID_ARGUMENT', 'Expected weights to be finite but received others')

  const data = new Float32Array(features.data.length)
  const size = length * width
  for (let sample = 0; sample < batch; sample++) {
    const first = weights.length === length ? 0 : sample * length
    let before = 0
    let after = 0
    for (let i = 0; i < size; i++) {
      const value = features.data[sample * size + i]!
      const weighted = value * weights[first + Math.floor(i / width)]!
      data[sample * size + i] = weighted
      before += value
      after += weighted
    }
    const factor = before / after
    if (factor > 0 && factor !== 1 && Number.isFinite(factor)) for (let i = 0; i < size; i++) data[sample * size + i]! *= factor
  }
  return { data, shape: [...features.shape] }
}
