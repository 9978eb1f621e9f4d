import { Slices } from '../base/slices'
import { pick, type Tensor } from '../base/tensor'
import type { Warning } from '../components/warnings'
import type { TextEncoder } from '../components/text-encoder'
import type { FeatureCache } from './feature-cache'
import { encodeChunks, padded, type Chunks } from './long-prompts'
import { applyPromptWeights, encodeWeighted } from './prompt-weights'
import { foreignSyntax } from './foreign-syntax'
import type { Tokenizer } from './tokenizer'

interface TextRequest {
  prompts: readonly string[]
  /** One per prompt; `undefined` where no unconditional pass is run. */
  negativePrompts: readonly string[] | undefined
  clipSkip: number
  promptWeighting: boolean
  /** Prompts beyond the window fill further ones. */
  longPrompts?: boolean
}

/**
 * Features of all prompts in one pass of the encoder: [2P,L,D], the negative prompts first, or [P,L,D] without them. L is the window's
 * length, with `longPrompts` that times the windows of the longest prompt.
 * Texts that are cut, and words of other programs that are read as text, are reported to `onWarning`.
 * @param cache of this encoder's features
 */
export async function encodeText(
  tokenizer: Tokenizer, encoder: TextEncoder, cache: FeatureCache, request: TextRequest, onWarning: (
    warning: Warning,
  ) => void, signal: AbortSignal | undefined,
): Promise<Tensor> {
  const texts = [...(request.negativePrompts ?? []), ...request.prompts]
  const distinct = [...new Set(texts)]
  const encode = request.longPrompts === true ? encodeChunks : oneWindow
  const encoded: Chunks[] = []
  const slices = new Slices(signal)
  for (const text of distinct) {
    for (const warning of foreignSyntax(text, request.promptWeighting)) onWarning(warning)
    const chunks = encode(tokenizer, text, request.promptWeighting)
    if (chunks.truncated !== '') onWarning(truncation(text, chunks, tokenizer.windowLength))
    encoded.push(chunks)
    if (slices.over) await slices.next()
  }
  const windows = Math.max(...encoded.map(chunks => chunks.windows.length))
  const even = encoded.map(chunks => padded(chunks, windows, tokenizer))
  const rows = await cache.encode(encoder, even.flatMap(chunks => chunks.windows), request.clipSkip, signal)
  // The windows of a prompt lie one behind the other.
  const plain = { data: rows.data, shape: [distinct.length, windows * rows.shape[1]!, rows.shape[2]!] }
  const features = request.promptWeighting ? applyPromptWeights(plain, joined(even.map(({ weights }) => weights))) : plain
  return pick(features, texts.map(text => distinct.indexOf(text)))
}

function oneWindow(tokenizer: Tokenizer, text: string, weighted: boolean): Chunks {
  if (weighted) {
    const { ids, weights, truncated } = encodeWeighted(tokenizer, text)
    return { windows: [ids], weights, truncated }
  }
  const { ids, truncated } = tokenizer.encodeWithDetails(text)
  return { windows: [ids], weights: new Float32Array(ids.length).fill(1), truncated }
}

function joined(rows: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(rows.reduce((sum, row) => sum + row.length, 0))
  let at = 0
  for (const row of rows) {
    all.set(row, at)
    at += row.length
  }
  return all
}

function truncation(prompt: string, { truncated: cut, windows }: Chunks, window: number): Warning {
  const short = cut.length > 200 ? `${cut.slice(0, 197)}...` : cut
  return {
    code: 'PROMPT_TRUNCATED', prompt, cut,
    message: `The prompt is longer than the ${windows.length * (window - 2)} tokens that are read of it; left out was: ${JSON.stringify(short)}`,
  }
}
