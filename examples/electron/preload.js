// All that a page can reach: three functions, no Node, no Electron.
const { contextBridge, ipcRenderer } = require('electron')

contextBridge.exposeInMainWorld('asdm', {
  /** Resolves to { width, height, rgba, seed }. */
  generate: request => ipcRenderer.invoke('asdm:generate', request),
  abort: () => ipcRenderer.invoke('asdm:abort'),
  onProgress: listener => { ipcRenderer.on('asdm:progress', (_event, step) => listener(step)) },
})
