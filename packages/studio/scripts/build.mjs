// Writes src/api/openapi.d.ts, the types of the server's OpenAPI document, and builds the studio to dist/.
//   --types    only the types
// The server has to be compiled: npm ci does that, or npx tsc -p packages/server/tsconfig.json.
import fs from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import openapiTS, { astToString } from 'openapi-typescript'
import { build } from 'vite'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const types = path.join(root, 'src', 'api', 'openapi.d.ts')

const { serve } = await import('@asdm/server')
const server = await serve({ model: 'emoji', port: 0, studio: false, logLevel: 'silent' })
try {
  const document = await (await fetch(`${server.url}/openapi.json`)).json()
  await fs.writeFile(types, `// Made from the server's OpenAPI document by scripts/build.mjs.\n${astToString(await openapiTS(document))}`)
} finally {
  await server.close()
}
if (!process.argv.includes('--types')) await build({ root, logLevel: 'warn', configFile: path.join(root, 'vite.config.mjs') })
