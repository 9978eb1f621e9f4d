import { details } from '../state/models'
import { remove, type Item } from '../state/gallery'
import { say } from '../state/messages'
import { change, request, withSettings } from '../state/request'
import { go } from '../state/view'
import { Button } from '../ui/controls'
import { download } from '../ui/files'
import { duration } from '../ui/format'
import { edited } from '../plan/state'
import { generate, randomSeed } from './generate'
import { takeSource } from './source'

/** Takes an image's settings into the form. */
export function useSettings({ settings, model }: Item): void {
  change({ ...withSettings(request.value, settings), ...(model !== '' && { model }), planned: settings.plan !== undefined })
  if (settings.plan !== undefined) edited.value = { kind: 'file', plan: settings.plan }
}

/** What made an image, and what to do with it. */
export function Inspector({ item }: { item: Item }) {
  const { settings, model, ms } = item
  const facts: [string, string | undefined][] = [
    ['Model', model], ['Sampler', typeof settings.sampler === 'string' ? settings.sampler : undefined], ['Steps', text(settings.steps)],
    ['Guidance', text(settings.guidanceScale)], ['Seed', text(settings.seed)],
    ['Size', settings.width === undefined ? undefined : `${settings.width} × ${settings.height ?? '?'}`],
    ['Plan', settings.plan === undefined ? undefined : settings.plan.name ?? 'unnamed'], ['From', settings.from], ['Time', ms === undefined ? undefined : duration(ms)],
  ]
  const locked = request.value.seed !== '' && request.value.seed === String(settings.seed)
  return (
    <div class="inspector">
      <p class="prompt">{settings.prompt === '' || settings.prompt === undefined ? <em>No prompt</em> : settings.prompt}</p>
      <dl>{facts.map(([name, value]) => value !== undefined && value !== '' && <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>
      <div class="tools">
        <Button icon="again" onClick={() => { useSettings(item); go('create'); say('The form has the settings of this image.') }}>Use these settings</Button>
        <Button icon={locked ? 'lock' : 'unlock'} pressed={locked} onClick={() => change({ seed: locked ? '' : String(settings.seed ?? '') })}>
          {locked ? 'Seed locked' : 'Lock seed'}
        </Button>
        <Button icon="dice" disabled={details.value === undefined} onClick={() => { useSettings(item); change({ seed: '' }); go('create'); void generate({ seed: randomSeed() }) }}>
          Vary
        </Button>
        <Button icon="brush" onClick={() => { void takeSource(item.blob); go('create') }}>Start from it</Button>
        <Button icon="download" kind="quiet" title="Download" onClick={() => download(nameOf(item), item.blob)} />
        <Button icon="trash" kind="quiet" title="Delete" onClick={() => void remove([item.id])} />
      </div>
    </div>
  )
}

/** A file name of prompt and seed. */
function nameOf({ settings: { prompt = 'image', seed = '' } }: Item): string {
  return `${prompt.toLowerCase().replace(/[^\p{L}\d]+/gu, '-').slice(0, 60).replace(/^-|-$/g, '') || 'image'}-${seed}.png`
}

const text = (value: number | string | undefined): string | undefined => (value === undefined ? undefined : String(value))
