import { useState } from 'preact/hooks'
import { api } from '../api/client'
import { items, keep, remove, selected, urlOf, type Item } from '../state/gallery'
import { attempt, say } from '../state/messages'
import { Button, FileButton } from '../ui/controls'
import { asPng, readAsDataUrl } from '../ui/files'
import { Inspector } from '../create/inspector'
import { Dialog } from '../ui/dialog'

/** Takes PNGs with their settings into the gallery. */
export async function importFiles(files: Iterable<File>): Promise<void> {
  const added: Item[] = []
  for (const file of files) {
    const settings = file.type === 'image/png' ? await api.settings(await readAsDataUrl(file)) : undefined
    const { width, height } = await asPng(file)
    added.push({
      id: `file/${file.name}/${file.size}/${file.lastModified}`, blob: file, settings: { width, height, ...settings }, model: '', createdMs: Date.now() + added.length, ms: undefined,
    })
    if (settings === undefined) say(`${file.name} holds no settings; it is kept as a picture.`)
  }
  await keep(added)
  if (added[0] !== undefined) selected.value = added[0].id
}

/** All images that the browser keeps. */
export function GalleryPage() {
  const [query, setQuery] = useState('')
  const [open, setOpen] = useState<string | undefined>(undefined)
  const words = query.toLowerCase().split(/\s+/).filter(word => word !== '')
  const shown = items.value.filter(({ settings, model }) => {
    const text = `${settings.prompt ?? ''} ${settings.negativePrompt ?? ''} ${model} ${settings.seed ?? ''}`.toLowerCase()
    return words.every(word => text.includes(word))
  })
  const item = items.value.find(({ id }) => id === open)
  return (
    <section class="page">
      <header class="bar">
        <h1>Gallery</h1>
        <input type="search" aria-label="Search prompts, models and seeds" placeholder="Search" value={query} onInput={event => setQuery(event.currentTarget.value)} />
        <FileButton label="Open PNG" accept="image/*" onFile={file => void attempt(() => importFiles([file]))} />
        {items.value.length > 0 && <Button icon="trash" kind="quiet" onClick={() => {
          if (confirm(`Delete ${shown.length === 1 ? 'this image' : `these ${shown.length} images`} from the browser?`)) void remove(shown.map(({ id }) => id))
        }}>Delete shown</Button>}
      </header>
      {shown.length === 0
        ? <div class="blank tall"><div class="invite"><h2>{items.value.length === 0 ? 'No images yet' : 'Nothing matches'}</h2>
            <p>{items.value.length === 0 ? 'What you generate is kept in this browser. PNGs of asdm and AUTOMATIC1111 open with their settings.' : 'Try fewer words.'}</p></div></div>
        : <ul class="tiles">{shown.map(each => (
            <li key={each.id}>
              <button type="button" onClick={() => setOpen(each.id)} aria-label={`Open: ${each.settings.prompt ?? 'an image'}`}>
                <img src={urlOf(each.blob)} alt="" loading="lazy" />
                <span>{each.settings.prompt ?? 'No settings'}</span>
              </button>
            </li>))}</ul>}
      {item !== undefined && (
        <Dialog title="Image" wide onClose={() => setOpen(undefined)}>
          <div class="look"><img src={urlOf(item.blob)} alt={item.settings.prompt ?? 'Image'} /><Inspector item={item} /></div>
        </Dialog>
      )}
    </section>
  )
}
