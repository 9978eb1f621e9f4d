// The main process: windows, and messages between them and the one process that computes.
const path = require('node:path')
const { app, BrowserWindow, ipcMain, utilityProcess } = require('electron')

let worker
let nextId = 1
const waiting = new Map()

/** The process that holds the model. A crash there ends its requests, not the app; the next request starts another. */
function workerProcess() {
  if (worker !== undefined) return worker
  worker = utilityProcess.fork(path.join(__dirname, 'worker.js'), [], { serviceName: 'asdm' })
  worker.on('message', ({ id, type, ...rest }) => waiting.get(id)?.[type]?.(rest))
  worker.on('exit', code => {
    worker = undefined
    for (const { failed } of waiting.values()) failed({ message: `The process that computes ended with code ${code}` })
  })
  return worker
}

/** What a page may ask for. A page is not trusted: nothing else of its message is passed on. */
function checked({ prompt, seed, steps }) {
  if (typeof prompt !== 'string' || prompt.length > 1000) throw new Error('Expected a prompt of at most 1000 characters')
  if (!Number.isInteger(steps) || steps < 1 || steps > 50) throw new Error('Expected 1 to 50 steps')
  if (seed !== undefined && !Number.isSafeInteger(seed)) throw new Error('Expected a seed that is an integer')
  return { prompt, seed, steps, guidanceScale: 3 }
}

ipcMain.handle('asdm:generate', (event, request) => new Promise((resolve, reject) => {
  const settings = checked(request)
  const id = nextId++
  const page = event.sender
  const abort = () => worker?.postMessage({ id, type: 'abort' })
  const end = () => {
    waiting.delete(id)
    page.removeListener('destroyed', abort)
  }
  waiting.set(id, {
    progress: step => { if (!page.isDestroyed()) page.send('asdm:progress', step) },
    done: ({ image }) => { end(); resolve(image) },
    failed: ({ message }) => { end(); reject(new Error(message)) },
  })
  page.once('destroyed', abort)
  workerProcess().postMessage({ id, type: 'generate', settings })
}))

ipcMain.handle('asdm:abort', () => { for (const id of waiting.keys()) worker?.postMessage({ id, type: 'abort' }) })

app.whenReady().then(() => {
  const window = new BrowserWindow({
    width: 560, height: 640,
    webPreferences: { preload: path.join(__dirname, 'preload.js'), contextIsolation: true, sandbox: true, nodeIntegration: false },
  })
  void window.loadFile(path.join(__dirname, 'index.html'))
  // electron main.js --self-test: draws once, and ends with code 0 if the page has shown it.
  if (process.argv.includes('--self-test'))
    window.webContents.once('did-finish-load', () => {
      window.webContents.executeJavaScript('draw().then(() => document.querySelector("canvas").dataset.seed)')
        .then(seed => app.exit(seed === undefined ? 1 : 0), () => app.exit(1))
    })
})
app.on('window-all-closed', () => app.quit())
