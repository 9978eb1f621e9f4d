// Keeps native/sources.json, the one list of sources that both builds read, equal to the disk.
//   node scripts/sources.mjs          says what differs, and fails if something does
//   node scripts/sources.mjs --write  rewrites the list from the disk
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const listPath = path.join(root, 'native', 'sources.json')

/**
 * The .cpp files below native/, sorted, by the target that compiles them: the addon's boundary, the testing addon, and the rest. What
 * scripts/arm.mjs alone compiles, for CPUs without Node, is in none, nor what scripts/cuda.mjs and scripts/cuda-emulated.mjs do.
 */
export function sourcesOnDisk() {
  const groups = { library: [], addon: [], testing: [] }
  const folders = { 'native/napi': 'addon', 'native/testing': 'testing' }
  const files = fs.readdirSync(path.join(root, 'native'), { recursive: true })
    .map(file => `native/${file.split(path.sep).join('/')}`).filter(file => file.endsWith('.cpp') && !/^native\/(testing\/remote|cuda)\//.test(file)).sort()
  for (const file of files) groups[folders[file.split('/').slice(0, 2).join('/')] ?? 'library'].push(file)
  return groups
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const wanted = `${JSON.stringify(sourcesOnDisk(), null, 2)}\n`
  if (process.argv.includes('--write')) fs.writeFileSync(listPath, wanted)
  else if (fs.readFileSync(listPath, 'utf8') !== wanted) {
    console.error('native/sources.json differs from the disk; run: node scripts/sources.mjs --write')
    process.exitCode = 1
  }
}
