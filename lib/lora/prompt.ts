/** `<lora:name:0.8>` in prompts, as AUTOMATIC1111's web UI reads it. */
import { AsdmError, shown } from '../base/errors'
import type { LoraOptions } from './options'

/**
 * Takes the LoRAs out of a prompt: `<lora:name>`, `<lora:name:weight>` or `<lora:name:textWeight:weight>`; numbers may also be named,
 * `te=0.5` and `unet=1`.
 * @throws AsdmError `INVALID_ARGUMENT`
 */
function lorasInPrompt(prompt: string): { prompt: string, loras: LoraOptions[] } {
  const loras: LoraOptions[] = []
  const rest = prompt.replaceAll(/<lora:([^:<>]{1,200})((?::[^:<>]{0,40})*)>/g, (tag, name: string, more: string) => {
    const values = more.split(':').slice(1)
    const wrong = (): AsdmError => new AsdmError('INVALID_ARGUMENT',
      `Expected <lora:name>, <lora:name:weight> or <lora:name:textWeight:weight> with numbers from -10 to 10 but received ${shown(tag)}`)
    const read = (text: string): number => {
      const value = Number(text)
      if (text.trim() === '' || !(Math.abs(value) <= 10)) throw wrong()
      return value
    }
    const plain = values.filter(value => !value.includes('=')).map(read)
    if (plain.length > 2) throw wrong()
    let [textWeight = 1] = plain
    let weight = plain[1]
    for (const value of values.filter(each => each.includes('='))) {
      const [key, text] = [value.slice(0, value.indexOf('=')).trim(), value.slice(value.indexOf('=') + 1)]
      if (key === 'te') textWeight = read(text)
      else if (key === 'unet') weight = read(text)
      else throw wrong()
    }
    loras.push({ name: name.trim(), weight: weight ?? textWeight, textWeight })
    return ''
  })
  return loras.length === 0 ? { prompt, loras } : { prompt: rest.trim(), loras }
}

/**
 * The same of all prompts of a request, which share the model's weights.
 * @throws AsdmError `INVALID_ARGUMENT`, also where they do not name the same LoRAs
 */
export function lorasInPrompts(prompts: readonly string[]): { prompts: string[], loras: LoraOptions[] } {
  const read = prompts.map(lorasInPrompt)
  const [first] = read
  for (const { loras } of read)
    if (JSON.stringify(loras) !== JSON.stringify(first?.loras))
      throw new AsdmError('INVALID_ARGUMENT', 'Expected all prompts of a request to name the same LoRAs, in the same order, but they name others')
  return { prompts: read.map(({ prompt }) => prompt), loras: first?.loras ?? [] }
}
