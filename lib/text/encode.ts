import { pick, type Tensor } from '../base/tensor'
import type { Warning } from '../components/warnings'
import type { TextEncoder } from '../components/text-encoder'
import type { FeatureCache } from './feature-cache'
import { applyPromptWeights, encodeWeighted } from './prompt-weights'
import type { Tokenizer } from './tokenizer'

export interface TextRequest {
  prompts: readonly string[]
  /** One per prompt; `undefined` where no unconditional pass is run. */
  negativePrompts: readonly string[] | undefined
  clipSkip: number
  promptWeighting: boolean
}

/**
 * Features of all prompts in one pass of the encoder: [2P,L,D], the negative prompts first, or [P,L,D] without them.
 * Texts that are cut are reported to `onWarning`.
 * @param cache of this encoder's features
 */
export async function encodeText(
  tokenizer: Tokenizer, encoder: TextEncoder, cache: FeatureCache, request: TextRequest, onWarning: (
    warning: Warning,
  ) => void, signal: AbortSignal | undefined,
): Promise<Tensor> {
  const texts = [...(request.negativePrompts ?? []), ...request.prompts]
  const distinct = [...new Set(texts)]
  const encoded = distinct.map(text => {
    const tokens = request.promptWeighting ? encodeWeighted(tokenizer, text) : { ...tokenizer.encodeWithDetails(text), weights: undefined }
    if (tokens.truncated !== '') onWarning(truncation(text, tokens.truncated, tokenizer.windowLength))
    return tokens
  })
  const plain = await cache.encode(encoder, encoded.map(({ ids }) => ids), request.clipSkip, signal)
  const features = request.promptWeighting ? applyPromptWeights(plain, weightsOf(encoded, tokenizer.windowLength)) : plain
  return pick(features, texts.map(text => distinct.indexOf(text)))
}

/** One weight per token, row after row. */
function weightsOf(encoded: readonly { weights: Float32Array | undefined }[], window: number): Float32Array {
  const all = new Float32Array(encoded.length * window).fill(1)
  encoded.forEach(({ weights }, i) => { if (weights !== undefined) all.set(weights, i * window) })
  return all
}

function truncation(prompt: string, cut: string, window: number): Warning {
  const short = cut.length > 200 ? `${cut.slice(0, 197)}...` : cut
  return {
    code: 'PROMPT_TRUNCATED', prompt, cut,
    message: `The prompt is longer than the ${window - 2} tokens that the text encoder takes; left out was: ${JSON.stringify(short)}`,
  }
}
