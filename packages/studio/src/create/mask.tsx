import { useEffect, useRef, useState } from 'preact/hooks'
import { source, type SourceImage } from '../state/request'
import { Button, NumberField, Segments } from '../ui/controls'
import { Dialog } from '../ui/dialog'

/** What shows the mask on the image: seen on white as on black. */
const colour = [255, 45, 150] as const

/** A brush for what is to be repainted, at the image's own size. */
export function MaskEditor({ image, onClose }: { image: SourceImage, onClose: () => void }) {
  const canvas = useRef<HTMLCanvasElement>(null)
  const [size, setSize] = useState(Math.max(4, Math.round(Math.min(image.width, image.height) / 6)))
  const [tool, setTool] = useState<'paint' | 'erase'>('paint')
  const last = useRef<{ x: number, y: number } | undefined>(undefined)
  useEffect(() => {
    if (image.mask === undefined) return
    const before = new Image()
    before.onload = () => {
      const context = canvas.current?.getContext('2d')
      if (context === null || context === undefined) return
      context.drawImage(before, 0, 0)
      // The mask's black becomes transparent again, and its white coloured.
      const pixels = context.getImageData(0, 0, image.width, image.height)
      for (let i = 0; i < pixels.data.length; i += 4) pixels.data.set([...colour, pixels.data[i]!], i)
      context.putImageData(pixels, 0, 0)
    }
    before.src = image.mask
  }, [])

  const draw = (event: PointerEvent): void => {
    const target = canvas.current, context = target?.getContext('2d')
    if (target === null || target === undefined || context === null || context === undefined) return
    const { left, top, width, height } = target.getBoundingClientRect()
    const at = { x: (event.clientX - left) / width * image.width, y: (event.clientY - top) / height * image.height }
    const from = last.current ?? at
    context.globalCompositeOperation = tool === 'paint' ? 'source-over' : 'destination-out'
    context.strokeStyle = `rgb(${colour.join()})`
    context.lineWidth = size
    context.lineCap = 'round'
    context.beginPath()
    context.moveTo(from.x, from.y)
    context.lineTo(at.x + 0.01, at.y)
    context.stroke()
    last.current = at
  }
  const fill = (change: (context: CanvasRenderingContext2D) => void): void => {
    const context = canvas.current?.getContext('2d')
    if (context === null || context === undefined) return
    context.globalCompositeOperation = 'source-over'
    change(context)
  }
  const invert = (): void => fill(context => {
    const pixels = context.getImageData(0, 0, image.width, image.height)
    for (let i = 0; i < pixels.data.length; i += 4) pixels.data.set([...colour, 255 - pixels.data[i + 3]!], i)
    context.putImageData(pixels, 0, 0)
  })
  const done = (): void => {
    source.value = { ...image, mask: maskOf(canvas.current, image) }
    onClose()
  }
  return (
    <Dialog title="What to repaint" onClose={onClose} wide>
      <div class="masktools">
        <Segments label="Tool" value={tool} onChange={setTool} options={[{ value: 'paint', label: 'Paint' }, { value: 'erase', label: 'Erase' }]} />
        <NumberField label="Brush" value={size} standard={32} min={1} max={Math.max(image.width, image.height)} onChange={value => setSize(value ?? 32)} />
        <div class="tools">
          <Button icon="swap" onClick={invert}>Invert</Button>
          <Button icon="trash" onClick={() => fill(context => context.clearRect(0, 0, image.width, image.height))}>Clear</Button>
        </div>
      </div>
      <div class="maskarea">
        <div class="maskframe" style={{ aspectRatio: `${image.width} / ${image.height}`, width: `min(100%, 60vh * ${image.width / image.height})` }}>
          <img src={image.url} alt="The image to start from" draggable={false} />
          <canvas ref={canvas} width={image.width} height={image.height} aria-label="The mask: paint over what is to be repainted" role="img"
            onPointerDown={event => { event.currentTarget.setPointerCapture(event.pointerId); last.current = undefined; draw(event) }}
            onPointerMove={event => { if (event.buttons > 0) draw(event) }} />
        </div>
      </div>
      <div class="actions">
        <Button onClick={onClose}>Cancel</Button>
        <Button kind="primary" onClick={done}>Use mask</Button>
      </div>
    </Dialog>
  )
}

/** White on black; nothing where nothing is painted. */
function maskOf(painted: HTMLCanvasElement | null, { width, height }: SourceImage): string | undefined {
  const alpha = painted?.getContext('2d')?.getImageData(0, 0, width, height).data
  if (painted === null || !alpha?.some((value, i) => i % 4 === 3 && value > 127)) return undefined
  const canvas = document.createElement('canvas')
  canvas.width = width
  canvas.height = height
  const context = canvas.getContext('2d')
  if (context === null) return undefined
  const pixels = context.createImageData(width, height)
  for (let i = 0; i < pixels.data.length; i += 4) pixels.data.set([alpha[i + 3]!, alpha[i + 3]!, alpha[i + 3]!, 255], i)
  context.putImageData(pixels, 0, 0)
  return canvas.toDataURL('image/png')
}
