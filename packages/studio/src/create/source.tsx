import { useState } from 'preact/hooks'
import { attempt } from '../state/messages'
import { change, request, source } from '../state/request'
import { Button, FileButton, NumberField } from '../ui/controls'
import { asPng } from '../ui/files'
import { MaskEditor } from './mask'

/** Takes a picture to start from. */
export async function takeSource(blob: Blob): Promise<void> {
  await attempt(async () => { source.value = { ...await asPng(blob), mask: undefined } })
}

/** The image to start from: by file, drop or paste. */
export function SourcePicker() {
  const [masking, setMasking] = useState(false)
  const image = source.value
  if (image === undefined)
    return (
      <div class="source empty">
        <FileButton label="Start from an image" accept="image/*" onFile={file => void takeSource(file)} />
        <p class="hint">Or drop or paste one here.</p>
      </div>
    )
  return (
    <div class="source">
      <div class="thumb">
        <img src={image.url} alt="The image to start from" />
        {image.mask !== undefined && <span class="overlay" style={{ maskImage: `url(${image.mask})` }} />}
      </div>
      <div class="tools">
        <Button icon="brush" onClick={() => setMasking(true)}>{image.mask === undefined ? 'Mask' : 'Edit mask'}</Button>
        <Button icon="close" kind="quiet" title="Without an image" onClick={() => { source.value = undefined }} />
      </div>
      <NumberField label="Strength" hint="how much is repainted" value={request.value.strength} standard={0.6} min={0.05} max={1} step={0.05}
        onChange={strength => change({ strength: strength ?? 0.6 })} />
      {masking && <MaskEditor image={image} onClose={() => setMasking(false)} />}
    </div>
  )
}
