// Makes docs/pictures/emoji.png, the sheet in README.md, with the command line:  node docs/pictures/make.mjs
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { PNG } from 'pngjs'

const prompts = [
  'a 3d emoji of red apple', 'a 3d emoji of rocket', 'a 3d emoji of octopus', 'a 3d emoji of smiling face with sunglasses',
  'a flat emoji of crown', 'a flat emoji of evergreen tree', 'a flat emoji of red heart', 'a flat emoji of strawberry',
]
const columns = 4, side = 64

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..')
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'asdm-sheet-'))
const sheet = new PNG({ width: columns * side, height: (prompts.length / columns) * side })
for (const [i, prompt] of prompts.entries()) {
  const file = path.join(folder, `${i}.png`)
  const flags = ['--model', 'models/emoji', '--guidance', '3', '--steps', '20', '--seed', '7', '--out', file]
  execFileSync(process.execPath, ['dist/cli/main.js', 'generate', prompt, ...flags], { cwd: root })
  PNG.bitblt(PNG.sync.read(fs.readFileSync(file)), sheet, 0, 0, side, side, (i % columns) * side, Math.floor(i / columns) * side)
}
fs.writeFileSync(path.join(root, 'docs', 'pictures', 'emoji.png'), PNG.sync.write(sheet, { colorType: 2 }))
fs.rmSync(folder, { recursive: true })
