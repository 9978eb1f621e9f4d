// What examples/electron needs of Electron's API, on Node alone. Preloaded with --require; in a utility process it gives process.parentPort.
const { fork } = require('node:child_process')
const { EventEmitter } = require('node:events')
const Module = require('node:module')

if (process.env.STAND_IN_UTILITY === '1') {
  const port = new EventEmitter()
  port.postMessage = message => process.send(message)
  process.on('message', data => port.emit('message', { data }))
  process.parentPort = port
} else {
  const handlers = new Map()
  const windows = []
  const electron = {
    app: Object.assign(new EventEmitter(), { whenReady: () => Promise.resolve(), quit() {}, exit: code => process.exit(code) }),
    ipcMain: { handle: (channel, handler) => handlers.set(channel, handler) },
    BrowserWindow: class {
      webContents = Object.assign(new EventEmitter(), { sent: [], send(channel, value) { this.sent.push([channel, structuredClone(value)]) }, isDestroyed: () => false })
      constructor(options) {
        this.options = options
        windows.push(this)
      }
      loadFile(file) {
        this.file = file
        return Promise.resolve()
      }
    },
    utilityProcess: {
      fork(file, args) {
        const child = fork(file, args, { execArgv: ['--require', __filename], env: { ...process.env, STAND_IN_UTILITY: '1' }, serialization: 'advanced' })
        const worker = new EventEmitter()
        worker.postMessage = message => child.send(message)
        worker.kill = () => child.kill()
        child.on('message', message => worker.emit('message', message))
        child.on('exit', code => worker.emit('exit', code))
        electron.forked.push(worker)
        return worker
      },
    },
    forked: [],
    windows,
    /** As a page's ipcRenderer.invoke: arguments and result are copied. */
    invoke: async (channel, sender, ...args) => structuredClone(await handlers.get(channel)({ sender }, ...structuredClone(args))),
  }
  const load = Module._load
  Module._load = (request, ...rest) => (request === 'electron' ? electron : load(request, ...rest))
}
