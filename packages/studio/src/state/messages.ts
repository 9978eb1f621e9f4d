import { signal } from '@preact/signals'
import { isAbort, sentenceOf } from '../api/client'

/** A message at the edge of the window. */
export interface Message {
  id: number
  text: string
  kind: 'error' | 'note'
}

/** What is shown now. */
export const messages = signal<readonly Message[]>([])

let last = 0

/** Shows a message: notes for some seconds, errors until they are closed. */
export function say(text: string, kind: Message['kind'] = 'note'): void {
  const id = ++last
  messages.value = [...messages.value.filter(each => each.text !== text), { id, text, kind }].slice(-4)
  if (kind === 'note') setTimeout(() => dismiss(id), 5000)
}

export function dismiss(id: number): void {
  messages.value = messages.value.filter(each => each.id !== id)
}

/** Runs something and shows what goes wrong in words. */
export async function attempt(run: () => Promise<void>): Promise<void> {
  try {
    await run()
  } catch (error) {
    if (!isAbort(error)) say(sentenceOf(error), 'error')
  }
}
