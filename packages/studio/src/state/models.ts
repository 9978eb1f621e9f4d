import { computed, signal } from '@preact/signals'
import { api } from '../api/client'
import type { Choices, ListedModel, ModelDetails } from '../api/types'
import { request } from './request'

/** The server's models; `undefined` until it has answered. */
export const models = signal<readonly ListedModel[] | undefined>(undefined)

/** LoRAs, presets, limits. */
export const choices = signal<Choices>({ loras: [], presets: [], maxPixels: 2 ** 22, maxImages: 16 })

/** The chosen model in detail; `undefined` while it is loaded. */
export const details = signal<ModelDetails | undefined>(undefined)

/** Why the chosen model cannot be used. */
export const modelProblem = signal<string | undefined>(undefined)

/** The chosen model: that of the request while it exists, else the first. */
export const modelName = computed(() => {
  const list = models.value ?? []
  return list.find(({ name }) => name === request.value.model)?.name ?? list[0]?.name
})

/** Asks for the list of models. */
export async function listModels(): Promise<void> {
  [models.value, choices.value] = await Promise.all([api.models(), api.choices()])
}
