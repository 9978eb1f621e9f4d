import type { Job } from '../api/types'
import { cancelAll, running, type RunningJob } from '../state/jobs'
import { items, selected, urlOf } from '../state/gallery'
import { attempt } from '../state/messages'
import { Button } from '../ui/controls'
import { duration, percent } from '../ui/format'
import { Inspector } from './inspector'

/** The picture that is made, or the one that is looked at. */
export function Stage() {
  const [first] = running.value
  const item = items.value.find(({ id }) => id === selected.value) ?? items.value[0]
  return (
    <section class="stage" aria-label="Result">
      {first !== undefined
        ? <Progress {...first} waiting={running.value.length - 1} />
        : item !== undefined
          ? <><div class="canvas"><Picture item={item} /></div><Inspector item={item} /></>
          : <Empty />}
      <Strip />
    </section>
  )
}

function Picture({ item }: { item: { blob: Blob, settings: { prompt?: string, width?: number, height?: number } } }) {
  const { prompt = '', width = 512, height = 512 } = item.settings
  return <img class="result" src={urlOf(item.blob)} alt={prompt === '' ? 'Generated image' : prompt} style={shownSize(width, height)} />
}

/** Small pictures are shown larger, by at most six times. */
function shownSize(width: number, height: number) {
  const factor = Math.min(6, Math.max(1, 640 / Math.max(width, height)))
  return { width: `${width * factor}px`, aspectRatio: `${width} / ${height}` }
}

function Empty() {
  return (
    <div class="canvas blank">
      <div class="invite">
        <svg viewBox="0 0 120 80" width="120" height="80" aria-hidden="true">
          {Array.from({ length: 8 }, (_, i) => (
            <g key={i} transform={`translate(${i * 15} 0)`}>
              {Array.from({ length: 5 }, (_, k) => <rect key={k} x="1" y={k * 16 + 1} width="13" height="14" rx="2.500"
                class={i % 2 === 1 && k > 0 && k < 4 ? 'inherit' : 'run'} opacity={i % 2 === 1 && k === 0 ? 0.3 : 1} />)}
            </g>
          ))}
        </svg>
        <h2>Nothing here yet</h2>
        <p>Describe an image and press <kbd>Ctrl</kbd> <kbd>Enter</kbd>.</p>
      </div>
    </div>
  )
}

const phases: Readonly<Record<string, string>> = {
  text: 'Prompt read', encode: 'Image encoded', plan: 'Plan compiled', denoise: 'Denoising', decode: 'Decoding',
}

/** What a job does now, in words. */
function wordsFor({ state, position, progress: { phase, step, steps } }: Job): string {
  if (state === 'waiting') return position === undefined || position === 0 ? 'Waiting' : `Waiting behind ${position}`
  if (state === 'loading') return 'Loading the model'
  if (phase === 'denoise') return `Step ${step} of ${steps}`
  return phases[phase ?? ''] ?? 'Starting'
}

function Progress({ job, previews, waiting }: RunningJob & { waiting: number }) {
  const { fraction, etaMs } = job.progress
  return (
    <div class="canvas busy">
      {previews.length > 0
        ? <div class="previews">{previews.map((url, i) => <img key={i} src={url} alt={`Preview ${i + 1}`} />)}</div>
        : <div class="shimmer" />}
      <div class="progress" role="status">
        <div class="said">
          <strong>{wordsFor(job)}</strong>
          <span>{[percent(fraction), ...(etaMs === undefined ? [] : [`${duration(etaMs)} left`]), ...(waiting > 0 ? [`${waiting} waiting`] : [])].join(' · ')}</span>
        </div>
        <progress max={1} value={fraction} aria-label="Progress" />
      </div>
      <Button icon="stop" kind="danger" onClick={() => void attempt(cancelAll)}>Cancel</Button>
    </div>
  )
}

/** The last images. */
function Strip() {
  const shown = items.value.slice(0, 40)
  if (shown.length === 0) return null
  return (
    <ul class="strip" aria-label="Recent images">
      {shown.map(item => (
        <li key={item.id}>
          <button type="button" aria-current={item.id === (selected.value ?? shown[0]?.id)} onClick={() => { selected.value = item.id }}
            title={item.settings.prompt} aria-label={`Show: ${item.settings.prompt ?? 'an image'}`}>
            <img src={urlOf(item.blob)} alt="" loading="lazy" />
          </button>
        </li>
      ))}
    </ul>
  )
}
