// A utility process: loads the model once and answers one request after the other. A crash or a long computation here disturbs no window.
const os = require('node:os')
const { StableDiffusion } = require('asdm')

const { parentPort } = process
const running = new Map()

// One core is left to the windows.
const threads = Math.max(1, os.availableParallelism() - 1)
let model

/** Loaded with the first request. One that failed is tried again with the next. */
function load() {
  model ??= StableDiffusion.load(process.env.ASDM_MODEL ?? 'emoji', { threads }).catch(error => {
    model = undefined
    throw error
  })
  return model
}

async function generate(id, settings) {
  const stop = new AbortController()
  running.set(id, stop)
  try {
    const sd = await load()
    const [image] = await sd.generate({
      ...settings,
      signal: stop.signal,
      onProgress: ({ phase, index, of, etaMs }) => {
        if (phase === 'denoise') parentPort.postMessage({ id, type: 'progress', index, of, etaMs })
      },
    })
    const { width, height, rgba, seed } = image
    parentPort.postMessage({ id, type: 'done', image: { width, height, rgba, seed: String(seed) } })
  } catch (error) {
    parentPort.postMessage({ id, type: 'failed', code: error.code ?? error.name, message: error.message })
  } finally {
    running.delete(id)
  }
}

parentPort.on('message', ({ data: { id, type, settings } }) => {
  if (type === 'generate') void generate(id, settings)
  else if (type === 'abort') running.get(id)?.abort()
})
