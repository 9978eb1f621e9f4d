/** Files by name, written once and never changed: images, and images that requests were handed. */
export interface ResultStore {
  get(name: string): Promise<Buffer | undefined>
  has(name: string): Promise<boolean>
  /** Writes a file whole or not at all. */
  put(name: string, bytes: Buffer): Promise<void>
  close(): Promise<void>
}

/** What a name may be: a hash, and what kind of file it is. */
export const resultName = /^[0-9a-f]{64}\.(png|in)$/
