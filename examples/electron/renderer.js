// The page: asks for an image and puts it on the canvas.
const byId = id => document.getElementById(id)
const canvas = document.querySelector('canvas')

window.asdm.onProgress(({ index, of, etaMs }) => {
  byId('status').textContent = `step ${index} of ${of}, ${(etaMs / 1000).toFixed(1)} s left`
})

async function draw() {
  byId('draw').disabled = true
  byId('stop').disabled = false
  try {
    const { width, height, rgba, seed } = await window.asdm.generate({ prompt: byId('prompt').value, steps: 20 })
    canvas.width = width
    canvas.height = height
    canvas.getContext('2d').putImageData(new ImageData(new Uint8ClampedArray(rgba), width, height), 0, 0)
    canvas.dataset.seed = seed
    byId('status').textContent = `seed ${seed}`
  } catch (error) {
    byId('status').textContent = error.message
  } finally {
    byId('draw').disabled = false
    byId('stop').disabled = true
  }
}

byId('draw').addEventListener('click', draw)
byId('stop').addEventListener('click', () => window.asdm.abort())
