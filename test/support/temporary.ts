import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import type { ExecutionContext } from 'ava'

/** A new folder that is gone when the test ends. */
export function temporaryFolder(t: ExecutionContext<any>): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'asdm-'))
  t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }))
  return folder
}
