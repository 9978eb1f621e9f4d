import { effect } from '@preact/signals'
import { api, isAbort, sentenceOf } from './api/client'
import { loadGallery } from './state/gallery'
import { resume } from './state/jobs'
import { attempt, say } from './state/messages'
import { details, listModels, modelName, modelProblem } from './state/models'

/** Asks for what every page needs. */
export async function start(): Promise<void> {
  await attempt(async () => {
    await listModels()
    await resume()
  })
}

/** What is done once: the gallery, and the chosen model's details whenever another one is chosen. */
export function begin(): void {
  void loadGallery().catch((error: unknown) => say(`The browser keeps no images here: ${(error as Error).message}`, 'error'))
  let asking: AbortController | undefined
  effect(() => {
    const model = modelName.value
    asking?.abort()
    details.value = undefined
    modelProblem.value = undefined
    if (model === undefined) return
    const { signal } = asking = new AbortController()
    api.describe({ model }, signal).then(found => { details.value = found }, (error: unknown) => {
      if (!isAbort(error)) modelProblem.value = sentenceOf(error)
    })
  })
  void start()
}
