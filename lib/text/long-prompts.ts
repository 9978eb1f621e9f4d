import { parsePromptWeights } from './prompt-weights'
import type { Tokenizer } from './tokenizer'

/** Most windows that one prompt fills: 2400 tokens of CLIP's. */
const maxChunks = 32

/** `BREAK` as a word of its own, as in AUTOMATIC1111's web UI. */
const breaks = /\s*(?<![\p{L}\p{N}_])BREAK(?![\p{L}\p{N}_])\s*/gu

/** A prompt cut into windows of the text encoder. */
export interface Chunks {
  /** Start, up to `windowLength - 2` tokens, end and padding; at least one window. */
  windows: Int32Array[]
  /** A weight for each token of all windows; 1 for start, end and padding. */
  weights: Float32Array
  /** The part of the prompt that did not fit, without white space around it. */
  truncated: string
}

/**
 * Cuts a prompt into windows of `windowLength - 2` tokens, as diffusers' `lpw_stable_diffusion` community pipeline does: after every 75
 * tokens of CLIP's, wherever that is. `BREAK` ends a window early, as in AUTOMATIC1111's web UI.
 * @param weighted read weights, see {@link parsePromptWeights}; each stretch of one weight is tokenized by itself
 * @throws AsdmError `INVALID_ARGUMENT` when the prompt is too long to tokenize
 */
export function encodeChunks(tokenizer: Tokenizer, prompt: string, weighted: boolean): Chunks {
  const room = tokenizer.windowLength - 2
  const windows: { ids: number[], weights: number[] }[] = [{ ids: [], weights: [] }]
  let truncated: string[] | undefined
  const add = (text: string, weight: number): void => {
    const free = maxChunks * room - (windows.length - 1) * room - windows.at(-1)!.ids.length
    const { ids, end } = tokenizer.take(text, free)
    for (const id of ids) {
      if (windows.at(-1)!.ids.length === room) windows.push({ ids: [], weights: [] })
      windows.at(-1)!.ids.push(id)
      windows.at(-1)!.weights.push(weight)
    }
    if (end < text.length) truncated = [text.slice(end)]
  }
  for (const { text, weight } of weighted ? parsePromptWeights(prompt) : [{ text: prompt, weight: 1 }]) {
    for (const [i, part] of text.split(breaks).entries()) {
      if (truncated === undefined && i > 0) {
        if (windows.length === maxChunks) truncated = []
        else windows.push({ ids: [], weights: [] })
      }
      if (truncated === undefined) add(part, weight)
      else truncated.push(part)
    }
  }
  return {
    windows: windows.map(({ ids }) => tokenizer.frame(ids).ids),
    weights: weightsOf(windows.map(({ weights }) => weights), tokenizer.windowLength),
    truncated: (truncated ?? []).join(' ').trim(),
  }
}

/** Weights of the windows' tokens, 1 everywhere else. */
function weightsOf(windows: readonly (readonly number[])[], windowLength: number): Float32Array {
  const all = new Float32Array(windows.length * windowLength).fill(1)
  windows.forEach((weights, i) => all.set(weights, i * windowLength + 1))
  return all
}

/** As many windows as `count`, the further ones empty, so that prompts of one batch have features of one length. */
export function padded({ windows, weights, truncated }: Chunks, count: number, tokenizer: Tokenizer): Chunks {
  const empty = tokenizer.frame([]).ids
  const all = new Float32Array(count * tokenizer.windowLength).fill(1)
  all.set(weights)
  return { windows: [...windows, ...Array.from({ length: count - windows.length }, () => empty)], weights: all, truncated }
}
