/** A repository and how to reach its hub, as the package takes them. */
interface Asked {
  revision: string
  hubUrl: string
  fetch: typeof fetch
}

/** An entry of a repository's list, if the hub keeps to its documentation. */
interface ListedEntry {
  type: string
  path: string
  size: number
  oid?: string
  lfs?: { oid: string, size: number }
}

/** What is used of `@huggingface/hub`. Exported for tests and scripts. */
export interface HubPackage {
  modelInfo(params: Asked & { name: string, additionalFields: 'sha'[] }): Promise<{ sha?: string }>
  listFiles(params: Asked & { repo: { type: 'model', name: string }, recursive: boolean }): AsyncIterable<ListedEntry>
}

/**
 * Loads `@huggingface/hub` when it is first needed. It is asked for commits and lists of files; files themselves are fetched in
 * {@link fetchBlob}, because its own downloads begin anew after a break, are not compared with their hashes, and know no locks.
 *
 * Its declarations do not pass the compiler with `skipLibCheck` off, hence types of our own; a test compares the two.
 */
export async function hubPackage(): Promise<HubPackage> {
  // eslint-disable-next-line @typescript-eslint/no-inferrable-types -- a literal type would have the compiler read its declarations
  const name: string = '@huggingface/hub'
  return await import(name) as HubPackage
}
