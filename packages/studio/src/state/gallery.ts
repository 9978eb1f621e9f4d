/** Images that were made, kept in the browser's own database until they are deleted. */
import { signal } from '@preact/signals'
import type { Settings } from '../api/types'

/** An image of the gallery. */
export interface Item {
  id: string
  blob: Blob
  settings: Settings
  model: string
  createdMs: number
  /** How long its job took. */
  ms: number | undefined
}

/** The newest first. */
export const items = signal<readonly Item[]>([])

/** The image that is looked at. */
export const selected = signal<string | undefined>(undefined)

const store = 'images'
let database: Promise<IDBDatabase> | undefined

function open(): Promise<IDBDatabase> {
  return database ??= new Promise((resolve, reject) => {
    const opening = indexedDB.open('asdm-studio', 1)
    opening.onupgradeneeded = () => opening.result.createObjectStore(store, { keyPath: 'id' })
    opening.onsuccess = () => resolve(opening.result)
    opening.onerror = () => reject(opening.error ?? new Error('The browser keeps no images here.'))
  })
}

async function run<Result>(mode: IDBTransactionMode, work: (images: IDBObjectStore) => IDBRequest<Result>): Promise<Result> {
  const transaction = (await open()).transaction(store, mode)
  const asked = work(transaction.objectStore(store))
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(asked.result)
    transaction.onabort = transaction.onerror = () => reject(transaction.error ?? new Error('The browser cannot keep the image.'))
  })
}

/** Reads what the browser has kept. */
export async function loadGallery(): Promise<void> {
  const kept = await run<Item[]>('readonly', images => images.getAll() as IDBRequest<Item[]>)
  items.value = kept.sort((a, b) => b.createdMs - a.createdMs)
}

/** Adds images, the newest first; those that are there already are left alone. */
export async function keep(added: readonly Item[]): Promise<void> {
  const known = new Set(items.value.map(({ id }) => id))
  const fresh = added.filter(({ id }) => !known.has(id))
  items.value = [...fresh, ...items.value].sort((a, b) => b.createdMs - a.createdMs)
  for (const item of fresh) await run('readwrite', images => images.put(item))
}

/** Deletes images. */
export async function remove(ids: readonly string[]): Promise<void> {
  items.value = items.value.filter(({ id }) => !ids.includes(id))
  if (selected.value !== undefined && ids.includes(selected.value)) selected.value = undefined
  for (const id of ids) await run('readwrite', images => images.delete(id))
}

const urls = new WeakMap<Blob, string>()

/** A URL of an image, the same each time. */
export function urlOf(blob: Blob): string {
  const url = urls.get(blob) ?? URL.createObjectURL(blob)
  urls.set(blob, url)
  return url
}
