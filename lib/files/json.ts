import { AsdmError } from '../base/errors'
import { readAt, shownPath, withFile } from './files'

/** Longest JSON file that is read, since parsing holds the event loop: CLIP's vocabulary takes 1 MB, its `tokenizer.json` 2 to 4 MB. */
const maxJsonBytes = 8 * 2 ** 20
/** Numbers that JSON does not know, in one file; configs have a few. */
const maxNumberWords = 1000

export type JsonObject = Record<string, unknown>

/** Is this a JSON object (not null, not an array)? */
export function isJsonObject(value: unknown): value is JsonObject {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
}

/**
 * Reads a JSON file whose outermost value is an object. `NaN`, `Infinity` and `-Infinity`, which Python writes although JSON has
 * no such numbers (`lambda_min_clipped` of a published DPM-Solver config), give these numbers.
 * @throws AsdmError `FILE_NOT_FOUND`, `FILE_READ`, `BAD_JSON`
 */
export async function readJsonObject(file: string, maxBytes = maxJsonBytes): Promise<JsonObject> {
  return withFile(file, async (handle, bytes) => {
    const fail = (problem: string, cause?: unknown): AsdmError =>
      new AsdmError('BAD_JSON', `Expected ${shownPath(file)} to hold a JSON object but ${problem}`, { cause })
    if (bytes > maxBytes) throw fail(`it has ${bytes} bytes, more than the ${maxBytes} that are read`)
    let text: string
    try {
      text = new TextDecoder('utf-8', { fatal: true }).decode(await readAt(handle, 0, bytes, file))
    } catch (error) {
      if (error instanceof AsdmError) throw error
      throw fail('it is not UTF-8', error)
    }
    let value: unknown
    try {
      value = parseJson(text)
    } catch (error) {
      throw fail(`it does not parse: ${error instanceof Error ? error.message : 'unknown reason'}`, error)
    }
    if (!isJsonObject(value))
      throw fail(`its outermost value is ${Array.isArray(value) ? 'an array' : value === null ? 'null' : `a ${typeof value}`}`)
    return value
  })
}

/** `JSON.parse` that also knows Python's three numbers. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    const replaced = replaceNumberWords(text)
    if (replaced === text) throw error
    return JSON.parse(replaced, (key, value: unknown) => {
      if (key === nanMark) throw error
      return value === nanMark ? NaN : value
    })
  }
}

const nanMark = '\u0000NaN'

/**
 * Writes the three words outside of strings as JSON that gives them. One pass; no regular expression, whose time a hostile file could
 * choose.
 */
function replaceNumberWords(text: string): string {
  let out = ''
  let copied = 0
  let inString = false
  let words = 0
  for (let at = 0; at < text.length; at++) {
    const char = text[at]
    if (inString) {
      if (char === '\\') at++
      else if (char === '"') inString = false
    } else if (char === '"') {
      inString = true
    } else if (words > maxNumberWords) {
      throw new Error(`it has more than ${maxNumberWords} numbers that are not finite`)
    } else if (char === 'N' && text.startsWith('NaN', at)) {
      words++
      out += text.slice(copied, at) + JSON.stringify(nanMark)
      copied = at + 3
    } else if (char === 'I' && text.startsWith('Infinity', at)) {
      words++
      out += `${text.slice(copied, at)}1e999`
      copied = at + 8
    }
  }
  return out + text.slice(copied)
}
