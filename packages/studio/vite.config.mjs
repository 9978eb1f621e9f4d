// The studio as static files: npm run build -w packages/studio. `npx vite packages/studio` passes the API's routes on to a server on
// port 7860.
import { defineConfig } from 'vite'

const server = 'http://127.0.0.1:7860'

export default defineConfig({
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact' },
  build: { target: 'es2022', assetsInlineLimit: 0, modulePreload: { polyfill: false } },
  server: { proxy: Object.fromEntries(['/api', '/sdapi', '/v1', '/openapi.json'].map(path => [path, { target: server, changeOrigin: true }])) },
})
