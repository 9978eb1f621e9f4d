/**
 * Every public function, constructor and method with hostile arguments: what comes of it is a result, or an AsdmError with a documented
 * code. The list is the public index itself: what it exports without a line in `subjects.ts` fails the test.
 */
import { execFile } from 'node:child_process'
import path from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { temporaryFolder } from '../support/temporary'

for (const kind of ['functions', 'classes'])
  test(`${kind} answer hostile arguments with an AsdmError`, async t => {
    // A process of its own: some values are paths that would be written to, and what ends it must not take this one along.
    const { stdout } = await promisify(execFile)(
      process.execPath, ['--no-warnings', path.join(__dirname, 'sweep.js'), kind], { cwd: temporaryFolder(t), maxBuffer: 2 ** 26 },
    )
    const { unknown, found } = JSON.parse(stdout.slice(stdout.lastIndexOf('\n', stdout.length - 2) + 1)) as Record<'unknown' | 'found',
      string[]>
    t.deepEqual(unknown, [], 'not swept')
    t.deepEqual(found.slice(0, 40), [], `${found.length} wrong`)
  })
