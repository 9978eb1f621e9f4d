import type { Warning } from '../components/warnings'

/**
 * What other programs read in a prompt and asdm takes for text: a pattern, and what it is. Where brackets mean nothing, only `always`
 * counts.
 */
const foreign: readonly { pattern: RegExp, what: string, always: boolean }[] = [
  { pattern: /<(?:lora|lyco|hypernet):[^<>]{1,200}>/, what: 'an extra network of AUTOMATIC1111\'s', always: true },
  { pattern: /\[[^[\]:]{0,200}:(?:[^[\]:]{0,200}:)?\s*\d+(?:\.\d+)?\s*\]/, what: 'prompt editing of AUTOMATIC1111\'s', always: false },
  { pattern: /\[[^[\]|]{0,200}(?:\|[^[\]|]{0,200}){1,20}\]/, what: 'alternating words of AUTOMATIC1111\'s', always: false },
]

/** Warnings of words in a prompt that look like another program's commands, one of each kind. */
export function foreignSyntax(prompt: string, promptWeighting: boolean): Warning[] {
  return foreign.filter(({ always }) => always || promptWeighting).flatMap(({ pattern, what }) => {
    const found = pattern.exec(prompt)
    return found === null
      ? []
      : [{ code: 'PROMPT_SYNTAX' as const, prompt, message: `${JSON.stringify(found[0].slice(0, 80))} in the prompt is ${what}, which is not supported; it is read as text` }]
  })
}
