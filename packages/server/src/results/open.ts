import { FolderStore } from './folder'
import type { ResultStore } from './store'

/** The store at a place: a folder. */
export async function openResults(place: string): Promise<ResultStore> {
  return new FolderStore(place)
}
